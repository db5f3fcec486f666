"""What the parity programs share."""

import torch
from in_host import *

import comfy.samplers
import comfy.sample
from pack.nodes.host.prior import with_attachment, with_shots, with_transform, with_noise
from pack.nodes.host.regions import with_regions
from pack.vldm_core.prior.attachment import Attachment
from pack.vldm_core.prior.unet import UNetView
from pack.vldm_core.prior.denoiser import ClipDenoiser, DenoiserSettings
from pack.vldm_core.sampling.cfg import CfgSettings
from pack.vldm_core.sampling.regions.windows import WindowSettings
from pack.vldm_core.sampling.regions.tiles import TileSettings
from pack.vldm_core.video.shots import Shot
from itertools import pairwise


class Mixing(Attachment):
    "Takes part of the previous frame of the same shot, after every ResBlock and every transformer."

    def changes(self, view):
        return [(site.module, self.mix) for site in view.sites.values()]

    def mix(self, x, call):
        clips = call.clips(x)
        parts = [torch.cat([p[:, :1], 0.8 * p[:, 1:] + 0.2 * p[:, :-1]], 1) for p in call.parts(clips)]
        return torch.cat(parts, 1).flatten(0, 1)


def euler(denoise, x, sigmas):
    for here, there in pairwise(sigmas):
        x = x + (x - denoise(x, here)) / here * (there - here)
    return x


def headless(
    model, twin, prediction, positive, negative, noise, latent, steps=5, cfg=3.0, windows=None, tiles=None, **more
):
    sampling = model.get_model_object("model_sampling")
    sigmas = [float(s) for s in comfy.samplers.calculate_sigmas(sampling, "normal", steps)]
    denoiser = ClipDenoiser(
        twin,
        timestep=lambda s: float(sampling.timestep(torch.tensor(s))),
        sigmas=sigmas,
        positive=positive[0][0],
        negative=negative[0][0],
        settings=DenoiserSettings(prediction=prediction, cfg=CfgSettings(scale=cfg), windows=windows, tiles=tiles),
        **more,
    )
    # The host scales noise by sqrt(1 + sigma²) when a schedule begins at the very top.
    x = noise * (1 + sigmas[0] ** 2) ** 0.5 + latent * 0.18215
    with torch.no_grad():
        return euler(denoiser, x, sigmas) / 0.18215


def close(found, wanted, what):
    difference = (found - wanted).abs().max() * 0.18215
    assert difference < 1e-4, (what, float(difference), float(wanted.std()))
    assert wanted.std() > 0.1
