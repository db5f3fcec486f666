"""Pairs of clean and aged clips: alignment, truth, and the order of samples over workers, ranks and interruptions."""

from dataclasses import replace
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from vldm_core.ageing import MASK_KINDS, PRESETS, CadenceModel, SimulationSettings, SpliceModel, WeaveModel
from vldm_core.data import DegradedClips, MaterialSettings, Pair, PairSettings, TrainingMaterial
from vldm_core.data.split import VALIDATION
from vldm_core.errors import SettingsError

_SMALL = PairSettings(frames=2, height=32, width=40)
# Nothing but dirt: quick, and enough where the order of samples is all that matters.
_QUICK = replace(_SMALL, simulation=SimulationSettings().only("dirt"))


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> TrainingMaterial:
    """Smooth photographs, some of which are kept for validation."""
    folder: Path = tmp_path_factory.mktemp("photos")
    names = ["hill", "sea", "wood", *sorted(VALIDATION)]
    for seed, name in enumerate(names):
        noise = np.random.default_rng(seed).random((20, 30, 3), dtype=np.float32)
        picture = cv2.resize(noise, (240, 160), interpolation=cv2.INTER_CUBIC).clip(0, 1) * 255
        cv2.imwrite(str(folder / f"{name}.png"), picture.astype(np.uint8))
    return TrainingMaterial(folder, settings=MaterialSettings(upright_share=0))


def _same(first: Pair, second: Pair) -> bool:
    return (
        torch.equal(first["clean"], second["clean"])
        and torch.equal(first["aged"], second["aged"])
        and all(torch.equal(first["masks"][kind], second["masks"][kind]) for kind in MASK_KINDS)
        and all(first[name] == second[name] for name in ("source", "preset", "index"))
    )


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_gives_a_sample(material, preset):
    clips = DegradedClips(material, seed=1, settings=replace(_SMALL, presets={preset: 1.0}))
    pair = clips.sample(5)
    assert pair["clean"].shape == pair["aged"].shape == (2, 3, 32, 40)
    assert set(pair["masks"]) == set(MASK_KINDS)
    assert all(mask.shape == (2, 32, 40) for mask in pair["masks"].values())
    assert pair["aged"].min() >= 0 and pair["aged"].max() <= 1 and pair["preset"] == preset and pair["index"] == 5


def test_presets_are_drawn_by_their_weights(material):
    weighted = replace(_SMALL, frames=1, presets={"light": 3.0, "worn": 1.0, "heavy": 0.0})
    clips = DegradedClips(material, seed=2, settings=weighted)
    drawn = [clips.sample(index)["preset"] for index in range(60)]
    assert 34 <= drawn.count("light") <= 54 and drawn.count("light") + drawn.count("worn") == 60


def test_a_sample_depends_on_its_number_and_the_seed_alone(material):
    clips = DegradedClips(material, seed=3, settings=_SMALL)
    first = clips.sample(7)
    clips.sample(2)
    assert _same(first, clips.sample(7))
    assert not torch.equal(first["aged"], DegradedClips(material, seed=4, settings=_SMALL).sample(7)["aged"])


