"""What the benchmarks' clips have in common: their file, the motion in them, 8 bits, and real films beside them."""

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from vldm_core.video.flow import FlowSettings, estimate_flow
from vldm_core.video.reading.reader import open_film
from vldm_core.video.warping import consistency


class StoredClip:
    """Base of a frozen dataclass of a clip that is kept in a file until a method runs on it.

    Attributes:
        FILMS: Names of the fields with frames (T, 3, H, W) in [0, 1], of 8 bits, which the file keeps exactly.
        MASKS: Names of the fields with masks (T, H, W) float that are 0 or 1.
        FLOWS: Names of the fields with flow, which the file keeps in half precision.
    """

    FILMS: ClassVar[tuple[str, ...]]
    MASKS: ClassVar[tuple[str, ...]] = ()
    FLOWS: ClassVar[tuple[str, ...]] = ("flow",)

    def save(self, path: Path) -> None:
        """Write the clip to a file."""
        values: dict[str, Any] = {}
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            same = next((name for name in self.FILMS if name in values and getattr(self, name) is value), None)
            if same is not None:
                # The name of the film that it is, too.
                values[field.name] = same
            elif field.name in self.FILMS:
                values[field.name] = (value * 255).round().to(torch.uint8).numpy()
            elif field.name in self.MASKS:
                values[field.name] = (value > 0).numpy()
            elif field.name in self.FLOWS:
                values[field.name] = value.half().numpy()
            else:
                values[field.name] = value.numpy() if isinstance(value, Tensor) else value
        np.savez(path, **values)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a clip that `save` wrote."""
        values: dict[str, Any] = {}
        with np.load(path) as stored:
            for name in stored.files:
                value = stored[name]
                if value.ndim == 0:
                    known = name in cls.FILMS
                    values[name] = values[value.item()] if known else value.item()
                else:
                    values[name] = cls._tensor(name, value)
        return cls(**values)

    @classmethod
    def load_only(cls, path: Path, *names: str) -> tuple[Tensor, ...]:
        """Read some of the tensors of a clip that `save` wrote: less memory than the whole."""
        with np.load(path) as stored:
            return tuple(cls._tensor(name, stored[name]) for name in names)

    @classmethod
    def _tensor(cls, name: str, value: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(value)
        if name in cls.FILMS:
            return tensor.float() / 255
        return tensor.float() if name in (*cls.MASKS, *cls.FLOWS) else tensor


def eight_bit(frames: Tensor) -> Tensor:
    """Round frames in [0, 1] to what 8 bits hold."""
    return (frames * 255).round().clamp(0, 255) / 255


def motion_of(
    frames: Tensor, *, masks: Tensor | None = None, settings: FlowSettings | None = None
) -> tuple[Tensor, Tensor]:
    """Measure the motion that temporal figures are taken along.

    Args:
        frames: (T, 3, H, W) in [0, 1].
        masks: (T, H, W), 1 = damaged; None where nothing is.
        settings: How; None is as for repair.

    Returns:
        (T-1, 2, H, W) backward flow in pixels, and (T-1, H, W) bool: where it is consistent with its opposite.
    """
    flow = estimate_flow(frames, masks=masks, settings=settings)
    opposite = estimate_flow(frames, masks=masks, settings=settings, direction="forward")
    return flow, consistency(flow, opposite)


def read_film(path: Path) -> Tensor:
    """Read a whole short film as (T, 3, H, W) in [0, 1].

    Raises:
        FilmFileError: It cannot be read.
    """
    with open_film(path) as film:
        return torch.stack([frame.tensor() for frame in film])


def find_real_films(data: Path, names: Iterable[str]) -> tuple[Path, ...]:
    """List those of the wanted real films that a data folder holds."""
    paths = [data / "film" / f"{name}.mkv" for name in names]
    return tuple(path for path in paths if path.is_file())
