"""Turning a clip that is in memory into a film file that the streamed stages can read."""

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.audio.resampler import AudioResampler
from torch import Tensor

from ...errors import SettingsError
from ...files.temporary import own_folder
from ...progress import Progress, silent
from ..info import FilmFrame, FilmInfo, image_from_tensor
from ..reading.clock import read_clock
from ..reading.container import open_input
from ..reading.edited import EditedFilm, FilmPart, FilmSpan, span_of
from ..writing.writer import WriteSettings, open_writer

_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
# Samples per block given to the sound encoder; any moderate number will do.
_BLOCK = 1 << 16
# Frames whose values all lie this near to a multiple of 1/255 came from 8 bits.
_EIGHT_BIT_TOLERANCE = 1e-4


def write_clip(
    path: str | os.PathLike[str],
    frames: Tensor,
    frame_rate: Fraction,
    *,
    waveform: Tensor | None = None,
    sample_rate: int | None = None,
    progress: Progress = silent,
) -> None:
    """Write frames and sound to a Matroska file: FFV1 and FLAC.

    Frames that came from 8 bits are kept exactly, others to 16 bits; sound is kept to 24 bits.

    Args:
        path: A .mkv file; one of that name is replaced.
        frames: (T, 3, H, W), RGB, [0, 1].
        frame_rate: Frames per second, exact.
        waveform: (channels, samples) in [-1, 1], or None for a silent film.
        sample_rate: Samples per second of the waveform.
        progress: Called once per frame.

    Raises:
        SettingsError: The number of sound channels is not 1, 2, 6 or 8, or the sample rate is missing.
        FilmFileError: The file cannot be written.
    """
    count, _, height, width = frames.shape
    levels = frames * 255
    depth = 8 if bool(((levels - levels.round()).abs() <= 255 * _EIGHT_BIT_TOLERANCE).all()) else 16
    info = FilmInfo.of_frames(width, height, frame_rate, frame_count=count, bit_depth=depth)
    dtype = np.uint8 if depth == 8 else np.uint16
    with own_folder(Path(path)) as folder:
        sound = None
        if waveform is not None:
            sound = folder / "sound.mka"
            write_sound(sound, waveform, sample_rate)
        settings = WriteSettings(codec="ffv1", overwrite=True)
        with open_writer(path, info, settings=settings, source=sound) as writer:
            for index, frame in enumerate(frames):
                writer.write(FilmFrame(index=index, image=image_from_tensor(frame, dtype)))
                progress("store clip", index + 1, count)


class SoundFile:
    """A Matroska file of FLAC sound, 24 bits, written block by block; a context manager.

    Args:
        path: A .mka file.
        channels: 1, 2, 6 or 8.
        sample_rate: Samples per second.

    Raises:
        SettingsError: The number of sound channels is not 1, 2, 6 or 8, or the sample rate is missing.
    """

    def __init__(self, path: Path, channels: int, sample_rate: int | None) -> None:
        if channels not in _LAYOUTS or not sample_rate:
            raise SettingsError(
                f"sound of {channels} channels at {sample_rate} Hz cannot be stored; give 1, 2, 6 or 8 channels and a "
                "rate"
            )
        self.layout = _LAYOUTS[channels]
        self.rate = sample_rate
        self.samples = 0
        self._resampler = AudioResampler(format="s32", layout=self.layout, rate=sample_rate)
        self._container = av.open(str(path), "w")
        self._stream = self._container.add_stream("flac", rate=sample_rate, layout=self.layout)
        self._stream.format = "s32"

    def write(self, waveform: np.ndarray) -> None:
        """Append samples, (channels, samples) in [-1, 1]."""
        samples = np.clip(waveform, -1, 1).astype(np.float32, copy=False)
        for start in range(0, samples.shape[1], _BLOCK):
            block = np.ascontiguousarray(samples[:, start : start + _BLOCK])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=self.layout)
            frame.sample_rate = self.rate
            frame.pts = self.samples
            self.samples += block.shape[1]
            for converted in self._resampler.resample(frame):
                self._container.mux(self._stream.encode(converted))

    def fill_to(self, samples: int) -> None:
        """Append silence until there are so many samples."""
        while self.samples < samples:
            self.write(np.zeros((self._stream.layout.nb_channels, min(_BLOCK, samples - self.samples)), np.float32))

    def __enter__(self) -> "SoundFile":
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            if exception[0] is None:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()


def write_sound(path: Path, waveform: Tensor, sample_rate: int | None) -> None:
    """Write a waveform (channels, samples) in [-1, 1]; see `SoundFile`."""
    with SoundFile(path, waveform.shape[0], sample_rate) as file:
        file.write(waveform.detach().cpu().float().numpy())


def join_sound(film: EditedFilm, path: Path) -> Path | None:
    """Decode the sound of the parts of a film one after the other into one file, in step with the pictures.

    It has the rate and channels of the first part that has sound; a part without any is silent.

    Args:
        film: The parts.
        path: A .mka file.

    Returns:
        The path, or None where no part has sound.
    """
    form = next((found for part in film.parts if (found := _form_of(part)) is not None), None)
    if form is None:
        return None
    channels, rate = form
    due = Fraction(0)
    with SoundFile(path, channels, rate) as file:
        for part in film.parts:
            span = span_of(part)
            length = span.end - span.first
            for block in _decoded_sound(part, span, file.layout, rate):
                room = round((due + length) * rate) - file.samples
                start = round(due * rate) + block.first
                file.fill_to(start)
                # What lies before the place reached, or behind the last picture, is not heard.
                skipped = file.samples - start
                file.write(block.samples[:, skipped : skipped + max(0, min(room, block.samples.shape[1] - skipped))])
            due += length
            file.fill_to(round(due * rate))
    return path


class _Block(NamedTuple):
    """Decoded sound: the place of its first sample in its part, and (channels, samples)."""

    first: int
    samples: np.ndarray


def _form_of(part: FilmPart) -> tuple[int, int] | None:
    with open_input(part.source) as container:
        streams = [s for s in container.streams.audio if s.codec_context is not None]
        if not streams:
            return None
        channels = streams[0].codec_context.layout.nb_channels
        return (channels if channels in _LAYOUTS else 2), streams[0].rate


def _decoded_sound(part: FilmPart, span: FilmSpan, layout: str, rate: int) -> Iterator[_Block]:
    clock = read_clock(part.source)
    resampler = AudioResampler(format="fltp", layout=layout, rate=rate)
    origin: int | None = None
    count = 0
    with open_input(part.source) as container:
        streams = [s for s in container.streams.audio if s.codec_context is not None]
        if not streams:
            return
        for packet in clock.corrected(container.demux(streams[0])):
            try:
                frames = packet.decode()
            except (av.FFmpegError, EOFError):
                continue
            for frame in frames:
                if frame.pts is None or frame.time_base is None:
                    continue
                begins = Fraction(frame.pts) * frame.time_base
                if begins >= span.end:
                    return
                if begins + Fraction(frame.samples, frame.sample_rate) <= span.first:
                    continue
                if origin is None:
                    origin = round((begins - span.first) * rate)
                for made in resampler.resample(frame):
                    samples = made.to_ndarray()
                    first = origin + count
                    count += samples.shape[1]
                    cut = max(0, -first)
                    yield _Block(first + cut, samples[:, cut:])
