"""ProRes, and depths that are asked for."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from vldm_core.errors import FilmFileError, SettingsError
from vldm_core.video.info import FilmFrame, FilmInfo
from vldm_core.video.reading.reader import open_film
from vldm_core.video.writing.writer import WriteSettings, open_writer

from ..conftest import audio_packets, decode_planes, timestamps


def copied(source, out, **settings):
    with (
        open_film(source) as film,
        open_writer(out, film.info, settings=WriteSettings(**settings), source=source) as to,
    ):
        for frame in film:
            to.write(frame, frame.tensor())
        return film.info, to


def written(path):
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        return context.name, context.pix_fmt, context.profile, context.color_range


class TestProRes:
    @pytest.mark.parametrize(
        ("pix_fmt", "size", "stored", "profile"),
        [
            ("yuv420p", (64, 48), "yuv422p10le", "HQ"),
            ("yuv422p10le", (66, 49), "yuv422p10le", "HQ"),
            ("gray", (64, 48), "yuv422p10le", "HQ"),
            ("yuv420p", (65, 49), "yuv444p10le", "4444"),
            ("yuv444p", (64, 48), "yuv444p10le", "4444"),
            ("bgr0", (64, 48), "yuv444p10le", "4444"),
        ],
    )
    @pytest.mark.parametrize("name", ["out.mov", "out.mkv"])
    def test_the_family_follows_from_the_film(self, make_film, tmp_path, pix_fmt, size, stored, profile, name):
        source = make_film(pix_fmt=pix_fmt, size=size, frames=4, audio=["pcm_s16le"])
        copied(source, tmp_path / name, codec="prores")
        codec, made, found, _ = written(tmp_path / name)
        # The decoder gives 4444 in 12 bits, whatever was put in.
        assert (codec, made) == ("prores", stored.replace("444p10", "444p12"))
        assert name.endswith("mkv") or found == profile
        # A Matroska source counts milliseconds, a MOV film the frames of its rate.
        for before, after in zip(timestamps(source), timestamps(tmp_path / name), strict=True):
            assert abs(before - after) <= Fraction(1, 1000)
        assert audio_packets(tmp_path / name) == audio_packets(source)
        with open_film(tmp_path / name) as film, open_film(source) as original:
            for made, frame in zip(film, original, strict=True):
                shown = frame.image if frame.image.dtype == np.uint16 else frame.image.astype(int) * 257
                # Noise in all colours, of which 4:2:2 keeps half; what comes out is the picture.
                assert np.abs(made.image.astype(int) - shown).mean() < (400 if pix_fmt != "bgr0" else 6000)

    def test_ten_bits_are_kept_closely(self, make_film, tmp_path):
        source = make_film(pix_fmt="yuv422p10le", frames=3)
        copied(source, tmp_path / "out.mov", codec="prores")
        for before, after in zip(decode_planes(source), decode_planes(tmp_path / "out.mov"), strict=True):
            for one, other in zip(before, after, strict=True):
                assert np.abs(one.astype(int) - other).mean() < 4

    def test_full_range_becomes_limited(self, make_film, tmp_path):
        source = make_film(pix_fmt="yuv422p10le", frames=2, colour=(2, 1, 1, 1))
        copied(source, tmp_path / "out.mov", codec="prores")
        with open_film(source) as film, open_film(tmp_path / "out.mov") as made:
            assert made.info.colour_range in (0, 1)
            for frame, other in zip(film, made, strict=True):
                assert np.abs(frame.image.astype(int) - other.image).mean() < 600

    @pytest.mark.parametrize("bits", [8, 16])
    def test_transparency_is_kept(self, tmp_path, bits):
        info = FilmInfo.of_frames(65, 49, 24, bit_depth=bits, pix_fmt="bgra" if bits == 8 else "gbrap16le")
        with open_writer(tmp_path / "a.mkv", info, settings=WriteSettings(codec="ffv1")) as writer:
            rng = np.random.default_rng(0)
            planes = rng.integers(0, 1 << bits, (49, 65, 4)).astype(np.uint8 if bits == 8 else np.uint16)
            name = "bgra" if bits == 8 else "rgba64le"
            source = av.VideoFrame.from_ndarray(planes, format=name)
            image = planes[..., 2::-1].copy() if bits == 8 else planes[..., :3].copy()
            writer.write(FilmFrame(index=0, image=image, source=source))
        copied(tmp_path / "a.mkv", tmp_path / "b.mov", codec="prores")
        with av.open(str(tmp_path / "b.mov")) as container:
            frame = next(container.decode(video=0))
            assert frame.format.name.startswith("yuva444p")
            depth = frame.format.components[3].bits
            view = np.ndarray((49, 65), "<u2", frame.planes[3], strides=(frame.planes[3].line_size, 2))
            expected = planes[..., 3] * (((1 << depth) - 1) / ((1 << bits) - 1))
            assert np.abs(view - expected).max() <= (1 << depth) / 1023 * 0.51 + 1

    def test_what_cannot_be_is_told(self, make_film, tmp_path):
        info = open_film(make_film()).info
        with pytest.raises(FilmFileError, match=r"\.mp4 cannot hold ProRes; name a \.mov or \.mkv"):
            open_writer(tmp_path / "out.mp4", info, settings=WriteSettings(codec="prores"))
        with pytest.raises(FilmFileError, match="ProRes stores 10 bits, not 8"):
            open_writer(tmp_path / "out.mov", info, settings=WriteSettings(codec="prores", bits=8))

    def test_it_is_lossy_without_transparency_elsewhere(self, tmp_path):
        info = FilmInfo.of_frames(64, 48, 24, pix_fmt="bgra")
        writer = open_writer(tmp_path / "out.mp4", info)
        writer.abort()
        assert "h264 holds no transparency" in writer.warnings[0]
        writer = open_writer(tmp_path / "out.mov", info, settings=WriteSettings(codec="prores"))
        writer.abort()
        assert writer.warnings == []


class TestBits:
    @pytest.mark.parametrize(
        ("codec", "pix_fmt", "bits", "stored"),
        [
            ("h264", "yuv420p", 10, "yuv420p10le"),
            ("h264", "yuv422p10le", 8, "yuv422p"),
            ("h265", "bgr0", 10, "yuv420p10le"),
            ("h265", "yuv420p", 12, "yuv420p12le"),
            ("ffv1", "bgr0", 10, "gbrp10le"),
            ("ffv1", "bgr0", 16, "gbrp16le"),
            ("ffv1", "yuv420p", 10, "yuv420p10le"),
            ("ffv1", "gray", 16, "gray16le"),
            ("ffv1", "yuv422p10le", 8, "yuv422p"),
            ("ffv1", "yuva420p", 10, "yuva420p10le"),
        ],
    )
    def test_a_depth_that_is_asked_for_is_written(self, make_film, tmp_path, codec, pix_fmt, bits, stored):
        source = make_film(pix_fmt=pix_fmt, frames=3)
        out = tmp_path / ("out.mkv" if codec == "ffv1" else "out.mp4")
        copied(source, out, codec=codec, bits=bits)
        assert written(out)[1] == stored

    @pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuva444p", "gray"])
    def test_deeper_samples_are_the_same_samples(self, make_film, tmp_path, pix_fmt):
        source = make_film(pix_fmt=pix_fmt, frames=2, size=(65, 49))
        copied(source, tmp_path / "out.mkv", codec="ffv1", bits=12)
        for before, after in zip(decode_planes(source), decode_planes(tmp_path / "out.mkv"), strict=True):
            for number, (one, other) in enumerate(zip(before, after, strict=True)):
                # Gray and transparency are of full range, and spread; Y'CbCr is shifted.
                spread = pix_fmt == "gray" or number == 3
                np.testing.assert_array_equal(other, np.rint(one * (4095 / 255)) if spread else one.astype(int) << 4)

    def test_what_is_restored_is_written_finer_and_the_rest_is_kept(self, make_film, tmp_path):
        source, out = make_film(pix_fmt="yuv444p", frames=1), tmp_path / "out.mkv"
        settings = WriteSettings(codec="ffv1", bits=12)
        with open_film(source) as film, open_writer(out, film.info, settings=settings) as writer:
            frame = next(iter(film))
            restored = frame.tensor()
            restored[:, :20] = 0.4012
            writer.write(frame, restored)
        before, after = decode_planes(source)[0], decode_planes(out)[0]
        assert np.median(np.abs(after[0][:20] / 16 - (16 + 219 * 0.4012))) < 0.05, (
            "where it does not round to what it was"
        )
        for one, other in zip(before, after, strict=True):
            np.testing.assert_array_equal(other[20:], one[20:].astype(int) << 4)

    @pytest.mark.parametrize(
        ("name", "codec", "bits", "match"),
        [
            ("out.mp4", "h264", 12, "h264 has no 12 bits; ask for 8 or 10"),
            ("out.mp4", "h265", 16, "h265 has no 16 bits; ask for 8, 10 or 12"),
            ("out.mkv", "ffv1", 32, "FFV1 cannot store 'yuv420p' with 32 bits; ask for 16"),
        ],
    )
    def test_a_depth_that_a_codec_does_not_have_is_refused(self, make_film, tmp_path, name, codec, bits, match):
        info = open_film(make_film()).info
        with pytest.raises(FilmFileError, match=match):
            open_writer(tmp_path / name, info, settings=WriteSettings(codec=codec, bits=bits))

    def test_contradictions_are_refused(self):
        with pytest.raises(SettingsError, match="both say the depth"):
            WriteSettings(bits=10, pix_fmt="yuv420p")
        with pytest.raises(SettingsError, match="bits is 9; use one of 8, 10"):
            WriteSettings(bits=9)

    def test_sixteen_bit_pictures_of_eight_bits(self, make_film, tmp_path):
        source = make_film(pix_fmt="bgr0", frames=2)
        for name in ("p%03d.png", "p%03d.tif"):
            with (
                open_film(source) as film,
                open_writer(tmp_path / name, film.info, settings=WriteSettings(bits=16)) as to,
            ):
                for frame in film:
                    restored = frame.tensor()
                    restored[:, :9] = 0.4012
                    to.write(frame, restored)
            with open_film(tmp_path / name) as made, open_film(source) as film:
                for picture, frame in zip(made, film, strict=True):
                    changed = picture.image[:9] == round(0.4012 * 65535)
                    rounds_alike = (frame.image[:9] == round(0.4012 * 255)).all(axis=2)[..., None]
                    assert (changed | rounds_alike).all()
                    np.testing.assert_array_equal(picture.image[9:], frame.image[9:].astype(int) * 257)
            with open_film(make_film("deep.mkv", pix_fmt="gbrp10le", frames=1)) as film:
                with open_writer(tmp_path / f"e{name}", film.info, settings=WriteSettings(bits=8)) as to:
                    frame = next(iter(film))
                    to.write(frame, torch.as_tensor(frame.tensor()))
                with open_film(tmp_path / f"e{name}") as made:
                    assert next(iter(made)).image.dtype == np.uint8
