"""Cadence: which frame of the clean film every frame of the damaged one shows.

The damaged film has as many frames as the clean one. Frames lost at splices and gaps bring what follows forward, and
the last frame stands still for as many frames; repeated frames hold the picture and skip what ran by meanwhile, as
happens when film shot at 16 frames a second is shown at 24.
"""

import bisect
from dataclasses import dataclass
from typing import NamedTuple

from scipy.special import ndtri

from ..defects.splices import SpliceLayer
from ..randomness import Population, WhiteNoise
from ..validation import require_span, require_within

LONGEST_HOLD = 8
"""Most frames for which one frame is shown."""

MOST_LOST = 48
"""Most frames that may be lost over a whole reel; this bounds how far ahead of a frame the clean film is needed."""


@dataclass(frozen=True, kw_only=True)
class CadenceModel:
    """Which frames are repeated and which are missing.

    Attributes:
        duplicates: Share of frames that repeat the one before, 0 … 0.85.
        regular: Whether repeats come in an even rhythm, as from a change of the frame rate, or by chance.
        missing: Mean number of gaps per frame, 0 … 0.5; unlike at a splice, nothing else is seen of them.
        gap: Fewest and most frames lost in a gap, 1 … 48.
    """

    duplicates: float = 0.2
    regular: bool = True
    missing: float = 0.0
    gap: tuple[int, int] = (1, 8)

    def __post_init__(self) -> None:
        require_within("cadence.duplicates", self.duplicates, 0, 0.85)
        require_within("cadence.missing", self.missing, 0, 0.5)
        require_span("cadence.gap", self.gap, 1, MOST_LOST)


class _Gap(NamedTuple):
    """``lost`` frames are missing before frame ``first``."""

    first: int
    last: int
    lost: int


class Timeline:
    """Maps frames of the damaged film to frames of the clean one, in constant memory and from any frame on.

    A frame of the damaged film shows a *film frame*, the number under which that frame of the print first appears; its
    dirt and its grain are repeated with it. A film frame shows a frame of the clean film.
    """

    def __init__(self, model: CadenceModel | None, splices: SpliceLayer | None, seed: int) -> None:
        self._model, self._splices = model, splices
        self._chance = WhiteNoise(seed, "repeats")
        self._gaps: Population[_Gap] | None = None
        if model is not None and model.missing > 0:
            low, high = model.gap
            self._gaps = Population(
                seed,
                "missing frames",
                births_per_frame=model.missing,
                longest_life=1,
                draw=lambda stream, first: _Gap(first, first + 1, int(stream.integers(low, high + 1))),
            )
        self._known = 1  # nothing is lost before frame 1
        self._cuts: list[int] = []
        self._lost: list[int] = []

    def film_frame(self, index: int) -> int:
        """Return the film frame that frame ``index`` of the damaged film shows; at most ``index``."""
        while self._repeats(index):
            index -= 1
        return index

    def next_film_frame(self, index: int) -> int:
        """Return the film frame that follows ``film_frame(index)``; at most 8 after ``index``."""
        index += 1
        while self._repeats(index):
            index += 1
        return index

    def source(self, film_frame: int) -> int:
        """Return the clean frame that a film frame shows, in a film without an end. It never goes back."""
        return film_frame + self._lost_before(film_frame)

    def _repeats(self, index: int) -> bool:
        """Return whether a frame repeats the one before."""
        if self._model is None or self._model.duplicates == 0 or index <= 0:
            return False
        share = self._model.duplicates
        if self._model.regular:
            return int(index * (1 - share)) == int((index - 1) * (1 - share))
        # A frame in each group of eight is new, so that no frame is held for longer.
        return index % LONGEST_HOLD != 0 and float(self._chance.values(index, index + 1)[0, 0]) < _quantile(
            share * LONGEST_HOLD / (LONGEST_HOLD - 1)
        )

    def _lost_before(self, index: int) -> int:
        if self._splices is None and self._gaps is None:
            return 0
        if index >= self._known and (not self._lost or self._lost[-1] < MOST_LOST):
            cuts = [
                (splice.cut, splice.dropped)
                for splice in (self._splices.between(self._known - 1, index) if self._splices else ())
                if self._known <= splice.cut <= index
            ]
            if self._gaps is not None:
                cuts += [(gap.first, gap.lost) for gap in self._gaps.between(self._known, index + 1)]
            for cut, lost in sorted(cuts):
                total = (self._lost[-1] if self._lost else 0) + lost
                self._cuts.append(cut)
                self._lost.append(min(total, MOST_LOST))
            self._known = index + 1
        place = bisect.bisect_right(self._cuts, index)
        return self._lost[place - 1] if place else 0


def _quantile(share: float) -> float:
    """Standard normal quantile."""
    return float(ndtri(min(share, 0.999)))
