"""Writing film files: untouched samples, timing, sound, and nothing half-written under the final name."""

import io
import itertools
import os
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vldm_core.errors import FilmFileError, SettingsError
from vldm_core.video.info import FilmFrame, FilmInfo, image_from_tensor
from vldm_core.video.reading.reader import open_film
from vldm_core.video.writing.encoding import OutputClock
from vldm_core.video.writing.writer import WriteSettings, open_writer

from ..conftest import audio_packets, decode_planes, random_frame, timestamps

NTSC_FILM = Fraction(24000, 1001)
VFR = [0, 40, 95, 100, 300, 301, 777, 900, 1500, 1501, 1600, 2500]


def copy_film(path, out, *, change=None, settings=None, source=None, **reading):
    """Copy a film, optionally through ``change(tensor)``."""
    with (
        open_film(path, **reading) as reader,
        open_writer(out, reader.info, settings=settings, source=source) as writer,
    ):
        for frame in reader:
            writer.write(frame, None if change is None else change(frame.tensor()))
    return writer


def paint_square(tensor):
    changed = tensor.clone()
    changed[:, 11:21, 21:34] = 1 - changed[:, 11:21, 21:34]
    return changed


def hidden_files(folder):
    return [f.name for f in folder.iterdir() if f.name.startswith(".")]


class TestExactness:
    @pytest.mark.parametrize(
        "pix_fmt",
        ["yuv420p", "yuv422p", "yuv444p", "yuv410p", "yuv420p10le", "yuv422p10le", "yuv444p12le", "yuva420p"]
        + ["gray", "gray10le", "gray16le", "bgr0", "bgra", "gbrp10le", "gbrp16le"],
    )
    @pytest.mark.parametrize("change", [None, torch.clone], ids=["plain", "through tensors"])
    def test_an_unchanged_film_is_bit_equal(self, make_film, tmp_path, pix_fmt, change):
        path = make_film(pix_fmt=pix_fmt, frames=3, size=(66, 50), rate=NTSC_FILM)
        out = tmp_path / "out.mkv"
        copy_film(path, out, change=change)
        with av.open(str(out)) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.pix_fmt == pix_fmt
            assert stream.average_rate == NTSC_FILM
        for before, after in zip(decode_planes(path), decode_planes(out), strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))

    @pytest.mark.parametrize(
        ("pix_fmt", "step"),
        [
            ("yuv420p", (2, 2)),
            ("yuv422p", (2, 1)),
            ("yuv422p10le", (2, 1)),
            ("yuv444p", (1, 1)),
            ("bgr0", (1, 1)),
            ("gray", (1, 1)),
            ("gbrp10le", (1, 1)),
        ],
    )
    def test_samples_outside_the_change_are_bit_equal(self, make_film, tmp_path, pix_fmt, step):
        path = make_film(pix_fmt=pix_fmt, frames=2, size=(65 if step[0] == 1 else 66, 50))
        out = tmp_path / "out.mkv"
        copy_film(path, out, change=paint_square)
        changed = np.zeros((50, 66), bool)
        changed[11:21, 21:34] = True
        for before, after in zip(decode_planes(path), decode_planes(out), strict=True):
            for plane, (a, b) in enumerate(zip(before, after, strict=True)):
                columns, rows = step if plane in (1, 2) else (1, 1)
                wide = changed[:, : a.shape[1] * columns]
                touched = wide.reshape(a.shape[0], rows, a.shape[1], columns).any(axis=(1, 3))
                assert np.array_equal(a[~touched], b[~touched])
                if plane == 0:
                    assert (a[touched] != b[touched]).mean() > 0.8

    def test_changed_samples_show_what_was_wanted(self, make_film, tmp_path):
        path, out = make_film(pix_fmt="yuv444p", frames=2), tmp_path / "out.mkv"
        copy_film(path, out, change=paint_square)
        for before, after in zip(open_film(path), open_film(out), strict=True):
            wanted = image_from_tensor(paint_square(before.tensor()), np.uint8)
            assert np.abs(after.image.astype(int) - wanted).max() <= 3

    def test_ten_bits_survive_a_change(self, make_film, tmp_path):
        path, out = make_film(pix_fmt="yuv444p10le", frames=2), tmp_path / "out.mkv"
        copy_film(path, out, change=lambda t: t * 0.9)
        assert len(np.unique(decode_planes(out)[0][0])) > 256 * 1.5
        for before, after in zip(open_film(path), open_film(out), strict=True):
            assert np.abs(after.image / 65535 - 0.9 * (before.image / 65535)).max() < 2 / 1023

    def test_alpha_is_kept_under_a_change(self, make_film, tmp_path):
        path, out = make_film(pix_fmt="yuva420p", frames=2), tmp_path / "out.mkv"
        copy_film(path, out, change=paint_square)
        for before, after in zip(decode_planes(path), decode_planes(out), strict=True):
            assert np.array_equal(before[3], after[3])

    def test_full_range_stays_full_range(self, make_film, tmp_path):
        path, out = make_film("j.mp4", codec="libx264", pix_fmt="yuvj420p", frames=3), tmp_path / "out.mkv"
        copy_film(path, out)
        assert open_film(out).info.colour_range == 2
        for before, after in zip(decode_planes(path), decode_planes(out), strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))

    def test_a_colour_film_as_gray_masks(self, tmp_path):
        info = FilmInfo.of_frames(40, 30, 24)
        out = tmp_path / "mask.mkv"
        mask = (torch.arange(30 * 40).reshape(1, 30, 40) % 7 == 0).float()
        with open_writer(out, info, settings=WriteSettings(codec="ffv1", pix_fmt="gray")) as writer:
            for i in range(3):
                writer.write(FilmFrame(index=i, image=np.zeros((30, 40, 3), np.uint8)), mask)
        planes = decode_planes(out)
        assert len(planes) == 3
        assert np.array_equal(planes[1][0], (mask[0].numpy() * 255).astype(np.uint8))

    def test_colour_in_a_gray_film_is_not_lost_silently(self, make_film, tmp_path):
        path = make_film(pix_fmt="gray", frames=1)
        tint = torch.tensor([1.0, 0.8, 0.5]).reshape(3, 1, 1)
        writer = copy_film(path, tmp_path / "out.mkv", change=lambda t: t * tint)
        assert "set pix_fmt" in writer.warnings[0]


