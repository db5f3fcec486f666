"""A clip and the nodes about sampling it, with their defaults."""

from typing import Any

import torch
from inside.sampling import SCALE, conditioning, random
from pack.nodes.prior.restoration_guidance import RestorationGuidanceNode
from pack.nodes.prior.restoration_sampler import RestorationSampler
from pack.nodes.prior.restoration_settings import RestorationSettingsNode

import nodes as stock

FRAMES = 10
HEIGHT, WIDTH = 64, 96
POSITIVE, NEGATIVE = conditioning(), conditioning(seed=3)
LATENT = {"samples": random(FRAMES, 4, HEIGHT // 8, WIDTH // 8, seed=8) / SCALE, "kept": "yes"}


def panned() -> torch.Tensor:
    """Return a scene that moves a pixel a frame, as an IMAGE."""
    coarse = torch.rand(1, 3, HEIGHT // 8, WIDTH // 8, generator=torch.Generator().manual_seed(1))
    scene = torch.nn.functional.interpolate(coarse, size=(HEIGHT, WIDTH), mode="bicubic").clamp(0, 1)
    return torch.cat([scene.roll(t, 3) for t in range(FRAMES)]).movedim(1, -1)


IMAGES = panned()
DEFAULTS = {
    i.id: i.default for i in RestorationSampler.define_schema().inputs if getattr(i, "default", None) is not None
}


def restore(model: Any, latent: dict[str, Any] = LATENT, **changes: Any) -> torch.Tensor:
    """Run Restoration Sampler."""
    values = {**DEFAULTS, "steps": 4, **changes}
    with torch.inference_mode():
        return RestorationSampler.execute(model, POSITIVE, NEGATIVE, latent, **values).result[0]["samples"]


def settings(**changes: Any) -> Any:
    """Run Restoration Settings."""
    values = {i.id: i.default for i in RestorationSettingsNode.define_schema().inputs}
    return RestorationSettingsNode.execute(**{**values, **changes}).result[0]


def guided(model: Any, **changes: Any) -> Any:
    """Run Restoration Guidance."""
    values = {"scale": 0.5, "weighting": "mse", "space": "latent", "start": 0.0, "end": 1.0}
    values |= {"keep_undamaged": 1.0, "propagation": 0.5}
    with torch.inference_mode():
        return RestorationGuidanceNode.execute(model, LATENT, **{**values, **changes}).result[0]


def stock_sample(model: Any) -> torch.Tensor:
    """Run the host's KSampler."""
    with torch.inference_mode():
        (output,) = stock.common_ksampler(model, 0, 4, 4.0, "euler", "normal", POSITIVE, NEGATIVE, LATENT, denoise=0.4)  # type: ignore[attr-defined]
    return output["samples"]
