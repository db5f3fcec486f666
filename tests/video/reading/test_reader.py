"""Reading film files: pixels, timing, and what is said about files that are not whole."""

import io
import os
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vldm_core.errors import FilmFileError, FilmFileWarning, SettingsError
from vldm_core.video.colour import ColourConverter, layout_of, sample_view, working_matrix
from vldm_core.video.info import FilmFrame, FilmInfo, image_from_tensor
from vldm_core.video.reading.reader import open_film
from vldm_core.video.stream import number_ranges

from ..conftest import decode_planes, moving_pattern, random_frame, timestamps

NTSC_FILM = Fraction(24000, 1001)
FFV1 = {"level": "3", "slicecrc": "1", "g": "1"}


def damaged_copy(path, edits, name):
    """Write a copy of a film in which the coded packets of given numbers are altered."""
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for number, edit in edits.items():
        position, size = places[number]
        edit(data, position, size)
    copy = path.with_name(name)
    copy.write_bytes(data)
    return copy


def destroy(data, position, size):
    """Make a packet undecodable; the first bytes may belong to the container."""
    data[position + 4 : position + size] = b"\xff" * (size - 4)


def scratch_payload(data, position, size):
    """Alter a few bytes in the middle of a packet."""
    middle = position + size // 2
    data[middle : middle + 16] = bytes(b ^ 0x55 for b in data[middle : middle + 16])


class TestFrames:
    def test_frames_have_contiguous_rgb_and_exact_tensors(self, make_film):
        with open_film(make_film(frames=3)) as reader:
            frames = list(reader)
        assert [f.index for f in frames] == [0, 1, 2]
        for frame in frames:
            assert frame.image.shape == (48, 64, 3)
            assert frame.image.dtype == np.uint8
            assert frame.image.flags.c_contiguous
            tensor = frame.tensor()
            assert tensor.shape == (3, 48, 64)
            assert tensor.dtype == torch.float32
            assert np.array_equal(image_from_tensor(tensor, np.uint8), frame.image)

    def test_iterating_twice_gives_the_same_frames(self, make_film):
        with open_film(make_film(frames=4)) as reader:
            first = [f.image for f in reader]
            second = [f.image for f in reader]
        assert len(first) == 4
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))

    def test_every_16_bit_value_survives_the_tensor(self):
        values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
        image = np.stack([values, values[::-1], values.T], axis=2)
        frame = FilmFrame(index=0, image=np.ascontiguousarray(image))
        assert np.array_equal(image_from_tensor(frame.tensor(), np.uint16), image)

    @pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le"])
    def test_a_frame_that_waits_holds_its_samples_and_makes_its_picture_in_any_thread(self, make_film, pix_fmt):
        with open_film(make_film(frames=6, pix_fmt=pix_fmt)) as reader:
            frames = list(reader)
        assert all(not isinstance(held, np.ndarray) for frame in frames for held in vars(frame).values())
        wanted = [frame.image.copy() for frame in frames]
        first = frames[0].image
        assert frames[0].image is first, "as long as somebody holds it, it is not made again"
        with ThreadPoolExecutor(8) as pool:
            pictures = list(pool.map(lambda number: frames[number % 6].image, range(96)))
        assert all(np.array_equal(picture, wanted[number % 6]) for number, picture in enumerate(pictures))

    def test_bytes_in_memory_read_like_a_file(self, make_film):
        path = make_film(frames=5)
        source = io.BytesIO(path.read_bytes())
        with open_film(source) as memory, open_film(path) as file:
            assert memory.info.path == "<memory>"
            pairs = list(zip(memory, file, strict=True))
        assert len(pairs) == 5
        assert all(np.array_equal(a.image, b.image) for a, b in pairs)
        assert source.tell() == 0

    def test_a_colon_in_the_name_is_no_protocol(self, make_film, tmp_path):
        path = make_film(frames=2).rename(tmp_path / "reel:1 50%.mkv")
        with open_film(path) as reader:
            assert len(list(reader)) == 2


