"""Finds out what was repaired in a frame, between the last repair and whatever is done to the whole picture."""

from dataclasses import dataclass
from typing import Any

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ...film.scratches.tracks import ScratchMap
from ...film.standing.detection import standing_mask
from ...stages.analysis import ShotAnalysis
from ...stages.stage_frame import MarkCertainty, StageFrame
from ...video.colour import ColourConverter, layout_of, sample_view
from ...video.info import FilmFrame, FilmInfo
from .repairs import KINDS, UNKNOWN, Array, Repairs, covered

_MARKED = 0.5
"""Marks above this are damage, 0 … 1."""

_SHARE = 0.5
"""Share of a mark's pixels that has to be known as a standing mark, a seam or a named box for all of it to be one."""

_NEAR_PX = 3.0
"""Pixels beside a mark in which the middle of its scratch may lie."""


@dataclass(frozen=True, kw_only=True)
class SampleForm:
    """How the samples of a film are recorded.

    Attributes:
        name: Planar pixel format, as FFmpeg names it.
        planes: Planes that hold the picture; transparency is never repaired.
        step: Pixels across and down for one sample of the planes after the first.
        dtype: Type of a sample.
    """

    name: str
    planes: int
    step: tuple[int, int]
    dtype: np.dtype

    @classmethod
    def of(cls, pix_fmt: str) -> "SampleForm":
        """The form for films of a pixel format."""
        layout = layout_of(pix_fmt)
        return cls(
            name=layout.canonical,
            planes=1 if layout.model == "gray" else 3,
            step=layout.step,
            dtype=np.dtype("u1") if layout.bits == 8 else np.dtype("<u2"),
        )

    def step_of(self, plane: int) -> tuple[int, int]:
        """Pixels across and down for one sample of a plane."""
        return self.step if plane else (1, 1)


class RepairFinder:
    """Tells what was repaired in the frames of a film; may be asked from any thread.

    Args:
        info: The film.
    """

    def __init__(self, info: FilmInfo) -> None:
        self.form = SampleForm.of(info.pix_fmt)
        self._width, self._height = info.width, info.height
        self._converter = ColourConverter(info.width, info.height, info.colour_matrix, info.colour_range)

    def none(self) -> Repairs:
        """No repairs."""
        return Repairs.none(self.form.planes, self.form.dtype)

    def __call__(self, frame: StageFrame[FilmFrame], index: int, analysis: ShotAnalysis) -> Repairs:
        """Find the repairs of a frame.

        Args:
            frame: As the last repair leaves it, with its marks.
            index: Its place in its shot.
            analysis: The first pass over the shot.
        """
        kinds = [kind for kind in ("scratch", "dirt") if frame.is_marked(kind)]
        if not kinds:
            return self.none()
        # Both are made when they are looked at, so once for both kinds.
        before, after = frame.origin.image, frame.image
        found = [self._of_kind(frame, index, analysis, kind, before, after) for kind in kinds]
        return Repairs.joined(found)

    def _of_kind(
        self,
        frame: StageFrame[FilmFrame],
        index: int,
        analysis: ShotAnalysis,
        kind: str,
        before: Array,
        after: torch.Tensor,
    ) -> Repairs:
        marks = (getattr(frame, kind).numpy() > _MARKED).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(marks, connectivity=8)
        stats = stats[1:]
        place = np.flatnonzero(labels)
        owner = labels.ravel()[place] - 1
        order = np.argsort(owner, kind="stable")
        place, owner = place[order], owner[order]
        kinds = np.full(count - 1, KINDS.index(kind), np.uint8)
        confidence, link = np.full(count - 1, UNKNOWN, np.uint8), np.full(count - 1, -1, np.int32)
        if kind == "scratch":
            if analysis.scratches is not None:
                _from_tracks(stats, analysis.scratches, index, confidence, link)
        else:
            if frame.certainty is not None:
                _from_certainty(owner, place, frame.certainty, confidence)
            seam, named = (None if mask is None else mask.numpy() > _MARKED for mask in (frame.seam, frame.forced))
            standing = None if analysis.standing is None else standing_mask(analysis.standing, index)
            for name, mask in (("standing", standing), ("seam", seam), ("named", named)):
                if mask is not None:
                    own = np.bincount(owner, mask.ravel()[place], count - 1) >= _SHARE * stats[:, cv2.CC_STAT_AREA]
                    kinds[own], confidence[own] = KINDS.index(name), UNKNOWN
        changed = _changed(before, after, place)
        place, owner = place[changed], owner[changed]
        starts = np.flatnonzero(
            np.concatenate([[True], (np.diff(place) != 1) | (np.diff(owner) != 0) | (place[1:] % self._width == 0)])
        ) if len(place) else np.zeros(0, np.int64)  # fmt: skip
        samples, chroma = self._samples(frame.origin, owner, place, count - 1)
        return Repairs.made(
            frame=np.full(count - 1, frame.origin.index),
            shot=np.zeros(count - 1),
            number=np.zeros(count - 1),
            kind=kinds,
            x=stats[:, cv2.CC_STAT_LEFT],
            y=stats[:, cv2.CC_STAT_TOP],
            width=stats[:, cv2.CC_STAT_WIDTH],
            height=stats[:, cv2.CC_STAT_HEIGHT],
            marked=stats[:, cv2.CC_STAT_AREA],
            changed=np.bincount(owner, minlength=count - 1),
            chroma=chroma,
            confidence=confidence,
            link=link,
            runs=np.bincount(owner[starts], minlength=count - 1),
            run_start=place[starts],
            run_length=np.diff(np.append(starts, len(place))),
            samples=samples,
        )

    def _samples(self, origin: FilmFrame, owner: Array, place: Array, count: int) -> tuple[list[Array], Array]:
        """The film's samples under pixels, plane by plane, and how many of the planes of colour each repair has."""
        if not len(place):
            return [np.zeros(0, self.form.dtype) for _ in range(self.form.planes)], np.zeros(count, np.uint32)
        planes = self._planes(origin)
        above, under = covered(owner, place, self._width, self.form.step)
        samples = [sample_view(planes, 0)[np.divmod(place, self._width)]]
        for plane in range(1, self.form.planes):
            view = sample_view(planes, plane)
            samples.append(view[np.divmod(under, view.shape[1])])
        return samples, np.bincount(above, minlength=count)

    def _planes(self, origin: FilmFrame) -> av.VideoFrame:
        """A frame of the film as it would be written unrepaired, in planes."""
        if origin.source is None:
            return self._converter.frame(origin.image, self.form.name)
        return self._converter.reformat(origin.source, self.form.name)


