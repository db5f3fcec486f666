"""Turning a clip that is in memory into a film file that the streamed stages can read."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.resampler import AudioResampler
from torch import Tensor

from ..errors import SettingsError
from ..progress import Progress, silent
from .info import FilmFrame, FilmInfo, image_from_tensor
from .temporary import own_folder
from .writer import WriteSettings, open_writer

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
        path: A .mkv file.
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
            _write_sound(sound, waveform, sample_rate)
        with open_writer(path, info, settings=WriteSettings(codec="ffv1"), source=sound) as writer:
            for index, frame in enumerate(frames):
                writer.write(FilmFrame(index=index, image=image_from_tensor(frame, dtype)))
                progress("store clip", index + 1, count)


def _write_sound(path: Path, waveform: Tensor, sample_rate: int | None) -> None:
    channels = waveform.shape[0]
    if channels not in _LAYOUTS or not sample_rate:
        raise SettingsError(
            f"sound of {channels} channels at {sample_rate} Hz cannot be stored; give 1, 2, 6 or 8 channels and a rate"
        )
    layout = _LAYOUTS[channels]
    samples = waveform.detach().cpu().float().clamp(-1, 1).numpy()
    resampler = AudioResampler(format="s32", layout=layout, rate=sample_rate)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=sample_rate, layout=layout)
        stream.format = "s32"
        for start in range(0, samples.shape[1], _BLOCK):
            block = np.ascontiguousarray(samples[:, start : start + _BLOCK])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate = sample_rate
            frame.pts = start
            for converted in resampler.resample(frame):
                container.mux(stream.encode(converted))
        container.mux(stream.encode(None))