@settings(max_examples=25)
@given(workers=st.integers(1, 5), world=st.integers(1, 3), batch=st.integers(1, 3), steps=st.integers(1, 5))
def test_workers_and_ranks_share_the_samples_out(material, workers, world, batch, steps):
    length = batch * world * steps
    numbers = []
    for rank in range(world):
        clips = DegradedClips(
            material, seed=0, settings=_QUICK, length=length, batch=batch, rank=rank, world_size=world
        )
        clips.sample = lambda index: {"index": index}  # type: ignore
        parts = [[pair["index"] for pair in clips._samples(worker, workers, 0)] for worker in range(workers)]
        # As a loader collects them: a batch of each worker in turn.
        batches = [[part[start : start + batch] for start in range(0, len(part), batch)] for part in parts]
        order = [batches[step % workers][step // workers] for step in range(steps)]
        expected = [(step * world + rank) * batch for step in range(steps)]
        assert order == [list(range(first, first + batch)) for first in expected]
        numbers += chain.from_iterable(parts)
    assert sorted(numbers) == list(range(length))


@settings(max_examples=15)
@given(taken=st.integers(0, 6), batch=st.integers(1, 2))
def test_a_resumed_data_set_goes_on_exactly(material, taken, batch):
    whole = DegradedClips(material, seed=5, settings=_QUICK, length=4 * batch, batch=batch)
    numbers = []
    for _ in range(2):
        numbers += [pair["index"] for pair in whole]
        whole.advance(4 * batch)
    interrupted = DegradedClips(material, seed=5, settings=_QUICK, length=4 * batch, batch=batch)
    interrupted.advance(taken * batch)
    resumed = DegradedClips(material, seed=5, settings=_QUICK, length=4 * batch, batch=batch)
    resumed.load_state_dict(interrupted.state_dict())
    rest = list(resumed)
    end = (taken // 4 + 1) * 4 * batch
    assert [pair["index"] for pair in rest] == numbers[taken * batch : end]
    assert all(_same(pair, whole.sample(pair["index"])) for pair in rest)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_the_same_batches_for_any_number_of_workers(material, workers):
    clips = DegradedClips(material, seed=6, settings=_SMALL, length=6, batch=2)
    batches = list(DataLoader(clips, batch_size=2, num_workers=workers))
    assert [batch["index"].tolist() for batch in batches] == [[0, 1], [2, 3], [4, 5]]
    for batch in batches:
        assert batch["masks"]["dirt"].shape == (2, 2, 32, 40)
        for place, index in enumerate(batch["index"].tolist()):
            expected = clips.sample(index)
            assert torch.equal(batch["aged"][place], expected["aged"])
            assert batch["source"][place] == expected["source"]


def test_an_endless_data_set_goes_on_from_its_start(material):
    clips = iter(DegradedClips(material, seed=0, settings=_QUICK, start=100))
    assert [next(clips)["index"] for _ in range(3)] == [100, 101, 102]


@settings(max_examples=30)
@given(index=st.integers(0, 10**6), seed=st.integers(0, 10**6))
def test_validation_files_never_appear(material, index, seed):
    assert DegradedClips(material, seed=seed, settings=_QUICK).sample(index)["source"] in {"hill", "sea", "wood"}


def test_the_film_without_damage_equals_the_aged_one_where_nothing_is_marked(material):
    model = replace(PRESETS["heavy"], splices=SpliceModel(rate=0.2))
    shape = replace(_SMALL, frames=4, height=96, width=128, simulation=model, target="film")
    changed = 0
    for index in range(4):
        pair = DegradedClips(material, seed=1, settings=shape).sample(index)
        marked = torch.stack(list(pair["masks"].values())).amax(dim=0) > 0
        # A pixel further, for the interpolation of the scanner's weave.
        marked = torch.nn.functional.max_pool2d(marked.float(), 5, 1, 2) > 0
        difference = (pair["aged"] - pair["clean"]).abs().amax(dim=1)
        assert difference[~marked].max() < 1 / 255
        changed += int((difference[marked] > 8 / 255).sum())
    assert changed > 50


def test_the_print_is_aligned_with_the_aged_film_and_the_scene_is_not(material):
    model = SimulationSettings(
        camera_weave=WeaveModel(horizontal=6, vertical=9, rho=0.2),
        scanner_weave=WeaveModel(horizontal=6, vertical=9, rho=0.2),
    )
    shape = replace(_SMALL, frames=4, height=96, width=128, simulation=model)
    errors = {}
    for target in ("scene", "print"):
        clips = DegradedClips(material, seed=2, settings=replace(shape, target=target))
        shifts = []
        for index in range(3):
            pair = clips.sample(index)
            window = cv2.createHanningWindow((128, 96), cv2.CV_64F)
            for clean, aged in zip(pair["clean"].double(), pair["aged"].double(), strict=True):
                (x, y), _ = cv2.phaseCorrelate(clean.mean(dim=0).numpy(), aged.mean(dim=0).numpy(), window)
                shifts.append(np.hypot(x, y))
        errors[target] = np.mean(shifts)
    assert errors["print"] < 0.3 and errors["scene"] > 1


def test_the_sharp_target_has_no_softness_and_the_undamaged_film_comes_with_it(material):
    model = replace(PRESETS["1900s"], codec=None)
    shape = replace(_SMALL, height=96, width=128, simulation=model)
    made = {
        target: DegradedClips(material, seed=2, settings=replace(shape, target=target, undamaged=True)).sample(1)
        for target in ("sharp", "print", "film")
    }
    detail = {target: float(pair["clean"].diff(dim=-1).abs().mean()) for target, pair in made.items()}
    assert detail["sharp"] > 1.02 * detail["print"]
    assert torch.equal(made["sharp"]["undamaged"], made["film"]["clean"])
    assert torch.equal(made["sharp"]["aged"], made["film"]["aged"])
    assert "undamaged" not in DegradedClips(material, seed=2, settings=shape).sample(1)


@pytest.mark.parametrize("target", ["scene", "print", "film"])
def test_repeated_and_missing_frames_are_in_the_target_too(material, target):
    model = replace(
        SimulationSettings().only(),
        cadence=CadenceModel(duplicates=0.5, missing=0.2, gap=(1, 3)),
        splices=SpliceModel(rate=0.1, jump=(0, 0)),
    )
    shape = replace(_SMALL, frames=8, height=64, width=96, simulation=model, target=target, reel=30)
    for index in range(6):
        pair = DegradedClips(material, seed=3, settings=shape).sample(index)
        bare = pair["masks"]["splices"].amax(dim=(1, 2)) == 0
        assert bare.sum() >= 4
        assert torch.allclose(pair["aged"][bare], pair["clean"][bare], atol=2e-3)


def test_windows_are_cut_from_one_film(material):
    shape = replace(_SMALL, film=(64, 96), windows=3, simulation=SimulationSettings().only("dirt", "lines"))
    clips = DegradedClips(material, seed=4, settings=shape)
    film = DegradedClips(material, seed=4, settings=replace(shape, height=64, width=96, windows=1)).sample(1)
    places = set()
    for index in range(3, 6):
        pair = clips.sample(index)
        assert pair["aged"].shape == (2, 3, 32, 40)
        found = [
            (y, x)
            for y in range(33)
            for x in range(57)
            if torch.equal(film["aged"][0, :, y : y + 32, x : x + 40], pair["aged"][0])
        ]
        (place,) = found
        rows, columns = slice(place[0], place[0] + 32), slice(place[1], place[1] + 40)
        assert torch.equal(film["clean"][..., rows, columns], pair["clean"])
        assert torch.equal(film["masks"]["dirt"][..., rows, columns], pair["masks"]["dirt"])
        places.add(place)
    assert len(places) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"film": (16, 400)}, "film"),
        ({"windows": 4}, "windows"),
        ({"target": "negative"}, "target"),
        ({"presets": {"1790s": 1.0}}, "1790s"),
        ({"presets": {"worn": 0.0}}, "weights"),
        ({"presets": {"worn": 1.0}, "simulation": SimulationSettings()}, "one of them"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(SettingsError, match=message):
        PairSettings(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": 2, "world_size": 2}, "rank"),
        ({"length": 5, "batch": 2}, "length"),
        ({"start": 3, "batch": 2}, "start"),
        ({"batch": 0}, "batch"),
    ],
)
def test_impossible_orders_are_refused(material, change, message):
    with pytest.raises(SettingsError, match=message):
        DegradedClips(material, seed=0, **change)


def test_the_state_of_another_seed_is_refused(material):
    with pytest.raises(SettingsError, match="seed 1"):
        DegradedClips(material, seed=0).load_state_dict({"seed": 1, "start": 0})
