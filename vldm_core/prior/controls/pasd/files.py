"""PASD's files: two folders as diffusers saves networks. The ControlNet is of one layout for PASD and PASD light."""

from dataclasses import replace

from ..format import ControlFormat, Part, Parts, Shapes
from .pixel_attention import LIGHT, WHOLE
from .system import PasdControl, PasdLightControl

CONTROL, UNET = "ControlNet", "UNet"
_HEAD = "controlnet_cond_embedding.to_rgbs.0.weight"
_FILE = "diffusion_pytorch_model.safetensors or .bin"


def _is_control(shapes: Shapes) -> bool:
    return _HEAD in shapes and "controlnet_mid_block.weight" in shapes


def _is_whole(key: str) -> bool:
    return WHOLE in key


def _is_light(key: str) -> bool:
    return any(name in key for name in LIGHT)


def _build(parts: Parts, heads: tuple[int, ...] | None) -> PasdControl:
    return PasdControl.from_published(parts[CONTROL], parts[UNET], heads=heads)


def _build_light(parts: Parts, heads: tuple[int, ...] | None) -> PasdLightControl:
    return PasdLightControl.from_published(parts[CONTROL], parts[UNET], heads=heads)


_CONTROL = Part(
    name=CONTROL,
    files=f"pasd/checkpoint-100000/controlnet/{_FILE}",
    found=_is_control,
    takes=lambda _key: True,
)
_BASE = "Stable Diffusion 1.5, or any checkpoint of its family"
_SOURCE = "https://huggingface.co/yangtao9009/PASD"
_LICENCE = "not stated for the weights (the code is Apache-2.0)"
_HINT = "the repaired or pre-restored frames"

PASD = ControlFormat(
    system="PASD",
    base=_BASE,
    source=_SOURCE,
    licence=_LICENCE,
    commercial=None,
    hint=_HINT,
    parts=(
        _CONTROL,
        Part(
            name=UNET,
            files=f"pasd/checkpoint-100000/unet/{_FILE}",
            found=lambda shapes: any(_is_whole(key) for key in shapes),
            # The file holds the whole UNet; the rest of it is Stable Diffusion 1.5, unchanged.
            takes=_is_whole,
        ),
    ),
    build=_build,
)

PASD_LIGHT = ControlFormat(
    system="PASD light",
    base=_BASE,
    source=_SOURCE,
    licence=_LICENCE,
    commercial=None,
    hint=_HINT,
    parts=(
        replace(_CONTROL, files=f"pasd_light/checkpoint-100000/controlnet/{_FILE}"),
        Part(
            name=UNET,
            files=f"pasd_light/checkpoint-100000/unet/{_FILE}",
            found=lambda shapes: any(_is_light(key) for key in shapes),
            takes=_is_light,
        ),
    ),
    build=_build_light,
)
