"""Bands of rows: what a network needs at once of a large frame."""

from dataclasses import dataclass

from .network import SCALE

_BAND_BYTES = 192 << 20
_WIDTH_IN_WORK = 100
"""Planes of full size, in single precision, that encoding or decoding a band takes at its peak."""


@dataclass(frozen=True)
class Band:
    """Rows of a frame that are worked on at once, with what they depend on around them.

    Attributes:
        rows: The rows.
        around: The rows and those around them.
    """

    rows: slice
    around: slice

    def scaled(self, scale: int) -> slice:
        """`around` in a picture that is smaller by a factor."""
        return slice(self.around.start // scale, self.around.stop // scale)

    def within(self, scale: int) -> slice:
        """The rows in what was made of `around`, smaller by a factor."""
        first = self.around.start
        return slice((self.rows.start - first) // scale, (self.rows.stop - first) // scale)


def bands(height: int, width: int, reach: int) -> list[Band]:
    """Cut a frame into bands of rows that keep what the network needs at once within `_BAND_BYTES`.

    Args:
        height: Of the frame, a multiple of 8.
        width: Of the frame.
        reach: Rows on each side that the result depends on.
    """
    margin = -(-reach // SCALE) * SCALE
    rows = max(SCALE, _BAND_BYTES // (width * _WIDTH_IN_WORK * 4) // SCALE * SCALE)
    return [
        Band(
            rows=slice(top, min(top + rows, height)),
            around=slice(max(0, top - margin), min(top + rows + margin, height)),
        )
        for top in range(0, height, rows)
    ]
