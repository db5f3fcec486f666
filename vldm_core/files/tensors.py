"""Writing tensors as safetensors."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from .temporary import umask, written_whole


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a file of tensors, whole or not at all, with the permissions that any new file would have.

    Args:
        tensors: By key.
        path: The file to be made or replaced.
        metadata: Text beside them.

    Raises:
        FilmFileError: The folder is missing or not writable.
        OSError: Writing fails.
    """
    with written_whole(path) as part:
        fill_file(tensors, part, metadata)


def fill_file(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors into a file that `written_whole` gave; see :func:`write_tensors`.

    The same tensors and text give the same bytes.
    """
    save_file(
        {key: tensor.detach().contiguous() for key, tensor in tensors.items()},
        path,
        {"format": "pt", **(metadata or {})},
    )
    _sort_metadata(path)
    # The library makes files that only their owner may read.
    path.chmod(0o666 & ~umask())


def _sort_metadata(path: Path) -> None:
    """Bring the text of a file into the order of its keys: the library writes it in another one every time."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
        if len(text) > size:  # Spelt in another way than the library's own; a file in any order is as good.
            return
        file.seek(8)
        file.write(text.ljust(size))
