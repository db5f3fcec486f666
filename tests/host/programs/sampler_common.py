"""What the programs about the sampler nodes share."""

import torch
from in_host import *

from dataclasses import replace
import comfy.samplers
import comfy_extras.nodes_custom_sampler as custom
import nodes as stock
from pack.nodes.prior.restoration_sampler import RestorationSampler
from pack.nodes.prior.restoration_settings import RestorationSettingsNode
from pack.nodes.prior.long_video_windows import LongVideoWindows
from pack.nodes.prior.video_noise import VideoNoise
from pack.nodes.prior.restoration_guidance import RestorationGuidanceNode
from pack.vldm_core.errors import SettingsError
from pack.vldm_core.video.shots import Shot

model, twin = tiny_pair()
positive, negative = conditioning(), conditioning(seed=3)
frames = 10
scene = torch.nn.functional.interpolate(
    torch.rand(1, 3, 8, 12, generator=torch.Generator().manual_seed(1)), size=(64, 96), mode="bicubic"
).clamp(0, 1)
images = torch.cat([scene.roll(t, 3) for t in range(frames)]).movedim(1, -1)
latent = {"samples": random(frames, 4, 8, 12, seed=8) / 0.18215, "kept": "yes"}
defaults = {
    i.id: i.default for i in RestorationSampler.define_schema().inputs if getattr(i, "default", None) is not None
}


def restore(model=model, **changes):
    values = {**defaults, "steps": 4, **changes}
    with torch.inference_mode():
        return RestorationSampler.execute(model, positive, negative, values.pop("latent", latent), **values).result[0][
            "samples"
        ]


def settings(**changes):
    values = {i.id: i.default for i in RestorationSettingsNode.define_schema().inputs}
    return RestorationSettingsNode.execute(**{**values, **changes}).result[0]


def guided(model=model, **changes):
    values = {
        "scale": 0.5,
        "weighting": "mse",
        "space": "latent",
        "start": 0.0,
        "end": 1.0,
        "keep_undamaged": 1.0,
        "propagation": 0.5,
    }
    with torch.inference_mode():
        return RestorationGuidanceNode.execute(model, latent, **{**values, **changes}).result[0]


def stock_sample(model, seed=0, steps=4, denoise=0.4, cfg=4.0):
    with torch.inference_mode():
        return stock.common_ksampler(
            model, seed, steps, cfg, "euler", "normal", positive, negative, latent, denoise=denoise
        )[0]["samples"]


def distance(a, b):
    return float((a - b).abs().mean()) * 0.18215


def refused(call, part):
    try:
        call()
    except SettingsError as error:
        assert part in str(error), error
    else:
        raise AssertionError("accepted")
