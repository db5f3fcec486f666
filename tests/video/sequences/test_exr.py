"""OpenEXR pictures in and out: light, depth and attributes."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from vldm_core.errors import FilmFileError, FilmFileWarning
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.reel.resumable.run import RunSettings, restore_reel
from vldm_core.video.info import FilmFrame, FilmInfo
from vldm_core.video.reading.reader import open_film
from vldm_core.video.scene_linear import coded
from vldm_core.video.sequences.exr import attributes_of, bits_of, of_timecode, with_attributes
from vldm_core.video.sequences.timecode import Timecode
from vldm_core.video.writing.writer import open_writer

from .test_dpx import samples, write_dpx

CHROMATICITIES = struct.pack("<8f", 0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767)


def light(seed, channels=3, size=(21, 29)):
    """Light with all that EXR files hold: negative, above 1, very dark."""
    rng = np.random.default_rng(seed)
    made = np.exp(rng.normal(-2, 2.5, (*size, channels))).astype(np.float32)
    made[0] = -made[0]
    return made


def write_exr(path, floats, *, half=True, more=None):
    context = av.CodecContext.create("exr", "w")
    height, width, channels = floats.shape
    if half:
        floats = floats.astype(np.float16).astype(np.float32)
    context.width, context.height, context.time_base = width, height, Fraction(1, 24)
    context.pix_fmt = {1: "grayf32le", 3: "gbrpf32le", 4: "gbrapf32le"}[channels]
    context.options = {"format": "half" if half else "float", "compression": "zip1"}
    frame = av.VideoFrame(width, height, context.pix_fmt)
    for plane, channel in zip(frame.planes, (0,) if channels == 1 else (1, 2, 0, 3), strict=False):
        np.ndarray((height, width), "<f4", plane, strides=(plane.line_size, 4))[...] = floats[..., channel]
    made = b"".join(bytes(p) for p in context.encode(frame))
    path.write_bytes(with_attributes(made, more or {}, height))


def read_exr(path):
    with av.open(str(path), format="exr_pipe") as container:
        frame = next(container.decode(video=0))
    dtype = np.dtype("<f2" if "f16" in frame.format.name else "<f4")
    planes = [
        np.ndarray((p.height, p.width), dtype, p, strides=(p.line_size, dtype.itemsize)).copy() for p in frame.planes
    ]
    order = (0,) if len(planes) == 1 else (2, 0, 1, 3)[: len(planes)]
    return np.stack([planes[number] for number in order], axis=-1)


def sequence(folder, channels=3, half=True, count=2):
    folder.mkdir()
    more = {"chromaticities": ("chromaticities", CHROMATICITIES), **of_timecode(Timecode.of("01:02:03:04"))}
    for number in range(count):
        write_exr(folder / f"f{number + 1:04d}.exr", light(number, channels), half=half, more=more)
    return folder


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_is_not_changed_is_kept_to_the_bit(tmp_path, half, channels):
    source = sequence(tmp_path / "in", channels, half)
    with open_film(source) as film, open_writer(tmp_path / "o%04d.exr", film.info, source=source) as writer:
        assert film.info.scene_linear and film.info.bit_depth == 16 and film.info.timecode == "01:02:03:04"
        for frame in film:
            writer.write(frame, frame.tensor())
        assert writer.warnings == []
    for number in (1, 2):
        before, after = read_exr(source / f"f{number:04d}.exr"), read_exr(tmp_path / f"o{number:04d}.exr")
        assert before.dtype == after.dtype
        np.testing.assert_array_equal(before, after)
        attributes = attributes_of(tmp_path / f"o{number:04d}.exr")
        assert attributes["chromaticities"] == ("chromaticities", CHROMATICITIES)
        assert bits_of(attributes) == (16 if half else 32)


def test_a_picture_that_was_given_attributes_is_read_as_before(tmp_path):
    for height in (1, 15, 16, 17, 40):
        write_exr(tmp_path / "a.exr", light(height, 3, (height, 9)), more=of_timecode(Timecode.of("00:00:00:01")))
        np.testing.assert_array_equal(read_exr(tmp_path / "a.exr"), light(height, 3, (height, 9)).astype(np.float16))


def test_what_is_changed_is_the_light_of_its_codes(tmp_path):
    source = sequence(tmp_path / "in", count=1)
    with open_film(source) as film, open_writer(tmp_path / "o%04d.exr", film.info, source=source) as writer:
        frame = next(iter(film))
        restored = frame.tensor()
        restored[:, 10:] = float(coded(np.array([6.5], np.float32))[0]) / 65535
        writer.write(frame, restored)
    made = read_exr(tmp_path / "o0001.exr")
    np.testing.assert_array_equal(made[:10], light(0).astype(np.float16)[:10])
    assert (made[10:] == 6.5).all(), "light above 1 is no matter"


def test_screens_get_srgb_and_a_word(tmp_path):
    source = sequence(tmp_path / "in", count=1)
    floats = read_exr(source / "f0001.exr").astype(np.float64)
    shown = np.clip(floats, 0, 1)
    shown = np.where(shown <= 0.0031308, 12.92 * shown, 1.055 * shown ** (1 / 2.4) - 0.055)
    for name, tolerance in (("p%04d.png", 2), ("p%04d.dpx", 2), ("p.mkv", 2)):
        with open_film(source) as film, open_writer(tmp_path / name, film.info, source=source) as writer:
            for frame in film:
                writer.write(frame, frame.tensor())
        assert any("scene-linear" in message for message in writer.warnings)
        read = tmp_path / name
        with open_film(read) as film:
            assert not film.info.scene_linear
            image = next(iter(film)).image
        assert np.abs(image / 65535 - shown).max() < tolerance / 65535


def test_a_film_for_screens_becomes_light_from_0_to_1(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (21, 29, 3), dtype=np.uint8)
    with open_writer(tmp_path / "o%04d.exr", FilmInfo.of_frames(29, 21, 24)) as writer:
        writer.write(FilmFrame(index=0, image=image), torch.from_numpy(image).permute(2, 0, 1) / 255)
    made = read_exr(tmp_path / "o0001.exr")
    assert made.dtype == np.float16
    assert made.min() >= 0 and made.max() <= 1
    shown = np.where(made <= 0.0031308, 12.92 * made, 1.055 * made.astype(np.float64) ** (1 / 2.4) - 0.055)
    np.testing.assert_array_equal(np.rint(shown * 255), image)


def test_densities_are_not_taken_for_light(tmp_path):
    (tmp_path / "in").mkdir()
    write_dpx(tmp_path / "in" / "1.dpx", samples(0, 10), 10, header={801: b"\3"})
    with pytest.warns(FilmFileWarning, match="densities"), open_film(tmp_path / "in") as film:
        pass
    with pytest.raises(FilmFileError, match="no fixed rule turns into light"):
        open_writer(tmp_path / "o%d.exr", film.info, source=tmp_path / "in")


@pytest.mark.parametrize("how", [restore_film, lambda *given: restore_reel(*given, run=RunSettings(length=3))])
def test_a_reel_of_light_is_repaired_where_it_is_damaged(tmp_path, how):
    (tmp_path / "in").mkdir()
    height, width = 61, 81
    base = (0.05 + 0.02 * np.mgrid[0:height, 0:width].sum(axis=0)[..., None] * np.ones(3)).astype(np.float32)
    rng = np.random.default_rng(2)
    frames = [base * np.exp(rng.normal(0, 0.01, base.shape)).astype(np.float32) for _ in range(7)]
    frames[3][30:36, 40:47] = 0.001
    for number, floats in enumerate(frames):
        floats[:2] = -0.01
        write_exr(tmp_path / "in" / f"s{number:04d}.exr", floats, half=False)
    settings = ReelSettings(lines=None, flicker=None, average=None)
    how(tmp_path / "in", tmp_path / "out" / "s%04d.exr", settings)
    made = [read_exr(tmp_path / "out" / f"s{number:04d}.exr") for number in range(7)]
    spot = np.zeros((height, width), bool)
    spot[28:38, 38:49] = True
    np.testing.assert_array_equal(made[3][~spot], frames[3][~spot])
    np.testing.assert_array_equal(made[2], frames[2])
    assert np.abs(made[3][30:36, 40:47] / base[30:36, 40:47] - 1).max() < 0.1, "brighter than 1, and filled as bright"
