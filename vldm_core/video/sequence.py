"""Image sequences as films: a folder of numbered pictures in, a folder of numbered pictures out."""

from __future__ import annotations

import functools
import io
import logging
import os
import re
import shutil
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from torch import Tensor

from ..errors import FilmFileError, SettingsError
from ..files.temporary import temporary_folder, umask
from .colour import ColourConverter, alpha_of, layout_of
from .info import FilmFrame, FilmInfo, image_from_tensor
from .reading.container import FilmSource, source_name
from .stream import FilmReader, FilmWriter, number_ranges
from .writing.encoding import CONTAINERS, WriteSettings

_logger = logging.getLogger(__name__)

DECODERS = {
    ".png": "png",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".jpg": "mjpeg",
    ".jpeg": "mjpeg",
    ".webp": "webp",
    ".bmp": "bmp",
    ".dpx": "dpx",
    ".jp2": "jpeg2000",
}
# Lossless only: a restored sequence is an intermediate for further work.
ENCODERS = {".png": "png", ".tif": "tiff", ".tiff": "tiff"}
_NUMBERED = re.compile(r"%0?(\d*)d")
_DEFAULT_PATTERN = "frame_%06d.png"


def is_sequence(path: str | os.PathLike[str]) -> bool:
    """Whether a source names an image sequence: a folder, or a pattern such as ``scan_%06d.png``.

    A file that exists is no pattern, whatever its name, and neither is the name of a film file.
    """
    path = Path(path)
    if path.suffix.lower() in CONTAINERS or path.is_file():
        return path.is_dir()
    return path.is_dir() or _NUMBERED.search(path.name) is not None


