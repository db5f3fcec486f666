"""The headless sampling of the package beside the host's, on the same weights; and an attachment that acts anywhere."""

from itertools import pairwise
from typing import Any

import comfy.samplers
import torch
from inside.sampling import SCALE
from pack.vldm_core.prior.attachment import Attachment
from pack.vldm_core.prior.denoiser import ClipDenoiser, DenoiserSettings
from pack.vldm_core.sampling.cfg import CfgSettings


class Mixing(Attachment):
    """Takes part of the previous frame of the same shot, after every ResBlock and every transformer."""

    def changes(self, view):
        return [(site.module, self.mix) for site in view.sites.values()]

    def mix(self, x, call):
        clips = call.clips(x)
        parts = [torch.cat([p[:, :1], 0.8 * p[:, 1:] + 0.2 * p[:, :-1]], 1) for p in call.parts(clips)]
        return torch.cat(parts, 1).flatten(0, 1)


def start(noise: torch.Tensor, latent: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return where sampling begins, in the network's units."""
    # The host scales noise by sqrt(1 + sigma²) when a schedule begins at the very top.
    return noise * (1 + sigma**2) ** 0.5 + latent * SCALE


def headless(
    model: Any,
    twin: Any,
    prediction: str,
    positive: Any,
    negative: Any,
    noise: torch.Tensor,
    latent: torch.Tensor,
    *,
    steps: int,
    windows: Any = None,
    tiles: Any = None,
    **more: Any,
) -> torch.Tensor:
    """Sample as `inside.sampling.sample` does, with the package's own denoiser and diffusers' UNet."""
    sampling = model.get_model_object("model_sampling")
    sigmas = [float(s) for s in comfy.samplers.calculate_sigmas(sampling, "normal", steps)]
    denoiser = ClipDenoiser(
        twin,
        timestep=lambda s: float(sampling.timestep(torch.tensor(s))),
        sigmas=sigmas,
        positive=positive[0][0],
        negative=negative[0][0],
        settings=DenoiserSettings(prediction=prediction, cfg=CfgSettings(scale=3.0), windows=windows, tiles=tiles),
        **more,
    )
    x = start(noise, latent, sigmas[0])
    with torch.no_grad():
        for here, there in pairwise(sigmas):
            x = x + (x - denoiser(x, here)) / here * (there - here)
    return x / SCALE
