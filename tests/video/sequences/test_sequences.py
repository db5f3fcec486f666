"""Image sequences as films, in and out."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vldm_core.errors import FilmFileError, FilmFileWarning, SettingsError
from vldm_core.video.info import FilmFrame, FilmInfo
from vldm_core.video.reading.reader import open_film
from vldm_core.video.sequences.names import natural_key
from vldm_core.video.writing.writer import WriteSettings, open_writer

from ..conftest import decode_planes


def picture(seed, *, deep=False, size=(20, 28)):
    rng = np.random.default_rng(seed)
    top, dtype = (65536, np.uint16) if deep else (256, np.uint8)
    return rng.integers(0, top, (*size, 3)).astype(dtype)


def save(path, image, pix_fmt=None, codec=None):
    """Write one picture with FFmpeg's own encoder."""
    codec = codec or {".png": "png", ".tif": "tiff", ".jpg": "mjpeg", ".dpx": "dpx", ".bmp": "bmp"}[path.suffix]
    context = av.CodecContext.create(codec, "w")
    name = "rgb24" if image.dtype == np.uint8 else "rgb48le"
    if image.ndim == 2:
        name = "gray" if image.dtype == np.uint8 else "gray16le"
    wanted = pix_fmt or {"mjpeg": "yuvj444p", "bmp": "bgr24"}.get(
        codec, name.replace("48le", "48be").replace("16le", "16be") if codec == "png" else name
    )
    context.width, context.height, context.pix_fmt = image.shape[1], image.shape[0], wanted
    context.time_base, context.thread_count = Fraction(1, 25), 1
    frame = av.VideoFrame.from_ndarray(image, format=name).reformat(format=wanted)
    path.write_bytes(b"".join(bytes(p) for p in [*context.encode(frame), *context.encode(None)]))


@pytest.fixture
def folder(tmp_path):
    target = tmp_path / "scan"
    target.mkdir()
    return target


class TestReading:
    @pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
    def test_eight_bit_pictures_are_exact(self, folder, suffix):
        for i in range(4):
            save(folder / f"f{i}{suffix}", picture(i))
        with open_film(folder, sequence_rate=Fraction(18)) as reader:
            assert reader.info.frame_rate == 18
            assert reader.info.frame_count == 4
            assert reader.info.bit_depth == 8
            frames = list(reader)
        assert [f.pts for f in frames] == [0, 1, 2, 3]
        assert all(np.array_equal(f.image, picture(i)) for i, f in enumerate(frames))

    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    def test_sixteen_bit_pictures_are_exact(self, folder, suffix):
        for i in range(3):
            save(folder / f"f{i}{suffix}", picture(i, deep=True))
        frames = list(open_film(folder))
        assert frames[0].image.dtype == np.uint16
        assert all(np.array_equal(f.image, picture(i, deep=True)) for i, f in enumerate(frames))

    def test_gray_pictures(self, folder):
        save(folder / "1.png", picture(0)[..., 0])
        save(folder / "2.png", picture(1)[..., 0])
        frames = list(open_film(folder))
        assert np.array_equal(frames[1].image, np.repeat(picture(1)[..., :1], 3, axis=2))

    def test_jpeg_and_dpx(self, folder, tmp_path):
        smooth = np.tile(np.linspace(20, 230, 28).astype(np.uint8)[None, :, None], (20, 1, 3))
        save(folder / "1.jpg", smooth)
        assert np.abs(next(iter(open_film(folder))).image.astype(int) - smooth).max() <= 4
        deep = tmp_path / "dpx"
        deep.mkdir()
        save(deep / "1.dpx", picture(0, deep=True), pix_fmt="gbrp10le")
        reader = open_film(deep)
        assert reader.info.bit_depth == 10
        assert np.abs(next(iter(reader)).image.astype(int) - picture(0, deep=True)).max() <= 65535 // 1023

    def test_names_sort_by_number(self, folder):
        for i in (1, 2, 10, 9, 100):
            save(folder / f"shot7_{i}.png", np.full((20, 28, 3), i, np.uint8))
        with pytest.warns(FilmFileWarning, match="3-8, 11-99"):
            reader = open_film(folder)
        assert [int(f.image[0, 0, 0]) for f in reader] == [1, 2, 9, 10, 100]
        assert reader.info.start_number == 1
        assert len(reader.warnings) == 1

    def test_pattern_picks_one_sequence(self, folder):
        for i in range(3):
            save(folder / f"a_{i:04d}.png", picture(i))
            save(folder / f"b_{i:04d}.png", picture(i + 10))
        with pytest.raises(FilmFileError, match=r"more than one sequence: a_#\.png \(3\), b_#\.png \(3\)"):
            open_film(folder)
        frames = list(open_film(folder / "b_%04d.png"))
        assert np.array_equal(frames[2].image, picture(12))

    def test_hidden_and_foreign_files_are_ignored(self, folder):
        save(folder / "1.png", picture(0))
        (folder / ".2.png").write_bytes(b"")
        (folder / "notes.txt").write_text("x")
        assert open_film(folder).info.frame_count == 1

    def test_a_damaged_picture_is_held_and_named(self, folder):
        for i in range(5):
            save(folder / f"{i}.png", picture(i))
        (folder / "2.png").write_bytes(b"")
        (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:40])
        reader = open_film(folder)
        with pytest.warns(FilmFileWarning, match="frames 2-3 of"):
            frames = list(reader)
        assert [f.index for f in frames if f.substitute] == [2, 3]
        assert np.array_equal(frames[3].image, picture(1))
        assert np.array_equal(frames[4].image, picture(4))

    @given(st.lists(st.integers(0, 10**6), unique=True, min_size=2), st.text("ab-_", max_size=3))
    def test_natural_order_is_numeric_order(self, numbers, prefix):
        names = [f"{prefix}{n}.png" for n in numbers]
        assert sorted(names, key=natural_key) == [f"{prefix}{n}.png" for n in sorted(numbers)]


