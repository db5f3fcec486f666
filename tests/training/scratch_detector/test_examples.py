"""Examples of the scratch detector: labels, and files that do not depend on interruptions."""

from dataclasses import replace

import numpy as np
import pytest

from vldm_core.ageing import LineModel, ScratchLine
from vldm_core.ageing.defects.scratches import LineLayer
from vldm_core.errors import FilmFileError, SettingsError
from vldm_core.film.scratches.search.candidates import Candidate
from vldm_core.film.scratches.search.paths import Path as LinePath
from vldm_core.training.scratch_detector.ageing import ScratchAgeing, draw_ageing, draw_scratches
from vldm_core.training.scratch_detector.examples import (
    LabelSettings,
    ScratchExampleSettings,
    label,
    load_examples,
    make_examples,
)

from ..training_kit import photographs


def candidate(x, polarity=1, first=0, count=20):
    path = LinePath(first=first, x=np.full(count, x, np.float32), tilt=0.0, polarity=polarity, score=50.0)
    return Candidate(path=path, present=np.ones((count, 10), bool), standing=True)


def test_labels():
    line = ScratchLine(key=3, kind="fixed", x=60.0, depth=9.0, width=2.0, first=4, last=20)
    faint = ScratchLine(key=4, kind="fixed", x=90.0, depth=2.0, width=2.0, first=0, last=20)
    layer = LineLayer(LineModel(count=0, pinned=(line, faint)), 1, 160, 200)
    for found, expected in (
        (candidate(60.5), 1),
        (candidate(60.5, polarity=-1), 0),
        (candidate(63.5), -1),
        (candidate(66.0), 0),
        (candidate(120.0), 0),
        (candidate(90.0), -1),
    ):
        assert label(found, layer, (line, faint), LabelSettings()) == expected


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return photographs(tmp_path_factory.mktemp("photos"), count=2, size=(600, 500))


def test_examples_are_made_once_and_do_not_depend_on_interruptions(photos, tmp_path):
    settings = ScratchExampleSettings(shots=3, shots_a_file=2, ageing=ScratchAgeing(scratched_share=1.0))
    first = make_examples(photos, tmp_path / "a", settings)
    before = [path.stat().st_mtime_ns for path in first]
    assert [path.stat().st_mtime_ns for path in make_examples(photos, tmp_path / "a", settings)] == before
    one = load_examples(first)
    other = load_examples(make_examples(photos, tmp_path / "b", settings))
    assert len(one) and np.array_equal(one.near, other.near) and np.array_equal(one.labels, other.labels)
    assert one.near.shape[1:] == (6, 24, 33) and set(one.sources) <= {"p0", "p1"}
    assert [path.name for path in first] == ["shots-00000.npz", "shots-00002.npz"] and set(one.shots) <= {0, 1, 2}
    with pytest.raises(SettingsError, match="other settings"):
        make_examples(photos, tmp_path / "a", replace(settings, scene_share=0.0))
    first[0].write_bytes(b"damaged")
    with pytest.raises(FilmFileError, match="delete it"):
        load_examples(first)


def test_scratches_are_drawn_within_what_is_asked_for():
    ageing, stream = (
        ScratchAgeing(scratched_share=1.0, most_scratches=3, depth_limits=(5.0, 9.0)),
        np.random.default_rng(1),
    )
    for _ in range(40):
        drawn = draw_scratches(stream, ageing, 16, 240, 320, least_frames=8)
        assert 1 <= len(drawn) <= 3
        assert all(5 <= abs(scratch.depth) <= 9 and abs(scratch.tilt) <= 3 for scratch in drawn)
        assert all(0 <= scratch.first < scratch.last <= 16 for scratch in drawn)
        model = draw_ageing(stream, ageing, drawn).lines
        assert model is not None and model.pinned == drawn and model.count == 0
    assert draw_scratches(stream, replace(ageing, scratched_share=0.0), 16, 240, 320, least_frames=8) == ()


def test_impossible_examples_are_refused():
    for given in ({"shots": 0}, {"scene_share": 1.5}, {"seed": -1}, {"frames": (4,)}, {"frames": ()}):
        with pytest.raises(SettingsError, match=next(iter(given))):
            ScratchExampleSettings(**given)
    for given in ({"most_scratches": 0}, {"scratched_share": 1.5}):
        with pytest.raises(SettingsError, match=next(iter(given))):
            ScratchAgeing(**given)
