"""Bands of rows: what of a large frame is worked on at once."""

from dataclasses import dataclass

_MOST_BYTES = 128 << 20


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

    def of(self, scale: int) -> slice:
        """The rows in a picture that is smaller by a factor."""
        return slice(self.rows.start // scale, self.rows.stop // scale)

    def within(self, scale: int) -> slice:
        """The rows in what was made of `around`, smaller by a factor."""
        first = self.around.start
        return slice((self.rows.start - first) // scale, (self.rows.stop - first) // scale)


def bands(height: int, width: int, reach: int, *, granularity: int, planes: int) -> list[Band]:
    """Cut a frame into bands of rows, so that what is needed at once for one of them stays within a bound.

    Args:
        height: Of the frame.
        width: Of the frame.
        reach: Rows on each side that the result depends on.
        granularity: What the first rows of bands, and of what lies around them, are multiples of.
        planes: Planes of single precision that the work on a band takes at its peak.
    """
    margin = -(-reach // granularity) * granularity
    rows = max(granularity, _MOST_BYTES // (width * planes * 4) // granularity * granularity)
    return [
        Band(
            rows=slice(top, min(top + rows, height)),
            around=slice(max(0, top - margin), min(top + rows + margin, height)),
        )
        for top in range(0, height, rows)
    ]
