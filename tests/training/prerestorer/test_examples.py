"""Films to train the pre-restorer on: the imitated repair, the files, the order of samples."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from vldm_core.data import TrainingMaterial
from vldm_core.data.degraded_clips import Pair
from vldm_core.errors import FilmFileError, SettingsError
from vldm_core.training.prerestorer.examples import (
    RepairedClips,
    RepairedFilmSettings,
    imitate_repair,
    make_films,
    without_flicker,
)

from .smooth import photographs

SETTINGS = RepairedFilmSettings(films=3, frames=3, height=64, width=72, presets={"worn": 1.0})


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> list[Path]:
    material = TrainingMaterial(photographs(tmp_path_factory.mktemp("photos")))
    return make_films(material, tmp_path_factory.mktemp("films"), SETTINGS)


def damaged_pair() -> Pair:
    """A grey film with one dark spot and one scratch in every frame."""
    undamaged = torch.full((40, 3, 64, 64), 0.5)
    aged, spot, line = undamaged.clone(), torch.zeros(40, 64, 64), torch.zeros(40, 64, 64)
    aged[..., 10:20, 10:20], spot[:, 10:20, 10:20] = 0.1, 1
    aged[..., 40:42], line[..., 40:42] = 0.3, 1
    masks = {"dirt": spot, "lines": line}
    return Pair(clean=undamaged, aged=aged, masks=masks, source="", preset="", index=0, undamaged=undamaged)


def test_repair_is_imitated_with_its_faults() -> None:
    pair = damaged_pair()
    settings = replace(SETTINGS, missed=0.25, needless=0.0, scratch_remainder=0.1)
    frames, masks = imitate_repair(pair, settings, np.random.default_rng(0))
    missed = frames[:, 0, 15, 15] < 0.2
    assert 4 <= missed.sum() <= 17
    assert torch.equal(missed, ~masks[:, 15, 15]), "what was missed is not marked"
    assert torch.allclose(frames[~missed][:, :, 9:21, 9:21], torch.tensor(0.5), atol=1e-4)
    remainder = (0.5 - frames[:, 0, 32, 40]) / 0.2
    assert remainder.abs().max() < 0.5 and 0.05 < remainder.std() < 0.2
    assert 5 < masks[:, 32, 40].sum() < 35, "a scratch is marked in some frames"
    sound = masks[:, 50:, :30]
    assert not sound.any() and torch.equal(frames[:, :, 50:, :30], pair["aged"][:, :, 50:, :30])
    _, needless = imitate_repair(pair, replace(settings, needless=3.0), np.random.default_rng(0))
    assert needless[:, 22:, :38].any()


def test_films_are_made_once_and_belong_to_their_settings(films, tmp_path) -> None:
    material = TrainingMaterial(photographs(tmp_path))
    before = [path.read_bytes() for path in films]
    folder = films[0].parent
    films[1].unlink()
    again = make_films(material, folder, SETTINGS, part=1, parts=2)
    assert again == films and [path.read_bytes() for path in films] == before
    longer = make_films(material, folder, replace(SETTINGS, films=4), part=1, parts=8)
    assert len(longer) == 4 and not longer[3].exists()
    with pytest.raises(SettingsError, match="other settings"):
        make_films(material, folder, replace(SETTINGS, missed=0.5))


def test_samples_depend_on_their_number_alone(films) -> None:
    clips = RepairedClips(films, seed=5, frames=2, side=32, batch=2)
    first = clips.sample(3)
    assert first["frames"].shape == first["target"].shape == (2, 3, 32, 32)
    assert first["backward"].shape == first["forward"].shape == (1, 2, 32, 32)
    clips.sample(9)
    again = RepairedClips(films, seed=5, frames=2, side=32, batch=2).sample(3)
    assert all(torch.equal(value, again[name]) for name, value in first.items())  # type: ignore
    assert not torch.equal(clips.sample(4)["frames"], first["frames"])
    # Windows of one place: the pair stays together through mirrors and turns.
    assert (first["frames"] - first["target"]).abs().mean() < 0.15


def test_flicker_is_taken_out_and_grain_stays() -> None:
    stream = np.random.default_rng(0)
    target = np.full((4, 3, 64, 96), 120, np.uint8)
    gain = np.array([-30, 20, 10, -5])[:, None, None, None] * np.linspace(0.5, 1.5, 96)
    grain = stream.normal(0, 6, target.shape)
    frames = np.clip(target + gain + grain, 0, 255).astype(np.uint8)
    even = without_flicker(frames, target, 0.0).astype(np.float32)
    assert np.abs(even.mean((1, 2, 3)) - 120).max() < 1
    assert np.abs(even[..., :48].mean((1, 2, 3)) - even[..., 48:].mean((1, 2, 3))).max() < 4
    assert even.std((1, 2, 3)).min() > 5
    half = without_flicker(frames, target, 0.5).mean((1, 2, 3)) - 120
    assert np.allclose(half, 0.5 * (frames.mean((1, 2, 3)) - 120), atol=1)


def test_workers_and_resuming_keep_the_order(films) -> None:
    def batches(workers: int, start: int, count: int) -> list[torch.Tensor]:
        clips = RepairedClips(films, seed=1, frames=2, side=32, batch=2)
        clips.load_state_dict({"seed": 1, "start": start})
        loader = iter(DataLoader(clips, batch_size=2, num_workers=workers))
        return [next(loader)["frames"] for _ in range(count)]

    whole = batches(0, 0, 4)
    assert all(torch.equal(a, b) for a, b in zip(whole, batches(2, 0, 4), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(whole[2:], batches(0, 4, 2), strict=True))


def test_a_whole_film_has_sides_that_the_network_takes(films) -> None:
    film = RepairedClips.whole(films[0])
    assert film["frames"].shape == (3, 3, 64, 72) and film["masks"].shape == (3, 64, 72)


def test_wrong_films_and_settings_are_named(films, tmp_path) -> None:
    (tmp_path / "cut.npz").write_bytes(films[0].read_bytes()[:100])
    with pytest.raises(FilmFileError, match=r"cut\.npz"):
        RepairedClips([tmp_path / "cut.npz"], seed=0, frames=2, side=32, batch=1).sample(0)
    with pytest.raises(FilmFileError, match="too few or small"):
        RepairedClips(films, seed=0, frames=2, side=128, batch=1).sample(0)
    for wrong in ({"frames": 1}, {"side": 20}, {"batch": 0}, {"flicker": 1.5}):
        with pytest.raises(SettingsError):
            RepairedClips(films, **{"seed": 0, "frames": 2, "side": 32, "batch": 1, **wrong})  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="seed"):
        RepairedClips(films, seed=0, frames=2, side=32, batch=1).load_state_dict({"seed": 1, "start": 0})
    for wrong in ({"films": 0}, {"missed": 2.0}, {"needless": -1.0}):
        with pytest.raises(SettingsError):
            RepairedFilmSettings(**wrong)