class TestLossyCodecs:
    @pytest.mark.parametrize(
        ("codec", "pix_fmt", "written"),
        [
            ("h264", "yuv420p", "yuv420p"),
            ("h264", "yuv420p10le", "yuv420p10le"),
            ("h264", "yuv422p10le", "yuv422p10le"),
            ("h264", "bgr0", "yuv420p"),
            ("h264", "gray", "yuv420p"),
            ("h265", "yuv420p10le", "yuv420p10le"),
            ("h265", "yuv420p12le", "yuv420p12le"),
            ("h264", "yuv420p12le", "yuv420p10le"),
            ("h264", "gbrp16le", "yuv420p10le"),
        ],
    )
    def test_depth_and_picture_are_kept(self, make_film, tmp_path, codec, pix_fmt, written):
        smooth = "yuv444p16le" if pix_fmt == "gbrp16le" else "yuv444p"
        frames = [random_frame(smooth, 64, 48, i).reformat(format=pix_fmt) for i in range(4)]
        path, out = make_film(pix_fmt=pix_fmt, frames=frames), tmp_path / "out.mp4"
        copy_film(path, out, settings=WriteSettings(codec=codec, quality=4))
        info = open_film(out).info
        assert info.pix_fmt == written
        assert info.bit_depth == (8 if written == "yuv420p" else int(written[-4:-2]))
        for before, after in zip(open_film(path), open_film(out), strict=True):
            scale = [np.iinfo(f.image.dtype).max for f in (before, after)]
            luma = [f.image.mean(axis=2) / s for f, s in zip((before, after), scale, strict=True)]
            assert np.abs(luma[0] - luma[1]).mean() < 0.01

    def test_rgb_gets_explicit_colour_tags_in_yuv(self, make_film, tmp_path):
        out = tmp_path / "out.mp4"
        copy_film(make_film(pix_fmt="bgr0", frames=2), out)
        info = open_film(out).info
        assert (info.colour_range, info.colour_matrix) == (1, 6)

    def test_the_quality_knob_changes_the_size(self, make_film, tmp_path):
        path = make_film(frames=6, size=(128, 96))
        sizes = []
        for quality in (10, 35):
            out = tmp_path / f"{quality}.mp4"
            copy_film(path, out, settings=WriteSettings(codec="h264", quality=quality))
            sizes.append(out.stat().st_size)
        assert sizes[0] > 1.5 * sizes[1]

    def test_odd_sizes_can_be_stored(self, make_film, tmp_path):
        out = tmp_path / "out.mp4"
        copy_film(make_film(pix_fmt="bgr0", frames=2, size=(65, 49)), out)
        info = open_film(out).info
        assert (info.width, info.height, info.pix_fmt) == (65, 49, "yuv444p")


