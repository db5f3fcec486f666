"""Splices: where film was cut and cemented a line crosses the picture, and the film jumps when it runs over it.

The line is the edge of the scraped emulsion, bright, or the dirt in the seam, dark. It lies near the lower edge of the
last frame before the splice, or near the upper edge of the first one after it, and is nearly level. So, near both
edges of a frame:

1. Lines are looked for that stand out of what is above and below them by one sign over most of the width (`look`).
2. The scene has such lines too, a horizon, a table's edge, a squared floor. Frames beside show them, at the same place
   or where the picture has moved; only a line that no frame beside shows is a seam. At the end of a shot there are
   frames on one side only.
3. What the film shows beyond its picture when it jumps, the frame line, is a flat strip along the edge of the frame,
   black or white, which ends in a straight step, and where the frames beside show picture up to the edge. A border
   that they show too, and that has only moved, is left: nothing tells what belongs there.

Where a seam is found, the other end of the overlap is looked for deeper in the picture: on a film of Market Street of
1906 it lies a quarter of the height below.

What cannot be told, because the frames beside are blank or more lines than one have come at a time, is not marked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, FloatArray
from ...errors import SettingsError
from .look import MEASURE, FrameLook

RADIUS = 3
"""What is marked in a frame depends on this many frames on each side."""


@dataclass(frozen=True, kw_only=True)
class SpliceSettings:
    """How splices are found.

    Attributes:
        depth: Grey levels by which a seam stands out of the picture above and below it at least, 4 … 100.
        coverage: Share of the width over which it does, 0.6 … 0.95: where the picture is as bright or as dark as the
            seam, nothing of it can be seen.

    Raises:
        SettingsError: A value is out of its range.
    """

    depth: float = 14.0
    coverage: float = 0.8

    def __post_init__(self) -> None:
        if not 4 <= self.depth <= 100:
            raise SettingsError(f"splice depth must lie in 4..100 grey levels, got {self.depth}; 14 suits most films")
        if not 0.6 <= self.coverage <= 0.95:
            raise SettingsError(f"splice coverage must lie in 0.6..0.95, got {self.coverage}; 0.8 suits most films")


@dataclass(frozen=True, kw_only=True)
class SeamTest:
    """What tells a seam from a line of the scene, and how far it reaches. Lengths are in rows of a picture of 480.

    Attributes:
        witnesses: Frames on each side that are asked.
        shown: Share of the depth of a line up to which a frame beside may show one there.
        hidden: Share of the width over which something in front may hide a line of the scene there.
        sway: Rows around a place within which a line counts as the same.
        margin: Rows from the edge within which a line may be a frame line, or half out of the picture.
        contrast: Share of a frame's contrast that a frame beside must have to be asked: blank ones show nothing.
        apart: Rows by which two lines of a band are two.
        other_coverage: Share of the width over which the other end of the overlap has to be seen.
        most: Lines of a band: where more come at a time they are no seams.
        skirt: Share of its depth down to which a line reaches.
        widest: Rows from the middle of a line to its rim at most.
        rim: Rows beyond that: the shadow beside the scraped edge.
    """

    witnesses: int = 2
    shown: float = 0.5
    hidden: float = 0.5
    sway: int = 2
    margin: int = 5
    contrast: float = 0.5
    apart: int = 10
    other_coverage: float = 0.65
    most: int = 2
    skirt: float = 0.25
    widest: int = 6
    rim: float = 2.0


@dataclass(frozen=True, kw_only=True)
class FrameLineTest:
    """What tells a frame line in sight from a dark or bright edge of the picture. Lengths as in `SeamTest`.

    Attributes:
        levels: Grey levels up to which it is black, and from which it is white.
        flat: Grey levels by which a place of it differs from its usual level at most.
        thinnest: Rows at least, of the frame as it is searched: one may be an edge of the scan.
        straight: Rows by which its end may lie off a straight line.
        earlier: Share of the width over which the strip ends before its end is told.
        broken: Share of the width over which it may end sooner, at a speck.
        ending: Share of the width over which the picture begins there, and beside in time is other than the strip.
        soft: Rows over which the picture begins.
    """

    levels: tuple[float, float] = (40.0, 225.0)
    flat: float = 8.0
    thinnest: int = 2
    straight: float = 1.5
    earlier: float = 0.3
    broken: float = 0.08
    ending: float = 0.6
    soft: int = 2


_SEAM = SeamTest()
_FRAME_LINE = FrameLineTest()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Strip:
    """Rows of a band (n, segments) that are marked: from `first` on, up to `last`, both (segments,)."""

    first: FloatArray
    last: FloatArray


def splice_mask(looks: Sequence[FrameLook], index: int, settings: SpliceSettings) -> BoolArray | None:
    """Find the seam and the frame line of one frame.

    Args:
        looks: Consecutive frames of one shot, with those up to `RADIUS` before and after the frame where there are.
        index: The frame among them.
        settings: How.

    Returns:
        (H', W') bool, where H' and W' are those of the picture's box; None where nothing is found.
    """
    sides = _witnesses(looks, index)
    if sides is None:
        return None
    look = looks[index]
    result: BoolArray | None = None
    for top in (True, False):
        frame_line = _frame_line(look, sides, settings, top=top)
        strips = _seams(look, sides, settings, top=top, jumped=frame_line is not None)
        if strips:
            strips += _other_end(look, sides, settings, top=top)
        for strip in strips if frame_line is None else [frame_line, *strips]:
            if result is None:
                _, _, left, right = look.box
                result = np.zeros((look.box[1] - look.box[0], right - left), bool)
            _draw(strip, look.pitch, result if top else result[::-1])
    return result


def _witnesses(looks: Sequence[FrameLook], index: int) -> list[list[FrameLook]] | None:
    """The frames on each side that can be asked, nearest first; None where a side has none that can tell."""
    here = looks[index]
    before = looks[max(0, index - RADIUS) : index][::-1]
    after = looks[index + 1 : index + 1 + RADIUS]
    sides = []
    for side in (before, after):
        if not side:
            continue
        others = [other for other in side if not here.repeats(other)][: _SEAM.witnesses]
        telling = [other for other in others if other.contrast >= _SEAM.contrast * here.contrast]
        if not telling:
            return None
        sides.append(telling)
    return sides or None


def _seams(
    look: FrameLook,
    sides: list[list[FrameLook]],
    settings: SpliceSettings,
    *,
    top: bool,
    jumped: bool,
    first: int = 0,
) -> list[_Strip]:
    """Find the lines near an edge that no frame beside shows.

    Args:
        look: The frame.
        sides: Those beside it.
        settings: What counts as a line.
        top: Which edge.
        jumped: Whether a frame line is in sight there.
        first: Row from the edge from which on they are looked for.
    """
    apart = max(2, round(_SEAM.apart * look.scale))
    rows = range(first, look.depth)
    found: list[_Strip] = []
    for sign in (1, -1):
        lines = look.lines(rows, settings.coverage, top=top, sign=sign, least=settings.depth)
        left = lines.strength.copy()
        while (strength := float(left.max(initial=0))) >= settings.depth:
            place = int(left.argmax())
            left[max(0, place - apart) : place + apart + 1] = 0
            if not _is_shown(look, sides, rows[place], strength, top=top, sign=sign, jumped=jumped):
                response = look.response(top=top, sign=sign)
                found.append(_extent(response, rows[place], int(lines.tilt[place]), look.scale))
    middles = sorted(float((strip.first + strip.last).mean()) / 2 for strip in found)
    places = 1 + int((np.diff(middles) > apart).sum())
    return found if places <= _SEAM.most else []


def _other_end(look: FrameLook, sides: list[list[FrameLook]], settings: SpliceSettings, *, top: bool) -> list[_Strip]:
    """Find where the overlap ends deeper in the picture: a line less plain, for a seam is known to be near."""
    less = replace(settings, coverage=min(settings.coverage, _SEAM.other_coverage))
    deeper = [[other.deeper for other in side] for side in sides]
    return _seams(look.deeper, deeper, less, top=top, jumped=False, first=look.depth)


def _is_shown(
    look: FrameLook,
    sides: list[list[FrameLook]],
    row: int,
    strength: float,
    *,
    top: bool,
    sign: int,
    jumped: bool,
) -> bool:
    """Whether a frame beside shows a line where the picture has moved, or all of them at the same place.

    Where the picture has moved so far that none can tell, a line is a seam only beside a frame line.
    """
    sway = max(1, round(_SEAM.sway * look.scale))
    farthest, margin = round(MEASURE.step * look.scale) + sway, max(2, round(_SEAM.margin * look.scale))
    stays, told = True, jumped
    for other in (witness for side in sides for witness in side):
        enough = _SEAM.shown * strength * min(1.0, other.contrast / max(look.contrast, 1e-6))

        def shows(place: int, reach: int, first: int = 0, other: FrameLook = other, enough: float = enough) -> bool:
            rows = range(max(first, place - reach), place + reach + 1)
            seen = other.lines(rows, 1 - _SEAM.hidden, top=top, sign=sign, least=enough)
            return bool((seen.strength >= enough).any())

        there = shows(row, sway)
        # A border that weaves is seen as a line in some of the frames, and all along in others.
        if row < margin and (there or _is_border(look, other, row, enough, top=top)):
            return True
        stays = stays and there
        jump = look.jump_from(other)
        place = row if jump is None else row - jump if top else row + jump
        reach = farthest if jump is None else sway
        if shows(place, reach, margin):
            return True
        # So close to its edge it may be a frame line that a frame beside shows.
        told |= jump is None or (place >= 0 and not shows(place, reach))
    return stays or not told


def _is_border(look: FrameLook, other: FrameLook, row: int, enough: float, *, top: bool) -> bool:
    """Whether a black or white line at the edge is what another frame shows from there to the edge, too."""
    here = look.band(top=top)[row]
    black, white = _FRAME_LINE.levels
    if black < float(np.median(here)) < white:
        return False
    off = np.abs(other.band(top=top)[: row + 1] - here).min(axis=0)
    return bool((off < enough).mean() > 1 - _SEAM.hidden)


def _extent(response: FloatArray, row: int, tilt: int, scale: float) -> _Strip:
    """Follow a line from segment to segment, and tell from where to where it reaches."""
    count, segments = response.shape
    across = (np.arange(segments) + 0.5) / segments - 0.5
    usual = row + np.rint(tilt * across).astype(np.int64)
    offsets = np.arange(-1, 2)
    near = response[np.clip(usual[None, :] + offsets[:, None], 0, count - 1), np.arange(segments)[None, :]]
    middle = np.clip(usual + offsets[near.argmax(axis=0)], 0, count - 1)
    return _Strip(
        first=(middle - _reach(response, middle, -1, scale)).astype(np.float32),
        last=(middle + 1 + _reach(response, middle, 1, scale)).astype(np.float32),
    )


def _reach(response: FloatArray, middle: NDArray[np.int64], way: int, scale: float) -> FloatArray:
    """Rows from the middle of a line (segments,) to its rim, upwards (-1) or downwards (1)."""
    count, segments = response.shape
    columns = np.arange(segments)
    least = _SEAM.skirt * response[middle, columns]
    going, result = np.ones(segments, bool), np.zeros(segments, np.float32)
    for distance in range(1, max(1, round(_SEAM.widest * scale)) + 1):
        rows = np.clip(middle + way * distance, 0, count - 1)
        going &= response[rows, columns] > least
        result += going
    # Where the picture is as bright as the line it reaches as far as it does beside.
    return np.maximum(result, np.float32(np.median(result))) + np.float32(_SEAM.rim * scale)


def _frame_line(look: FrameLook, sides: list[list[FrameLook]], settings: SpliceSettings, *, top: bool) -> _Strip | None:
    """Find the strip of film beyond the picture that only this frame shows.

    Beside a bar the film shows that bar, moved.
    """
    if look.bars[0 if top else 1]:
        return None
    band = look.band(top=top)
    level = float(np.median(band[0]))
    black, white = _FRAME_LINE.levels
    if black < level < white:
        return None
    sign = 1 if level <= black else -1
    flat = np.abs(band - level) <= _FRAME_LINE.flat
    ends = np.where(flat.all(axis=0), len(band), np.argmin(flat, axis=0))
    # A dark part of the picture carries the strip on, so its end lies among the earlier ones.
    end = float(np.quantile(ends, _FRAME_LINE.earlier))
    if not _FRAME_LINE.thinnest <= end <= MEASURE.step * look.scale:
        return None
    columns = np.arange(band.shape[1])
    there = np.abs(ends - end) <= _FRAME_LINE.straight
    tilt, middle = np.polyfit(columns[there], ends[there], 1) if there.mean() > 0.5 else (0.0, end)
    straight = middle + tilt * columns
    off = ends - straight
    sooner, ending = off < -_FRAME_LINE.straight, np.abs(off) <= _FRAME_LINE.straight
    if sooner.mean() > _FRAME_LINE.broken or ending.mean() < _FRAME_LINE.ending:
        return None
    inside = np.minimum(np.rint(straight).astype(np.int64) + _FRAME_LINE.soft, len(band) - 1)
    begins = sign * (band[inside, columns] - level)
    rows = max(1, int(straight.min()) - 1)
    # A border that is always in sight, and has only moved, is none: beside in time the picture goes up to the edge.
    beside = [side[0].band(top=top) for side in sides]
    shown = [sign * (part.mean(axis=0) - level) for other in beside for part in (other[:1], other[:rows])]
    for step in (begins, *shown):
        if step.mean() < settings.depth or (step >= _FRAME_LINE.flat).mean() < _FRAME_LINE.ending:
            return None
    return _Strip(first=np.zeros_like(straight, np.float32), last=(straight + 1).astype(np.float32))


def _draw(strip: _Strip, pitch: float, mask: BoolArray) -> None:
    """Mark a strip in the picture (H', W'), rows counted from the edge that it lies near."""
    height, width = mask.shape
    segments = len(strip.first)
    columns = (np.arange(width) + 0.5) / width * segments - 0.5
    places = np.arange(segments)
    first = np.interp(columns, places, strip.first) * pitch
    last = np.interp(columns, places, strip.last) * pitch
    rows = np.arange(min(height, int(np.ceil(last.max())) + 1))[:, None]
    mask[: len(rows)] |= (rows + 1 > first) & (rows < last)
