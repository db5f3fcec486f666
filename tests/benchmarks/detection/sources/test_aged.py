"""Ageing with known truth."""

import numpy as np
import pytest
import torch

from benchmarks.detection.settings import DetectionBenchmarkSettings
from benchmarks.detection.sources import aged as film_material
from benchmarks.detection.sources.shots import CleanClip
from benchmarks.detection.sources.strata import DIRT_KINDS, LINE_DEPTHS
from vldm_core.ageing import SimulationSettings, simulate
from vldm_core.metrics.detection import dilate

from ...film_data import moving_texture

SETTINGS = DetectionBenchmarkSettings(height=96, width=128, seed=7)


def _clean(name: str = "alpha", locked: bool = False) -> CleanClip:
    frames = torch.from_numpy(moving_texture(1, 5, 96, 128)).permute(0, 3, 1, 2).float() / 255
    return CleanClip(name=name, frames=frames, upright=False, locked=locked)


@pytest.fixture(scope="module")
def material() -> film_material.AgedMaterial:
    return film_material.age(_clean(), "persistent", SETTINGS)


def test_ageing_damages_only_what_the_truth_says(material):
    """Grain and everything global are the same with and without the local damage."""
    clip = material.clip
    change = (clip.aged - clip.undamaged).abs().amax(dim=1) * 255
    assert bool(clip.damage.any())
    # Soft rims and faint blotches stay below the 8 grey levels that make the truth, give or take the grain's response.
    assert float(change[~clip.damage].max()) < 14
    assert float((change[~clip.damage] == 0).float().mean()) > 0.9
    assert float(change[clip.dirt > 0].mean()) > 20
    for number, depth in enumerate(LINE_DEPTHS):
        on_line = (clip.lines == number + 1) & ~dilate(clip.dirt > 0, 2)
        assert depth * 0.4 < float(change[on_line].mean()) < depth * 1.1


def test_ageing_depends_on_seed_and_name_alone(material):
    again = film_material.age(_clean(), "persistent", SETTINGS)
    assert torch.equal(again.clip.aged, material.clip.aged)
    assert torch.equal(again.clip.lines, material.clip.lines)
    other = film_material.age(_clean("beta"), "persistent", SETTINGS)
    assert not torch.equal(other.clip.aged, material.clip.aged)


def test_grain_comes_last_so_a_second_print_differs_by_its_grain_alone(material):
    clip = material.clip
    grain, other = ((film - material.no_grain) * 255 for film in (clip.undamaged, material.other_grain))
    assert float(grain.std()) == pytest.approx(2.5, rel=0.2)
    assert float(other.std()) == pytest.approx(float(grain.std()), rel=0.1)
    assert abs(float(np.corrcoef(grain.flatten(), other.flatten())[0, 1])) < 0.05
    # The simulation itself, without local damage, gives the same film.
    frames, seed = _clean().frames, 123
    model = SimulationSettings().only("grain")
    direct = simulate(frames, model, seed).frames
    assert torch.allclose(film_material._grained(frames, model, seed), direct)


def test_kinds_of_dirt_are_labelled_apart():
    settings = DetectionBenchmarkSettings(height=128, width=192, seed=3)
    frames = torch.full((12, 3, 128, 192), 0.5)
    clip = film_material.age(CleanClip(name="x", frames=frames, upright=False, locked=True), "transient", settings).clip
    counts = torch.bincount(clip.dirt.flatten().long(), minlength=4)
    assert int(counts[0]) > 0.5 * clip.dirt.numel()
    assert int(counts[1]) > 0
    assert len(counts) == len(DIRT_KINDS) + 1
    assert not bool(clip.lines.any()) and not bool(clip.courses.any())
    assert not bool((clip.faint & (clip.dirt > 0)).any())


def test_the_flicker_stratum_has_a_steady_twin_and_the_others_are_steady(material):
    clip = film_material.age(_clean(), "flicker", SETTINGS).clip
    levels = clip.undamaged.mean(dim=(1, 2, 3)) / clip.steady.mean(dim=(1, 2, 3))
    assert float(levels.std()) > 0.01
    assert material.clip.steady is material.clip.undamaged


def test_gate_weave_unlocks_a_locked_off_shot():
    assert film_material.age(_clean(locked=True), "persistent", SETTINGS).clip.locked
    assert not film_material.age(_clean(locked=True), "weave", SETTINGS).clip.locked


def test_drifting_lines_move_and_fixed_ones_stay(material):
    def places(clip):
        """Mean column of the deepest line in the first and last frame."""
        columns = torch.arange(128.0)
        weights = (clip.lines == 3).float().sum(dim=1)
        return [float((weights[t] * columns).sum() / weights[t].sum()) for t in (0, -1)]

    first, last = places(material.clip)
    assert abs(last - first) < 1
    drifting = film_material.age(_clean(), "drifting", SETTINGS).clip
    first, last = places(drifting)
    assert 0.3 < abs(last - first) < 4


@pytest.mark.parametrize("stratum", ["persistent", "flicker"])
def test_a_clip_survives_saving(stratum, tmp_path):
    clip = film_material.age(_clean(), stratum, SETTINGS).clip
    clip.save(tmp_path / "clip.npz")
    back = film_material.AgedClip.load(tmp_path / "clip.npz")
    for name in ("aged", "undamaged", "steady", "dirt", "lines", "faint", "courses", "visible"):
        assert torch.equal(getattr(back, name), getattr(clip, name))
    assert float((back.flow - clip.flow).abs().max()) < 0.02
    assert (back.name, back.stratum, back.locked) == (clip.name, clip.stratum, clip.locked)


def test_a_clean_shot_with_grain_is_film_without_damage():
    clean = _clean()
    grained = film_material.with_grain(clean, SETTINGS)
    assert (grained.name, grained.group) == ("alpha, with grain", clean.group)
    change = (grained.frames - clean.frames) * 255
    assert float(change.std()) == pytest.approx(2.5, rel=0.2)
    assert float(change.abs().max()) < 20
