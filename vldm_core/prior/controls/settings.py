"""How strongly a control acts: over steps, over frames, inside damage."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import SettingsError

STRONGEST = 10.0
"""Largest factor that is accepted; published systems are used between 0 and 2."""

MOST_REUSE = 16
"""Most steps that one look at the hint may serve."""


@dataclass(frozen=True, kw_only=True)
class ControlSettings:
    """How a restoration control acts.

    Attributes:
        strength: Factor as the system publishes it, on what its side network adds; for systems that publish none, on
            all that the control changes. 0 is off and bit-equal to no control, 1 as trained.
        start: Share of the schedule at which it begins, 0 … 1.
        end: Share of the schedule at which it ends, 0 … 1.
        over_steps: (share of the schedule, factor) points; the factor on all that the control changes is interpolated
            between them and constant outside. Empty is 1.
        over_frames: (film frame, factor) points, likewise.
        in_damage: Factor inside the damage mask, 0 … 1: there the hint is a guess of the repair, and the prior should
            be freer. Acts only with a mask.
        reuse: Steps that one look at the hint serves. 1 looks in every step, as trained; 2 halves what the control
            costs, and lags a step behind. Over 20 steps with random weights, the result of 2 differed from that of 1 by
            4 to 20 % of what the control changes, by the system (root mean square; DiffBIR 9 %, with 3 14 %, with 4
            19 %); published weights may differ. What was seen of all frames is kept in memory, and windows or tiles
            that move look anew.
        pixel_window: Side of the square around each place that pixel attention looks at, in positions of the feature
            map (at the latent's own size 8 pixels each). 0 looks at the whole picture, whose cost grows with the square
            of its area; maps up to the square are looked at as a whole in any case. Acts on PASD alone.
    """

    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
    over_steps: tuple[tuple[float, float], ...] = ()
    over_frames: tuple[tuple[float, float], ...] = ()
    in_damage: float = 0.5
    reuse: int = 1
    pixel_window: int = 96

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= STRONGEST:
            raise SettingsError(f"control strength is {self.strength}; use 0 … {STRONGEST:g}")
        if not 0 <= self.start <= self.end <= 1:
            raise SettingsError(
                f"control from {self.start} to {self.end}: use shares 0 … 1, the end not before the start"
            )
        if not 0 <= self.in_damage <= 1:
            raise SettingsError(f"control in_damage is {self.in_damage}; use 0 … 1")
        if not 1 <= self.reuse <= MOST_REUSE:
            raise SettingsError(f"control reuse is {self.reuse}; use 1 … {MOST_REUSE}")
        if self.pixel_window < 0:
            raise SettingsError(f"control pixel_window is {self.pixel_window}; use 0 for all, or 1 or more positions")
        for name, points in (("over_steps", self.over_steps), ("over_frames", self.over_frames)):
            places = [place for place, _ in points]
            if any(not math.isfinite(number) for point in points for number in point) or places != sorted(set(places)):
                raise SettingsError(f"control {name} is {points}; use finite numbers, places rising")
            if any(not 0 <= factor <= STRONGEST for _, factor in points):
                raise SettingsError(f"control {name} is {points}; use factors 0 … {STRONGEST:g}")

    def at_step(self, progress: float | None) -> float:
        """Return the factor at a share of the schedule; 0 outside start … end. None is a caller without a schedule."""
        if progress is None:
            return 1.0
        if not self.start <= progress <= self.end:
            return 0.0
        return between(self.over_steps, progress)

    def at_frame(self, frame: int) -> float:
        """Return the factor at a film frame."""
        return between(self.over_frames, frame)


def between(points: Sequence[tuple[float, float]], place: float) -> float:
    """Interpolate linearly between (place, factor) points, constant outside; 1 without points."""
    if not points:
        return 1.0
    index = bisect_right([at for at, _ in points], place)
    if index in (0, len(points)):
        return points[min(index, len(points) - 1)][1]
    (first, low), (last, high) = points[index - 1], points[index]
    return low + (high - low) * (place - first) / (last - first)


def points_of(text: str) -> tuple[tuple[float, float], ...]:
    """Read points from text such as "0:1, 24:0.5"; empty text has none.

    Raises:
        SettingsError: The text is something else.
    """
    found = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        place, colon, factor = part.partition(":")
        try:
            if not colon:
                raise ValueError
            found.append((float(place), float(factor)))
        except ValueError as error:
            raise SettingsError(f"{part!r} is not a point; write place:factor, such as 0:1, 24:0.5") from error
    return tuple(found)