def names_sequence(path: str | os.PathLike[str]) -> bool:
    """Whether an output path asks for an image sequence: also a name without suffix or with a trailing slash."""
    return os.fspath(path).endswith(("/", os.sep)) or Path(path).suffix == "" or is_sequence(path)


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key by which ``frame2`` comes before ``frame10``."""
    return tuple(
        (0, int(p), "") if p.isdecimal() and p.isascii() else (1, 0, p.lower())
        for p in re.split(r"([0-9]+)", name)
        if p
    )


class SequenceReader(FilmReader):
    """Reads a folder of images in natural order of their names.

    A gap in the numbering is warned about and not filled. A picture that cannot be decoded is replaced by its last
    good neighbour, as in a film file. Timestamps count frames.

    Args:
        path: A folder, or a pattern such as ``scan_%06d.png``.
        frame_rate: Frames per second.

    Raises:
        FilmFileError: There is no folder or no picture, several sequences share the folder, pictures differ in
            size, or none can be decoded.
    """

    def __init__(self, path: str | os.PathLike[str], *, frame_rate: Fraction) -> None:
        super().__init__(os.fspath(path))
        if frame_rate <= 0:
            raise SettingsError(f"sequence_rate {frame_rate} is not positive; give frames per second")
        self._files = _sequence_files(Path(path))
        self._decoders: dict[str, av.CodecContext] = {}
        numbers = [_number(file) for file in self._files]
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
        first = self._check_sizes()
        layout = layout_of(first.format.name)
        self.info = FilmInfo(
            path=self.name,
            width=first.width,
            height=first.height,
            frame_rate=frame_rate,
            time_base=1 / frame_rate,
            frame_count=len(self._files),
            bit_depth=layout.bits,
            pix_fmt=first.format.name,
            codec=DECODERS[self._files[0].suffix.lower()],
            colour_range=int(first.color_range) or (2 if layout.full_range else 0),
            colour_matrix=int(first.colorspace),
            colour_primaries=int(first.color_primaries),
            colour_transfer=int(first.color_trc),
            rotation=first.rotation,
            duration=float(len(self._files) / frame_rate),
            start_number=1 if numbers[0] is None else numbers[0],
        )
        self._converter = ColourConverter(
            self.info.width, self.info.height, self.info.colour_matrix, self.info.colour_range
        )

    def _check_sizes(self) -> av.VideoFrame:
        """Return the first picture that can be decoded, after comparing the sizes of all."""
        from PIL import Image, UnidentifiedImageError

        first: av.VideoFrame | None = None
        first_file = self._files[0]
        for file in self._files:
            if first is None:
                first, first_file = self._decode(file), file
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
        return first

    def _decode(self, file: Path) -> av.VideoFrame | None:
        kind = DECODERS[file.suffix.lower()]
        try:
            data = file.read_bytes()
        except OSError as error:
            raise FilmFileError(f"{file} cannot be read: {error.strerror or error}") from error
        if not data:
            return None
        decoder = self._decoders.get(kind)
        if decoder is None:
            decoder = self._decoders[kind] = av.CodecContext.create(kind, "r")
            decoder.thread_count = 1
        packet = av.Packet(data)
        # Without this the PNG decoder takes the picture for a difference to the one before.
        packet.is_keyframe = True
        try:
            frames = decoder.decode(packet)
        except av.FFmpegError:
            del self._decoders[kind]
            return None
        return frames[0] if frames else None

    def _frames(self) -> Iterator[FilmFrame]:
        waiting: list[int] = []
        last: FilmFrame | None = None
        for index, file in enumerate(self._files):
            picture = self._decode(file)
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


class SequenceWriter(FilmWriter):
    """Writes a folder of PNG or TIFF pictures.

    The pictures are made in a hidden folder beside the target and moved when all are complete. A display rotation is
    applied to the pixels, since pictures carry none. Frames of more than 8 bits become 16-bit pictures.
    """

    def __init__(
        self, path: str | os.PathLike[str], info: FilmInfo, *, settings: WriteSettings, source: FilmSource | None
    ) -> None:
        folder, self._pattern = _split_pattern(Path(path))
        super().__init__(folder)
        suffix = Path(self._pattern).suffix.lower()
        if suffix not in ENCODERS:
            raise FilmFileError(
                f"cannot write {suffix or 'nameless'} pictures; an image sequence is written as {', '.join(ENCODERS)}"
            )
        if settings.codec != "auto":
            raise FilmFileError(
                f"codec {settings.codec!r} needs a film file; name one such as {folder.name}.mkv, or leave codec at "
                "'auto' for an image sequence"
            )
        if info.rotation % 90:
            raise FilmFileError(
                f"a rotation of {info.rotation} degrees cannot be stored in pictures; write a film file"
            )
        self.info = info
        self._overwrite = settings.overwrite
        self._last_number = info.start_number - 1
        if source is not None and info.has_audio:
            self._tell(f"an image sequence holds no sound; that of {source_name(source)} is left out")
        if info.timecode is not None:
            self._tell(f"an image sequence holds no timecode; the film's, which starts at {info.timecode}, is left out")
        if source is not None and not isinstance(source, io.BytesIO) and is_sequence(source):
            read = Path(source) if Path(source).is_dir() else Path(source).parent
            if folder.is_dir() and read.samefile(folder) and self._earlier():
                raise FilmFileError(f"{folder} is the sequence being read; name another folder")
        self._check_target()
        self._turns = info.rotation // 90 % 4
        grey = layout_of(info.pix_fmt).model == "gray"
        deep = info.bit_depth > 8
        # Both formats' 16-bit pictures are what the frames are made of: no further rounding.
        order = "be" if suffix == ".png" else "le"
        self._format = {
            (False, False): "rgb24",
            (False, True): f"rgb48{order}",
            (True, False): "gray",
            (True, True): f"gray16{order}",
        }[grey, deep]
        self._grey = grey
        self._with_alpha = "rgba" if not deep else f"rgba64{order}"
        self._converter = ColourConverter(info.width, info.height, info.colour_matrix, info.colour_range)
        self._encoder = ENCODERS[suffix]
        self._contexts: dict[str, av.CodecContext] = {}
        self._temporary = temporary_folder(folder.absolute())

    def _check_target(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise FilmFileError(f"{self.path} is a file; name another folder for the image sequence")
        if not self._overwrite:
            refuse_pictures(self.path / self._pattern)

    def _earlier(self) -> list[Path]:
        """The pictures of the target folder whose names are like those to be written."""
        return _pictures_like(self.path, self._pattern)

    def write(self, frame: FilmFrame, restored: Tensor | None = None) -> None:
        """Append a frame; see ``FilmWriter.write``."""
        if not self._open:
            raise FilmFileError(f"{self.path} has been closed; open a new writer")
        image = frame.image if restored is None else image_from_tensor(restored, frame.image.dtype)
        expected = (self.info.height, self.info.width, 3)
        if image.shape != expected:
            raise SettingsError(f"frame {frame.index} has shape {image.shape}, the film being written {expected}")
        alpha = self._alpha_of(frame, image.dtype)
        if alpha is not None:
            image = np.dstack((image, alpha))
        if self._turns:
            image = np.ascontiguousarray(np.rot90(image, self._turns))
        if image.dtype == np.uint8 and self._format not in ("rgb24", "gray"):
            image = image.astype(np.uint16) * 257
        # A sequence with gaps keeps its numbers; what has none, or comes twice, is counted on.
        number = self._last_number + 1
        if frame.number is not None and frame.number > number:
            number = frame.number
        self._last_number = number
        name = _NUMBERED.sub(lambda m: f"{number:0{m[1] or 1}d}", self._pattern)
        coded = self._encode(image)
        try:
            with (self._temporary / name).open("wb") as file:
                file.write(coded)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise FilmFileError(
                f"writing {name} of {self.path} failed at frame {self.frames_written}: {error.strerror or error}"
            ) from error
        self.frames_written += 1

    def _tell(self, message: str) -> None:
        self.warnings.append(message)
        _logger.warning("%s", message)

    def _alpha_of(self, frame: FilmFrame, dtype: np.dtype) -> np.ndarray | None:
        """Return the transparency of a frame (H, W) over the full range of a type, or None where it has none."""
        source = frame.source
        alpha = None if source is None else alpha_of(source, self._converter)
        if source is None or alpha is None:
            return None
        layout = layout_of(source.format.name)
        top = (1 << layout.bits) - 1
        if layout.name == "pal8" and bool((alpha == top).all()):
            # A palette may hold transparency, and seldom does.
            return None
        full = np.iinfo(dtype).max
        scaled: np.ndarray = np.rint(alpha.astype(np.float64) * full / top).astype(dtype)
        return scaled

    def _encode(self, image: np.ndarray) -> bytes:
        """Encode a picture (H, W, 3), or (H, W, 4) with transparency."""
        pixel_format = self._format if image.shape[2] == 3 else self._with_alpha
        equal = (image[..., 0] == image[..., 1]) & (image[..., 1] == image[..., 2])
        grey = image.shape[2] == 3 and self._grey and bool(equal.all())
        if image.shape[2] == 3 and self._grey and not grey:
            # A gray film that has been coloured keeps its colour.
            pixel_format = pixel_format.replace("gray16", "rgb48") if "16" in pixel_format else "rgb24"
        context = self._contexts.get(pixel_format)
        if context is None:
            context = av.CodecContext.create(self._encoder, "w")
            context.width, context.height, context.pix_fmt = image.shape[1], image.shape[0], pixel_format
            context.time_base = Fraction(1, 25)
            context.thread_count = 1
            if self._encoder == "tiff":
                context.options = {"compression_algo": "lzw"}
            self._contexts[pixel_format] = context
        samples = np.ascontiguousarray(image[..., 0]) if grey else image
        picture = av.VideoFrame.from_ndarray(samples, format=pixel_format)
        picture.pts = self.frames_written
        return b"".join(bytes(packet) for packet in context.encode(picture))

    def _finish(self, target: Path, *, partial: bool) -> None:
        try:
            self._move(target)
        except OSError as error:
            raise FilmFileError(f"finishing {self.path} failed: {error.strerror or error}") from error

    def _rescue(self, target: Path) -> bool:
        try:
            os.replace(self._temporary, target)
        except OSError:
            return False
        return True

    def _move(self, target: Path) -> None:
        os.chmod(self._temporary, 0o777 & ~umask())
        if target.is_dir():
            earlier = self._earlier() if target == self.path else []
            made = {file.name for file in self._temporary.iterdir()}
            for file in sorted(self._temporary.iterdir()):
                os.replace(file, target / file.name)
            self._temporary.rmdir()
            # What was there before, and is to be replaced, goes when the new pictures lie in its place.
            for file in earlier:
                if file.name not in made:
                    file.unlink()
        else:
            os.replace(self._temporary, target)

    def _discard(self) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)


def refuse_pictures(path: Path) -> None:
    """Refuse to write among pictures of the same kind of name.

    Args:
        path: A folder, or a pattern in one, as for ``open_writer``.

    Raises:
        FilmFileError: There are such pictures.
    """
    folder, pattern = _split_pattern(path)
    if _pictures_like(folder, pattern):
        raise FilmFileError(
            f"{folder} already holds pictures named like {pattern}; name another folder, or ask for --overwrite"
        )


def _pictures_like(folder: Path, pattern: str) -> list[Path]:
    names = _name_expression(pattern)
    return [f for f in folder.iterdir() if names.fullmatch(f.name)] if folder.is_dir() else []


def _split_pattern(path: Path) -> tuple[Path, str]:
    if _NUMBERED.search(path.name):
        return path.parent, path.name
    return path, _DEFAULT_PATTERN


def _name_expression(pattern: str) -> re.Pattern[str]:
    """Turn a file-name pattern into a regular expression."""
    before, _, after = _NUMBERED.split(pattern, maxsplit=1)
    return re.compile(rf"{re.escape(before)}\d+{re.escape(after)}")


def _sequence_files(path: Path) -> list[Path]:
    folder = path if path.is_dir() else path.parent
    try:
        names = sorted((f for f in folder.iterdir() if f.suffix.lower() in DECODERS), key=lambda f: natural_key(f.name))
    except FileNotFoundError as error:
        raise FilmFileError(f"the folder {folder} does not exist; check the path") from error
    except OSError as error:
        raise FilmFileError(f"the folder {folder} cannot be read: {error.strerror or error}") from error
    files = [f for f in names if not f.name.startswith(".") and f.is_file()]
    if not path.is_dir():
        pattern = _name_expression(path.name)
        files = [f for f in files if pattern.fullmatch(f.name)]
    if not files:
        what = path.name if not path.is_dir() else ", ".join(DECODERS)
        raise FilmFileError(f"{folder} holds no pictures ({what}); give the folder of an image sequence")
    series: dict[str, int] = {}
    for file in files:
        series.setdefault(_series(file), 0)
        series[_series(file)] += 1
    numbered = {name: count for name, count in series.items() if "#" in name}
    if len(numbered) > 1 or (numbered and len(numbered) < len(series)):
        listed = ", ".join(f"{name} ({count})" for name, count in list(series.items())[:4])
        raise FilmFileError(
            f"{folder} holds more than one sequence: {listed}; give one as a pattern such as scan_%06d.png"
        )
    return files


def _series(file: Path) -> str:
    """The name with its last number replaced by ``#``."""
    return re.sub(r"[0-9]+(?=[^0-9]*$)", "#", file.stem) + file.suffix.lower()


def _number(file: Path) -> int | None:
    found = re.findall(r"[0-9]+", file.stem)
    return int(found[-1]) if found else None
