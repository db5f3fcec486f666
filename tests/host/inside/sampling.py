"""What goes into the host's sampling and what comes out of it."""

from typing import Any

import comfy.sample
import comfy.samplers
import torch
from inside.models import CONTEXT

# Of Stable Diffusion 1.x: latents in the host times this are the ones that the network sees.
SCALE = 0.18215


def random(*shape: int, seed: int = 1) -> torch.Tensor:
    """Return unit noise from a generator of its own."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def conditioning(frames: int = 1, seed: int = 2, **extra: Any) -> list[Any]:
    """Return the host's CONDITIONING with `frames` different token sequences."""
    return [[random(frames, 7, CONTEXT, seed=seed), dict(extra)]]


def sample(
    model: Any,
    positive: Any,
    negative: Any,
    noise: torch.Tensor,
    latent: torch.Tensor,
    *,
    steps: int = 5,
    cfg: float = 3.0,
    seed: int = 0,
    sigmas: torch.Tensor | None = None,
) -> torch.Tensor:
    """Run the host's own sampling with Euler; the latents go in and come out as the host has them, unscaled."""
    if sigmas is None:
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", steps)
    euler = comfy.samplers.sampler_object("euler")
    with torch.inference_mode():
        return comfy.sample.sample_custom(
            model, noise, cfg, euler, sigmas, positive, negative, latent, seed=seed, disable_pbar=True
        )


def assert_same(found: torch.Tensor, wanted: torch.Tensor, limit: float = 2e-5) -> None:
    """Fail where two results differ by more than what another order of adding makes, relative to the largest value."""
    difference = float((found - wanted).abs().max() / wanted.abs().max())
    assert difference < limit, f"differ by {difference:.2g} of the largest value, at most {limit:g} are allowed"


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the mean difference, in the network's own units."""
    return float((one - other).abs().mean()) * SCALE
