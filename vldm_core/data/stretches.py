"""Random access to the pictures of films and photographs, with a bounded amount of memory.

Films are decoded in stretches of `STRETCH` frames, each from the key frame before it, so that a stretch is the same
whatever was asked for before. They are kept reduced, as 8 bits, and those not used for longest are dropped first.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ..arrays import ByteArray
from ..errors import FilmFileError
from ..video.colour import ColourConverter
from ..video.reading.container import open_input, video_packets, video_stream
from ..video.reading.reader import open_film

STRETCH = 32
"""Frames that are decoded together."""

_INDEXED_FRAMES = 20_000
"""Frames of a film that are used: the index of a feature film need not be read to its end."""


class Stretches:
    """Pictures of films and photographs, 8 bits, reduced to a size.

    Args:
        film_lines: Length to which the shorter side of a film is reduced, px; smaller films stay as they are.
        photo_side: The same for the longer side of a photograph.
        memory: Most bytes of pictures that are kept.
    """

    def __init__(self, *, film_lines: int, photo_side: int, memory: int) -> None:
        self._film_lines, self._photo_side, self._memory = film_lines, photo_side, memory
        self._kept: OrderedDict[tuple[Path, int], ByteArray] = OrderedDict()
        self._bytes = 0
        self._times: dict[Path, list[int]] = {}

    def __getstate__(self) -> dict[str, object]:
        """Go to another process without the pictures."""
        return {**self.__dict__, "_kept": OrderedDict(), "_bytes": 0}

    def count(self, film: Path) -> int:
        """Return the number of frames of a film.

        Raises:
            FilmFileError: It cannot be read.
        """
        return len(self._index(film))

    def frames(self, film: Path, numbers: Sequence[int]) -> list[ByteArray]:
        """Return some frames of a film.

        Args:
            film: The file; it is taken as progressive.
            numbers: Frame numbers, in any order, in 0 … count - 1.

        Returns:
            RGB pictures (H, W, 3).

        Raises:
            FilmFileError: It cannot be read.
        """
        needed = sorted({number // STRETCH for number in numbers})
        held = {block: self._keep((film, block), partial(self._decode, film, block)) for block in needed}
        return [held[number // STRETCH][number % STRETCH] for number in numbers]

    def photo(self, path: Path) -> ByteArray:
        """Return a photograph, RGB (H, W, 3).

        Raises:
            FilmFileError: It cannot be read.
        """
        return self._keep((path, 0), partial(_read_photo, path, self._photo_side))

    def _keep(self, key: tuple[Path, int], make: Callable[[], ByteArray]) -> ByteArray:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        made = make()
        self._kept[key] = made
        self._bytes += made.nbytes
        while self._bytes > self._memory and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.nbytes
        return made

    def _index(self, film: Path) -> list[int]:
        """Return the presentation time of every frame, in order."""
        if film not in self._times:
            times = []
            with open_input(film) as container:
                for packet in video_packets(container, video_stream(container, str(film))):
                    if packet.pts is not None and not packet.is_discard:
                        times.append(packet.pts)
                    if len(times) == _INDEXED_FRAMES:
                        break
            if not times:
                raise FilmFileError(f"{film} states no time for its frames; convert it to MP4 or Matroska")
            self._times[film] = sorted(times)
        return self._times[film]

    def _decode(self, film: Path, block: int) -> ByteArray:
        """Return the frames of one stretch, (up to STRETCH, H, W, 3)."""
        times = self._index(film)
        wanted = times[block * STRETCH : (block + 1) * STRETCH]
        info = open_film(film, deinterlace="off").info
        converter = ColourConverter(info.width, info.height, info.colour_matrix, info.colour_range)
        found: dict[int, ByteArray] = {}
        with open_input(film) as container:
            stream = video_stream(container, str(film))
            container.seek(wanted[0], stream=stream, backward=True)
            for frame in container.decode(stream):
                if frame.pts is None or frame.pts < wanted[0]:
                    continue
                if frame.pts > wanted[-1]:
                    break
                image = converter.rgb(frame)
                if image.dtype == np.uint16:
                    image = np.round(image / 257.0).astype(np.uint8)
                found[frame.pts] = _reduced(image, self._film_lines / min(image.shape[:2]))
        if not found:
            raise FilmFileError(f"no frame from number {block * STRETCH} on of {film} can be decoded; leave it out")
        # A frame that is damaged is replaced by the one before it, or at the start by the one after.
        have = sorted(found)
        return np.stack([found[have[max(bisect_right(have, time) - 1, 0)]] for time in wanted])


def _read_photo(path: Path, side: int) -> ByteArray:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise FilmFileError(f"{path} cannot be read as a picture; replace it or leave it out")
    return _reduced(np.ascontiguousarray(picture[..., ::-1]), side / max(picture.shape[:2]))


def _reduced(image: ByteArray, scale: float) -> ByteArray:
    if scale >= 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
