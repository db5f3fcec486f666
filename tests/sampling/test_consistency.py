"""Undamaged film is kept, damage is left to the prior."""

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.sampling.consistency import ConsistencySettings, DataConsistency, keep_undamaged, latent_mask
from vldm_core.sampling.state import StepState


def scene() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    masks = torch.zeros(3, 64, 96)
    masks[1, 20, 40] = 1  # one pixel of damage
    return torch.randn(3, 4, 8, 12), torch.randn(3, 4, 8, 12), masks


def test_no_damage_is_lost_on_the_way_to_the_latent() -> None:
    _, _, masks = scene()
    plain = latent_mask(masks, 8, 12, grow=0)
    assert plain.sum() == 1 and plain[1, 2, 5] == 1
    grown = latent_mask(masks, 8, 12, grow=1)
    assert grown.sum() == 9 and grown[1, 1:4, 4:7].min() == 1
    assert latent_mask(masks, 5, 7, grow=0).sum() >= 1


@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_the_formula(strength: float) -> None:
    x0, reference, masks = scene()
    transform = DataConsistency(ConsistencySettings(strength=strength), reference=reference, masks=masks)
    found = transform(x0, x0, StepState(sigma=3.0, step=2, steps=10))
    m = latent_mask(masks, 8, 12)[:, None]
    assert torch.allclose(found, x0 + strength * (1 - m) * (reference - x0), atol=1e-6)
    damaged = (m == 1).expand_as(x0)
    assert torch.equal(found[damaged], x0[damaged])
    if strength == 1:
        assert torch.equal(found[~damaged], reference[~damaged])


def test_soft_masks_pull_in_between() -> None:
    x0, reference, _ = scene()
    found = keep_undamaged(x0, reference, torch.full((3, 8, 12), 0.25), 0.8)
    assert torch.allclose(found, x0 + 0.6 * (reference - x0), atol=1e-6)


def test_it_ends_where_asked() -> None:
    x0, reference, masks = scene()
    transform = DataConsistency(ConsistencySettings(end=0.5), reference=reference, masks=masks)
    changed = [transform(x0, x0, StepState(sigma=1.0, step=step, steps=10)) is not x0 for step in range(10)]
    assert changed == [True] * 5 + [False] * 5
    always = DataConsistency(ConsistencySettings(end=1.0), reference=reference, masks=masks)
    assert always(x0, x0, StepState(sigma=0.03, step=9, steps=10)) is not x0
    off = DataConsistency(ConsistencySettings(strength=0.0), reference=reference, masks=masks)
    assert off(x0, x0, StepState(sigma=9.0, step=0, steps=10)) is x0


@pytest.mark.parametrize("wrong", [{"strength": 1.5}, {"end": -0.1}, {"grow": -1}])
def test_wrong_settings_say_what_to_do(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="use"):
        ConsistencySettings(**wrong)  # type: ignore[arg-type]


def test_mistakes_are_told() -> None:
    x0, reference, masks = scene()
    with pytest.raises(SettingsError, match="give as many"):
        DataConsistency(ConsistencySettings(), reference=reference, masks=masks[:2])
    with pytest.raises(SettingsError, match="same shape"):
        DataConsistency(ConsistencySettings(), reference=reference, masks=masks)(
            x0[:2], x0[:2], StepState(sigma=1.0, step=0, steps=2)
        )
    with pytest.raises(SettingsError, match="give"):
        latent_mask(masks[0], 8, 12)
