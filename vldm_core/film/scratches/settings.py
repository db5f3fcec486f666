"""Settings of the search for persistent line scratches."""

from dataclasses import dataclass
from typing import Literal

from ...errors import SettingsError
from .columns import ColumnRange

WINDOW = 48
"""Frames that are judged together."""

HOP = 24
"""Frames from one window to the next."""

WIDEST_FORCED = 24
"""Columns of the frame that may be forced together: what is wider leaves the repair no sides to tell what lies under
it."""


@dataclass(frozen=True, kw_only=True)
class ScratchSettings:
    """How to find persistent line scratches.

    Attributes:
        sensitivity: Evidence a line must gather over a window, standard deviations. Lower finds fainter lines and
            raises more false alarms; 10 … 200. The learned detector looks at lines with half of it.
        min_depth: Least deviation of a line from its surroundings, grey levels (0 … 255).
        max_tilt: Steepest tilt from the vertical, degrees, 0 … 10.
        min_frames: Shortest life of a line. Shorter ones are dirt.
        locked_shots: What the weight-free detector does where the scene does not move against the film, so that a
            scratch cannot be told from a scene vertical; the learned one takes no notice. "off" leaves everything to
            the scene; "cautious" accepts lines that run through the full height with constant strength; "on" accepts
            every line.
        grow: Pixels added to the visible width of a line on each side.
        detector: "weight-free" tells scratch from scene by motion alone; "learned" lets a small network judge what a
            line looks like besides (`network.py`), also where nothing moves.
        certainty: Certainty that the learned detector asks of a scratch, 0 … 1. Lower finds more and marks more of the
            scene.
        polarity: "dark" or "bright" restricts the search to one kind of lines.
        forced: Columns that are a scratch because the user says so: they are marked from top to bottom, and a line that
            is found in them is taken to run through. At most 24 wide each.
        excluded: Columns in which nothing is marked, also where they are forced.
    """

    sensitivity: float = 45.0
    min_depth: float = 1.5
    max_tilt: float = 5.0
    min_frames: int = 8
    locked_shots: Literal["off", "cautious", "on"] = "off"
    grow: float = 0.0
    detector: Literal["weight-free", "learned"] = "learned"
    certainty: float = 0.5
    polarity: Literal["both", "dark", "bright"] = "both"
    forced: tuple[ColumnRange, ...] = ()
    excluded: tuple[ColumnRange, ...] = ()

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, low, high in (
            ("sensitivity", 10.0, 200.0),
            ("min_depth", 0.0, 255.0),
            ("max_tilt", 0.0, 10.0),
            ("min_frames", 2, WINDOW),
            ("grow", 0.0, 20.0),
            ("certainty", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(f"scratch setting {name} must be {low} to {high}, got {value}; choose one between")
        if self.locked_shots not in ("off", "cautious", "on"):
            raise SettingsError(f"locked_shots must be off, cautious or on, got {self.locked_shots!r}")
        if self.detector not in ("weight-free", "learned"):
            raise SettingsError(
                f"scratch setting detector must be 'weight-free' or 'learned', got {self.detector!r}; "
                "choose one of them"
            )
        if self.polarity not in ("both", "dark", "bright"):
            raise SettingsError(f"scratch polarity is {self.polarity!r}; use 'both', 'dark' or 'bright'")
        for name in ("forced", "excluded"):
            columns = getattr(self, name)
            if not isinstance(columns, tuple) or not all(isinstance(one, ColumnRange) for one in columns):
                raise SettingsError(
                    f"scratch columns {name} are {columns!r}; give a tuple of ColumnRange, or read one with "
                    "parse_columns"
                )
        for one in self.forced:
            if one.last - one.first + 1 > WIDEST_FORCED:
                raise SettingsError(
                    f"forced scratch columns {one} are {one.last - one.first + 1} wide; force at most {WIDEST_FORCED} "
                    "together, and name every scratch by itself"
                )