class TestTiming:
    @pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
    @pytest.mark.parametrize("rate", [NTSC_FILM, Fraction(30000, 1001), Fraction(16), Fraction(25)])
    def test_the_rate_stays_exact(self, make_film, tmp_path, rate, suffix):
        for path in (make_film(rate=rate, frames=40), make_film("in.mp4", codec="libx264", rate=rate, frames=40)):
            out = tmp_path / f"out{suffix}"
            copy_film(path, out, settings=WriteSettings(quality=30, overwrite=True))
            with open_film(out) as reader:
                assert reader.info.frame_rate == rate
                assert reader.info.frame_count == 40
                assert len(list(reader)) == 40
            if suffix != ".mkv":
                assert timestamps(out) == [i / rate for i in range(40)]

    @pytest.mark.parametrize(
        ("first", "second"), list(itertools.product(["in.mkv", "in.mp4"], ["out.mkv", "out.mp4", "out.mov"]))
    )
    def test_a_variable_rate_keeps_every_timestamp(self, make_film, tmp_path, first, second):
        codec = "ffv1" if first.endswith("mkv") else "libx264"
        path = make_film(first, codec=codec, pts=VFR, frames=len(VFR), time_base=Fraction(1, 1000), rate=25)
        out = tmp_path / second
        copy_film(path, out)
        assert timestamps(out) == [Fraction(p, 1000) for p in VFR] == timestamps(path)

    def test_b_frames_in_and_out(self, make_film, tmp_path):
        path = make_film("b.mp4", codec="libx264", frames=40, rate=NTSC_FILM, options={"bf": "3", "b_strategy": "0"})
        out = tmp_path / "out.mp4"
        copy_film(path, out)
        with av.open(str(out)) as container:
            assert any(p.pts != p.dts for p in container.demux(video=0) if p.size)
        assert timestamps(out) == timestamps(path) == [i / NTSC_FILM for i in range(40)]

    def test_a_late_start_is_kept(self, make_film, tmp_path):
        path = make_film(
            "late.mp4",
            codec="libx264",
            pts=[1500 + 40 * i for i in range(10)],
            frames=10,
            time_base=Fraction(1, 1000),
            rate=25,
        )
        for name in ("out.mp4", "out.mkv"):
            copy_film(path, tmp_path / name)
            assert timestamps(tmp_path / name) == timestamps(path)

    def test_frames_without_timestamps_count_on(self, tmp_path):
        out = tmp_path / "out.mp4"
        with open_writer(out, FilmInfo.of_frames(32, 32, NTSC_FILM)) as writer:
            for i in range(30):
                writer.write(FilmFrame(index=i, image=np.full((32, 32, 3), i, np.uint8)))
        assert timestamps(out) == [i / NTSC_FILM for i in range(30)]
        assert open_film(out).info.frame_rate == NTSC_FILM

    def test_equal_timestamps_move_on_and_are_told(self, tmp_path):
        out = tmp_path / "out.mkv"
        info = FilmInfo.of_frames(32, 32, 1000)
        with open_writer(out, info) as writer:
            for i, pts in enumerate((0, 10, 10, 5, 20)):
                writer.write(FilmFrame(index=i, pts=pts, image=np.zeros((32, 32, 3), np.uint8)))
        assert [round(t * 1000) for t in timestamps(out)] == [0, 10, 11, 12, 20]
        assert len(writer.warnings) == 1

    @given(
        rate=st.sampled_from([NTSC_FILM, Fraction(16), Fraction(18), Fraction(30000, 1001), Fraction(50)]),
        start=st.integers(0, 5000),
        count=st.integers(2, 60),
    )
    @settings(max_examples=60)
    def test_millisecond_grids_become_exact(self, rate, start, count):
        info = FilmInfo(
            path="x", width=8, height=8, frame_rate=rate, time_base=Fraction(1, 1000), frame_count=None, bit_depth=8,
            pix_fmt="gray", codec="ffv1", constant_rate=True,
        )  # fmt: skip
        timeline = OutputClock(info, "mp4")
        placed = [timeline.place(start + round(i * 1000 / rate), None)[0] * timeline.time_base for i in range(count)]
        assert all(b - a == 1 / rate for a, b in itertools.pairwise(placed))
        assert placed[0] == Fraction(start, 1000)


