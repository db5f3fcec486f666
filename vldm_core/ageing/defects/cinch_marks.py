"""Cinch marks and other scratches of a single frame: from a wound roll that slips, a splice that catches, a rough hand.

Unlike line scratches they do not go on in the next frame, may lie at any angle, bend and break, and often come several
at a time, side by side.
"""

from dataclasses import dataclass

import numpy as np

from ...arrays import FloatArray
from ..randomness import SmoothNoise, generator, log_uniform
from ..units import line_scale
from ..validation import require_span, require_within
from .marks import BLENDS, VISIBLE_CHANGE, Blend, blended, require_blends

_FWHM = 2.3548  # full width at half maximum of a Gaussian with sigma 1
_REACH = 3.0  # sigmas; beyond them a profile changes nothing


@dataclass(frozen=True, kw_only=True)
class CinchModel:
    """How many scratches of one frame there are and what they look like.

    Attributes:
        rate: Mean number of events per frame (Poisson), 0 … 20; most are one scratch, some a sheaf of them.
        depth: Smallest and largest change of brightness, grey levels on mid-grey; drawn log-uniformly.
        width: Smallest and largest full width at half depth, px at 480 lines; never below 1 px of the frame.
        length: Smallest and largest length, share of the height.
        bright_share: Share of bright ones.
        steep_share: Share that lie within a few degrees of the direction in which the film runs; others at any angle.
        sheaf_share: Share of events that are three to twelve scratches side by side.
        largest_bend: Largest departure from a straight line, share of the length.
        largest_gaps: Largest share that is missing.
        blends: Shares of the ways in which they mix with the picture, see :data:`BLENDS`.
    """

    rate: float = 0.3
    depth: tuple[float, float] = (6.0, 80.0)
    width: tuple[float, float] = (1.0, 4.0)
    length: tuple[float, float] = (0.08, 1.2)
    bright_share: float = 0.6
    steep_share: float = 0.8
    sheaf_share: float = 0.2
    largest_bend: float = 0.06
    largest_gaps: float = 0.5
    blends: tuple[float, ...] = (0.4, 0.3, 0.3)

    def __post_init__(self) -> None:
        require_within("cinches.rate", self.rate, 0, 20)
        require_span("cinches.depth", self.depth, 0.5, 255)
        require_span("cinches.width", self.width, 1, 50)
        require_span("cinches.length", self.length, 0.01, 4)
        for name in ("bright_share", "steep_share", "sheaf_share"):
            require_within(f"cinches.{name}", getattr(self, name), 0, 1)
        require_within("cinches.largest_bend", self.largest_bend, 0, 1)
        require_within("cinches.largest_gaps", self.largest_gaps, 0, 0.9)
        require_blends("cinches.blends", self.blends)


@dataclass(frozen=True, kw_only=True)
class Cinch:
    """One scratch of one frame, px; it runs along the rows, or along the columns where it is `lying`."""

    key: int
    lying: bool
    middle: tuple[float, float]
    length: float
    slope: float
    bend: float
    width: float
    depth: float
    white: bool
    gaps: float
    blend: Blend


