"""DiffBIR's files."""

from ....files.published import below
from ..control import LATENT_CHANNELS
from ..format import ControlFormat, Part, Parts, Shapes
from .branch import FULL, DiffBirControl

_FIRST, _LAST = "input_blocks.0.0.weight", "middle_block_out.0.weight"
BRANCH = "control branch"


def _is_branch(shapes: Shapes) -> bool:
    for prefix in ("", FULL):
        first = shapes.get(f"{prefix}{_FIRST}", ())
        if len(first) == 4 and first[1] == 2 * LATENT_CHANNELS and f"{prefix}{_LAST}" in shapes:
            return True
    return False


def _takes(key: str) -> bool:
    # A complete checkpoint of version 1 has prefixes for all its parts, a control file has none.
    foreign = ("model.", "first_stage_model.", "cond_stage_model.", "preprocess_model.", "cond_encoder.")
    tables = ("betas", "alphas", "sqrt_", "log_one", "posterior_", "logvar", "lvlb", "scale_factor")
    return not key.startswith((*foreign, *tables))


def _build(parts: Parts, heads: tuple[int, ...] | None) -> DiffBirControl:
    tensors = parts[BRANCH]
    return DiffBirControl.from_published(below(tensors, FULL) or tensors, heads=heads)


DIFFBIR = ControlFormat(
    system="DiffBIR",
    base="Stable Diffusion 2.1 (version 2.1 of DiffBIR: its zero-terminal-SNR fine-tuning, which predicts v)",
    source="https://huggingface.co/lxq007/DiffBIR-v2",
    licence="Apache-2.0",
    commercial=True,
    hint="the repaired or pre-restored frames, through the VAE",
    parts=(
        Part(
            name=BRANCH,
            files="v1_general.pth, v1_face.pth, v2.pth, DiffBIR_v2.1.pt or general_full_v1.ckpt",
            found=_is_branch,
            takes=_takes,
        ),
    ),
    build=_build,
)
