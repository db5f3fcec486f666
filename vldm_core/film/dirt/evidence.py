"""What a frame shows and its motion-compensated neighbours do not.

The measure is a rank-ordered spike: a pixel is brighter (or darker) than everything that its neighbours in time show
around the place where it should be. It joins the sign-consistent spike detector SDIp (A. C. Kokaram, "Motion Picture
Restoration", Springer 1998, section 6) with the rank order of ROD (M. J. Nadenau and S. K. Mitra, "Blotch and scratch
detection in image sequences based on rank ordered differences", 1997).

How a frame is held against its neighbours is in `comparisons`.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from ...arrays import Plane
from ..sparse_planes import SparsePlane


@dataclass(frozen=True, kw_only=True)
class EvidenceBlur:
    """The blurs by which faint patches are found under grain.

    Attributes:
        near: Pixels of the small one, at which a wide one is cut off: it would carry a strong spot over its edge.
        wide: Pixels of the wider one.
        cut: A ratio: the wide one counts up to this many times the near one.
        surroundings: Pixels of the blur that what the references show is held against.
    """

    near: float = 0.7
    wide: float = 1.5
    cut: float = 2
    surroundings: float = 2.5


_BLUR = EvidenceBlur()


@dataclass(frozen=True)
class Side:
    """How a frame differs from one reference; planes (H, W) in grey levels, positive where the frame is brighter.

    Attributes:
        spike: Signed distance to the nearest value that the reference shows at the place along any of the flows; 0
            where one of them explains the pixel.
        novelty: The same against the 3×3 surroundings of the place, so never more than the spike. Motion that is off
            by a pixel at an edge does not count.
        residual: Plain difference to the reference along the dense flow.
        look: The reference along the dense flow.
        detail: Range of the reference in the 3×3 surroundings: what interpolation may have taken off a peak.
        inconsistency: Forward-backward error of the dense flow, pixels, at most 8.
    """

    spike: Plane
    novelty: Plane
    residual: Plane
    look: Plane
    detail: Plane
    inconsistency: Plane

    # A side is combined with several others, when a defect may live for several frames.

    @cached_property
    def near(self) -> Plane:
        """The residual after a small blur."""
        return cv2.GaussianBlur(self.residual, (0, 0), _BLUR.near)

    @cached_property
    def wide(self) -> Plane:
        """The residual after a wider blur."""
        return cv2.GaussianBlur(self.residual, (0, 0), _BLUR.wide)

    @cached_property
    def magnitude(self) -> Plane:
        """The residual without its sign."""
        return np.abs(self.residual)

    def sparse_rows(self, rows: slice) -> tuple[Plane, Plane]:
        """Some rows of `spike` and `novelty`."""
        return self.spike[rows], self.novelty[rows]


class HeldSide:
    """A side in less room: planes of which most is 0, or which follow from others, are made when they are looked at."""

    def __init__(self, side: Side, frame: Plane) -> None:
        """Hold a side of a comparison of a frame (H, W)."""
        self._frame = frame
        self._spike, self._novelty = SparsePlane(side.spike), SparsePlane(side.novelty)
        self.look, self.detail, self.inconsistency = side.look, side.detail, side.inconsistency

    @property
    def spike(self) -> Plane:
        """See `Side`."""
        return self._spike.plane()

    @property
    def novelty(self) -> Plane:
        """See `Side`."""
        return self._novelty.plane()

    @property
    def residual(self) -> Plane:
        """See `Side`."""
        return self._frame - self.look

    @property
    def near(self) -> Plane:
        """See `Side`."""
        return cv2.GaussianBlur(self.residual, (0, 0), _BLUR.near)

    @property
    def wide(self) -> Plane:
        """See `Side`."""
        return cv2.GaussianBlur(self.residual, (0, 0), _BLUR.wide)

    @property
    def magnitude(self) -> Plane:
        """See `Side`."""
        return np.abs(self.residual)

    def sparse_rows(self, rows: slice) -> tuple[Plane, Plane]:
        """Some rows of `spike` and `novelty`."""
        return self._spike[rows], self._novelty[rows]


@dataclass(frozen=True)
class Comparison:
    """A frame held against its two references.

    Attributes:
        sides: The earlier and the later reference, or two on the same side at the end of a shot.
        references: Their frame numbers.
    """

    sides: tuple[Side | HeldSide, Side | HeldSide]
    references: tuple[int, int]


@dataclass(frozen=True)
class Evidence:
    """What stands out on both sides; planes (H, W) in grey levels.

    Attributes:
        spike: Signed; the smaller of the two sides, 0 where their signs differ.
        novelty: Likewise.
        residual: Magnitude of the smaller plain difference; what motion compensation could not explain.
        soft: Likewise signed, of the plain differences after a small blur, which finds faint patches under grain.
        disagreement: How far the references are apart: what moves cannot be told from dirt there.
        detail: Range of the surroundings in the references.
        structure: Signed; how far the references themselves stand out from their own surroundings there. A spike on a
            structure of its own sign may be that structure, seen more sharply.
        inconsistency: Sum of the flow errors, pixels.
    """

    spike: Plane
    novelty: Plane
    residual: Plane
    soft: Plane
    disagreement: Plane
    detail: Plane
    structure: Plane
    inconsistency: Plane


def same_sign(first: Plane, second: Plane) -> Plane:
    """Return the value of smaller magnitude where two planes have one sign, 0 elsewhere."""
    low, high = cv2.min(first, second), cv2.max(first, second)
    return np.maximum(low, 0, out=low) + np.minimum(high, 0, out=high)


def combine(first: Side | HeldSide, second: Side | HeldSide) -> Evidence:
    """Join two sides; they may belong to different frames, when a defect stays in place from the one to the other."""
    near, wide = same_sign(first.near, second.near), same_sign(first.wide, second.wide)
    look = first.look + second.look
    look *= np.float32(0.5)
    return Evidence(
        spike=same_sign(first.spike, second.spike),
        novelty=same_sign(first.novelty, second.novelty),
        residual=cv2.min(first.magnitude, second.magnitude),
        # Cut off at the narrow blur, or the wide one would carry a strong spot over its edge.
        soft=cv2.min(cv2.max(wide, _BLUR.cut * np.minimum(near, 0)), _BLUR.cut * np.maximum(near, 0)),
        disagreement=cv2.absdiff(first.look, second.look),
        detail=cv2.max(first.detail, second.detail),
        structure=look - cv2.GaussianBlur(look, (0, 0), _BLUR.surroundings),
        inconsistency=first.inconsistency + second.inconsistency,
    )
