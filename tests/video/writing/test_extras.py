"""What a film has beside pictures and sound is kept, or told: transparency, timecode, cover, attached files."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from vldm_core.errors import FilmFileWarning
from vldm_core.film.flicker.removal import FlickerSettings
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.video.reading.reader import open_film
from vldm_core.video.writing.writer import WriteSettings

NOTHING = ReelSettings(dirt=None, lines=None, average=None, flicker=None)
CHANGED = ReelSettings(dirt=None, lines=None, average=None, flicker=FlickerSettings())


def picture(number: int, alpha: bool = True) -> np.ndarray:
    """Flickering colour, and a wedge of transparency that moves."""
    y, x = np.mgrid[0:48, 0:64]
    level = 90 + 40 * (number % 2) + x
    colour = np.stack([level, level // 2 + y, 200 - y], axis=2).clip(0, 255)
    wedge = ((x * 3 + number * 9) % 256)[..., None]
    return np.concatenate([colour, wedge] if alpha else [colour], axis=2).astype(np.uint8)


def with_alpha(path, codec: str, pix_fmt: str, frames: int = 6, **notes: str):
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        stream.metadata.update(notes)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgba").reformat(format=pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, 24)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def alphas(path) -> list[np.ndarray]:
    with av.open(str(path)) as file:
        return [frame.reformat(format="gbrap16le").to_ndarray()[..., 3] for frame in file.decode(video=0)]


@pytest.mark.parametrize("settings", [NOTHING, CHANGED])
@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mkv", "ffv1", "bgra"),
        ("a.mov", "qtrle", "argb"),
        ("a.mov", "png", "rgba"),
        ("a.mkv", "ffv1", "yuva420p"),
        ("a.mov", "prores_ks", "yuva444p10le"),
    ],
)
def test_transparency_is_kept(tmp_path, name, codec, pix_fmt, settings):
    source, out = with_alpha(tmp_path / name, codec, pix_fmt), tmp_path / "out.mkv"
    report = restore_film(source, out, settings)
    assert not any("transparency" in warning for warning in report.warnings)
    for kept, was in zip(alphas(out), alphas(source), strict=True):
        assert np.array_equal(kept, was)
        assert np.ptp(was.astype(int)) > 30000


def test_lost_transparency_is_told(tmp_path):
    source = with_alpha(tmp_path / "a.mkv", "ffv1", "bgra")
    report = restore_film(source, tmp_path / "out.mp4", NOTHING)
    assert any("holds no transparency" in warning for warning in report.warnings)
    plain = restore_film(source, tmp_path / "out.mkv", NOTHING)
    assert plain.warnings == ()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("settings", [NOTHING, CHANGED])
def test_pictures_keep_their_transparency(tmp_path, suffix, settings):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(4):
        Image.fromarray(picture(number)).save(folder / f"p_{number:03d}{suffix}")
    out = tmp_path / "out"
    out.mkdir()
    restore_film(folder, out / f"p_%03d{suffix}", settings)
    for number in range(4):
        made = np.asarray(Image.open(out / f"p_{number:03d}{suffix}"))
        assert made.shape == (48, 64, 4)
        assert np.array_equal(made[..., 3], picture(number)[..., 3])
        if settings is NOTHING:
            assert np.array_equal(made, picture(number))


def test_deep_transparency_reaches_the_pictures(tmp_path):
    source = with_alpha(tmp_path / "a.mov", "prores_ks", "yuva444p10le", frames=2)
    restore_film(source, tmp_path / "out", NOTHING)
    with av.open(str(tmp_path / "out" / "frame_000001.png")) as file:
        frame = next(file.decode(video=0))
    assert frame.format.name.startswith("rgba64")
    made = frame.reformat(format="rgba64le").to_ndarray()[..., 3].astype(int)
    assert np.abs(made - picture(0)[..., 3].astype(int) * 257).max() < 700


def test_pictures_without_transparency_get_none(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(2):
        Image.fromarray(picture(number, alpha=False)).quantize(32).save(folder / f"p_{number}.png")
    restore_film(folder, tmp_path / "out", NOTHING)
    assert Image.open(tmp_path / "out" / "frame_000001.png").mode == "RGB"


@pytest.mark.parametrize("suffix", [".mov", ".mp4", ".mkv"])
def test_the_start_timecode_is_kept(tmp_path, suffix):
    source = with_alpha(tmp_path / "tc.mov", "prores_ks", "yuva444p10le", timecode="01:02:03:04")
    out = tmp_path / f"out{suffix}"
    restore_film(source, out, NOTHING)
    with open_film(out) as film:
        assert film.info.timecode == "01:02:03:04"
    if suffix == ".mov":
        with av.open(str(out)) as file:
            assert [s.type for s in file.streams if s.type == "data"] == ["data"]


def test_a_lost_timecode_is_told(tmp_path):
    source = with_alpha(tmp_path / "tc.mov", "prores_ks", "yuva444p10le", timecode="01:02:03:04")
    report = restore_film(source, tmp_path / "out", NOTHING)
    assert any("starts at 01:02:03:04" in warning for warning in report.warnings)


def film_with_extras(path, cover: bytes):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        file.add_attachment("cover.png", "image/png", cover)
        file.add_attachment("title font.ttf", "application/x-truetype-font", b"font" * 50)
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(picture(number, alpha=False), format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 24)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


@pytest.fixture
def cover(tmp_path) -> bytes:
    path = tmp_path / "cover.png"
    Image.fromarray(picture(0, alpha=False)).resize((640, 480)).save(path)
    return path.read_bytes()


def covers(path) -> list[bytes]:
    with av.open(str(path)) as file:
        found = [s for s in file.streams.video if s.disposition & av.stream.Disposition.attached_pic]
        return [bytes(packet) for packet in file.demux(found) if packet.size] if found else []


def test_cover_and_attached_files_are_kept(tmp_path, cover):
    source, out = film_with_extras(tmp_path / "in.mkv", cover), tmp_path / "out.mkv"
    report = restore_film(source, out, NOTHING)
    assert report.frames == 3
    assert report.warnings == ()
    assert covers(out) == [cover]
    with av.open(str(out)) as file:
        files = [(s.name, s.mimetype, bytes(s.data)) for s in file.streams if s.type == "attachment"]
    assert files == [("title font.ttf", "application/x-truetype-font", b"font" * 50)]


def test_what_mp4_cannot_hold_is_told(tmp_path, cover):
    source, out = film_with_extras(tmp_path / "in.mkv", cover), tmp_path / "out.mp4"
    report = restore_film(source, out, NOTHING)
    assert any("attached files (title font.ttf)" in warning for warning in report.warnings)
    assert covers(out) == [cover]
    again = restore_film(out, tmp_path / "again.mkv", NOTHING)
    assert again.frames == 3
    assert covers(tmp_path / "again.mkv") == [cover]
    moved = restore_film(source, tmp_path / "out.mov", NOTHING)
    assert any("cover picture" in warning for warning in moved.warnings)


def test_transparency_that_cannot_be_read_is_told(tmp_path):
    path = tmp_path / "alpha.webm"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libvpx-vp9", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.metadata["alpha_mode"] = "1"
        frame = av.VideoFrame.from_ndarray(picture(0, alpha=False), format="rgb24").reformat(format="yuv420p")
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    with pytest.warns(FilmFileWarning, match="transparency of .* cannot be read"), open_film(path) as film:
        assert film.info.width == 64


def test_a_mask_film_says_nothing_of_transparency(tmp_path):
    source = with_alpha(tmp_path / "a.mkv", "ffv1", "bgra")
    settings = ReelSettings(
        dirt=None, lines=None, average=None, flicker=None, write=WriteSettings(codec="ffv1", pix_fmt="gray")
    )
    assert not any("transparency" in w for w in restore_film(source, tmp_path / "out.mkv", settings).warnings)
