"""Writing tensors as safetensors."""

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
    """Write tensors into a file that `written_whole` gave; see :func:`write_tensors`."""
    save_file(
        {key: tensor.detach().contiguous() for key, tensor in tensors.items()},
        path,
        {"format": "pt", **(metadata or {})},
    )
    # The library makes files that only their owner may read.
    path.chmod(0o666 & ~umask())