class TestTiming:
    @pytest.mark.parametrize(("name", "base"), [("a.mkv", None), ("a.mp4", Fraction(1, 24000))])
    def test_rate_and_count_are_exact(self, make_film, name, base):
        path = make_film(name, rate=NTSC_FILM, time_base=base, frames=30)
        with open_film(path) as reader:
            assert reader.info.frame_rate == NTSC_FILM
            assert reader.info.frame_count == 30
            assert len(list(reader)) == 30

    def test_variable_rate_keeps_every_timestamp(self, make_film):
        stamps = [0, 40, 95, 100, 300, 301, 777, 900, 1500, 1501]
        path = make_film(pts=stamps, frames=10, time_base=Fraction(1, 1000), rate=25)
        with open_film(path) as reader:
            assert [f.pts for f in reader] == stamps
            assert reader.info.time_base == Fraction(1, 1000)
            assert not reader.info.constant_rate

    def test_b_frames_come_in_presentation_order(self, make_film):
        path = make_film("b.mp4", codec="libx264", frames=30, rate=25, options={"bf": "3", "g": "12"})
        with open_film(path) as reader:
            frames = list(reader)
            assert [f.pts * reader.info.time_base for f in frames] == [Fraction(i, 25) for i in range(30)]

    def test_constant_rate_is_seen_through_milliseconds(self, make_film):
        with open_film(make_film(rate=NTSC_FILM, frames=20)) as reader:
            assert reader.info.time_base == Fraction(1, 1000)
            assert reader.info.constant_rate

    @pytest.mark.parametrize(("codec", "bf"), [("libx264", "3"), ("mpeg4", "2"), ("ffv1", None)])
    def test_avi_frames_are_shown_at_the_frame_rate(self, make_film, codec, bf):
        path = make_film("b.avi", codec=codec, frames=30, rate=NTSC_FILM, options={"bf": bf} if bf else {})
        with open_film(path) as reader:
            frames = list(reader)
            assert reader.info.frame_rate == NTSC_FILM
        times = [f.pts * reader.info.time_base for f in frames]
        assert [t - times[0] for t in times] == [i / NTSC_FILM for i in range(30)]


class TestProperties:
    def test_colour_shape_and_rotation_are_reported(self, make_film):
        path = make_film("p.mp4", codec="libx264", colour=(2, 9, 9, 16), rotation=90, aspect=Fraction(16, 15))
        info = open_film(path).info
        tags = (info.colour_range, info.colour_matrix, info.colour_primaries, info.colour_transfer)
        assert tags == (2, 9, 9, 16)
        assert info.rotation == 90
        assert len(info.display_matrix) == 9
        assert info.sample_aspect_ratio == Fraction(16, 15)
        assert not info.has_audio

    def test_a_film_needs_positive_values(self):
        with pytest.raises(SettingsError, match="frame_rate 0"):
            FilmInfo.of_frames(8, 8, 0)
        with pytest.raises(SettingsError, match="0x8"):
            FilmInfo.of_frames(0, 8, 24)

    def test_unknown_deinterlace_setting(self, make_film):
        with pytest.raises(SettingsError, match="deinterlace"):
            open_film(make_film(frames=1), deinterlace="yes")  # type: ignore[arg-type]


WEIGHTS = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}


class TestColour:
    @pytest.mark.parametrize("matrix", [1, 6, 9])
    @pytest.mark.parametrize("colour_range", [1, 2])
    @pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv444p10le", "yuv444p12le"])
    def test_rgb_follows_the_standard_and_comes_back(self, matrix, colour_range, pix_fmt):
        frame = random_frame(pix_fmt, 40, 32, seed=3)
        bits = layout_of(pix_fmt).bits
        converter = ColourConverter(40, 32, matrix, colour_range)
        image = converter.rgb(frame)
        y, cb, cr = (sample_view(frame, p).astype(np.float64) for p in range(3))
        scale, top = 1 << (bits - 8), (1 << bits) - 1
        if colour_range == 2:
            y, cb, cr = y / top, (cb - 128 * scale) / top, (cr - 128 * scale) / top
        else:
            y = (y - 16 * scale) / (219 * scale)
            cb, cr = (cb - 128 * scale) / (224 * scale), (cr - 128 * scale) / (224 * scale)
        red_weight, blue_weight = WEIGHTS[matrix]
        red = y + 2 * (1 - red_weight) * cr
        blue = y + 2 * (1 - blue_weight) * cb
        green = (y - red_weight * red - blue_weight * blue) / (1 - red_weight - blue_weight)
        expected = np.stack([red, green, blue], axis=2).clip(0, 1)
        full = 255 if bits == 8 else 65535
        assert np.abs(image / full - expected).max() < 0.6 / 255 if bits == 8 else 0.6 / 65535
        back = converter.frame(image, pix_fmt)
        inside = ((expected > 0) & (expected < 1)).all(axis=2)
        limit = 1 if bits == 8 else 0
        for plane in range(3):
            difference = sample_view(back, plane).astype(int) - sample_view(frame, plane)
            assert np.abs(difference)[inside].max() <= limit

    @pytest.mark.parametrize("pix_fmt", ["gray", "gray10le", "gray16le", "bgr0", "gbrp", "gbrp10le", "gbrp16le"])
    def test_formats_without_matrix_come_back_exactly(self, pix_fmt):
        frame = random_frame(pix_fmt, 41, 33, seed=5)
        converter = ColourConverter(41, 33, 2, 0)
        back = converter.frame(converter.rgb(frame), pix_fmt)
        if pix_fmt == "bgr0":
            assert np.array_equal(
                back.reformat(format="rgb24").to_ndarray(), frame.reformat(format="rgb24").to_ndarray()
            )
        else:
            for plane in range(len(frame.planes)):
                assert np.array_equal(sample_view(back, plane), sample_view(frame, plane))

    def test_black_and_white_of_ten_bits_reach_both_ends(self, make_film):
        frame = av.VideoFrame(64, 48, "yuv420p10le")
        for plane, value in enumerate((940, 512, 512)):
            sample_view(frame, plane)[...] = value
        sample_view(frame, 0)[:24] = 64
        image = next(iter(open_film(make_film(pix_fmt="yuv420p10le", frames=[frame])))).image
        assert image.dtype == np.uint16
        assert (image[:24] == 0).all()
        assert (image[24:] == 65535).all()

    def test_size_decides_an_unspecified_matrix(self):
        assert working_matrix(2, 720, 576) == 6
        assert working_matrix(2, 1280, 720) == 1
        assert working_matrix(9, 720, 576) == 9
        with pytest.raises(FilmFileError, match="matrix 8"):
            working_matrix(8, 720, 576)


