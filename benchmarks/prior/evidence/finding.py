"""What a trial found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from vldm_core.metrics.before_after import labelled_row

from ...common.table import NONE, ReportTable
from ..scores import MEASURES, Mean

Figures = Mapping[str, Mapping[str, Mean]]
"""Name of a method → name of a measure → figure."""

_SHOWN = 5
"""Frames of a clip that a picture shows, one after the other."""

_ENLARGED = 2
"""How many pixels of a picture are one of a frame: frames of the small world are small."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Something that a part is to do, and whether it does.

    Attributes:
        aim: What was to be shown.
        found: The figures that say so or not.
        holds: Whether it does.
    """

    aim: str
    found: str
    holds: bool


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of a trial.

    Attributes:
        part: What was tried.
        how: On what and how, a sentence or two.
        figures: All that was measured.
        claims: What was aimed at.
        headings: Measures and their headings; None are those of pictures.
        rows: What methods made of one clip, (T, 3, H, W) each, to be looked at; empty where nothing is to be seen.
    """

    part: str
    how: str
    figures: Figures
    claims: tuple[Claim, ...]
    headings: Mapping[str, str] | None = None
    rows: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        """Name of the part's picture."""
        return f"{self.part.lower().replace(' ', '_')}.png"

    def write_picture(self, folder: Path) -> None:
        """Write five frames of the clip side by side, a row for each method; nothing where there is nothing to see."""
        if not self.rows:
            return
        strips = []
        for name, frames in self.rows.items():
            first = max(0, (len(frames) - _SHOWN) // 2)
            shown = [_enlarged(frame) for frame in frames[first : first + _SHOWN]]
            strips.append(labelled_row(shown, [name, *[""] * (len(shown) - 1)]))
        levels = torch.cat(strips, dim=1).mul(255).round().byte().permute(1, 2, 0).numpy()
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels).save(folder / self.file_name)

    def table(self) -> ReportTable:
        """Return the figures, a row for each method."""
        named = MEASURES if self.headings is None else self.headings
        shown = [name for name in named if any(name in row for row in self.figures.values())]
        return ReportTable(
            section=self.part,
            title="",
            headings=("", *(named[name] for name in shown)),
            rows=tuple(
                (method, *(str(row[name]) if name in row else NONE for name in shown))
                for method, row in self.figures.items()
            ),
        )


def _enlarged(frame: Tensor) -> Tensor:
    return frame.clamp(0, 1).repeat_interleave(_ENLARGED, dim=-1).repeat_interleave(_ENLARGED, dim=-2)
