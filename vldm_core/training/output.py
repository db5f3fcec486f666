"""What a training run writes, looked at before the work: nothing that is there is replaced unasked."""

from collections.abc import Iterable
from pathlib import Path

from ..errors import FilmFileError, SettingsError

_SOURCES = "sources.txt"


def check_output(out: Path, checkpoint: Path, *, resume: bool, overwrite: bool) -> None:
    """Check that a run may write its files.

    Args:
        out: File with the weights that the run ends with.
        checkpoint: File with the state that the run can be resumed from.
        resume: Go on from the checkpoint, if there is one.
        overwrite: Begin anew where there is none to go on from, and replace what is there.

    Raises:
        SettingsError: Something would be replaced that was not asked for, or the file cannot be written.
    """
    if out.suffix.lower() != ".safetensors":
        raise SettingsError(f"{out} does not end in .safetensors; give such a name for the weights")
    if out.is_dir():
        raise SettingsError(f"{out} is a folder; give the name of a file in it")
    if overwrite or (resume and checkpoint.is_file()):
        return
    if resume and out.is_file():
        raise SettingsError(
            f"{out} is there, but no checkpoint {checkpoint} to resume from; name another file, or give --overwrite to "
            "begin anew and replace it"
        )
    there = [path for path in (out, checkpoint) if path.is_file()]
    if there and not resume:
        more = "--resume to go on from the checkpoint, or " if checkpoint.is_file() else ""
        raise SettingsError(
            f"{' and '.join(map(str, there))} would be replaced; name another file, or give {more}--overwrite to begin "
            "anew"
        )


def claim_sources(folder: Path, files: Iterable[Path]) -> None:
    """Write down which files the examples of a folder are made of, or check that they are the same.

    Files that are trained on now may have been kept for validation when other examples were made, or were of another
    film altogether.

    Args:
        folder: With the examples; it is there.
        files: What examples are made of now.

    Raises:
        FilmFileError: The examples there are of other files.
    """
    note, text = folder / _SOURCES, "\n".join(sorted(path.name for path in files))
    if note.is_file() and note.read_text(encoding="utf-8") != text:
        raise FilmFileError(f"{folder} holds what was made of other files than now; use another folder, or delete it")
    note.write_text(text, encoding="utf-8")