class TestRefusals:
    def test_missing(self, tmp_path):
        with pytest.raises(FilmFileError, match=r"none\.mkv does not exist"):
            open_film(tmp_path / "none.mkv")

    def test_empty(self, tmp_path):
        path = tmp_path / "empty.mkv"
        path.touch()
        with pytest.raises(FilmFileError, match=r"is empty \(0 bytes\)"):
            open_film(path)
        with pytest.raises(FilmFileError, match="<memory> is empty"):
            open_film(io.BytesIO())

    @pytest.mark.parametrize("name", ["notes.txt", "notes.mkv"])
    def test_text(self, tmp_path, name):
        path = tmp_path / name
        path.write_text("this is no film\n" * 50)
        with pytest.raises(FilmFileError, match="not a film file"):
            open_film(path)

    def test_a_single_picture(self, tmp_path):
        path = tmp_path / "still.png"
        av.VideoFrame.from_ndarray(np.zeros((8, 8, 3), np.uint8)).save(path)
        with pytest.raises(FilmFileError, match="folder of an image sequence"):
            open_film(path)

    def test_sound_only(self, tmp_path):
        path = tmp_path / "sound.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=48000)
            stream.layout = "mono"
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 48000
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        with pytest.raises(FilmFileError, match="only sound"):
            open_film(path)

    def test_mp4_cut_before_its_index(self, make_film):
        path = make_film("cut.mp4", codec="libx264", frames=20)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(FilmFileError, match="moov"):
            open_film(path)

    def test_header_only(self, make_film):
        path = make_film("head.mkv", frames=5)
        with av.open(str(path)) as container:
            first = next(p.pos for p in container.demux(video=0))
        path.write_bytes(path.read_bytes()[:first])
        with pytest.raises(FilmFileError, match=r"no frame|not a film"):
            open_film(path)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_no_permission(self, make_film):
        path = make_film(frames=1)
        path.chmod(0)
        with pytest.raises(FilmFileError, match="permissions"):
            open_film(path)


