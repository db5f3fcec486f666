"""DPX pictures in and out: code values, depth, and what their headers say."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from vldm_core.errors import FilmFileError, FilmFileWarning
from vldm_core.reel.restore import ReelSettings
from vldm_core.reel.resumable.run import RunSettings, restore_reel
from vldm_core.video.info import FilmFrame, FilmInfo
from vldm_core.video.reading.reader import open_film
from vldm_core.video.sequences.dpx import DpxHeader
from vldm_core.video.writing.writer import WriteSettings, open_writer

SIZE = (21, 29)


def samples(seed, bits, size=SIZE):
    return np.random.default_rng(seed).integers(0, 1 << bits, (*size, 3)).astype(np.uint16)


def write_dpx(path, codes, bits, *, order="be", header=None):
    """Write RGB code values as FFmpeg does, and change the header."""
    context = av.CodecContext.create("dpx", "w")
    context.width, context.height, context.time_base = codes.shape[1], codes.shape[0], Fraction(1, 24)
    if bits in (10, 12):
        context.pix_fmt = f"gbrp{bits}{order}"
        frame = av.VideoFrame(codes.shape[1], codes.shape[0], context.pix_fmt)
        for plane, channel in enumerate((1, 2, 0)):
            part = frame.planes[plane]
            view = np.ndarray(codes.shape[:2], ">u2" if order == "be" else "<u2", part, strides=(part.line_size, 2))
            view[...] = codes[..., channel]
    else:
        context.pix_fmt = "rgb24" if bits == 8 else f"rgb48{order}"
        frame = av.VideoFrame.from_ndarray(codes.astype(np.uint8) if bits == 8 else codes, format=context.pix_fmt)
    contents = bytearray(b"".join(bytes(p) for p in context.encode(frame)))
    if header:
        # FFmpeg leaves the parts of film and video out.
        kind = "<" if contents[:4] == b"XPDS" else ">"
        for place in (4, 808):
            assert struct.unpack_from(f"{kind}I", contents, place) == (1664,)
            struct.pack_into(f"{kind}I", contents, place, 2048)
        contents[1664:1664] = b"\xff" * 384
    for place, value in (header or {}).items():
        contents[place : place + len(value)] = value
    path.write_bytes(contents)


def read_codes(path):
    """The code values of a DPX file, straight from FFmpeg."""
    with av.open(str(path), format="dpx_pipe") as container:
        frame = next(container.decode(video=0))
        depth = frame.format.components[0].bits
        if not frame.format.name.startswith("gbrp"):
            return depth, frame.to_ndarray().copy()
        planes = [np.ndarray((p.height, p.width), "<u2", p, strides=(p.line_size, 2)).copy() for p in frame.planes]
        return depth, np.dstack([planes[2], planes[0], planes[1]])


@pytest.mark.parametrize("size", [(20, 28), SIZE])
@pytest.mark.parametrize("order", ["be", "le"])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_code_values_and_depth_are_kept(tmp_path, bits, order, size):
    (tmp_path / "in").mkdir()
    for number in range(2):
        write_dpx(tmp_path / "in" / f"f{number}.dpx", samples(number, bits, size), bits, order=order)
    out = tmp_path / "out" / "f%d.dpx"
    with (
        open_film(tmp_path / "in") as film,
        open_writer(out, film.info, source=tmp_path / "in") as writer,
    ):
        assert film.info.bit_depth == bits
        for frame in film:
            writer.write(frame, frame.tensor())
    for number in range(2):
        depth, codes = read_codes(tmp_path / "out" / f"f{number}.dpx")
        assert depth == bits
        np.testing.assert_array_equal(codes, samples(number, bits, size))


def test_what_a_header_says_is_carried_over_in_either_order(tmp_path):
    (tmp_path / "in").mkdir()
    header = {
        260: b"A reel from the vault\0", 801: b"\1", 802: b"\1", 1556: b"a scanner\0", 1680: b"Academy\0",
        1628: struct.pack("<II", 1, 2), 1712: struct.pack("<I", 77), 1724: struct.pack("<f", 23.976),
        1732: b"frame id\0", 1920: bytes.fromhex("03020110"), 1928: b"\1", 1940: struct.pack("<f", 23.976),
    }  # fmt: skip
    write_dpx(tmp_path / "in" / "a0001.dpx", samples(0, 10), 10, order="le", header=header)
    with pytest.warns(FilmFileWarning, match="hold densities"):
        film = open_film(tmp_path / "in")
    assert film.info.frame_rate == Fraction(24000, 1001), "no other was given"
    assert film.info.timecode == "10:01:02:03"
    with open_writer(tmp_path / "o%04d.dpx", film.info, source=tmp_path / "in") as writer:
        for frame in film:
            writer.write(frame)
    before, after = ((tmp_path / name).read_bytes() for name in ("in/a0001.dpx", "o0001.dpx"))
    for place, value in header.items():
        assert after[place : place + len(value)] == before[place : place + len(value)]
    # To one that lies the other way round.
    with open_writer(tmp_path / "w%04d.dpx", film.info, settings=WriteSettings(bits=8)) as writer:
        writer.write(next(iter(film)))
    plain = DpxHeader.of_file(tmp_path / "w0001.dpx")
    assert str(plain.timecode) == "10:01:02:03" and plain.frame_rate == Fraction(24000, 1001)
    assert not plain.is_logarithmic, "without the source nothing says so"


def test_a_film_with_timecode_becomes_pictures_with_theirs(tmp_path):
    info = FilmInfo(
        path="x", width=29, height=21, frame_rate=Fraction(25), time_base=Fraction(1, 25), frame_count=3, bit_depth=8,
        pix_fmt="gbrp", codec="rawvideo", timecode="01:00:00:23", colour_transfer=1, colour_primaries=1,
    )  # fmt: skip
    with open_writer(tmp_path / "x%03d.dpx", info, settings=WriteSettings(bits=10)) as writer:
        for number in range(3):
            writer.write(FilmFrame(index=number, image=samples(number, 8).astype(np.uint8)))
    headers = [DpxHeader.of_file(tmp_path / f"x{number:03d}.dpx") for number in (1, 2, 3)]
    assert [str(header.timecode) for header in headers] == ["01:00:00:23", "01:00:00:24", "01:00:01:00"]
    assert [struct.unpack_from(">I", header.contents, 1712)[0] for header in headers] == [0, 1, 2]
    assert headers[0].contents[801] == 6, "ITU-R 709"


def test_eight_bits_written_finer_are_what_was_restored(tmp_path):
    shown = samples(0, 8).astype(np.uint8)
    restored = torch.from_numpy(shown.astype(np.float32)).permute(2, 0, 1) / 255
    restored[:, :5] = 0.30054
    with open_writer(tmp_path / "x%03d.dpx", FilmInfo.of_frames(29, 21, 24), settings=WriteSettings(bits=12)) as writer:
        writer.write(FilmFrame(index=0, image=shown), restored)
    depth, codes = read_codes(tmp_path / "x001.dpx")
    assert depth == 12
    expected = np.rint(shown * (4095 / 255))
    expected[:5] = round(0.30054 * 4095)
    # Where it rounds to what was there, it stays.
    expected[:5][(shown[:5] == round(0.30054 * 255)).all(axis=2)] = round(77 * 4095 / 255)
    np.testing.assert_array_equal(codes, expected)


def test_transparency(tmp_path):
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    image = rng.integers(0, 65536, (21, 29, 4)).astype(np.uint16)
    context = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt, context.time_base = 29, 21, "rgba64be", Fraction(1, 24)
    picture = av.VideoFrame.from_ndarray(image, format="rgba64be")
    (tmp_path / "in" / "1.png").write_bytes(b"".join(bytes(p) for p in context.encode(picture)))
    with open_film(tmp_path / "in") as film:
        with pytest.raises(FilmFileError, match="10 bits hold no transparency, and the film has some; ask for 16"):
            open_writer(tmp_path / "x%03d.dpx", film.info, settings=WriteSettings(bits=10))
        with open_writer(tmp_path / "x%03d.dpx", film.info) as writer:
            for frame in film:
                writer.write(frame)
    depth, back = read_codes(tmp_path / "x001.dpx")
    assert depth == 16
    np.testing.assert_array_equal(back, image)


def test_depths_that_there_are_not_are_refused(tmp_path):
    info = FilmInfo.of_frames(29, 21, 24)
    for name, bits, known in (
        ("%d.png", 10, "8 or 16"),
        ("%d.dpx", 32, "8 or 10 or 12 or 16"),
        ("%d.exr", 8, "16 or 32"),
    ):
        with pytest.raises(FilmFileError, match=f"are of {known} bits, not {bits}"):
            open_writer(tmp_path / name, info, settings=WriteSettings(bits=bits))


@pytest.mark.parametrize("bits", [10, 12])
def test_a_restored_reel_leaves_what_it_does_not_repair_as_it_was(tmp_path, bits):
    (tmp_path / "in").mkdir()
    height, width, count = 61, 81, 9
    ramp = (np.mgrid[0:height, 0:width].sum(axis=0) * ((1 << bits) - 200) // (height + width) + 90).astype(np.uint16)
    rng = np.random.default_rng(1)
    frames = [
        np.repeat(ramp[..., None], 3, 2) + rng.integers(0, 3, (height, width, 3)).astype(np.uint16)
        for _ in range(count)
    ]
    frames[4][30:36, 40:47] = 3
    for number, codes in enumerate(frames):
        write_dpx(tmp_path / "in" / f"s{number:04d}.dpx", codes, bits)
    settings = ReelSettings(lines=None, flicker=None, average=None)
    masks = {}
    restore_reel(
        tmp_path / "in", tmp_path / "out" / "s%04d.dpx", settings, run=RunSettings(length=4),
        each=lambda frame: masks.update({frame.number: frame.dirt.numpy() > 0}),
    )  # fmt: skip
    for number, codes in enumerate(frames):
        depth, made = read_codes(tmp_path / "out" / f"s{number:04d}.dpx")
        assert depth == bits
        np.testing.assert_array_equal(made[~masks[number]], codes[~masks[number]])
    assert masks[4][30:36, 40:47].mean() > 0.9
    assert np.abs(made[30:36, 40:47].astype(int) - frames[3][30:36, 40:47]).max() < 40
