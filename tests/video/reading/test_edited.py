"""Films made of parts of files: cut in time, cut in the picture, joined; pictures, times and sound in step."""

from fractions import Fraction

import av
import numpy as np
import pytest

from vldm_core.errors import FilmFileError, SettingsError
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.video.reading.edited import EditedFilm, FilmPart
from vldm_core.video.reading.reader import open_film
from vldm_core.video.writing.clip import join_sound
from vldm_core.video.writing.writer import open_writer

from ..conftest import audio_packets, decode_planes, timestamps

NOTHING = ReelSettings(dirt=None, lines=None, average=None, flicker=None)


def edited(*parts: FilmPart, sound=None) -> EditedFilm:
    return EditedFilm(parts=parts, sound=sound)


@pytest.mark.parametrize(
    ("start", "duration", "first", "last"),
    [(0, 0.25, 0, 6), (0.25, None, 6, 24), (0.25, 0.5, 6, 18), (0.26, 0.5, 7, 19), (0.99, 5, 24, 24)],
)
@pytest.mark.parametrize("codec", ["ffv1", "libx264"])
def test_a_part_in_time_has_its_frames_and_its_sound(make_film, tmp_path, codec, start, duration, first, last):
    path = make_film(codec=codec, frames=24, audio=["aac"], options={"g": "50"} if codec == "libx264" else None)
    part = FilmPart(source=path, start=Fraction(start), duration=None if duration is None else Fraction(duration))
    if first == last:
        with pytest.raises(FilmFileError, match="no frame in the part"):
            open_film(edited(part))
        return
    with open_film(path) as film:
        whole = [frame.image for frame in film]
    with open_film(edited(part)) as film:
        frames = list(film)
        assert film.info.frame_count == len(frames) == last - first
        again = list(film)
    assert all(np.array_equal(f.image, w) for f, w in zip(frames, whole[first:last], strict=True))
    assert all(np.array_equal(f.image, a.image) for f, a in zip(frames, again, strict=True))
    assert [f.index for f in frames] == list(range(last - first))
    out = tmp_path / "out.mkv"
    assert restore_film(edited(part), out, NOTHING).frames == last - first
    stamps = timestamps(out)
    assert stamps[0] == 0
    assert abs(float(stamps[-1]) - (last - first - 1) / 24) < 0.002
    kept, all_packets = audio_packets(out)[0], audio_packets(path)[0]
    place = all_packets.index(kept[0])
    assert kept == all_packets[place : place + len(kept)]
    # One packet is 21 ms long.
    assert abs(len(kept) * 1024 / 48000 - (last - first) / 24) < 0.045
    with av.open(str(path)) as container:
        due = [float(p.pts * p.time_base) for p in container.demux(audio=0) if p.size]
    with av.open(str(out)) as container:
        begins = next(float(p.pts * p.time_base) for p in container.demux(audio=0) if p.size)
    assert abs(due[place] - first / 24 - begins) < 0.002


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "bgr0", "yuv422p10le"])
def test_a_part_of_the_picture_is_cut_out_exactly(make_film, tmp_path, pix_fmt):
    path = make_film(pix_fmt=pix_fmt, frames=4)
    with open_film(path) as film:
        whole = [frame.image for frame in film]
    source = edited(FilmPart(source=path, crop=(10, 6, 32, 20)))
    with open_film(source) as film:
        assert (film.info.width, film.info.height) == (32, 20)
        frames = list(film)
        assert [f.pts for f in frames] == [f.pts for f in open_film(path)]
    limit = 0 if pix_fmt == "bgr0" else 12 * (257 if "10" in pix_fmt else 1)
    for frame, picture in zip(frames, whole, strict=True):
        inner = np.s_[:, 2:-2]
        assert np.abs(frame.image[inner].astype(int) - picture[6:26, 10:42][inner].astype(int)).max() <= limit
    restore_film(source, tmp_path / "out.mkv", NOTHING)
    for made, raw in zip(decode_planes(tmp_path / "out.mkv"), decode_planes(path), strict=True):
        assert np.array_equal(made[0], raw[0][6:26, 10:42])


def test_a_part_outside_the_picture_is_refused(make_film):
    with pytest.raises(SettingsError, match="not inside the pictures"):
        open_film(edited(FilmPart(source=make_film(), crop=(40, 0, 32, 16))))


def test_joined_films_follow_each_other(make_film, tmp_path):
    first = make_film("a.mkv", frames=12, audio=["aac"])
    second = make_film("b.mp4", codec="libx264", frames=24, audio=["flac"], time_base=Fraction(1, 12288))
    silent = make_film("c.mkv", frames=6)
    parts = edited(
        FilmPart(source=first, duration=Fraction(1, 4)),
        FilmPart(source=second, start=Fraction(1, 2)),
        FilmPart(source=silent),
    )
    film = edited(*parts.parts, sound=join_sound(parts, tmp_path / "sound.mka"))
    report = restore_film(film, tmp_path / "out.mkv", NOTHING)
    assert report.frames == 6 + 12 + 6
    stamps = timestamps(tmp_path / "out.mkv")
    assert np.allclose([float(t) for t in stamps], np.arange(24) / 24, atol=0.0011)
    expected = decode_planes(first)[:6] + decode_planes(second)[12:] + decode_planes(silent)
    for made, source in zip(decode_planes(tmp_path / "out.mkv"), expected, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(made, source, strict=True))
    # The second sound, which is lossless, lies where its pictures are.
    heard, own = sound_of(tmp_path / "out.mkv"), sound_of(second)
    assert heard.shape[0] == 48000
    assert np.abs(heard[12000 + 200 : 36000 - 200] - own[24000 + 200 : 48000 - 200]).max() < 1e-3
    assert np.abs(heard[36100:]).max() == 0


def test_films_of_different_size_cannot_be_joined(make_film):
    parts = [FilmPart(source=make_film("a.mkv")), FilmPart(source=make_film("b.mkv", size=(32, 32)))]
    with pytest.raises(FilmFileError, match=r"b\.mkv is 32x32 and .*a\.mkv 64x48"):
        open_film(edited(*parts))


def test_joined_silent_films_have_no_sound(make_film, tmp_path):
    film = edited(FilmPart(source=make_film("a.mkv")), FilmPart(source=make_film("b.mkv")))
    assert join_sound(film, tmp_path / "sound.mka") is None
    assert restore_film(film, tmp_path / "out.mkv", NOTHING).frames == 24


def test_the_film_being_read_is_not_written_over(make_film):
    path = make_film()
    film = edited(FilmPart(source=path, start=Fraction(1, 4)))
    with open_film(film) as reader, pytest.raises(FilmFileError, match="is the film being read"):
        open_writer(path, reader.info, source=film)


def sound_of(path) -> np.ndarray:
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=48000)
    with av.open(str(path)) as container:
        blocks = [made.to_ndarray()[0] for frame in container.decode(audio=0) for made in resampler.resample(frame)]
    return np.concatenate(blocks)