class TestDamage:
    @pytest.mark.parametrize(
        ("name", "codec", "options"), [("d.mkv", "ffv1", FFV1), ("d.mp4", "libx264", {"g": "1", "bf": "0"})]
    )
    def test_undecodable_frames_are_held_and_named(self, make_film, name, codec, options):
        whole = make_film(name, codec=codec, frames=20, options=options, size=(96, 64))
        path = damaged_copy(whole, {7: destroy, 8: destroy, 12: destroy}, "damaged-" + name)
        good = [f.image for f in open_film(whole)]
        reader = open_film(path)
        with pytest.warns(FilmFileWarning, match="frames 7-8, 12 of"):
            frames = list(reader)
        assert [f.index for f in frames] == list(range(20))
        assert timestamps(whole) == [f.pts * reader.info.time_base for f in frames]
        assert [f.index for f in frames if f.substitute] == [7, 8, 12] == reader.undecodable
        for index, frame in enumerate(frames):
            stands_in = {7: 6, 8: 6, 12: 11}.get(index, index)
            assert np.array_equal(frame.image, good[stands_in])
        assert len(reader.warnings) == 1

    def test_a_lost_first_frame_is_replaced_by_the_next(self, make_film):
        whole = make_film(frames=6, options=FFV1)
        reader = open_film(damaged_copy(whole, {0: destroy, 1: destroy}, "damaged.mkv"))
        with pytest.warns(FilmFileWarning, match="frames 0-1 of"):
            frames = list(reader)
        assert len(frames) == 6
        assert np.array_equal(frames[0].image, frames[2].image)
        assert not frames[2].substitute

    def test_wrong_ffv1_checksum_is_named(self, make_film):
        whole = make_film(frames=10, options=FFV1, size=(96, 64))
        reader = open_film(damaged_copy(whole, {4: scratch_payload}, "damaged.mkv"))
        with pytest.warns(FilmFileWarning, match=r"frame 4 of .* damaged"):
            frames = list(reader)
        assert reader.damaged == [4]
        assert len(frames) == 10

    def test_damaged_reference_reaches_the_frames_that_use_it(self, make_film):
        whole = make_film("g.mp4", codec="libx264", frames=20, options={"g": "10", "bf": "0"}, size=(96, 64))
        reader = open_film(damaged_copy(whole, {0: destroy}, "damaged.mp4"))
        with pytest.warns(FilmFileWarning):
            frames = list(reader)
        assert len(frames) == 20
        touched = set(reader.damaged) | set(reader.undecodable)
        assert 0 in touched
        assert touched <= set(range(10))
        good = list(open_film(whole))
        assert all(np.array_equal(frames[i].image, good[i].image) for i in range(10, 20))

    def test_cut_short_matroska_keeps_the_frames_before(self, make_film):
        whole = make_film(frames=30, options=FFV1)
        good = [f.image for f in open_film(whole)]
        path = whole.with_name("cut.mkv")
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
        reader = open_film(path)
        with pytest.warns(FilmFileWarning, match="cut short"):
            frames = list(reader)
        assert 12 < len(frames) < 22
        assert f"after frame {len(frames) - 1}" in reader.warnings[0]
        assert all(np.array_equal(f.image, g) for f, g in zip(frames, good, strict=False))

    def test_cut_short_mp4_with_index_in_front(self, make_film, tmp_path):
        whole = make_film("f.mp4", codec="libx264", frames=30, options={"g": "1", "bf": "0"})
        front = tmp_path / "front.mp4"
        with av.open(str(whole)) as source, av.open(str(front), "w", options={"movflags": "+faststart"}) as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    target.mux(packet)
        front.write_bytes(front.read_bytes()[: front.stat().st_size * 7 // 10])
        reader = open_film(front)
        with pytest.warns(FilmFileWarning, match="30 frames are promised"):
            frames = list(reader)
        assert 10 < len(frames) < 28

    def test_a_hole_in_a_constant_rate_is_named(self, make_film):
        numbers = [*range(10), *range(20, 40)]
        path = make_film(frames=30, pts=[40 * n for n in numbers], time_base=Fraction(1, 1000), rate=25)
        reader = open_film(path)
        with pytest.warns(FilmFileWarning, match="10 after frame 9"):
            frames = list(reader)
        assert [f.pts for f in frames] == [40 * n for n in numbers]

    def test_a_whole_film_warns_about_nothing(self, make_film, recwarn):
        for name, codec in (("w.mkv", "ffv1"), ("w.mp4", "libx264"), ("v.mkv", "libx264")):
            with open_film(make_film(name, codec=codec, frames=25, rate=NTSC_FILM)) as reader:
                assert len(list(reader)) == 25
            assert reader.warnings == []
        assert not [w for w in recwarn if issubclass(w.category, FilmFileWarning)]

    def test_a_change_of_size_stops_with_the_frame_number(self, tmp_path):
        path = tmp_path / "sizes.ts"
        parts = []
        for size in ((64, 48), (96, 64)):
            part = tmp_path / f"{size[0]}.ts"
            with av.open(str(part), "w") as container:
                stream = container.add_stream("libx264", rate=25, options={"g": "1", "bf": "0"})
                stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
                for i in range(5):
                    container.mux(stream.encode(random_frame("yuv420p", *size, i)))
                container.mux(stream.encode(None))
            parts.append(part.read_bytes())
        path.write_bytes(b"".join(parts))
        with pytest.raises(FilmFileError, match=r"frame 5 of .* is 96x64"):
            list(open_film(path, deinterlace="off"))


@given(st.sets(st.integers(0, 60)))
@settings(max_examples=60)
def test_number_ranges_name_exactly_the_numbers(numbers):
    found = set()
    for part in number_ranges(numbers).split(", ") if numbers else []:
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    assert found == numbers


def test_shared_film_reads_whole(shared_data):
    path = shared_data("film/san_francisco_1906.mkv")
    with open_film(path) as reader:
        frames = list(reader)
    assert len(frames) == reader.info.frame_count == 49
    assert reader.info.frame_rate == 16
    assert reader.info.field_order.value == "progressive"
    planes = decode_planes(path)
    assert all(np.array_equal(f.image, p[0]) for f, p in zip(frames, planes, strict=True))


def test_pattern_moves():
    assert np.abs(moving_pattern(0, 32, 32) - moving_pattern(1, 32, 32)).mean() > 0.02
