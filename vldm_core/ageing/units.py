"""The unit of lengths: models give them for a frame of so many lines, whatever the size of the film."""

REFERENCE_LINES = 480
"""Lines of the frame that lengths are given for, px."""


def line_scale(height: int) -> float:
    """Return the px of a frame of a height, px, to a pixel of a frame of `REFERENCE_LINES` lines."""
    return height / REFERENCE_LINES
