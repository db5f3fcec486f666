"""What the programs about prompts of shots share: tiny CLIP, CLIP Vision and style models of the host's classes."""

import json
import tempfile
from pathlib import Path

import torch
from in_host import *

import comfy.clip_vision
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models_base
from comfy.patcher_extension import WrappersMP
from pack.nodes.host.regions import with_regions
from pack.nodes.host.prior import FRAMES_KEY, with_shots
from pack.vldm_core.errors import SettingsError
from pack.vldm_core.sampling.regions.windows import WindowSettings
from pack.vldm_core.semantics.table.table import ShotDescription, ShotTable
from pack.vldm_core.video.shots import Shot

SMALL = {
    "hidden_size": CONTEXT,
    "intermediate_size": 2 * CONTEXT,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
}
VISION = {
    **SMALL,
    "attention_dropout": 0.0,
    "hidden_act": "quick_gelu",
    "image_size": 32,
    "layer_norm_eps": 1e-05,
    "model_type": "clip_vision_model",
    "num_channels": 3,
    "patch_size": 8,
    "projection_dim": CONTEXT,
}


def filled(module, seed=0):
    """Give the host's layers, which come without values, random ones that neither fade nor grow with depth."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim >= 2:
                parameter.normal_(std=parameter[0].numel() ** -0.5, generator=generator)
            else:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
    return module


def tiny_clip(seed=0):
    """Return a CLIP of the host's class for Stable Diffusion 1.x, as wide as the tiny UNet's context."""
    target = comfy.supported_models_base.ClipTarget(comfy.sd1_clip.SD1Tokenizer, comfy.sd1_clip.SD1ClipModel)
    clip = comfy.sd.CLIP(target, model_options={"clip_l_model_config": SMALL, "dtype": torch.float32})
    filled(clip.cond_stage_model, seed)
    return clip


def tiny_vision(seed=1):
    """Return a CLIP_VISION of the host's class."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(VISION))
        vision = comfy.clip_vision.ClipVisionModel(str(path))
    vision.model.float()
    vision.dtype = torch.float32
    filled(vision.model, seed)
    return vision


class Counted:
    """A CLIP that counts what it encodes."""

    def __init__(self, clip):
        self.clip, self.texts = clip, []

    def __getattr__(self, name):
        return getattr(self.clip, name)

    def tokenize(self, text, **more):
        self.texts.append(text)
        return self.clip.tokenize(text, **more)


def table(*lengths, prompts=None, key_frames=True):
    """A table of shots of these lengths, each with a key frame in its middle."""
    described, first = [], 0
    for index, length in enumerate(lengths):
        frames = (first + length // 2,) if key_frames else ()
        text = f"shot number {index}" if prompts is None else prompts[index]
        described.append(ShotDescription(first=first, last=first + length, key_frames=frames, prompt=text))
        first += length
    return ShotTable(descriptions=tuple(described))


def spied(model, seen):
    """Return a clone that notes in `seen` what arrives at the network: frames, chunk kinds, context, y."""
    patched = model.clone()

    def look(executor, x, timesteps, context, y=None, *args, **kwargs):
        options = kwargs["transformer_options"] if "transformer_options" in kwargs else args[1]
        chunks = options["cond_or_uncond"]
        count = len(x) // len(chunks)
        frames = options.get(FRAMES_KEY, tuple(range(count)))
        parts = zip(chunks, context.split(count), (None,) * len(chunks) if y is None else y.split(count), strict=True)
        for kind, tokens, embedding in parts:
            seen.append((kind, frames, tokens.clone(), None if embedding is None else embedding.clone()))
        return executor(x, timesteps, context, y, *args, **kwargs)

    patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "spy", look)
    return patched


def refused(call, *parts):
    try:
        call()
    except SettingsError as error:
        assert all(part in str(error) for part in parts), error
    else:
        raise AssertionError("accepted")
