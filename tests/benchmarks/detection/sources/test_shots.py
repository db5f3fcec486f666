"""Which sources the detection benchmark takes, and the clean shots it makes of them."""

from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.detection.settings import DetectionBenchmarkSettings
from benchmarks.detection.sources import shots as film_sources
from benchmarks.detection.sources.strata import STRATA, strata_of
from vldm_core.errors import FilmFileError

from ...film_data import moving_texture, write_film, write_photo

SMALL: dict[str, Any] = {"height": 64, "width": 96, "all_sources": True}


def _touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_only_files_kept_for_validation_are_taken_unless_all_are_wanted(tmp_path):
    _touch(tmp_path, "clips/bedroom.mp4", "clips/02_cups.mp4", "photos/sean-afnan-244576.jpg", "photos/other.jpg")
    _touch(tmp_path, "clips/notes.txt")
    found = film_sources.find_sources(tmp_path, DetectionBenchmarkSettings())
    assert [source.path.stem for source in found] == ["bedroom", "sean-afnan-244576"]
    found = film_sources.find_sources(tmp_path, DetectionBenchmarkSettings(all_sources=True))
    assert [source.path.stem for source in found] == ["02_cups", "bedroom", "other", "sean-afnan-244576"]


def test_fewer_sources_are_spread_evenly_and_stay_what_they_are(tmp_path):
    _touch(tmp_path, *(f"clips/{number}.mp4" for number in range(4)), *(f"photos/{n}.png" for n in range(4, 7)))
    every = film_sources.find_sources(tmp_path, DetectionBenchmarkSettings(all_sources=True))
    some = film_sources.find_sources(tmp_path, DetectionBenchmarkSettings(all_sources=True, sources=3))
    assert [source.path.stem for source in some] == ["0", "3", "6"]
    assert some == (every[0], every[3], every[6])
    assert [source.speed for source in every] == [0, 0, 0, 0, 2, 4, 8]
    lines = film_sources.find_sources(tmp_path, DetectionBenchmarkSettings(all_sources=True, strata=("drifting",)))
    assert [source.strata for source in lines[:3]] == [(), ("drifting",), ()]


def test_every_source_is_aged_without_lines_with_fixed_ones_and_in_one_stratum_more():
    clips = [strata_of(number, f"clip {number}", None) for number in range(3)]
    assert [strata[:2] for strata in clips] == [("transient", "persistent")] * 3
    assert {strata[2] for strata in clips} == {"weave", "drifting", "flicker"}
    assert strata_of(1, "bedroom", None)[1] == "upright"
    assert strata_of(3, "photo", 0)[3:] == ("upright",)
    assert strata_of(4, "photo", 1)[3:] == ("at rest",)
    assert set(STRATA) == {stratum for strata in clips for stratum in strata} | {"upright", "at rest"}


def test_folders_without_material_and_short_clips_are_refused(tmp_path):
    with pytest.raises(FilmFileError, match=r"kept for validation.*--all-sources"):
        film_sources.find_sources(tmp_path, DetectionBenchmarkSettings())
    with pytest.raises(FilmFileError, match=r"holds no clips/\*\.mp4"):
        film_sources.find_sources(tmp_path, DetectionBenchmarkSettings(all_sources=True))
    write_film(tmp_path / "clips" / "short.mp4", moving_texture(1, 3))
    settings = DetectionBenchmarkSettings(**SMALL)
    (source,) = film_sources.find_sources(tmp_path, settings)
    with pytest.raises(FilmFileError, match="has 3 frames; the benchmark needs 5"):
        film_sources.clean_clip(source, settings, frames=5)


def test_cameras_that_stand_still_are_told_from_those_that_move(tmp_path):
    write_film(tmp_path / "clips" / "moving.mp4", moving_texture(1, 6, step=2))
    write_film(tmp_path / "clips" / "still.mp4", np.repeat(moving_texture(2, 1), 6, axis=0))
    settings = DetectionBenchmarkSettings(**SMALL)
    clips = [film_sources.clean_clip(one, settings, frames=6) for one in film_sources.find_sources(tmp_path, settings)]
    assert [(clip.name, clip.locked, clip.group) for clip in clips] == [
        ("moving", False, "fast motion"),
        ("still", True, "locked-off camera"),
    ]
    assert clips[0].frames.shape == (6, 3, 64, 96)
    # 0, 2, 4 … 10 px: a standard deviation of 3.4.
    assert film_sources.camera_sway(clips[0].frames) == pytest.approx(3.4, abs=0.5)


def test_photographs_pan_at_their_speed_and_posts_move_with_them(tmp_path):
    for number in range(3):
        write_photo(tmp_path / "photos" / f"{number}.png", seed=number)
    settings = DetectionBenchmarkSettings(**SMALL)
    sources = film_sources.find_sources(tmp_path, settings)
    plain = [film_sources.clean_clip(source, settings, frames=5) for source in sources]
    sways = [film_sources.camera_sway(clip.frames) for clip in plain]
    assert sways[0] < sways[1] < sways[2]
    look = film_sources.look_of("upright")
    fenced = film_sources.clean_clip(sources[0], settings, frames=5, look=look)
    assert (fenced.name, fenced.upright, fenced.group) == ("0 with posts", True, "upright structure")
    assert not plain[0].upright
    again = film_sources.clean_clip(sources[0], settings, frames=5, look=look)
    assert torch.equal(fenced.frames, again.frames)
    posts = (fenced.frames - plain[0].frames).abs().amax(dim=1)
    # Upright: what a post changes, it changes in most rows below its top.
    assert float((posts[0] > 4 / 255).float().mean(dim=0).max()) > 0.6
    assert film_sources.camera_sway(fenced.frames) == pytest.approx(sways[0], rel=0.25)


def test_the_camera_rests_where_it_shall(tmp_path):
    for number in range(2):
        write_photo(tmp_path / "photos" / f"{number}.png", seed=number)
    settings = DetectionBenchmarkSettings(**SMALL)
    moving, resting = film_sources.find_sources(tmp_path, settings)
    assert moving.looks == (film_sources.PLAIN, film_sources.SceneLook(posts=True))
    assert resting.looks == (film_sources.PLAIN, film_sources.SceneLook(posts=True, at_rest=True))
    clip = film_sources.clean_clip(resting, settings, frames=4, look=resting.looks[1])
    assert (clip.name, clip.locked, clip.group) == ("1 with posts at rest", True, "upright structure at rest")
    assert torch.equal(clip.frames[0], clip.frames[-1])