class TestRefusals:
    def test_empty_folder(self, folder):
        with pytest.raises(FilmFileError, match="holds no pictures"):
            open_film(folder)

    def test_missing_pattern_folder(self, tmp_path):
        with pytest.raises(FilmFileError, match="does not exist"):
            open_film(tmp_path / "none" / "%04d.png")

    def test_mixed_sizes_name_the_file(self, folder):
        for i in range(3):
            save(folder / f"{i}.png", picture(i, size=(20, 28) if i < 2 else (24, 28)))
        with pytest.raises(FilmFileError, match=r"2\.png is 28x24, but 0\.png is 28x20"):
            open_film(folder)

    def test_nothing_decodable(self, folder):
        (folder / "1.png").write_bytes(b"no picture")
        with pytest.raises(FilmFileError, match="none of the 1 pictures"):
            open_film(folder)

    def test_rate(self, folder):
        save(folder / "1.png", picture(0))
        with pytest.raises(SettingsError, match="sequence_rate 0"):
            open_film(folder, sequence_rate=0)

    def test_output_formats(self, tmp_path):
        info = FilmInfo.of_frames(28, 20, 24)
        with pytest.raises(FilmFileError, match=r"\.jpg pictures"):
            open_writer(tmp_path / "a_%04d.jpg", info)
        with pytest.raises(FilmFileError, match=r"codec 'ffv1' needs a film file"):
            open_writer(tmp_path / "frames", info, settings=WriteSettings(codec="ffv1"))
        with pytest.raises(FilmFileError, match="make it first"):
            open_writer(tmp_path / "none" / "frames", info)
        (tmp_path / "plain").write_text("x")
        with pytest.raises(FilmFileError, match="is a file"):
            open_writer(tmp_path / "plain", info)
        assert os.listdir(tmp_path) == ["plain"]


