"""CoSeR's checkpoints: which of their tensors belong to what, with every key accounted for.

Two files were published. The complete one is a checkpoint of Stable Diffusion 2.1 in the original layout, with four
additions: keys with `_lna` inside the UNet (All-in-Attention), `structcond_stage_model.` (the shared control branch),
`pre_sr_model.` and `global_adapter.` (the cognitive encoder). The other has the cognitive encoder alone. Both may hold
OpenCLIP, of which the projection of a picture is used.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ....files.weights import WeightFileError, read_contents, some, tensors_of
from ..layout import below
from .all_in_attention import AllInAttention
from .cognition import PRE_SR, Q_FORMER, CognitiveEncoder

UNET = "model.diffusion_model."
BRANCH = "structcond_stage_model."
ADDED = "_lna"
"""Part of the names of everything that All-in-Attention adds to the UNet."""

_HINT = f"{BRANCH}hint_zero_conv.weight"
_PLACE = re.compile(r"(?P<place>middle_block\.1|output_blocks\.\d+\.1)\.(?P<rest>.+)")
_BASE = (UNET, "first_stage_model.", "cond_stage_model.", "model_ema.")
"""Beginnings of what a complete checkpoint has of Stable Diffusion itself, and of its running average."""

_SCHEDULE = frozenset(
    (
        "betas",
        "alphas_cumprod",
        "alphas_cumprod_prev",
        "sqrt_alphas_cumprod",
        "sqrt_one_minus_alphas_cumprod",
        "log_one_minus_alphas_cumprod",
        "sqrt_recip_alphas_cumprod",
        "sqrt_recipm1_alphas_cumprod",
        "posterior_variance",
        "posterior_log_variance_clipped",
        "posterior_mean_coef1",
        "posterior_mean_coef2",
        "lvlb_weights",
        "logvar",
        "scale_factor",
    )
)
"""Tables of the noise schedule that training leaves in a checkpoint."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CoserParts:
    """What a complete checkpoint adds to Stable Diffusion 2.1.

    Attributes:
        attention: All-in-Attention by the original's name of the transformer: "middle_block.1", "output_blocks.3.1" …
        branch: Weights of the control branch, without the prefix.
        cognition: The cognitive encoder; None where the file has none.
    """

    attention: dict[str, AllInAttention]
    branch: dict[str, Tensor]
    cognition: CognitiveEncoder | None


def is_coser(keys: Iterable[str]) -> bool:
    """Tell whether a file of these keys is CoSeR's complete checkpoint."""
    found = set(keys)
    return _HINT in found and any(key.startswith(UNET) and ADDED in key for key in found)


def is_cognition(keys: Iterable[str]) -> bool:
    """Tell whether a file of these keys holds the cognitive encoder, alone or with the rest."""
    found = set(keys)
    return f"{Q_FORMER}query_tokens" in found and f"{PRE_SR}conv_first.weight" in found


def read_coser(path: Path) -> CoserParts:
    """Read a complete checkpoint.

    Args:
        path: .safetensors, .ckpt, .pt or .pth.

    Raises:
        WeightFileError: The file is unreadable or something does not fit; the message lists what.
    """
    try:
        return coser_parts(_tensors(path))
    except WeightFileError as error:
        raise _said_of(path, error) from error


def read_cognition(path: Path) -> CognitiveEncoder:
    """Read the cognitive encoder of either file.

    Raises:
        WeightFileError: The file is unreadable or something does not fit; the message lists what.
    """
    try:
        return cognition_of(_tensors(path))
    except WeightFileError as error:
        raise _said_of(path, error) from error


def coser_parts(tensors: Mapping[str, Tensor]) -> CoserParts:
    """Sort the tensors of a complete checkpoint.

    Raises:
        WeightFileError: It is something else, or something does not fit; the message lists what.
    """
    if not is_coser(tensors):
        raise WeightFileError(
            f"this is not CoSeR's complete checkpoint: it needs {_HINT} and keys with {ADDED} below {UNET}; "
            "take the file that its authors call CoSeR, not the one they call Qformer"
        )
    _check_rest(tensors)
    return CoserParts(
        attention=_attention(below(tensors, UNET)),
        branch=below(tensors, BRANCH),
        cognition=cognition_of(tensors) if is_cognition(tensors) else None,
    )


def cognition_of(tensors: Mapping[str, Tensor]) -> CognitiveEncoder:
    """Build the cognitive encoder out of either file's tensors.

    Raises:
        WeightFileError: There is none, or something does not fit; the message lists what.
    """
    if not is_cognition(tensors):
        raise WeightFileError(f"this file has no cognitive encoder of CoSeR: {PRE_SR} and {Q_FORMER} are missing")
    _check_rest(tensors)
    return CognitiveEncoder.from_published(tensors)


def _tensors(path: Path) -> dict[str, Tensor]:
    # Most of a complete checkpoint is Stable Diffusion's own and never looked at.
    return tensors_of(read_contents(path, mapped=True))


def _said_of(path: Path, error: WeightFileError) -> WeightFileError:
    return error if str(path) in str(error) else WeightFileError(f"{path}: {error}")


def _attention(unet: Mapping[str, Tensor]) -> dict[str, AllInAttention]:
    """Build the added layers of every transformer that has some."""
    sorted_in: dict[str, dict[str, Tensor]] = {}
    astray = []
    for key, tensor in unet.items():
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


def _check_rest(tensors: Mapping[str, Tensor]) -> None:
    """Check that every key belongs to a part that is known."""
    known = (*_BASE, BRANCH, PRE_SR, Q_FORMER)
    unknown = [key for key in tensors if key not in _SCHEDULE and not key.startswith(known)]
    if unknown:
        raise WeightFileError(f"keys that CoSeR's checkpoints do not have: {some(unknown)}; take the published file")
