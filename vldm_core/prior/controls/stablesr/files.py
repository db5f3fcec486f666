"""StableSR's files: complete checkpoints of Stable Diffusion 2.1, and what was taken out of them for web interfaces.

A complete checkpoint has the encoder below `structcond_stage_model.` and a block's modulation below `….0.spade.` in the
UNet. Extracts hold these alone, with or without the prefixes, some without `.0.spade` too. The rest of a complete
checkpoint is Stable Diffusion's own, which was frozen in training, and is not read.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from ....files.published import below
from ....files.weights import WeightFileError, some
from ..format import ControlFormat, Part, Parts, Shapes
from .config import StructureEncoderConfig
from .network import SpatialModulation, StructureEncoder
from .system import StableSrControl

UNET = "model.diffusion_model."
ENCODER = "structcond_stage_model."

CONTROL = "control"
_ADDED = ".spade."
_NAMES = r"(?P<rest>(?:param_free_norm|mlp_shared\.0|mlp_gamma|mlp_beta)\.(?:weight|bias))"
_PLACE = re.compile(
    r"(?:model\.diffusion_model\.)?(?P<place>(?:input|output)_blocks\.\d+|middle_block\.[02])(?:\.0)?(?:\.spade)?\."
    + _NAMES
)
_BARE = ("time_embed.", "input_blocks.", "middle_block.", "fea_tran.")
"""Beginnings of the encoder's keys where its prefix was taken away; nothing else begins so in an extract."""


def is_control(shapes: Shapes) -> bool:
    """Tell whether a file of these shapes is StableSR's."""
    encoder = any(key.removeprefix(ENCODER).startswith("fea_tran.") for key in shapes)
    return encoder and any(_PLACE.fullmatch(key) for key in shapes)


def takes(key: str) -> bool:
    """Tell whether a key belongs to what StableSR adds."""
    return key.startswith((ENCODER, *_BARE)) or _ADDED in key or _PLACE.fullmatch(key) is not None


def control_of(tensors: Mapping[str, Tensor], what: str = "StableSR's control") -> StableSrControl:
    """Build the control that a file holds.

    Args:
        tensors: What `takes` chose of it.
        what: Name of the file in messages.

    Raises:
        WeightFileError: The file does not fit; the message lists what is missing or left over.
    """
    places: dict[str, dict[str, Tensor]] = {}
    encoder: dict[str, Tensor] = {}
    astray = []
    for key, tensor in tensors.items():
        match = _PLACE.fullmatch(key)
        if match is not None:
            place = match["place"] if match["place"].startswith("middle") else f"{match['place']}.0"
            places.setdefault(place, {})[match["rest"]] = tensor
        elif _ADDED in key:
            astray.append(key)
        else:
            encoder[key] = tensor
    encoder = below(encoder, ENCODER) or encoder
    config = StructureEncoderConfig.of(encoder)
    # The encoder is as deep as the UNet that it was made for.
    wanted = _places_of(config)
    missing = [place for place in wanted if place not in places]
    unexpected = astray + [place for place in places if place not in wanted]
    complaints = [
        f"{label} {some(keys)}" for label, keys in (("missing:", missing), ("unexpected:", unexpected)) if keys
    ]
    if complaints:
        raise WeightFileError(
            f"the modulation of {what} does not fit: {'; '.join(complaints)}; take the published file"
        )
    layers = {place: SpatialModulation.from_published(places[place], what=f"{what} at {place}") for place in wanted}
    narrow = [place for place, own in layers.items() if own.config.label_channels != config.out_channels]
    if narrow:
        raise WeightFileError(
            f"the encoder of {what} gives {config.out_channels} channels and {some(narrow)} reads another number; take "
            "the published file"
        )
    return StableSrControl(StructureEncoder.from_published(encoder), layers).eval()


def _places_of(config: StructureEncoderConfig) -> list[str]:
    """Return the original's names of the residual blocks of a UNet with the levels and blocks of the encoder."""
    levels, blocks = len(config.widths), config.blocks
    down = [level * (blocks + 1) + block + 1 for level in range(levels) for block in range(blocks)]
    return [
        *(f"input_blocks.{number}.0" for number in down),
        "middle_block.0",
        "middle_block.2",
        *(f"output_blocks.{number}.0" for number in range(levels * (blocks + 1))),
    ]


def _build(parts: Parts, _heads: tuple[int, ...] | None) -> StableSrControl:
    return control_of(parts[CONTROL])


STABLESR = ControlFormat(
    system="StableSR",
    base="Stable Diffusion 2.1-base (512 px, predicts ε); for 768v Stable Diffusion 2.1 (768 px, predicts v), for "
    "turbo SD-Turbo",
    source="https://huggingface.co/Iceclear/StableSR",
    licence="S-Lab License 1.0, for non-commercial use only",
    commercial=False,
    hint="the repaired or pre-restored frames, through the VAE",
    parts=(
        Part(
            name=CONTROL,
            files="stablesr_000117.ckpt, stablesr_768v_000139.ckpt, stablesr_turbo.ckpt, face_stablesr_000050.ckpt or "
            "webui_768v_139.ckpt",
            found=is_control,
            takes=takes,
        ),
    ),
    build=_build,
)
