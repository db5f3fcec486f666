"""Examples of the dirt detector: what depends on what, and what is to be found in them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vldm_core.ageing import BlotchModel, DirtModel, SimulationSettings, simulate
from vldm_core.data import TrainingMaterial
from vldm_core.errors import FilmFileError, SettingsError
from vldm_core.film.dirt.features import PLANES
from vldm_core.training.dirt_detector.ageing import DirtAgeing, draw_ageing
from vldm_core.training.dirt_detector.examples import (
    BLOTCH,
    DIRT,
    FAINT_DIRT,
    STEPS,
    DirtExampleSettings,
    label,
    load_examples,
    make_examples,
    shot_examples,
    to_bytes,
)

from ..training_kit import photographs


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("data"), count=2)


def test_examples_depend_on_number_and_seed_alone(photos: Path) -> None:
    material, settings = TrainingMaterial(photos), DirtExampleSettings(side=64)
    first, again = shot_examples(material, 1, settings), shot_examples(TrainingMaterial(photos), 1, settings)
    assert first.planes.shape[1:] == (len(PLANES), 64, 64)
    assert len(first.planes) == len(first.labels) >= 3
    assert np.array_equal(first.planes, again.planes) and np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.planes, shot_examples(material, 2, settings).planes)


def test_examples_are_made_once(photos: Path, tmp_path: Path) -> None:
    settings = DirtExampleSettings(shots=1, hard_shots=1, side=32)
    paths = make_examples(photos, tmp_path, settings)
    assert sorted(path.name for path in paths) == ["hard-00000.npz", "shot-00000.npz"]
    times = [path.stat().st_mtime_ns for path in paths]
    assert [path.stat().st_mtime_ns for path in make_examples(photos, tmp_path, settings)] == times
    planes, labels = load_examples(paths)
    assert len(planes) == len(labels) > 0
    with pytest.raises(SettingsError, match="other settings"):
        make_examples(photos, tmp_path, replace(settings, side=48))
    paths[0].write_bytes(b"damaged")
    with pytest.raises(FilmFileError, match="holds no examples"):
        load_examples(paths)


def test_shots_are_aged_as_often_as_the_shares_say() -> None:
    ageing, stream = DirtAgeing(scratch_share=1.0, flicker_share=0.0, grain_sigma=(2.0, 2.0)), np.random.default_rng(0)
    drawn = [draw_ageing(stream, ageing, Path("shapes"), clean_share=0.25, texture_share=0.5) for _ in range(200)]
    assert all(model.lines is not None and model.flicker is None for model in drawn)
    assert {model.grain.sigma for model in drawn if model.grain} == {2.0}
    assert 30 <= sum(model.dirt is None for model in drawn) <= 70
    assert 75 <= sum(model.textures is not None for model in drawn) <= 125
    assert all(model.blotches is None and model.hair is None for model in drawn if model.dirt is None)


def test_bytes_hold_planes() -> None:
    planes = torch.linspace(-4.5, 4.5, 200)[None]
    assert (torch.from_numpy(to_bytes(planes)).float() / STEPS - planes).abs().max() <= 0.51 / STEPS


def test_labels_follow_what_can_be_seen() -> None:
    clean = torch.full((2, 3, 128, 128), 0.5)
    aged = simulate(
        clean,
        SimulationSettings(
            dirt=DirtModel(rate=20), blotches=BlotchModel(rate=4), textures=None,
        ).only("dirt", "blotches"),
        seed=3,
    )  # fmt: skip
    found = label(aged, DirtExampleSettings().faintest)
    change = (aged.frames - clean).abs().amax(1).numpy() * 255
    assert (found & DIRT).any() and (found & BLOTCH).any()
    assert (change[(found & (DIRT | BLOTCH)) > 0] > 4).all()
    assert (change[found == 0] < 8).all()
    assert not ((found & DIRT > 0) & (found & FAINT_DIRT > 0)).any()


def test_impossible_examples_are_refused() -> None:
    for wrong in ({"shots": 0}, {"side": 16}, {"side": 300}, {"clean_share": 0.6}, {"hard_shots": -1}, {"frames": 4}):
        with pytest.raises(SettingsError, match=next(iter(wrong)).replace("_", " ").split()[0]):
            DirtExampleSettings(**wrong)  # type: ignore[arg-type]
