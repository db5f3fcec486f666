"""Single checkpoint files in the original layout, and the configuration that diffusers wants beside them."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from ...files.weights import WeightHeader, read_contents, read_header, read_tensor, tensors_of
from ...sampling.schedule import Prediction
from .families import check_kind, family_of, prediction_of
from .family_files import write_configuration


@contextmanager
def checkpoint_configuration(
    path: Path, *, config: str | os.PathLike[str] | None = None, prediction: Prediction | None = None
) -> Iterator[Path]:
    """Give a folder in diffusers' layout with a checkpoint's configuration and tokenizer; it is gone afterwards.

    Args:
        path: The checkpoint.
        config: A folder that is to be used instead of the shipped configuration.
        prediction: What the network predicts; None takes it from the file.

    Raises:
        WeightFileError: The file is no checkpoint of Stable Diffusion 1.x or 2.x.
    """
    header, tensor = _look_into(path)
    if config is not None:
        check_kind(header, path)
        yield Path(config)
        return
    family = family_of(header, path)
    with tempfile.TemporaryDirectory(prefix="vldm-prior-") as folder:
        write_configuration(family, prediction_of(family, header, tensor, prediction), Path(folder))
        yield Path(folder)


def _look_into(path: Path) -> tuple[WeightHeader, Callable[[str], Tensor]]:
    """Return names, shapes and metadata of a checkpoint, and what reads one of its tensors."""
    if path.suffix.lower() == ".safetensors":
        return read_header(path), lambda key: read_tensor(path, key)
    # A pickle has no header; its tensors stay on the disk until they are looked at.
    tensors = tensors_of(read_contents(path, mapped=True))
    return WeightHeader(shapes={key: tuple(value.shape) for key, value in tensors.items()}), lambda key: tensors[key]
