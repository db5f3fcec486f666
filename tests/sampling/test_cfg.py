"""Guidance is linear, rescaling restores the spread of each frame, the schedule is DiffBIR's."""

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.sampling.cfg import CfgSettings, ClassifierFreeGuidance, guide, rescale_guidance, rescale_x0
from vldm_core.sampling.schedule import NoiseSchedule, from_x0, to_x0
from vldm_core.sampling.spaced import cfg_schedule
from vldm_core.sampling.state import StepState

SCHEDULE = NoiseSchedule.stable_diffusion()


def predictions() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(3, 4, 16, 16) + 0.3, torch.randn(3, 4, 16, 16), torch.randn(3, 4, 16, 16) * 3


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_guidance_on_x0_is_guidance_on_the_output(prediction: str) -> None:
    cond, uncond, x = predictions()
    outputs = [to_x0(x, each, 2.0, prediction) for each in (cond, uncond)]  # type: ignore[arg-type]
    wanted = to_x0(x, guide(cond, uncond, 5.0), 2.0, prediction)  # type: ignore[arg-type]
    assert torch.allclose(guide(outputs[0], outputs[1], 5.0), wanted, atol=1e-4)


def test_full_rescaling_gives_every_frame_the_conditional_spread() -> None:
    cond, uncond, _ = predictions()
    uncond = uncond * torch.tensor([0.5, 1.0, 4.0])[:, None, None, None]
    guided = guide(cond, uncond, 7.0)
    found = rescale_guidance(guided, cond, 1.0)
    assert torch.allclose(found.std((1, 2, 3)), cond.std((1, 2, 3)), rtol=1e-4)
    assert torch.equal(rescale_guidance(guided, cond, 0.0), guided)
    half = rescale_guidance(guided, cond, 0.5)
    assert torch.allclose(half, 0.5 * (found + guided), atol=1e-5)


def test_a_frame_does_not_depend_on_the_others() -> None:
    cond, uncond, _ = predictions()
    guided = guide(cond, uncond, 7.0)
    assert torch.equal(rescale_guidance(guided, cond, 0.7)[1:2], rescale_guidance(guided[1:2], cond[1:2], 0.7))


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_rescaling_x0_matches_the_spread_of_the_output(prediction: str) -> None:
    cond, uncond, x = predictions()
    guided = guide(cond, uncond, 7.0)
    found = rescale_x0(guided, cond, x, 2.0, 1.0, prediction)  # type: ignore[arg-type]
    spreads = [from_x0(x, each, 2.0, prediction).std((1, 2, 3)) for each in (found, cond)]  # type: ignore[arg-type]
    assert torch.allclose(spreads[0], spreads[1], rtol=1e-4)


def test_the_transform_puts_it_together() -> None:
    cond, uncond, x = predictions()
    state = StepState(sigma=SCHEDULE.sigma(400), step=3, steps=10)
    plain = ClassifierFreeGuidance(CfgSettings(scale=4.0), SCHEDULE)(cond, uncond, x, state)
    assert torch.equal(plain, guide(cond, uncond, 4.0))
    curved = ClassifierFreeGuidance(CfgSettings(scale=4.0, schedule="diffbir", rescale=0.7), SCHEDULE)
    assert curved.scale(state.sigma) == pytest.approx(cfg_schedule(400, 4.0))
    guided = guide(cond, uncond, curved.scale(state.sigma))
    assert torch.allclose(curved(cond, uncond, x, state), rescale_x0(guided, cond, x, state.sigma, 0.7, "v"))


@pytest.mark.parametrize("wrong", [{"scale": -1.0}, {"rescale": 1.1}, {"schedule": "x"}])
def test_wrong_settings_say_what_to_do(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="use"):
        CfgSettings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="use one of"):
        ClassifierFreeGuidance(CfgSettings(), SCHEDULE, "x0")  # type: ignore[arg-type]