class TestProperties:
    @pytest.mark.parametrize("name", ["out.mkv", "out.mp4", "out.mov"])
    def test_colour_shape_and_rotation_are_carried(self, make_film, tmp_path, name):
        path = make_film("p.mp4", codec="libx264", colour=(2, 9, 9, 16), rotation=90, aspect=Fraction(16, 15))
        out = tmp_path / name
        copy_film(path, out)
        before, after = open_film(path).info, open_film(out).info
        for field in ("colour_range", "colour_matrix", "colour_primaries", "colour_transfer", "rotation"):
            assert getattr(after, field) == getattr(before, field), field
        assert after.display_matrix == before.display_matrix
        assert after.sample_aspect_ratio == Fraction(16, 15)

    @pytest.mark.parametrize(
        "aspect", [Fraction(1), Fraction(16, 15), Fraction(8, 9), Fraction(59, 54), Fraction(37, 41)]
    )
    @pytest.mark.parametrize("pix_fmt", ["yuv420p", "bgr0"])
    def test_pixel_shape_in_lossless_matroska(self, make_film, tmp_path, aspect, pix_fmt):
        path = make_film("p.mp4", codec="libx264", aspect=aspect, frames=3, size=(72, 46))
        out = tmp_path / "out.mkv"
        copy_film(path, out, settings=WriteSettings(codec="ffv1", pix_fmt=pix_fmt))
        with av.open(str(out)) as container:
            stream = container.streams.video[0]
            assert stream.sample_aspect_ratio == aspect
            assert "title" not in stream.metadata
            assert len(list(container.decode(stream))) == 3

    def test_unspecified_colour_stays_unspecified(self, make_film, tmp_path):
        out = tmp_path / "out.mkv"
        copy_film(make_film(frames=2), out)
        info = open_film(out).info
        assert (info.colour_matrix, info.colour_primaries, info.colour_transfer) == (2, 2, 2)