class CinchLayer:
    """Draws the scratches of any frame that are on that frame only."""

    def __init__(self, model: CinchModel, seed: int, height: int, width: int) -> None:
        self._model, self._seed, self._height, self._width = model, seed, height, width
        self._scale = line_scale(height)

    def marks(self, index: int) -> tuple[Cinch, ...]:
        """Return the scratches of frame ``index``."""
        model, found = self._model, []
        stream = generator(self._seed, "cinches", index)
        for _ in range(stream.poisson(model.rate)):
            first = self._draw(stream)
            found.append(first)
            if stream.random() < model.sheaf_share:
                for _ in range(int(stream.integers(2, 12))):
                    aside = stream.normal(0, 12 * self._scale, 2)
                    found.append(
                        Cinch(
                            key=int(stream.integers(1 << 39)),
                            lying=first.lying,
                            middle=(first.middle[0] + aside[0], first.middle[1] + aside[1]),
                            length=first.length * stream.uniform(0.3, 1.1),
                            slope=first.slope + stream.normal(0, 0.02),
                            bend=first.bend * stream.uniform(0.5, 1.5),
                            width=self._wide(stream),
                            depth=first.depth * stream.uniform(0.4, 1.2),
                            white=first.white,
                            gaps=stream.uniform(0, model.largest_gaps),
                            blend=first.blend,
                        )
                    )
        return tuple(found)

    def apply(self, index: int, image: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the image (H, W, 3) of frame ``index`` with its scratches, and their visibility (H, W).

        Like a line, a scratch counts where it has half its depth, or 8 grey levels, whichever is less.
        """
        image = image.copy()
        mask = np.zeros(image.shape[:2], np.float32)
        for cinch in self.marks(index):
            # A lying one is an upright one of the picture on its side.
            target, seen = (image.transpose(1, 0, 2), mask.T) if cinch.lying else (image, mask)
            drawn = self._profile(cinch, target.shape[0], target.shape[1])
            if drawn is None:
                continue
            rows, columns, share = drawn
            before = target[rows, columns].copy()
            depth = cinch.depth / 255
            after = blended(before, share, depth, white=cinch.white, blend=cinch.blend)
            target[rows, columns] = after
            change = np.abs(after - before).max(axis=2) / (2 * min(VISIBLE_CHANGE, 0.5 * depth))
            seen[rows, columns] = np.maximum(seen[rows, columns], np.minimum(change, 1))
        return image, mask

    def _profile(self, cinch: Cinch, height: int, width: int) -> tuple[slice, slice, FloatArray] | None:
        """Rows, columns, and the share of the depth there; None outside the picture."""
        x, y = cinch.middle
        top, bottom = max(0, int(y - cinch.length / 2)), min(height, int(y + cinch.length / 2) + 1)
        if bottom - top < 2:
            return None
        rows = np.arange(top, bottom, dtype=np.float32)
        along = (rows - y) / (cinch.length / 2)
        noise = SmoothNoise(self._seed, "cinch course", cinch.key, pitch=max(6.0, 0.08 * self._height), channels=2).at(
            rows.astype(np.float64)
        )
        centre = x + cinch.slope * (rows - y) + cinch.bend * (along**2) + 0.4 * noise[:, 0]
        sigma = cinch.width / _FWHM
        left = max(0, int(centre.min() - _REACH * sigma))
        right = min(width, int(centre.max() + _REACH * sigma) + 2)
        if left >= right:
            return None
        away = (np.arange(left, right, dtype=np.float32)[None] - centre[:, None]) / np.float32(sigma)
        share = np.exp(-0.5 * away**2) * (np.abs(away) < _REACH)
        taper = np.clip((1 - np.abs(along)) * 6, 0, 1)
        if cinch.gaps > 0:
            # Of noise with a deviation of about 0.8, that share lies below the threshold.
            threshold = np.quantile(noise[:, 1], cinch.gaps)
            taper = taper * np.clip((noise[:, 1] - threshold) * 6 + 0.5, 0, 1)
        share *= taper[:, None]
        return slice(top, bottom), slice(left, right), share.astype(np.float32)

    def _wide(self, stream: np.random.Generator) -> float:
        return max(log_uniform(stream, *self._model.width) * self._scale, 1.0)

    def _draw(self, stream: np.random.Generator) -> Cinch:
        model = self._model
        steep = stream.random() < model.steep_share
        angle = stream.normal(0, 3.0) if steep else stream.uniform(-90, 90)
        lying = abs(angle) > 45
        if lying:
            angle = (90 - abs(angle)) * np.sign(angle)
        length = log_uniform(stream, *model.length) * self._height
        along, across = (self._width, self._height) if lying else (self._height, self._width)
        return Cinch(
            key=int(stream.integers(1 << 39)),
            lying=bool(lying),
            middle=(stream.uniform(0, across), stream.uniform(0, along)),
            length=length * float(np.cos(np.deg2rad(angle))),
            slope=float(np.tan(np.deg2rad(angle))),
            bend=stream.uniform(-1, 1) * model.largest_bend * length,
            width=self._wide(stream),
            depth=log_uniform(stream, *model.depth),
            white=bool(stream.random() < model.bright_share),
            gaps=stream.uniform(0, model.largest_gaps) if stream.random() < 0.7 else 0.0,
            blend=BLENDS[int(stream.choice(len(BLENDS), p=np.array(model.blends) / sum(model.blends)))],
        )