class TestWriting:
    @pytest.mark.parametrize("deep", [False, True])
    @pytest.mark.parametrize(
        ("target", "names"),
        [
            ("out", ["frame_000001.png", "frame_000002.png"]),
            ("out/", ["frame_000001.png", "frame_000002.png"]),
            ("out/x%03d.tif", ["x001.tif", "x002.tif"]),
        ],
    )
    def test_a_sequence_comes_back_exactly(self, tmp_path, target, names, deep):
        info = FilmInfo.of_frames(28, 20, 24, bit_depth=16 if deep else 8)
        with open_writer(f"{tmp_path}/{target}", info) as writer:
            for i in range(2):
                writer.write(FilmFrame(index=i, image=picture(i, deep=deep)))
            assert not (tmp_path / "out").exists()
        assert sorted(os.listdir(tmp_path / "out")) == names
        assert os.listdir(tmp_path) == ["out"]
        frames = list(open_film(tmp_path / "out"))
        assert all(np.array_equal(f.image, picture(i, deep=deep)) for i, f in enumerate(frames))

    def test_numbers_go_on_from_the_source(self, folder, tmp_path):
        for i in (86, 87):
            save(folder / f"{i}.png", picture(i))
        with open_film(folder) as reader, open_writer(tmp_path / "r%04d.png", reader.info) as writer:
            for frame in reader:
                writer.write(frame, frame.tensor())
        assert sorted(f for f in os.listdir(tmp_path) if f != "scan") == ["r0086.png", "r0087.png"]

    def test_existing_pictures_are_not_overwritten(self, folder):
        save(folder / "frame_000001.png", picture(0))
        with pytest.raises(FilmFileError, match="already holds pictures"):
            open_writer(folder, FilmInfo.of_frames(28, 20, 24))

    def test_a_film_file_becomes_pictures_and_back(self, make_film, tmp_path):
        path = make_film(pix_fmt="bgr0", frames=4, audio=["aac"])
        with open_film(path) as reader, open_writer(tmp_path / "frames", reader.info, source=path) as writer:
            for frame in reader:
                writer.write(frame)
        assert "no sound" in writer.warnings[0]
        out = tmp_path / "back.mkv"
        with open_film(tmp_path / "frames") as reader, open_writer(out, reader.info) as writer:
            for frame in reader:
                writer.write(frame)
        before, after = decode_planes(path), decode_planes(out)
        assert all(np.array_equal(a[0], b[0]) for a, b in zip(before, after, strict=True))

    def test_rotation_is_applied_to_pictures(self, make_film, tmp_path):
        path = make_film("p.mp4", codec="libx264", rotation=90, frames=1)
        with open_film(path) as reader, open_writer(tmp_path / "frames", reader.info) as writer:
            frame = next(iter(reader))
            writer.write(frame)
        turned = next(iter(open_film(tmp_path / "frames"))).image
        assert np.array_equal(turned, np.rot90(frame.image))

    def test_a_coloured_gray_film_keeps_its_colour(self, tmp_path):
        info = FilmInfo.of_frames(28, 20, 24, pix_fmt="gray")
        grey = np.repeat(picture(0)[..., :1], 3, axis=2)
        with open_writer(tmp_path / "frames", info) as writer:
            writer.write(FilmFrame(index=0, image=grey))
            writer.write(FilmFrame(index=1, image=grey), torch.from_numpy(picture(1)).permute(2, 0, 1) / 255)
        files = sorted((tmp_path / "frames").iterdir())
        with av.open(str(files[0])) as container:
            assert container.streams.video[0].codec_context.pix_fmt == "gray"
        frames = list(open_film(tmp_path / "frames"))
        assert np.array_equal(frames[0].image, grey)
        assert np.array_equal(frames[1].image, picture(1))

    def test_an_exception_leaves_nothing_and_a_part_can_be_kept(self, tmp_path):
        info = FilmInfo.of_frames(28, 20, 24)
        # The error comes after a frame.
        with pytest.raises(RuntimeError), open_writer(tmp_path / "frames", info) as writer:  # noqa: PT012
            writer.write(FilmFrame(index=0, image=picture(0)))
            raise RuntimeError
        assert os.listdir(tmp_path) == []
        with open_writer(tmp_path / "frames", info) as writer:
            writer.write(FilmFrame(index=0, image=picture(0)))
            assert writer.keep_partial() == tmp_path / "frames.partial"
        assert os.listdir(tmp_path) == ["frames.partial"]
