"""Image sequences as films: writing a folder of numbered pictures."""

from __future__ import annotations

import io
import logging
import os
import shutil
from pathlib import Path

import numpy as np
from torch import Tensor

from ...errors import FilmFileError, SettingsError
from ...files.temporary import temporary_folder, umask
from ..colour import ColourConverter, alpha_of, at_depth, layout_of
from ..info import FilmFrame, FilmInfo, image_from_tensor
from ..reading.container import FilmSource, source_name
from ..scene_linear import as_srgb
from ..stream import FilmWriter
from ..writing.encoding import WriteSettings
from .coders import CODERS, PicturePlace
from .names import is_sequence, named, pictures_like, refuse_pictures, sequence_files, split_pattern

_logger = logging.getLogger(__name__)


class SequenceWriter(FilmWriter):
    """Writes a folder of PNG, TIFF, DPX or OpenEXR pictures.

    The pictures are made in a hidden folder beside the target and moved when all are complete. A display rotation is
    applied to the pixels, since pictures carry none. Pictures have the least depth of their kind that holds the film,
    unless another is asked for.

    Args:
        path: A folder, or a pattern such as ``out/scan_%06d.dpx``.
        info: The film.
        settings: Depth, and what may be replaced.
        source: What the film is read from. Of the pictures of a sequence, headers and untouched light are carried over.
    """

    def __init__(
        self, path: str | os.PathLike[str], info: FilmInfo, *, settings: WriteSettings, source: FilmSource | None
    ) -> None:
        folder, self._pattern = split_pattern(Path(path))
        super().__init__(folder)
        suffix = Path(self._pattern).suffix.lower()
        if suffix not in CODERS:
            raise FilmFileError(
                f"cannot write {suffix or 'nameless'} pictures; an image sequence is written as {', '.join(CODERS)}"
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
        self._sources: list[Path] = []
        if source is not None and not isinstance(source, io.BytesIO) and is_sequence(source):
            read = Path(source) if Path(source).is_dir() else Path(source).parent
            if folder.is_dir() and read.samefile(folder) and self._earlier():
                raise FilmFileError(f"{folder} is the sequence being read; name another folder")
            self._sources = sequence_files(Path(source))
        self._check_target()
        self._turns = info.rotation // 90 % 4
        first = self._sources[0] if self._sources and not self._turns else None
        self._coder = CODERS[suffix](info, settings.bits, first)
        for message in self._coder.warnings:
            self._tell(message)
        self._converter = ColourConverter(info.width, info.height, info.colour_matrix, info.colour_range)
        self._temporary = temporary_folder(folder.absolute())

    def _check_target(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise FilmFileError(f"{self.path} is a file; name another folder for the image sequence")
        if not self._overwrite:
            refuse_pictures(self.path / self._pattern)

    def _earlier(self) -> list[Path]:
        """The pictures of the target folder whose names are like those to be written."""
        return pictures_like(self.path, self._pattern)

    def write(self, frame: FilmFrame, restored: Tensor | None = None) -> None:
        """Append a frame; see ``FilmWriter.write``."""
        if not self._open:
            raise FilmFileError(f"{self.path} has been closed; open a new writer")
        expected = (self.info.height, self.info.width, 3)
        image = self._image_of(frame, restored)
        if image.shape != expected:
            raise SettingsError(f"frame {frame.index} has shape {image.shape}, the film being written {expected}")
        alpha = self._alpha_of(frame, image.dtype)
        if alpha is not None:
            image = np.dstack((image, alpha))
        if self._turns:
            image = np.ascontiguousarray(np.rot90(image, self._turns))
        # A sequence with gaps keeps its numbers; what has none, or comes twice, is counted on.
        number = self._last_number + 1
        if frame.number is not None and frame.number > number:
            number = frame.number
        self._last_number = number
        name = named(self._pattern, number)
        coded = self._coder.encode(image, self._place_of(frame, number))
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
        if layout.name == "pal8" and bool((alpha == (1 << layout.bits) - 1).all()):
            # A palette may hold transparency, and seldom does.
            return None
        return at_depth(alpha, layout.bits, 8 if dtype == np.uint8 else 16)

    def _image_of(self, frame: FilmFrame, restored: Tensor | None) -> np.ndarray:
        """Return what is written of a frame (H, W, 3): uint8 for pictures of 8 bits, else uint16."""
        shown = frame.image
        image = shown if restored is None else image_from_tensor(restored, shown.dtype)
        if self.info.scene_linear and not self._coder.holds_light:
            image = as_srgb(image)
        if self._coder.bits == 8:
            return at_depth(image, 16, 8) if image.dtype == np.uint16 else image
        if image.dtype == np.uint16:
            return image
        wide = image.astype(np.uint16) * 257
        if restored is None or image.shape != shown.shape:
            return wide
        # What has changed is written as finely as the pictures hold it.
        changed = (image != shown).any(axis=2, keepdims=True)
        return np.where(changed, image_from_tensor(restored, np.uint16), wide)

    def _place_of(self, frame: FilmFrame, number: int) -> PicturePlace:
        source = self._sources[frame.index] if frame.index < len(self._sources) and not self._turns else None
        return PicturePlace(number - self.info.start_number, None if frame.substitute else source)

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
