"""The one step: noise away at 1, or the clean picture that a level of noise says."""

import torch

from vldm_core.prior.onestep.reading import ONE_STEP_FORMATS
from vldm_core.prior.onestep.step import OneStep

# As published, of the DDPM schedule of Stable Diffusion.
LEVELS = {999: 0.0046601, 200: 0.7536917}


def test_x0_at_a_level():
    generator = torch.Generator().manual_seed(0)
    clean, eps = (torch.randn(2, 4, 3, 5, generator=generator) for _ in range(2))
    for timestep, level in LEVELS.items():
        noisy = level**0.5 * clean + (1 - level) ** 0.5 * eps
        assert torch.allclose(OneStep(timestep=timestep, subtracts=False).x0(noisy, eps), clean, atol=2e-5)


def test_without_a_schedule():
    latent, eps = torch.ones(1, 4, 2, 2), torch.full((1, 4, 2, 2), 0.25)
    assert torch.equal(OneStep(timestep=1, subtracts=True).x0(latent, eps), torch.full((1, 4, 2, 2), 0.75))


def test_each_system_has_its_own():
    steps = {known.system: (known.step.timestep, known.step.subtracts) for known in ONE_STEP_FORMATS}
    assert steps == {
        "OSEDiff": (999, False),
        "PiSA-SR": (1, True),
        "S3Diff": (999, False),
        "HYPIR": (200, False),
        "DLoRAL": (1, True),
    }
