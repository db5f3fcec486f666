"""Film files made on the spot: every test's material is written by PyAV into its own folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from vldm_core.video.colour import sample_view


def moving_pattern(index: int, height: int, width: int, *, step: float = 3.0) -> np.ndarray:
    """A smooth texture in float 0..1, (H, W), that moves ``step`` pixels per unit of ``index``."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    shift = step * index
    return (
        0.5
        + 0.2 * np.sin((x - shift) / 5.0)
        + 0.15 * np.sin((y + 0.5 * (x - shift)) / 3.5)
        + 0.1 * np.cos((x - shift) * (y + 7) / 90.0)
    ).clip(0, 1)


def random_frame(pix_fmt: str, width: int, height: int, seed: int) -> av.VideoFrame:
    """A frame of smooth content plus noise with legal samples in every plane of the format."""
    rng = np.random.default_rng(seed)
    frame = av.VideoFrame(width, height, pix_fmt)
    if pix_fmt in ("bgr0", "rgb24", "bgra"):
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        return av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
    bits = frame.format.components[0].bits
    for plane in range(len(frame.planes)):
        view = sample_view(frame, plane)
        h, w = view.shape
        base = moving_pattern(seed, h, w) if plane == 0 else 0.5 + 0.12 * (moving_pattern(seed + plane, h, w) - 0.5)
        noise = rng.normal(0, 0.01, (h, w))
        low, high = (0, 1) if "gbr" in pix_fmt or "gray" in pix_fmt else (16 / 255, 235 / 255)
        scaled = (low + (base + noise).clip(0, 1) * (high - low)) * ((1 << bits) - 1)
        view[...] = np.rint(scaled).astype(view.dtype)
    return frame


def planes_of(frame: av.VideoFrame) -> list[np.ndarray]:
    """Copies of the samples of every plane."""
    if frame.format.name in ("bgr0", "bgra", "rgb24"):
        return [frame.reformat(format="rgb24").to_ndarray()]
    return [sample_view(frame, p).copy() for p in range(len(frame.planes))]


def decode_planes(path: Path) -> list[list[np.ndarray]]:
    """All frames of a file, plane by plane, straight from PyAV."""
    with av.open(str(path)) as container:
        return [planes_of(frame) for frame in container.decode(video=0)]


def timestamps(path: Path) -> list[Fraction]:
    """Presentation times in seconds of all frames, straight from PyAV."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [frame.pts * stream.time_base for frame in container.decode(stream)]


def audio_packets(path: Path) -> list[list[bytes]]:
    """The payload of every sound packet, per stream."""
    with av.open(str(path)) as container:
        streams = container.streams.audio
        found: dict[int, list[bytes]] = {s.index: [] for s in streams}
        for packet in container.demux(list(streams)):
            if packet.size:
                found[packet.stream_index].append(bytes(packet))
        return [found[s.index] for s in streams]


MakeFilm = Callable[..., Path]


@pytest.fixture
def make_film(tmp_path: Path) -> MakeFilm:
    """Return a function that writes a film file."""

    def make(
        name: str = "film.mkv",
        *,
        codec: str = "ffv1",
        pix_fmt: str = "yuv420p",
        size: tuple[int, int] = (64, 48),
        frames: int | Sequence[av.VideoFrame] = 12,
        rate: Fraction | int = 24,
        time_base: Fraction | None = None,
        pts: Sequence[int] | None = None,
        options: dict[str, str] | None = None,
        colour: tuple[int, int, int, int] | None = None,
        rotation: int | None = None,
        aspect: Fraction | None = None,
        audio: Sequence[str] = (),
        subtitles: bool = False,
    ) -> Path:
        path = tmp_path / name
        width, height = size
        rate = Fraction(rate)
        base = time_base or 1 / rate
        pictures = (
            [random_frame(pix_fmt, width, height, i) for i in range(frames)]
            if isinstance(frames, int)
            else list(frames)
        )
        stamps = list(pts) if pts is not None else [round(i / rate / base) for i in range(len(pictures))]
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate, options=options or {})
            stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
            stream.time_base = stream.codec_context.time_base = base
            if colour is not None:
                context = stream.codec_context
                context.color_range, context.colorspace, context.color_primaries, context.color_trc = colour
            if aspect is not None:
                stream.codec_context.sample_aspect_ratio = aspect
            if rotation is not None:
                stream.set_display_rotation(rotation)
            sounds = []
            for kind in audio:
                sound = container.add_stream(kind, rate=48000)
                sound.layout = "mono"
                sounds.append(sound)
            lengths = [b - a for a, b in pairwise(stamps)]
            nominal = max(1, round(1 / rate / base))
            lengths.append(lengths[-1] if lengths and len(set(lengths)) == 1 else nominal)
            due = dict(zip(stamps, lengths, strict=True))
            samples = 0
            for picture, stamp in zip([*pictures, None], [*stamps, stamps[-1] + nominal], strict=True):
                if picture is not None:
                    picture.pts, picture.time_base, picture.pict_type = stamp, base, 0
                for packet in stream.encode(picture):
                    packet.duration = due[packet.pts]
                    container.mux(packet)
                while sounds and samples < stamp * base * 48000:
                    for number, sound in enumerate(sounds):
                        size_ = sound.codec_context.frame_size or 1024
                        container.mux(sound.encode(_tone(sound, samples, size_, 220 * (number + 1))))
                    samples += size_
            for sound in sounds:
                container.mux(sound.encode(None))
        return path

    return make


def _tone(sound: av.AudioStream, first: int, size: int, pitch: int) -> av.AudioFrame:
    rng = np.random.default_rng(first + pitch)
    wave = 0.3 * np.sin(2 * np.pi * pitch * np.arange(first, first + size) / 48000) + rng.normal(0, 0.05, size)
    kind = sound.format.name
    samples = wave.astype(np.float32) if kind.startswith("flt") else (wave * 32000).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(samples[None], format=kind, layout="mono")
    frame.sample_rate = 48000
    frame.pts = first
    return frame
