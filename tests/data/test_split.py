"""Files are split so that none is trained and judged on, in the project's own data and in anybody's folder."""

import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.detection.settings import DetectionBenchmarkSettings
from benchmarks.detection.sources.shots import find_sources
from benchmarks.prerestore.material import find_aged_sources
from benchmarks.prerestore.settings import PreRestoreBenchmarkSettings
from vldm_core.data import TrainingMaterial
from vldm_core.data.split import VALIDATION, Path, split_files
from vldm_core.errors import FilmFileError


def touched(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@settings(max_examples=60)
@given(
    clips=st.sets(st.text("abcd", min_size=1, max_size=4), max_size=30),
    photos=st.sets(st.text("efgh", min_size=1, max_size=4), max_size=30),
)
def test_every_file_is_on_one_side(clips, photos):
    files = [*(Path(f"clips/{name}.mkv") for name in clips), *(Path(f"photos/{name}.jpg") for name in photos)]
    split = split_files(files)
    assert sorted((*split.training, *split.validation)) == sorted(files)
    assert split == split_files(files[::-1]), "the order of the files does not matter"
    if len(files) > 1:
        assert split.training and 1 <= len(split.validation) <= max(2, len(files) // 8)
    else:
        assert not split.validation
    for kind in (clips, photos):
        assert not kind or len(files) == 1 or len(kind) == 1 or {path.stem for path in split.training} & kind
    moved = split_files([Path("elsewhere") / path.name for path in files])
    assert sorted(path.name for path in moved.validation) == sorted(path.name for path in split.validation)


def test_the_projects_own_names_come_first():
    files = [Path(f"{name}.mp4") for name in (*sorted(VALIDATION), *"abcdefghijklmnop")]
    assert {path.stem for path in split_files(files).validation} == VALIDATION


@pytest.mark.parametrize("where", ["", "clips/"])
def test_benchmarks_measure_on_what_training_left_out(tmp_path, where):
    """In a folder of one's own, with the films in it or in clips/."""
    data = touched(tmp_path, *(f"{where}film {number}.mkv" for number in range(9)), f"{where}a.webm")
    touched(data, "film/damaged.mkv")
    kept = set(TrainingMaterial(data, validation=True).clips)
    assert len(kept) == 1 and not kept & set(TrainingMaterial(data).clips)
    assert len(TrainingMaterial(data, validation=None).clips) == 10
    assert {source.path for source in find_sources(data, DetectionBenchmarkSettings())} == kept
    assert len(find_sources(data, DetectionBenchmarkSettings(all_sources=True))) == 10
    assert {source.path for source in find_aged_sources(data, PreRestoreBenchmarkSettings())} == kept


def test_one_file_is_too_little(tmp_path):
    data = touched(tmp_path, "only.mp4")
    assert [path.name for path in TrainingMaterial(data).clips] == ["only.mp4"]
    for find in (
        lambda: TrainingMaterial(data, validation=True),
        lambda: find_aged_sources(data, PreRestoreBenchmarkSettings()),
    ):
        with pytest.raises(FilmFileError, match=r"only.mp4 alone and needs two files or more"):
            find()
    with pytest.raises(FilmFileError, match="--all-sources"):
        find_sources(data, DetectionBenchmarkSettings())
    shutil.rmtree(data)
