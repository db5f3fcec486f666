"""Which captioners there are, and which of them a folder holds."""

from pathlib import Path

from ..recognition.local_models import ModelFolderError, check_folder, read_architectures
from . import blip, florence2
from .captioner import Captioner, CaptionerKind

KINDS: tuple[CaptionerKind, ...] = (blip.KIND, florence2.KIND)


def captioner_kind(folder: Path) -> CaptionerKind:
    """Return which captioner a folder holds, by its config.json alone.

    Raises:
        ModelFolderError: The folder is missing, or holds none.
    """
    known = ", ".join(f"{kind.source.name} (https://huggingface.co/{kind.source.repository})" for kind in KINDS)
    try:
        names = read_architectures(folder)
    except ModelFolderError as error:
        raise ModelFolderError(f"{error}. Captioners are {known}") from error
    for kind in KINDS:
        if set(kind.source.architectures) & set(names):
            return kind
    raise ModelFolderError(
        f"{folder} holds {' and '.join(names) or 'no known class'}, which is not a captioner; put one of these there: "
        f"{known}"
    )


def open_captioner(folder: Path, device: str = "cpu") -> Captioner:
    """Open the captioner of a folder.

    Nothing is downloaded, and no code of the folder is run.

    Args:
        folder: In the layout of transformers: config, tokenizer, weights as .safetensors.
        device: Where it runs.

    Raises:
        ModelFolderError: The folder holds no captioner, is incomplete, damaged or not safe to use; names model, source
            and folder.
        VLDMError: transformers cannot be imported or is too old for the model.
    """
    kind = captioner_kind(folder)
    check_folder(folder, kind.source)
    return kind.open(folder, device)
