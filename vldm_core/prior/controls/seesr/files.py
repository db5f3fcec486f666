"""SeeSR's files."""

from ..format import ControlFormat, Part, Parts, Shapes
from .representation import ADDED
from .system import SeeSrControl

CONTROL, UNET = "ControlNet", "UNet"


def _is_control(shapes: Shapes) -> bool:
    return "controlnet_mid_block.weight" in shapes and any(ADDED in key for key in shapes)


def _is_unet(shapes: Shapes) -> bool:
    return any(key.startswith("up_blocks.") and ADDED in key for key in shapes)


def _build(parts: Parts, heads: tuple[int, ...] | None) -> SeeSrControl:
    return SeeSrControl.from_published(parts[CONTROL], parts[UNET], heads=heads)


SEESR = ControlFormat(
    system="SeeSR",
    base="Stable Diffusion 2-base (512 px, predicts ε)",
    source="https://github.com/cswry/SeeSR",
    licence="Apache-2.0",
    commercial=True,
    hint="the repaired or pre-restored frames; better with the embedding of SeeSR's tagger and its tags in the prompt",
    parts=(
        Part(
            name=CONTROL,
            files="seesr/controlnet/diffusion_pytorch_model.safetensors",
            found=_is_control,
            takes=lambda _key: True,
        ),
        Part(
            name=UNET,
            files="seesr/unet/diffusion_pytorch_model.safetensors",
            found=_is_unet,
            # The file holds the whole UNet; the rest of it is Stable Diffusion 2-base, unchanged.
            takes=lambda key: ADDED in key,
        ),
    ),
    build=_build,
)
