"""SHA-256 of films, whatever they are: a file, a folder of pictures, parts of films."""

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...errors import FilmFileError
from ...video.reading.container import source_name
from ...video.reading.edited import EditedFilm
from ...video.sequences.names import is_sequence, sequence_files
from ..passes import Source

_BLOCK = 1 << 20


def checksums(source: Source, beat: Callable[[], None]) -> list[dict[str, Any]]:
    """Return name and SHA-256 of each file that a film is made of.

    That of a folder of pictures is the one of the text that ``sha256sum`` prints for them, in the order in which they
    are shown: a line for each, sum, two spaces and name.

    Args:
        source: The film.
        beat: Called for every megabyte; may raise to interrupt.

    Raises:
        FilmFileError: A file cannot be read.
    """
    if isinstance(source, EditedFilm):
        parts = [part.source for part in source.parts] + ([] if source.sound is None else [source.sound])
        return [each for part in dict.fromkeys(parts) for each in checksums(part, beat)]
    if isinstance(source, io.BytesIO):
        return [{"name": source_name(source), "sha256": hashlib.sha256(source.getbuffer()).hexdigest()}]
    try:
        path = str(Path(source).absolute())
        if not is_sequence(source):
            return [{"name": path, "sha256": sha256(source, beat)}]
        files = sequence_files(Path(source))
        lines = "".join(f"{sha256(file, beat)}  {file.name}\n" for file in files)
        return [{"name": path, "sha256": hashlib.sha256(lines.encode()).hexdigest(), "pictures": len(files)}]
    except OSError as error:
        raise FilmFileError(f"{source} cannot be read for its checksum: {error.strerror or error}") from error


def sha256(path: str | os.PathLike[str], beat: Callable[[], None]) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            beat()
    return digest.hexdigest()
