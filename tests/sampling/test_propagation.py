"""Propagation makes frames agree along the motion, comes closer to the clean clip, and knows where not to."""

import pytest
import torch
from torch import Tensor

from vldm_core.errors import SettingsError
from vldm_core.sampling.latent_flow import to_latent_flow, warp_nearest
from vldm_core.sampling.propagation import FlowPropagation, PropagationSettings
from vldm_core.sampling.state import StepState
from vldm_core.video.shots import Shot

LATE = StepState(sigma=0.3, step=24, steps=30)
COUNT, HEIGHT, WIDTH = 12, 24, 40


def pan(dx: int = 2, dy: int = -1) -> tuple[Tensor, Tensor, Tensor]:
    """A clean latent clip whose content moves by (dx, dy) latent pixels, with forward and backward picture flow."""
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    waves = [torch.sin(x / a + c) * torch.cos(y / b - c) for a, b, c in ((3, 4, 0), (5, 2, 1), (2, 7, 2), (4, 3, 3))]
    world = torch.stack(waves)
    clean = torch.stack(
        [world[:, 40 - t * dy : 40 - t * dy + HEIGHT, 40 - t * dx : 40 - t * dx + WIDTH] for t in range(COUNT)]
    )
    forward = torch.zeros(COUNT - 1, 2, 8 * HEIGHT, 8 * WIDTH)
    forward[:, 0], forward[:, 1] = 8.0 * dx, 8.0 * dy
    return clean, forward, -forward


def warp_error(clip: Tensor, backward: Tensor) -> float:
    errors = []
    for t, flow in enumerate(to_latent_flow(backward, HEIGHT, WIDTH)):
        found, inside = warp_nearest(clip[t], flow)
        errors.append((found - clip[t + 1]).square()[:, inside].mean())
    return float(torch.stack(errors).mean())


def transform(
    forward: Tensor, backward: Tensor, shots: tuple[Shot, ...] | None = None, **how: float
) -> FlowPropagation:
    settings = PropagationSettings(**how)  # type: ignore[arg-type]
    return FlowPropagation(settings, forward=forward, backward=backward, height=HEIGHT, width=WIDTH, shots=shots)


def test_frames_agree_and_come_closer_to_the_clean_clip() -> None:
    clean, forward, backward = pan()
    noisy = clean + 0.5 * torch.randn_like(clean)
    found = transform(forward, backward)(noisy, noisy, LATE)
    assert warp_error(found, backward) < warp_error(noisy, backward) / 5
    # Warp error alone would reward copying one frame through the clip.
    assert (found - clean).square().mean() < (noisy - clean).square().mean() / 2


def test_copying_one_frame_is_worse() -> None:
    clean, forward, backward = pan()
    noisy = clean + 0.5 * torch.randn_like(clean)
    error = [(transform(forward, backward, blend=b)(noisy, noisy, LATE) - clean).square().mean() for b in (0.5, 1.0)]
    assert error[0] < error[1] / 2


def test_a_consistent_clip_stays() -> None:
    clean, forward, backward = pan()
    found = transform(forward, backward)(clean, clean, LATE)
    assert (found - clean).abs().max() < 1e-5


def test_what_cannot_be_trusted_is_bit_equal() -> None:
    clean, forward, backward = pan(dx=0, dy=0)
    noisy = clean + 0.5 * torch.randn_like(clean)
    forward[:, 0, :64, :64] = 24.0  # flow that does not return: occluded, or wrong
    backward[:, 1, :64, :64] = -24.0
    found = transform(forward, backward)(noisy, noisy, LATE)
    assert torch.equal(found[:, :, :8, :8], noisy[:, :, :8, :8])
    assert (found[:, :, 8:, 8:] != noisy[:, :, 8:, 8:]).float().mean() > 0.99


def test_what_comes_into_the_picture_has_no_past() -> None:
    clean, forward, backward = pan(dx=3, dy=0)
    noisy = clean + 0.5 * torch.randn_like(clean)
    found = transform(forward, backward)(noisy, noisy, LATE)
    # The last frame has only a past, and its first three columns were not in the picture.
    assert torch.equal(found[-1, :, :, :3], noisy[-1, :, :, :3])
    assert (found[-1, :, :, 3:] != noisy[-1, :, :, 3:]).float().mean() > 0.99


def test_a_cut_blocks() -> None:
    clean, forward, backward = pan()
    shots = (Shot(0, 5), Shot(5, COUNT))
    changed = clean.clone()
    changed[5:] += 10
    kept, other = (transform(forward, backward, shots)(clip, clip, LATE) for clip in (clean, changed))
    assert torch.equal(kept[:5], other[:5])
    joined, mixed = (transform(forward, backward)(clip, clip, LATE) for clip in (clean, changed))
    assert not torch.allclose(joined[:5], mixed[:5])
    alone = transform(forward[:4], backward[:4])(clean[:5], clean[:5], LATE)
    assert torch.equal(kept[:5], alone)


def test_only_the_chosen_steps_are_changed() -> None:
    clean, forward, backward = pan()
    noisy = clean + 0.5 * torch.randn_like(clean)
    join = transform(forward, backward)
    active = [s for s in range(30) if join(noisy, noisy, StepState(sigma=1.0, step=s, steps=30)) is not noisy]
    assert active == [24, 26, 28]
    last = PropagationSettings(at=(1.0,))
    assert [s for s in range(4) if last.active(StepState(sigma=1.0, step=s, steps=4))] == [3]
    assert transform(forward, backward, blend=0.0)(noisy, noisy, LATE) is noisy


def test_flow_of_a_frame_that_is_not_square() -> None:
    """16 picture pixels are 2 latent pixels across and 1 down when the axes are scaled differently."""
    clean, _, _ = pan(dx=2, dy=1)
    forward = torch.full((COUNT - 1, 2, 16 * HEIGHT, 8 * WIDTH), 16.0)
    found = transform(forward, -forward)(clean, clean, LATE)
    assert (found - clean).abs().max() < 1e-5


def test_mistakes_are_told() -> None:
    clean, forward, backward = pan()
    with pytest.raises(SettingsError, match="use"):
        PropagationSettings(blend=1.5)
    with pytest.raises(SettingsError, match="use"):
        PropagationSettings(at=(2.0,))
    with pytest.raises(SettingsError, match="give both"):
        transform(forward, backward[:3])
    with pytest.raises(SettingsError, match="flow must be"):
        transform(forward, backward)(clean[:4], clean[:4], LATE)
    with pytest.raises(SettingsError, match="the shots cover"):
        transform(forward, backward, (Shot(0, 3),))