class TestSound:
    @pytest.mark.parametrize(
        ("first", "second", "codecs"),
        [
            ("in.mp4", "out.mp4", ["aac"]),
            ("in.mkv", "out.mkv", ["pcm_s16le", "aac", "flac"]),
            ("in.mkv", "out.mov", ["pcm_s16le"]),
            ("in.mp4", "out.mkv", ["aac", "aac"]),
        ],
    )
    def test_packets_are_bit_equal(self, make_film, tmp_path, first, second, codecs):
        codec = "libx264" if first.endswith("mp4") else "ffv1"
        path = make_film(first, codec=codec, frames=50, rate=25, audio=codecs)
        out = tmp_path / second
        copy_film(path, out, source=path)
        before, after = audio_packets(path), audio_packets(out)
        assert len(before) == len(codecs)
        assert before == after
        assert all(len(packets) > 20 for packets in before)
        with av.open(str(out)) as container:
            assert [s.codec_context.name for s in container.streams.audio] == codecs
            assert len(list(container.decode(video=0))) == 50

    def test_sound_is_interleaved_with_the_pictures(self, make_film, tmp_path):
        path = make_film(frames=100, rate=25, audio=["pcm_s16le"])
        out = tmp_path / "out.mkv"
        copy_film(path, out, source=path)
        with av.open(str(out)) as container:
            kinds = [(p.stream.type, p.pts * p.time_base) for p in container.demux() if p.size]
        latest = {"video": Fraction(0), "audio": Fraction(0)}
        for kind, time in kinds:
            latest[kind] = time
            assert abs(latest["video"] - latest["audio"]) < Fraction(1, 5)

    def test_sound_stays_in_step(self, make_film, tmp_path):
        path = make_film("in.mp4", codec="libx264", frames=50, rate=25, audio=["aac"])
        out = tmp_path / "out.mkv"
        copy_film(path, out, source=path)
        starts = []
        for film in (path, out):
            with av.open(str(film)) as container:
                video = next(p for p in container.demux(video=0) if p.size)
            with av.open(str(film)) as container:
                audio = next(p for p in container.demux(audio=0) if p.size)
            starts.append(audio.pts * audio.time_base - video.pts * video.time_base)
        assert abs(starts[0] - starts[1]) <= Fraction(1, 1000)

    def test_what_an_edit_list_hides_stays_hidden(self, make_film, tmp_path):
        whole, cut = make_film("w.mp4", codec="libx264", frames=75, rate=25, audio=["aac"]), tmp_path / "cut.mp4"
        with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
            streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
            for packet in source.demux():
                if packet.size:
                    shift = round(1 / packet.time_base)
                    packet.stream = streams[packet.stream_index]
                    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                    target.mux(packet)
        out = tmp_path / "out.mp4"
        copy_film(cut, out, source=cut)
        assert timestamps(out) == timestamps(cut) == [Fraction(i, 25) for i in range(50)]
        kept, everything = audio_packets(out)[0], audio_packets(cut)[0]
        assert everything[-len(kept) :] == kept
        # One second of 75 frames is hidden, but for a run-up of 0.1 s.
        assert 40 <= len(everything) - len(kept) <= 44

    def test_sound_from_memory(self, make_film, tmp_path):
        path = make_film(frames=20, audio=["aac"])
        source = io.BytesIO(path.read_bytes())
        out = tmp_path / "out.mkv"
        copy_film(source, out, source=source)
        assert audio_packets(out) == audio_packets(path)

    def test_a_container_that_cannot_hold_the_sound(self, make_film, tmp_path):
        path = make_film("in.mov", codec="libx264", frames=5, audio=["pcm_mulaw"])
        with pytest.raises(FilmFileError, match=r"\.mp4 cannot hold the sound .*pcm_mulaw.*write a \.mov file"):
            open_writer(tmp_path / "out.mp4", open_film(path).info, source=path)
        assert os.listdir(tmp_path) == [path.name]

    def test_a_part_of_a_film_ends_with_its_sound(self, make_film, tmp_path):
        path = make_film(frames=100, rate=25, audio=["pcm_s16le"])
        out = tmp_path / "out.mkv"
        with open_film(path) as reader, open_writer(out, reader.info, source=path) as writer:
            for frame in itertools.islice(reader, 50):
                writer.write(frame)
            kept = writer.keep_partial()
        assert kept == tmp_path / "out.partial.mkv"
        assert not out.exists()
        with av.open(str(kept)) as container:
            ends = {"video": 0, "audio": 0}
            for packet in container.demux():
                if packet.size:
                    ends[packet.stream.type] = packet.pts * packet.time_base
        assert abs(ends["video"] - ends["audio"]) < Fraction(1, 10)
        assert len(decode_planes(kept)) == 50

    def test_subtitles_and_names_are_kept(self, make_film, tmp_path):
        film, titles, both = make_film(frames=50, rate=25), tmp_path / "t.srt", tmp_path / "both.mkv"
        titles.write_text("1\n00:00:00,500 --> 00:00:01,000\nOne\n\n2\n00:00:01,200 --> 00:00:01,800\nTwo\n")
        with av.open(str(film)) as pictures, av.open(str(titles)) as text, av.open(str(both), "w") as target:
            target.metadata["title"] = "The Reel"
            part = {"id": 1, "start": 0, "end": 900, "time_base": Fraction(1, 1000), "metadata": {"title": "Opening"}}
            target.set_chapters([part])
            streams = [target.add_stream_from_template(c.streams[0]) for c in (pictures, text)]
            for container, stream in zip((pictures, text), streams, strict=True):
                for packet in container.demux():
                    if packet.size:
                        packet.stream = stream
                        target.mux(packet)
        out = tmp_path / "out.mkv"
        copy_film(both, out, source=both)
        with av.open(str(out)) as container:
            assert container.metadata["title"] == "The Reel"
            assert [c["metadata"]["title"] for c in container.chapters()] == ["Opening"]
            assert [bytes(p) for p in container.demux(subtitles=0) if p.size] == [b"One", b"Two"]
        mp4 = tmp_path / "out.mp4"
        writer = copy_film(both, mp4, source=both)
        assert "subtitles" in writer.warnings[0]


