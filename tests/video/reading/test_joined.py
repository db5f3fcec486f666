"""MPEG streams whose clock begins again, runs over or lies before zero; and files with more than one video stream."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import av
import numpy as np
import pytest

from vldm_core.errors import FilmFileError, FilmFileWarning
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.video.reading.clock import read_clock
from vldm_core.video.reading.reader import open_film
from vldm_core.video.writing.writer import open_writer

from ..conftest import audio_packets, timestamps

COUNT, RATE = 24, 24
NOTHING = ReelSettings(dirt=None, lines=None, average=None)
ENDS = [".mkv", ".mp4"]


def recording(path: Path, container: str, *, shift: int = 0, sound: bool = True, seconds: float = 1.0) -> Path:
    """An MPEG-2 film with sound, its clock shifted by some 1/90000 s."""
    rng = np.random.default_rng(5)
    with av.open(str(path), "w", format=container) as file:
        film = file.add_stream("mpeg2video", rate=RATE, options={"qscale": "2"})
        film.width, film.height, film.pix_fmt, film.bit_rate = 96, 64, "yuv420p", 4_000_000
        tone = file.add_stream("mp2", rate=48000, layout="mono") if sound else None
        for number in range(COUNT):
            # Noise, so that every frame fills a packet of the stream, which carries one time for all that begin in it.
            levels = rng.integers(0, 255, (64, 96, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(levels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            file.mux(film.encode(frame))
        file.mux(film.encode(None))
        for first in range(0, int(48000 * seconds) if tone else 0, 1152):
            wave = (8000 * np.sin(np.arange(first, first + 1152) * 0.06)).astype(np.int16)
            block = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
            block.sample_rate, block.pts = 48000, first
            file.mux(tone.encode(block))
        if tone:
            file.mux(tone.encode(None))
    if shift:
        moved = path.with_name(f"moved-{path.name}")
        with av.open(str(path)) as source, av.open(str(moved), "w", format=container) as file:
            pairs = {s.index: file.add_stream_from_template(s) for s in source.streams}
            for packet in source.demux():
                if packet.dts is not None:
                    packet.pts += shift
                    packet.dts += shift
                    packet.stream = pairs[packet.stream_index]
                    file.mux(packet)
        moved.replace(path)
    return path


def joined(path: Path, container: str, *, parts: int = 2, sound: bool = True, seconds: float = 1.0) -> Path:
    recording(path, container, sound=sound, seconds=seconds)
    path.write_bytes(path.read_bytes() * parts)
    return path


def told(record, text: str) -> int:
    return sum(text in str(item.message) for item in record)


@pytest.mark.parametrize("suffix", ENDS)
@pytest.mark.parametrize(("container", "parts"), [("vob", 2), ("vob", 3), ("mpegts", 2)])
def test_a_joined_recording_is_carried_on(tmp_path, container, parts, suffix):
    source = joined(tmp_path / "joined.vob", container, parts=parts)
    out = tmp_path / f"out{suffix}"
    with pytest.warns(FilmFileWarning) as record:
        report = restore_film(source, out, NOTHING)
    assert told(record, "begins again at frame") == 1
    assert any(f"joined from {parts} parts" in text for text in report.warnings)
    assert report.frames == parts * COUNT
    stamps = timestamps(out)
    assert len(stamps) == parts * COUNT
    steps = [float(b - a) for a, b in pairwise(stamps)]
    assert max(abs(step - 1 / RATE) for step in steps) < 0.0011
    # The sound of both parts is there, and in step with its pictures.
    packets = audio_packets(out)[0]
    alone = audio_packets(recording(tmp_path / "one.vob", container))[0]
    assert len(packets) >= parts * len(alone) - parts
    with av.open(str(out)) as file:
        sound = [float(p.pts * p.time_base) for p in file.demux(audio=0) if p.size]
    second = sound[len(alone)] - sound[0]
    assert abs(second - 1.0) < 0.03


def test_what_the_second_part_has_more_of_sound_does_not_stop_the_film(tmp_path):
    source = joined(tmp_path / "long.vob", "vob", seconds=1.3)
    with pytest.warns(FilmFileWarning):
        report = restore_film(source, tmp_path / "out.mp4", NOTHING)
    assert report.frames == 2 * COUNT
    assert any("lie over other sound" in text for text in report.warnings)


def test_a_joined_recording_without_sound_keeps_its_rate(tmp_path):
    source = joined(tmp_path / "mute.vob", "vob", sound=False)
    with pytest.warns(FilmFileWarning), open_film(source) as film:  # noqa: PT031 - reading warns as well as opening
        assert film.info.frame_count == 2 * COUNT
        assert film.info.constant_rate
        assert film.info.duration == pytest.approx(2.0)
        frames = list(film)
    assert len(frames) == 2 * COUNT
    assert all(b.pts - a.pts == 3750 for a, b in pairwise(frames))


@pytest.mark.parametrize("suffix", ENDS)
def test_a_clock_that_runs_over_loses_nothing(tmp_path, suffix):
    source = recording(tmp_path / "wrap.ts", "mpegts", shift=(1 << 33) - 45000 - 2 * 90000)
    with av.open(str(source)) as file:
        assert file.streams.video[0].start_time < 0
    out = tmp_path / f"out{suffix}"
    assert restore_film(source, out, NOTHING).frames == COUNT
    stamps = timestamps(out)
    assert len(stamps) == COUNT
    assert min(stamps) >= 0
    with av.open(str(out)) as file, av.open(str(source)) as before:
        kept = [file.streams.audio[0].start_time * file.streams.audio[0].time_base - stamps[0]]
        was = before.streams.audio[0].start_time * before.streams.audio[0].time_base
        was -= before.streams.video[0].start_time * before.streams.video[0].time_base
        assert abs(float(kept[0] - was)) < 0.002


def test_sound_that_runs_back_alone_is_no_other_clock(monkeypatch, tmp_path):
    """A damaged recording: the sound goes back by half a second, the pictures go on."""
    film, tone = (SimpleNamespace(index=index, type=kind) for index, kind in enumerate(("video", "audio")))

    def packet(stream, number, ticks):
        return SimpleNamespace(
            stream=stream, stream_index=stream.index, pts=ticks, dts=ticks, size=9, time_base=Fraction(1, 90000),
            duration=3600, pos=100 * number,
        )  # fmt: skip

    packets = []
    for number in range(100):
        packets.append(packet(film, 2 * number, 3600 * number))
        packets.append(packet(tone, 2 * number + 1, 3600 * number - (45000 if number > 50 else 0)))
    container = MagicMock(streams=[film, tone])
    container.format.name = "mpegts"
    container.demux.return_value = packets
    container.__enter__.return_value = container
    monkeypatch.setattr("vldm_core.video.reading.clock.open_input", lambda source: container)
    monkeypatch.setattr("vldm_core.video.reading.clock.video_stream", lambda opened, name: film)
    clock = read_clock(tmp_path / "spoilt.ts")
    assert clock.cuts == ()
    assert set(clock.shifts) == {0}


def test_other_containers_are_not_read_through(make_film, monkeypatch):
    assert read_clock(make_film()).packets is None


def test_a_plain_recording_keeps_its_times(tmp_path):
    source = recording(tmp_path / "plain.ts", "mpegts")
    assert read_clock(source).is_plain
    assert read_clock(source).packets == COUNT


def test_the_largest_stream_is_the_film(tmp_path):
    path = tmp_path / "proxy.mkv"
    with av.open(str(path), "w") as file:
        streams = []
        for width, height in ((32, 16), (96, 64), (96, 64)):
            stream = file.add_stream("ffv1", rate=RATE)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            streams.append(stream)
        for number in range(3):
            for level, stream in enumerate(streams):
                picture = np.full((stream.height, stream.width, 3), 50 * (level + 1), np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, RATE)
                file.mux(stream.encode(frame))
        for stream in streams:
            file.mux(stream.encode(None))
    with pytest.warns(FilmFileWarning, match="3 video streams; the largest, 96x64"), open_film(path) as film:  # noqa: PT031
        assert (film.info.width, film.info.height) == (96, 64)
        assert abs(int(next(iter(film)).image.mean()) - 100) < 3


def test_a_failure_at_the_end_keeps_what_was_written(tmp_path, make_film, monkeypatch):
    source, out = make_film(audio=["aac"]), tmp_path / "out.mkv"
    with open_film(source) as film:
        writer = open_writer(out, film.info, source=source)
        for frame in film:
            writer.write(frame)

    def fails(self, seconds):
        raise av.error.ArgumentError(22, "Invalid argument")

    monkeypatch.setattr("vldm_core.video.writing.sound.PacketCopier.copy_until", fails)
    kept = r"Invalid argument; what was written is kept as .*out\.partial\.mkv"
    with pytest.raises(FilmFileError, match=kept) as error:
        writer.close()
    assert "space" not in str(error.value)
    assert not out.exists()
    assert len(timestamps(tmp_path / "out.partial.mkv")) == 12
    assert {p.name for p in tmp_path.iterdir()} == {source.name, "out.partial.mkv"}


def test_a_full_disk_is_called_one(tmp_path, make_film, monkeypatch):
    source = make_film(audio=["aac"])
    with open_film(source) as film:
        writer = open_writer(tmp_path / "out.mkv", film.info, source=source)
        for frame in film:
            writer.write(frame)

    def full(self, seconds):
        raise av.error.OSError(28, "No space left on device")

    monkeypatch.setattr("vldm_core.video.writing.sound.PacketCopier.copy_until", full)
    with pytest.raises(FilmFileError, match="no space is left on the disk"):
        writer.close()
