"""CoSeR's files: which of their tensors belong to what, with every key accounted for.

Two files were published. The complete one is a checkpoint of Stable Diffusion 2.1 in the original layout, with four
additions: keys with `_lna` inside the UNet (All-in-Attention), `structcond_stage_model.` (the shared control branch),
`pre_sr_model.` and `global_adapter.` (the cognitive encoder). The other has the cognitive encoder alone. Both may hold
OpenCLIP, of which the projection of a picture is used. Stable Diffusion itself is not read: it was frozen in training.
"""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from ....files.published import below
from ....files.weights import WeightFileError, some
from ..format import ControlFormat, Part, Parts
from .all_in_attention import AllInAttention
from .branch import CoserBranch
from .cognition import PRE_SR, PROJECTION, Q_FORMER, CognitiveEncoder
from .system import CoserControl

UNET = "model.diffusion_model."
BRANCH = "structcond_stage_model."
ADDED = "_lna"
"""Part of the names of everything that All-in-Attention adds to the UNet."""

CONTROL, COGNITION = "control", "cognitive encoder"
_HINT = f"{BRANCH}hint_zero_conv.weight"
_PLACE = re.compile(r"(?P<place>middle_block\.1|output_blocks\.\d+\.1)\.(?P<rest>.+)")


def is_control(keys: Iterable[str]) -> bool:
    """Tell whether a file of these keys is CoSeR's complete checkpoint."""
    found = set(keys)
    return _HINT in found and any(key.startswith(UNET) and ADDED in key for key in found)


def is_cognition(keys: Iterable[str]) -> bool:
    """Tell whether a file of these keys holds the cognitive encoder, alone or with the rest."""
    found = set(keys)
    return f"{Q_FORMER}query_tokens" in found and f"{PRE_SR}conv_first.weight" in found


def attention_of(tensors: Mapping[str, Tensor]) -> dict[str, AllInAttention]:
    """Build All-in-Attention of every transformer that has some.

    Args:
        tensors: Of a complete checkpoint; keys without `_lna` below the UNet are left aside.

    Raises:
        WeightFileError: Something does not fit; the message lists what.
    """
    sorted_in: dict[str, dict[str, Tensor]] = {}
    astray = []
    for key, tensor in below(tensors, UNET).items():
        if ADDED not in key:
            continue
        match = _PLACE.fullmatch(key)
        if match is None:
            astray.append(key)
        else:
            sorted_in.setdefault(match["place"], {})[match["rest"]] = tensor
    if astray:
        raise WeightFileError(f"All-in-Attention stands where the published one has none: {some(astray)}")
    return {
        place: AllInAttention.from_published(own, what=f"All-in-Attention of {place}")
        for place, own in sorted_in.items()
    }


def _takes_control(key: str) -> bool:
    return key.startswith(BRANCH) or (key.startswith(UNET) and ADDED in key)


def _takes_cognition(key: str) -> bool:
    return key.startswith((PRE_SR, Q_FORMER)) or key == PROJECTION


def _build(parts: Parts, heads: tuple[int, ...] | None) -> CoserControl:
    return CoserControl(
        CoserBranch.from_published(below(parts[CONTROL], BRANCH), heads=heads),
        attention_of(parts[CONTROL]),
        cognition=CognitiveEncoder.from_published(parts[COGNITION]) if COGNITION in parts else None,
    ).eval()


COSER = ControlFormat(
    system="CoSeR",
    base="Stable Diffusion 2.1-base",
    source="https://github.com/TianheWu/CoSeR",
    licence="MIT by its repository, which says nothing about the weights; StableSR's decoder, which goes with it, is "
    "for non-commercial use",
    commercial=None,
    hint="the repaired or pre-restored frames, through the VAE; tokens of language and a reference picture",
    parts=(
        Part(
            name=CONTROL,
            files="the checkpoint that its page calls CoSeR",
            found=is_control,
            takes=_takes_control,
        ),
        Part(
            name=COGNITION,
            files="the checkpoint that its page calls Qformer, or CoSeR's own",
            found=is_cognition,
            takes=_takes_cognition,
            optional=True,
        ),
    ),
    build=_build,
)
