"""Image sequences as films: reading a folder of numbered pictures."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av

from ...errors import FilmFileError, SettingsError
from ..colour import ColourConverter, layout_of
from ..info import FilmFrame, FilmInfo
from ..stream import FilmReader, number_ranges
from .dpx import DpxHeader
from .exr import attributes_of, timecode_of
from .names import DECODERS, number_of, sequence_files
from .pictures import PictureDecoder, as_coded, is_light

_RATE = Fraction(24)
"""Frames per second of pictures that do not say a rate: that of sound film."""


class SequenceReader(FilmReader):
    """Reads a folder of images in natural order of their names.

    A gap in the numbering is warned about and not filled. A picture that cannot be decoded is replaced by its last
    good neighbour, as in a film file. Timestamps count frames.

    Args:
        path: A folder, or a pattern such as ``scan_%06d.png``.
        frame_rate: Frames per second; None is what the first picture says, which only DPX does, else 24.

    Raises:
        FilmFileError: There is no folder or no picture, several sequences share the folder, pictures differ in
            size, or none can be decoded.
    """

    def __init__(self, path: str | os.PathLike[str], *, frame_rate: Fraction | None = None) -> None:
        super().__init__(os.fspath(path))
        if frame_rate is not None and frame_rate <= 0:
            raise SettingsError(f"sequence_rate {frame_rate} is not positive; give frames per second")
        self._files = sequence_files(Path(path))
        self._decoder = PictureDecoder()
        numbers = [number_of(file) for file in self._files]
        present = [n for n in numbers if n is not None]
        if len(present) == len(numbers) > 1:
            missing = sorted(set(range(present[0], present[-1] + 1)) - set(present))
            if missing:
                self._warn_at_opening(
                    f"pictures number {number_ranges(missing)} are missing from {self.name}; the film goes on without "
                    "them, and an image sequence made from it keeps the numbers"
                )
        # Where one picture has no number, or two have the same, the numbers say nothing of the place in the film.
        rising = len(present) == len(numbers) and all(a < b for a, b in pairwise(present))
        self._numbers = numbers if rising else [None] * len(numbers)
        raw, first_file = self._check_sizes()
        first = as_coded(raw, self.name)
        header = DpxHeader.of_file(first_file) if first_file.suffix.lower() == ".dpx" else None
        if header is not None and header.is_logarithmic:
            self._warn_at_opening(
                f"the pictures of {self.name} hold densities (logarithmic DPX); they are worked on as they are, and "
                "written so to whatever is made of them"
            )
        timecode = header.timecode if header is not None else None
        if first_file.suffix.lower() == ".exr":
            timecode = timecode_of(attributes_of(first_file))
        rate = frame_rate or (None if header is None else header.frame_rate) or _RATE
        layout = layout_of(first.format.name)
        self.info = FilmInfo(
            path=self.name,
            width=first.width,
            height=first.height,
            frame_rate=rate,
            time_base=1 / rate,
            frame_count=len(self._files),
            bit_depth=layout.bits,
            pix_fmt=first.format.name,
            codec=DECODERS[self._files[0].suffix.lower()],
            colour_range=int(raw.color_range) or (2 if layout.full_range else 0),
            colour_matrix=int(raw.colorspace),
            colour_primaries=int(raw.color_primaries),
            colour_transfer=int(raw.color_trc),
            rotation=raw.rotation,
            duration=float(len(self._files) / rate),
            start_number=1 if numbers[0] is None else numbers[0],
            timecode=None if timecode is None else str(timecode),
            scene_linear=is_light(raw),
        )
        self._converter = ColourConverter(
            self.info.width, self.info.height, self.info.colour_matrix, self.info.colour_range
        )

    def _check_sizes(self) -> tuple[av.VideoFrame, Path]:
        """Return the first picture that can be decoded and its file, after comparing the sizes of all."""
        from PIL import Image, UnidentifiedImageError

        first: av.VideoFrame | None = None
        first_file = self._files[0]
        for file in self._files:
            if first is None:
                first, first_file = self._decoder.decode(file), file
                continue
            try:
                with Image.open(file) as picture:
                    size = picture.size
            except (UnidentifiedImageError, OSError):
                # A damaged header, or a format Pillow does not read; decoding tells.
                continue
            if size != (first.width, first.height):
                raise FilmFileError(
                    f"{file.name} is {size[0]}x{size[1]}, but {first_file.name} is {first.width}x{first.height}; "
                    "make all pictures of the sequence one size"
                )
        if first is None:
            raise FilmFileError(f"none of the {len(self._files)} pictures in {self.name} can be decoded")
        return first, first_file

    def _frames(self) -> Iterator[FilmFrame]:
        waiting: list[int] = []
        last: FilmFrame | None = None
        for index, file in enumerate(self._files):
            picture = self._decoder.decode(file)
            if picture is None:
                self.undecodable.append(index)
                if last is None:
                    waiting.append(index)
                else:
                    yield self._substitute(last, index)
                continue
            if (picture.width, picture.height) != (self.info.width, self.info.height):
                raise FilmFileError(
                    f"{file.name} is {picture.width}x{picture.height}, the sequence began as "
                    f"{self.info.width}x{self.info.height}; make all pictures one size"
                )
            if picture.is_corrupt:
                self.damaged.append(index)
            picture = as_coded(picture, file.name)
            shown = functools.partial(self._converter.rgb, picture)
            last = FilmFrame(
                index=index, pts=index, duration=1, image=shown, source=picture, number=self._numbers[index]
            )
            while waiting:
                yield self._substitute(last, waiting.pop(0))
            yield last

    def _substitute(self, neighbour: FilmFrame, index: int) -> FilmFrame:
        return FilmFrame(
            index=index,
            pts=index,
            duration=1,
            image=functools.partial(getattr, neighbour, "image"),
            source=neighbour.source,
            substitute=True,
            number=self._numbers[index],
        )
