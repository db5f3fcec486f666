"""The record of a run for TensorBoard: figures over the steps, and pictures."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ..machine.companions import importing

with importing("tensorboard", "'vldm[train]'"):
    from torch.utils.tensorboard import SummaryWriter


class Record:
    """Writes to a folder `record` in the folder of a run.

    Args:
        folder: Of the run; None keeps no record.
    """

    def __init__(self, folder: Path | None) -> None:
        self._writer = SummaryWriter(str(folder / "record")) if folder is not None else None

    def figures(self, figures: Mapping[str, float], step: int) -> None:
        """Record figures by name."""
        if self._writer is not None:
            for name, value in figures.items():
                self._writer.add_scalar(name, value, step)

    def pictures(self, pictures: Mapping[str, Tensor], step: int) -> None:
        """Record pictures by name, each (3, H, W) in [0, 1]."""
        if self._writer is not None:
            for name, picture in pictures.items():
                self._writer.add_image(name, picture.detach().cpu().clamp(0, 1), step)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
