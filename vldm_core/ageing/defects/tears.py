"""Emulsion tears: strips along the film from which the emulsion is gone altogether."""

from dataclasses import dataclass

import numpy as np

from ...arrays import FloatArray
from ..randomness import SmoothNoise, generator
from ..units import line_scale
from ..validation import require_span, require_within
from .scratches import LineLayer, LineModel, ScratchLine


@dataclass(frozen=True, kw_only=True)
class TearModel:
    """How many tears there are and what they look like. They come, stay, drift and end as line scratches do.

    Attributes:
        count: Mean number seen in a frame, 0 … 10.
        shares: Shares of fixed, drifting and transient tears, as in ``LineModel``.
        width: Smallest and largest width, px at 480 lines.
        white_share: Share of tears in the print, which let all light through; those in the negative print black.
        ragged: Unevenness of the edges as a share of the width, 0 … 1.
        largest_gaps: Largest share of a tear that is bridged by emulsion.
    """

    count: float = 0.2
    shares: tuple[float, float, float] = (0.5, 0.3, 0.2)
    width: tuple[float, float] = (2.0, 9.0)
    white_share: float = 0.8
    ragged: float = 0.4
    largest_gaps: float = 0.6

    def __post_init__(self) -> None:
        require_within("tears.count", self.count, 0, 10)
        require_span("tears.width", self.width, 1, 80)
        require_within("tears.white_share", self.white_share, 0, 1)
        require_within("tears.ragged", self.ragged, 0, 1)
        require_within("tears.largest_gaps", self.largest_gaps, 0, 0.9)
        self.as_lines()

    def as_lines(self) -> LineModel:
        """Return the line scratches whose courses the tears follow.

        Raises:
            SettingsError: When the shares are not three numbers.
        """
        return LineModel(
            count=self.count,
            shares=self.shares,
            width=self.width,
            bright_share=self.white_share,
            double_edge_share=0,
            largest_gaps=self.largest_gaps,
        )


class TearLayer:
    """Draws the tears of any frame."""

    def __init__(self, model: TearModel, seed: int, height: int, width: int) -> None:
        self._model, self._seed, self._height, self._width = model, seed, height, width
        self._scale = line_scale(height)
        self._lines = LineLayer(model.as_lines(), seed, height, width, name="tears")

    def between(self, first: int, last: int) -> tuple[ScratchLine, ...]:
        """Return the courses of the tears seen in at least one of the frames first … last - 1."""
        return self._lines.between(first, last)

    def apply(self, index: int, image: FloatArray) -> FloatArray:
        """Return the image (H, W, 3) of frame ``index`` with tears in it; itself when there are none."""
        found = self.between(index, index + 1)
        if not found:
            return image
        image = image.copy()
        for line in found:
            self._tear(line, index, image)
        return image

    def _tear(self, line: ScratchLine, index: int, image: FloatArray) -> None:
        """Tear one strip out of an image, in place. Emulsion breaks off in flakes, so each edge has its own course."""
        centre = self._lines.centre(line, index)
        half = 0.5 * line.width * np.clip((self._lines.along(line, index) - 0.55) / 0.45, 0, 1)
        rows = np.arange(self._height, dtype=np.float64) + index * self._height
        coarse = SmoothNoise(self._seed, "tear outline", line.key, pitch=26 * self._scale, channels=3).at(rows)
        fine = SmoothNoise(self._seed, "tear edge", line.key, pitch=max(3.5 * self._scale, 1), channels=3).at(rows)
        # Gelatine breaks in steps: where the coarse course is high a flake is gone, elsewhere the edge is the knife's.
        steps = np.clip(3 * (coarse - np.float32(0.5)), -0.3, 1.6)
        flakes = np.float32(self._model.ragged) * (steps + np.float32(0.45) * fine)
        left = centre - half * np.maximum(1 + flakes[:, 0], 0)
        right = centre + half * np.maximum(1 + flakes[:, 1], 0)
        first = max(int(left.min()) - 3, 0)
        last = min(int(right.max()) + 4, self._width)
        if first >= last:
            return
        columns = np.arange(first, last, dtype=np.float32)[None, :]
        depth = np.minimum(columns - left[:, None], right[:, None] - columns)  # inwards from the nearer edge, px
        alpha = np.clip(depth + 0.5, 0, 1) * (half > 0.1)[:, None]
        # Remains of the gelatine, and a thin shadow where the torn edge lifts.
        remains = 1 - 0.1 * np.minimum(np.abs(fine[:, 2:]), 1.5) * np.clip(
            1.5 - np.abs(columns - centre[:, None]) / line.width, 0, 1
        )
        shadow = 0.12 * np.exp(-(((depth + 1.2) / 0.9) ** 2)) * (half > 0.1)[:, None] * (depth < 0.2)
        region = image[:, first:last]
        if line.depth > 0:
            level = (0.97 - 0.05 * generator(self._seed, "tear level", line.key).random()) * remains
        else:
            level, shadow = 0.03 * remains, 0 * shadow
        region *= (1 - shadow[..., None]).astype(np.float32)
        region += alpha[..., None].astype(np.float32) * (level[..., None].astype(np.float32) - region)