class TestAtomicity:
    def test_nothing_under_the_name_before_the_end(self, make_film, tmp_path):
        path, out = make_film(frames=3), tmp_path / "folder" / "out.mkv"
        out.parent.mkdir()
        with open_film(path) as reader, open_writer(out, reader.info) as writer:
            for frame in reader:
                writer.write(frame)
                assert not out.exists()
                assert len(hidden_files(out.parent)) == 1
        assert os.listdir(out.parent) == ["out.mkv"]
        mask = os.umask(0)
        os.umask(mask)
        assert out.stat().st_mode & 0o777 == 0o666 & ~mask

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    def test_an_exception_leaves_nothing(self, make_film, tmp_path, error):
        path, out = make_film(frames=3, audio=["aac"]), tmp_path / "out.mkv"
        # The error comes after a frame.
        with pytest.raises(error), open_film(path) as reader, open_writer(out, reader.info, source=path) as writer:  # noqa: PT012
            for frame in reader:
                writer.write(frame)
                raise error
        assert sorted(os.listdir(tmp_path)) == [path.name]

    def test_an_older_result_survives_a_failed_run(self, make_film, tmp_path):
        path, out = make_film(frames=3), tmp_path / "out.mkv"
        out.write_bytes(b"older")
        replacing = WriteSettings(overwrite=True)
        with pytest.raises(RuntimeError), open_film(path) as reader, open_writer(out, reader.info, settings=replacing):
            raise RuntimeError
        assert out.read_bytes() == b"older"
        copy_film(path, out, settings=replacing)
        assert len(decode_planes(out)) == 3

    def test_a_partial_film_of_no_frames_is_no_file(self, make_film, tmp_path):
        path = make_film(frames=1)
        with open_writer(tmp_path / "out.mkv", open_film(path).info) as writer:
            assert writer.keep_partial() is None
        assert os.listdir(tmp_path) == [path.name]

    def test_a_closed_writer_takes_no_frame(self, make_film, tmp_path):
        path = make_film(frames=1)
        frame = next(iter(open_film(path)))
        writer = open_writer(tmp_path / "out.mkv", open_film(path).info)
        writer.write(frame)
        writer.close()
        with pytest.raises(FilmFileError, match="closed"):
            writer.write(frame)


class TestRefusals:
    def test_unknown_suffix(self, make_film, tmp_path):
        with pytest.raises(FilmFileError, match=r"'\.xyz' is none of"):
            open_writer(tmp_path / "out.xyz", open_film(make_film(frames=1)).info)

    def test_codec_and_container_that_do_not_fit(self, make_film, tmp_path):
        path = make_film(frames=1)
        with pytest.raises(FilmFileError, match=r"\.mov cannot hold ffv1"):
            open_writer(tmp_path / "out.mov", open_film(path).info, settings=WriteSettings(codec="ffv1"))
        assert os.listdir(tmp_path) == [path.name]

    def test_missing_folder(self, make_film, tmp_path):
        with pytest.raises(FilmFileError, match="does not exist; make it first"):
            open_writer(tmp_path / "none" / "out.mkv", open_film(make_film(frames=1)).info)

    def test_output_is_the_input(self, make_film):
        path = make_film(frames=1)
        with pytest.raises(FilmFileError, match="another output name"):
            open_writer(path, open_film(path).info, source=path)

    def test_wrong_sizes(self, make_film, tmp_path):
        path = make_film(frames=1)
        frame = next(iter(open_film(path)))
        with open_writer(tmp_path / "out.mkv", open_film(path).info) as writer:
            with pytest.raises(SettingsError, match=r"\(24, 32, 3\)"):
                writer.write(frame, torch.zeros(3, 24, 32))
            with pytest.raises(SettingsError, match="NaN"):
                writer.write(frame, torch.full((3, 48, 64), torch.nan))
            with pytest.raises(SettingsError, match=r"shape \(3, H, W\)"):
                writer.write(frame, torch.zeros(48, 64, 3))
            writer.write(frame)

    @pytest.mark.parametrize("bad", [{"codec": "vp9"}, {"quality": 52}, {"quality": -1}, {"pix_fmt": "yuv999"}])
    def test_settings(self, bad):
        with pytest.raises(SettingsError, match=str(next(iter(bad.values())))):
            WriteSettings(**bad)

    def test_format_the_codec_cannot_store(self, make_film, tmp_path):
        with pytest.raises(FilmFileError, match="cannot store pixel format 'gbrp16le'"):
            open_writer(
                tmp_path / "o.mp4", open_film(make_film(frames=1)).info, settings=WriteSettings(pix_fmt="gbrp16le")
            )
