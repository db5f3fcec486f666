"""Examples of the dirt detector: what depends on what, and what is to be found in them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vldm_core.ageing import BlotchModel, CinchModel, DirtModel, LineModel, SimulationSettings, simulate
from vldm_core.data import TrainingMaterial
from vldm_core.errors import FilmFileError, SettingsError
from vldm_core.film.dirt.features import COARSE_PLANES, FINE_PLANES, SCALE
from vldm_core.training.dirt_detector.ageing import DirtAgeing, draw_ageing
from vldm_core.training.dirt_detector.distractors import DistractorSettings, distracted
from vldm_core.training.dirt_detector.examples import (
    BLOTCH,
    DIRT,
    FAINT_DIRT,
    SCRATCH,
    UNKNOWN,
    DirtExampleSettings,
    label,
    load_examples,
    make_examples,
    shot_examples,
    to_bytes,
)
from vldm_core.training.dirt_detector.real_film import doubtful

from ...film.dirt.dirt_scenes import scene, speckled
from ..training_kit import photographs


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("data"), count=2)


def test_examples_depend_on_number_and_seed_alone(photos: Path) -> None:
    material, settings = TrainingMaterial(photos), DirtExampleSettings(side=64)
    first, again = shot_examples(material, 1, settings), shot_examples(TrainingMaterial(photos), 1, settings)
    assert first.fine.shape[1:] == (len(FINE_PLANES), 64, 64) and first.coarse.shape[1:] == (len(COARSE_PLANES), 32, 32)
    assert len(first.fine) == len(first.coarse) == len(first.labels) >= 6
    for name in ("fine", "coarse", "labels"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.fine[:6], shot_examples(material, 2, settings).fine[:6])


def test_examples_are_made_once(photos: Path, tmp_path: Path) -> None:
    settings = DirtExampleSettings(shots=1, hard_shots=1, side=32)
    paths = make_examples(photos, tmp_path, settings)
    assert sorted(path.name for path in paths) == ["hard-00000.npz", "shot-00000.npz"]
    times = [path.stat().st_mtime_ns for path in paths]
    assert [path.stat().st_mtime_ns for path in make_examples(photos, tmp_path, settings)] == times
    fine, coarse, labels = load_examples(paths)
    assert len(fine) == len(coarse) == len(labels) > 0
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
    assert 90 <= sum(model.textures is not None for model in drawn) <= 160
    for model in drawn:
        if model.dirt is None:
            assert model.blotches is None and model.hair is None and model.cinches is None and model.sheets is None
        if model.sheets is not None:
            assert model.textures == Path("shapes")


def test_bytes_hold_planes() -> None:
    planes = torch.linspace(-4.5, 4.5, 200)[None]
    assert (torch.from_numpy(to_bytes(planes)).float() / SCALE.step - planes).abs().max() <= 0.51 / SCALE.step


def test_labels_follow_what_can_be_seen() -> None:
    clean = torch.full((4, 3, 128, 128), 0.5)
    damage = SimulationSettings(
        dirt=DirtModel(rate=20), blotches=BlotchModel(rate=4), cinches=CinchModel(rate=3), lines=LineModel(count=4)
    )
    aged = simulate(clean, damage.only("dirt", "blotches", "cinches", "lines"), seed=3)
    settings = DirtExampleSettings()
    change = (aged.frames - clean).abs().amax(1).numpy() * 255
    for grain, level in ((0.0, 4.0), (8.0, 8.0)):
        found = label(aged, settings, grain)
        assert all((found & bit).any() for bit in (DIRT, BLOTCH, SCRATCH, UNKNOWN))
        alone = (found == DIRT) | (found == BLOTCH)
        assert (change[alone] >= level - 0.1).all()
        # Two marks that are too faint for a label may lie on one place.
        assert (change[found == 0] <= 2 * settings.faintest + 0.1).all()
        assert not ((found & DIRT > 0) & (found & FAINT_DIRT > 0)).any()


def test_real_film_is_known_where_it_agrees_with_itself() -> None:
    frames = scene(8, 96, 128)
    dirty, truth = speckled(frames, per_frame=4)
    doubt, grain = doubtful(dirty, [3, 4])
    assert 1.0 < grain < 4.0
    assert doubt[[0, 7]].all()
    assert doubt[3:5][truth[3:5].numpy()].mean() > 0.9
    assert doubt[3:5].mean() < 0.35


def test_what_comes_and_goes_is_drawn_into_scenes() -> None:
    clean = scene(10, 96, 128)
    stream = np.random.default_rng(2)
    nothing = DistractorSettings(title_share=0, flash_share=0, fall_share=0)
    assert torch.equal(distracted(clean, stream, nothing), clean)
    always = (replace(nothing, title_share=1.0), replace(nothing, flash_share=1.0), replace(nothing, fall_share=1.0))
    for settings in always:
        changed = [distracted(clean, stream, settings) for _ in range(6)]
        assert any(not torch.equal(frames, clean) for frames in changed)
        assert all(float(frames.min()) >= 0 and float(frames.max()) <= 1 for frames in changed)


def test_impossible_examples_are_refused() -> None:
    for wrong in ({"shots": 0}, {"side": 16}, {"side": 300}, {"clean_share": 0.6}, {"hard_shots": -1}, {"frames": 4}):
        with pytest.raises(SettingsError, match=next(iter(wrong)).split("_")[0]):
            DirtExampleSettings(**wrong)  # type: ignore[arg-type]
