"""Writing a film file frame by frame: unchanged samples stay untouched, sound and timing are kept."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from torch import Tensor

from ...errors import FilmFileError, SettingsError
from ...files.temporary import temporary_file
from ..colour import ColourConverter, alpha_of, at_depth, deepened, layout_of, sample_view
from ..info import FilmFrame, FilmInfo, image_from_tensor
from ..reading.container import FilmSource, file_url, open_input, same_file, source_name, video_packets, video_stream
from ..reading.edited import EditedFilm, FilmPart
from ..scene_linear import SRGB_TRANSFER, as_srgb
from ..stream import FilmWriter
from .encoding import Encoding, OutputClock, WriteSettings, plan_encoding
from .matroska import reserve_title, store_display_size
from .sound import PacketCopier

_logger = logging.getLogger(__name__)

__all__ = ["VideoFileWriter", "WriteSettings", "open_writer"]

# Largest difference between channels, of 255, that a gray output may drop without a word.
_NEUTRAL = 8


def open_writer(
    path: str | os.PathLike[str],
    info: FilmInfo,
    *,
    settings: WriteSettings | None = None,
    source: FilmSource | EditedFilm | None = None,
) -> FilmWriter:
    """Open a film for writing.

    Args:
        path: A .mkv, .mp4, .m4v or .mov file; or a folder (no suffix, a trailing slash, an existing folder) or a
            pattern such as ``out/scan_%06d.tif`` for an image sequence.
        info: The film being written, usually the reader's ``info``: size, timing, colour and orientation are taken
            from it.
        settings: Codec and quality.
        source: Film whose sound and subtitle packets are copied in step with the pictures, or None for none.

    Returns:
        A context manager with ``write(frame, restored)``.

    Raises:
        FilmFileError: The folder is missing or not writable, the output exists or is the source, the container holds
            neither the codec nor the sound, or it cannot carry the film's rotation.
        SettingsError: A setting has an unknown value.
    """
    from ..sequences.names import is_sequence, names_sequence
    from ..sequences.writer import SequenceWriter

    settings = settings or WriteSettings()
    if names_sequence(path):
        read = source.parts[0].source if isinstance(source, EditedFilm) else source
        return SequenceWriter(path, info, settings=settings, source=read)
    if source is not None and (source.holds(path) if isinstance(source, EditedFilm) else same_file(source, path)):
        raise FilmFileError(f"{path} is the film being read; choose another output name")
    if not settings.overwrite:
        refuse_existing(path)
    if isinstance(source, str | os.PathLike) and is_sequence(source):
        source = None
    return VideoFileWriter(Path(path), info, settings=settings, source=source)


def refuse_existing(path: str | os.PathLike[str]) -> None:
    """Refuse to write over a file or among pictures of the same name; for before work that precedes ``open_writer``.

    Args:
        path: As for ``open_writer``.

    Raises:
        FilmFileError: There is a file of that name, or there are such pictures.
    """
    from ..sequences.names import names_sequence, refuse_pictures

    path = Path(path)
    if names_sequence(path) and not path.is_file():
        refuse_pictures(path)
    elif path.is_file():
        raise FilmFileError(f"{path} exists already; choose another name, or ask for --overwrite")


class VideoFileWriter(FilmWriter):
    """Writes a film file through FFmpeg. See ``open_writer``."""

    def __init__(
        self, path: Path, info: FilmInfo, *, settings: WriteSettings, source: FilmSource | EditedFilm | None
    ) -> None:
        super().__init__(path)
        self._told: set[str] = set()
        self._is_shown = info.scene_linear and not settings.intermediate
        if self._is_shown:
            self._tell_once(
                f"{path.name} holds no scene-linear light; 0 to 1 is written as sRGB and what is brighter as white: "
                "write .exr pictures to keep it"
            )
            info = replace(info, scene_linear=False, colour_transfer=SRGB_TRANSFER)
        self.info = info
        self._encoding = plan_encoding(path, info, settings)
        self._converter = ColourConverter(
            info.width, info.height, self._encoding.colour_matrix, self._encoding.colour_range
        )
        self._target = layout_of(self._encoding.pix_fmt)
        source_layout = layout_of(info.pix_fmt)
        as_read = ColourConverter(info.width, info.height, info.colour_matrix, info.colour_range)
        self._moves_range = source_layout.model == self._target.model and (
            as_read.is_full(source_layout) != self._converter.is_full(self._target)
        )
        self._timeline = OutputClock(info, self._encoding.muxer)
        self._durations: dict[int, int] = {}
        if settings.pix_fmt is None and layout_of(info.pix_fmt).alpha and not self._target.alpha:
            self._tell_once(
                f"{self._encoding.codec} holds no transparency; that of the film is left out: write a .mkv file with "
                "ffv1, a .mov file with prores, or .png, .tif or .exr pictures, to keep it"
            )
        self._copier: PacketCopier | None = None
        if path.is_dir():
            raise FilmFileError(f"{path} is a folder; give a file name, or a name without suffix for an image sequence")
        self._temporary = temporary_file(path)
        with contextlib.ExitStack() as undo:
            undo.callback(_remove, self._temporary)
            self._container = self._open_container()
            undo.callback(self._container.close)
            self._stream = self._add_video(self._container, self._encoding)
            sound, part = _sound_of(source)
            if sound is not None:
                self._copier = PacketCopier(sound, self._container, path.suffix.lower(), part=part)
                undo.callback(self._copier.close)
                self.warnings.extend(self._copier.warnings)
            try:
                self._container.start_encoding()
            except (av.FFmpegError, ValueError) as error:
                raise FilmFileError(
                    f"{path.name} cannot hold {self._encoding.codec} video with the streams of "
                    f"{'no source' if sound is None else source_name(sound)} ({error}); write a .mkv file"
                ) from error
            undo.pop_all()

    def _open_container(self) -> OutputContainer:
        options = {}
        if self._encoding.muxer != "matroska":
            # The index in front lets a browser play the film before all of it has arrived; a film that starts late
            # needs the time base of its pictures in the film's own header too.
            ticks = self._timeline.time_base.denominator
            options = {"movflags": "+faststart", "movie_timescale": str(ticks if ticks >= 1000 else ticks * 1000)}
        return av.open(file_url(self._temporary), mode="w", format=self._encoding.muxer, options=options)

    def _add_video(self, container: OutputContainer, encoding: Encoding) -> av.VideoStream:
        info = self.info
        try:
            stream = container.add_stream(encoding.encoder, rate=info.frame_rate, options=encoding.options)
        except ValueError as error:
            raise FilmFileError(
                f"{self.path.suffix} cannot hold {encoding.codec} video; write a .mkv file or choose codec 'h264'"
            ) from error
        stream.width, stream.height, stream.pix_fmt = info.width, info.height, encoding.pix_fmt
        stream.time_base = self._timeline.time_base
        context = stream.codec_context
        context.time_base = self._timeline.time_base
        context.color_range = encoding.colour_range
        context.colorspace = encoding.colour_matrix
        context.color_primaries = info.colour_primaries
        context.color_trc = info.colour_transfer
        context.thread_type = "SLICE" if encoding.codec == "ffv1" else "AUTO"
        if info.deinterlaced:
            context.field_order = 1
        if encoding.codec == "h265" and encoding.muxer != "matroska":
            context.codec_tag = "hvc1"
        if info.timecode is not None:
            stream.metadata["timecode"] = info.timecode
        if info.sample_aspect_ratio:
            context.sample_aspect_ratio = info.sample_aspect_ratio
            if encoding.muxer == "matroska":
                reserve_title(stream)
        if info.display_matrix is not None:
            stream.set_display_matrix(info.display_matrix)
        return stream

    def write(self, frame: FilmFrame, restored: Tensor | None = None) -> None:
        """Append a frame; see ``FilmWriter.write``."""
        if not self._open:
            raise FilmFileError(f"{self.path} has been closed; open a new writer")
        picture = self._picture(frame, restored)
        stamp, length = self._timeline.place(frame.pts, frame.duration)
        if self._timeline.moved:
            self._tell_once(
                "some frames of the source share a timestamp; the later ones were moved on by the least step"
            )
        picture.pts = stamp
        picture.time_base = self._timeline.time_base
        picture.duration = length
        # A source frame remembers how it was coded; the encoder would repeat its key frames.
        picture.pict_type = 0
        self._durations[stamp] = length
        try:
            self._mux(self._stream.encode(picture))
        except av.FFmpegError as error:
            raise FilmFileError(
                f"writing {self.path} failed at frame {self.frames_written}: {_reason(error)}"
            ) from error
        self.frames_written += 1

    def _picture(self, frame: FilmFrame, restored: Tensor | None) -> av.VideoFrame:
        expected = (self.info.height, self.info.width, 3)
        shown = frame.image
        if shown.shape != expected:
            raise SettingsError(f"frame {frame.index} has shape {shown.shape}, the film being written {expected}")
        if self._is_shown:
            image = shown if restored is None else image_from_tensor(restored, shown.dtype)
            return self._converter.frame(as_srgb(image), self._target.name, self._alpha_of(frame.source))
        source = self._source_samples(frame.source)
        if restored is None:
            if source is not None:
                return source
            return self._converter.frame(shown, self._target.name, self._alpha_of(frame.source))
        image = image_from_tensor(restored, shown.dtype)
        if image.shape != expected:
            raise SettingsError(
                f"restored frame {frame.index} has shape {image.shape}, the film being written {expected}"
            )
        different = image != shown
        changed = different[..., 0] | different[..., 1] | different[..., 2]
        if source is not None and not changed.any():
            return source
        if self._target.bits > 8 and image.dtype == np.uint8:
            # What has changed is written as finely as the film being made can hold it.
            fine = image_from_tensor(restored, np.uint16)
            image = np.where(changed[..., None], fine, shown.astype(np.uint16) * 257)
        if self._target.model == "gray":
            self._check_neutral(image)
        picture = self._converter.frame(image, self._target.name, self._alpha_of(frame.source))
        if source is not None and self._target.model != "rgb":
            _keep_unchanged(picture, source, changed)
        return picture

    def _alpha_of(self, source: av.VideoFrame | None) -> np.ndarray | None:
        """Return the transparency of a frame at the output's depth, or None where one of both has none."""
        alpha = None if source is None or not self._target.alpha else alpha_of(source, self._converter)
        if source is None or alpha is None:
            return None
        return at_depth(alpha, layout_of(source.format.name).bits, self._target.bits)

    def _source_samples(self, source: av.VideoFrame | None) -> av.VideoFrame | None:
        """Return the source in the output's pixel format, or None where that would change its samples."""
        if source is None or self._moves_range:
            return None
        layout = layout_of(source.format.name)
        if layout.canonical == self._target.canonical:
            return self._converter.reformat(source, self._target.name)
        return deepened(source, self._target, self._converter)

    def _check_neutral(self, image: np.ndarray) -> None:
        limit = _NEUTRAL * (257 if image.dtype == np.uint16 else 1)
        if int(np.ptp(image.astype(np.int32), axis=2).max()) > limit:
            self._tell_once(
                f"the restored frames have colour and {self.path.name} is gray; set pix_fmt, for example 'yuv444p', to "
                "keep it"
            )

    def _tell_once(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self.warnings.append(message)
            _logger.warning("%s", message)

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            length = self._durations.pop(packet.pts, None) if packet.pts is not None else None
            if length is not None:
                packet.duration = length
            if self._copier is not None and packet.dts is not None:
                self._copier.copy_until(Fraction(packet.dts) * packet.time_base)
            self._container.mux(packet)

    def _finish(self, target: Path, *, partial: bool) -> None:
        try:
            self._mux(self._stream.encode(None))
            if self._copier is not None:
                self._copier.copy_until(self._timeline.end if partial else None)
                self.warnings.extend(w for w in self._copier.warnings if w not in self.warnings)
            self._container.close()
        except av.FFmpegError as error:
            raise FilmFileError(f"finishing {self.path} failed: {_reason(error)}") from error
        if self._copier is not None:
            self._copier.close()
        if self.info.sample_aspect_ratio and self._encoding.muxer == "matroska":
            store_display_size(self._temporary, self.info.width, self.info.height, self.info.sample_aspect_ratio)
        try:
            with self._temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(self._temporary, target)
        except OSError as error:
            raise FilmFileError(f"finishing {self.path} failed: {error.strerror or error}") from error

    def _rescue(self, target: Path) -> bool:
        if self._copier is not None:
            self._copier.close()
        with contextlib.suppress(av.FFmpegError):
            self._container.close()
        try:
            with open_input(self._temporary) as film:
                next(video_packets(film, video_stream(film, self.path.name)))
            os.replace(self._temporary, target)
        except (FilmFileError, StopIteration, OSError):
            return False
        return True

    def _discard(self) -> None:
        if self._copier is not None:
            self._copier.close()
        with contextlib.suppress(av.FFmpegError):
            self._container.close()
        _remove(self._temporary)


def _sound_of(source: FilmSource | EditedFilm | None) -> tuple[FilmSource | None, FilmPart | None]:
    """Return the file whose sound belongs to a film, and the part of it."""
    if not isinstance(source, EditedFilm):
        return source, None
    if source.sound is not None:
        return source.sound, None
    return (source.parts[0].source, source.parts[0]) if len(source.parts) == 1 else (None, None)


def _reason(error: av.FFmpegError) -> str:
    """What FFmpeg says went wrong, and what to do where that is known."""
    if error.errno == errno.ENOSPC:
        return "no space is left on the disk; make room or write to another disk"
    return error.strerror or str(error)


def _keep_unchanged(picture: av.VideoFrame, source: av.VideoFrame, changed: np.ndarray) -> None:
    """Copy the source's samples to where no pixel they cover has changed.

    Args:
        picture: The frame to be written, in a planar YUV or gray format.
        source: The source in the same format.
        changed: (H, W) bool.
    """
    columns, rows = layout_of(picture.format.name).step
    kept = ~changed
    for plane in range(len(picture.planes)):
        view = sample_view(picture, plane)
        mask = kept
        if plane in (1, 2) and (columns, rows) != (1, 1):
            mask = _covering(kept, columns, rows)
        np.copyto(view, sample_view(source, plane), where=mask)


def _covering(kept: np.ndarray, columns: int, rows: int) -> np.ndarray:
    """Whether all luma pixels under each chroma sample are kept."""
    height, width = kept.shape
    padded = np.pad(kept, ((0, -height % rows), (0, -width % columns)), constant_values=True)
    across = np.all(padded.reshape(padded.shape[0], -1, columns), axis=2)
    return np.all(across.reshape(-1, rows, across.shape[1]), axis=1)


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
