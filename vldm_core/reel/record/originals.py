"""Whole frames of the source in a record: kept without loss, and given back where all of a frame was changed."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import av
import numpy as np

from ...errors import FilmFileError
from ...video.colour import ColourConverter, sample_view
from ...video.info import FilmFrame, FilmInfo
from .finding import SampleForm
from .repairs import Array

Planes = tuple[Array, ...]
"""The samples of a frame, a plane (h, w) each."""


class FramePlanes:
    """Takes frames apart into planes of samples, and puts them together again.

    Args:
        info: Of the film.
        form: How its samples are recorded.
    """

    def __init__(self, info: FilmInfo, form: SampleForm) -> None:
        self._info, self._form = info, form
        self._converter = ColourConverter(info.width, info.height, info.colour_matrix, info.colour_range)

    def of(self, frame: FilmFrame) -> Planes:
        """The planes of a frame as they would be written unrepaired."""
        if frame.source is None:
            planar = self._converter.frame(frame.image, self._form.name)
        else:
            planar = self._converter.reformat(frame.source, self._form.name)
        return tuple(sample_view(planar, plane).copy() for plane in range(self._form.planes))

    def in_place(self, frame: FilmFrame, planes: Sequence[Array]) -> FilmFrame:
        """Return a frame with other samples; transparency stays.

        Raises:
            FilmFileError: The planes are of another size.
        """
        assert frame.source is not None, "every frame that is read from a file has its samples"
        planar = self._converter.reformat(frame.source, self._form.name)
        made = av.VideoFrame(self._info.width, self._info.height, self._form.name)
        for plane in range(len(planar.planes)):
            view = sample_view(made, plane)
            if plane >= len(planes):
                view[...] = sample_view(planar, plane)
            elif view.shape == planes[plane].shape:
                view[...] = planes[plane]
            else:
                height, width = planes[plane].shape
                raise FilmFileError(f"frame {frame.index} of the record has a plane of {width}×{height} samples")
        return replace(frame, image=functools.partial(self._converter.rgb, made), source=made)


def packed(frames: Sequence[Planes]) -> dict[str, Array]:
    """Frames that follow on each other as arrays for a file: each sample less the one to its left, to pack well."""
    return {
        f"plane_{number}": np.diff(np.stack(planes), axis=-1, prepend=planes[0].dtype.type(0))
        for number, planes in enumerate(zip(*frames, strict=True))
    }


def unpacked(arrays: Mapping[str, Array]) -> list[Planes]:
    """Return the frames from what `packed` gave."""
    planes = [arrays[f"plane_{number}"] for number in range(len(arrays))]
    # Sums wrap around as the differences did.
    whole = [np.cumsum(plane, axis=-1, dtype=plane.dtype) for plane in planes]
    return list(zip(*whole, strict=True))
