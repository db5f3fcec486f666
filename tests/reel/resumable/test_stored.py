"""What the first pass learnt of a shot is read again as it was, and nothing in the file can be run."""

import copy

import numpy as np
import pytest

from vldm_core.errors import FilmFileError
from vldm_core.film.standing.detection import StandingSettings
from vldm_core.film.weave.stabilise import StabiliseSettings
from vldm_core.reel.resumable.stored import StoredAnalyses, analysis_bytes, read_analysis
from vldm_core.stages.analysis import analyse_shot
from vldm_core.stages.plan import StagePlan
from vldm_core.stages.settings import StageSettings

from ...film.dirt.dirt_scenes import scene

SETTINGS = StageSettings(standing=StandingSettings(), stabilise=StabiliseSettings())


@pytest.fixture(scope="module")
def analysis():
    frames = scene(16, 96, 128)
    frames[..., 40:42] = 0.9
    return analyse_shot(frames, StagePlan.from_settings(SETTINGS).analysis, 96, 128)


def same(one, other):
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            same(a, b)
    elif hasattr(one, "__dataclass_fields__"):
        for name in one.__dataclass_fields__:
            same(getattr(one, name), getattr(other, name))
    else:
        assert one == other


def test_an_analysis_is_read_as_it_was_written(analysis, tmp_path):
    assert analysis.scratches is not None and analysis.scratches.tracks, "there is something to be kept"
    path = tmp_path / "shot.npz"
    path.write_bytes(analysis_bytes(analysis))
    same(read_analysis(path), analysis)


def test_equal_analyses_make_equal_files_in_content(analysis):
    assert len(analysis_bytes(analysis)) == len(analysis_bytes(analysis))


@pytest.mark.parametrize("harm", ["short", "empty", "text", "pickle", "other"])
def test_a_damaged_file_is_named(analysis, tmp_path, harm):
    path = tmp_path / "shot.npz"
    good = analysis_bytes(analysis)
    if harm == "pickle":
        np.savez(path, tree=np.array([print], dtype=object))
    elif harm == "other":
        np.savez(path, tree=np.frombuffer(b'{"class": "StageSettings", "fields": {}}', np.uint8))
    else:
        path.write_bytes({"short": good[: len(good) // 2], "empty": b"", "text": b"nothing"}[harm])
    with pytest.raises(FilmFileError, match=r"shot\.npz"):
        read_analysis(path)


def test_what_is_not_known_is_not_written(analysis):
    with pytest.raises(TypeError, match="cannot be kept"):
        analysis_bytes({"a": object()})  # type: ignore[arg-type]


def test_analyses_of_a_reel_are_read_when_they_are_asked_for_and_not_held(analysis, tmp_path):
    paths = [tmp_path / f"{number}.npz" for number in range(3)]
    for path in paths:
        path.write_bytes(analysis_bytes(analysis))
    stored = StoredAnalyses(paths)
    assert len(stored) == 3 and len(stored[1:]) == 2
    same(stored[0], analysis)
    same(stored[-1], analysis)
    for path in paths:
        path.unlink()
    same(stored[2], analysis)  # the last one that was asked for
    with pytest.raises(FilmFileError):
        stored[0]
    same(stored[2], analysis)
    with pytest.raises(FilmFileError):
        copy.copy(stored)[2]  # what goes to another process goes without contents
    with pytest.raises(IndexError):
        stored[3]