def _changed(before: Array, after: torch.Tensor, place: Array) -> NDArray[np.bool_]:
    """Whether pixels come out with other values, as whoever writes the frame rounds them.

    Args:
        before: (H, W, 3), uint8 or uint16.
        after: (3, H, W), [0, 1].
        place: Places of the pixels, row by row.
    """
    top = float(np.iinfo(before.dtype).max)
    values = after.flatten(1)[:, torch.from_numpy(place)].mul(top).round_().clamp_(0.0, top)
    same = before.reshape(-1, 3)[place] == values.numpy().T
    changed: NDArray[np.bool_] = ~same.all(axis=1)
    return changed


def _from_tracks(
    stats: Array, lines: ScratchMap, index: int, confidence: NDArray[np.uint8], link: NDArray[np.int32]
) -> None:
    """Find the scratch of the shot that each mark is a part of: the surest whose middle passes through its box."""
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    right, middle = left + stats[:, cv2.CC_STAT_WIDTH], top + stats[:, cv2.CC_STAT_HEIGHT] / 2
    best = np.full(len(stats), -1.0)
    for number, track in enumerate(lines.tracks):
        at = index - track.first
        if not 0 <= at < len(track.x):
            continue
        x = track.x[at] + track.tilt[at] * (middle - lines.height / 2)
        surer = (x >= left - _NEAR_PX) & (x < right + _NEAR_PX) & (track.certainty > best)
        best[surer], link[surer] = track.certainty, number
    known = best >= 0
    confidence[known] = np.rint(100 * best[known].clip(0, 1))


def _from_certainty(owner: Array, place: Array, certainty: MarkCertainty, confidence: NDArray[np.uint8]) -> None:
    """How sure it was of each mark where it was found, in the mean; marks that were grown or given have no share."""
    count = len(confidence)
    at = np.searchsorted(certainty.place, place)
    at[at == len(certainty.place)] = 0
    known = (certainty.place[at] == place) if len(certainty.place) else np.zeros(len(place), bool)
    pixels = np.bincount(owner[known], minlength=count)
    sums: NDArray[Any] = np.bincount(owner[known], certainty.value[at[known]].astype(np.float64), count)
    told = pixels > 0
    confidence[told] = np.rint(100 * (sums[told] / pixels[told]).clip(0, 1))
