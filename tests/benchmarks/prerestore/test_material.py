"""Clips for the pre-restoration benchmark: which, how they are aged, and what they should look like."""

from dataclasses import replace

import pytest
import torch

from benchmarks.prerestore.material import AgedSource, DamagedClip, find_aged_sources, make_clip
from benchmarks.prerestore.settings import PreRestoreBenchmarkSettings
from vldm_core.data.split import VALIDATION
from vldm_core.errors import FilmFileError, SettingsError
from vldm_core.metrics.fidelity import psnr

from ..prerestore_data import TINY, write_data

CLIPS = ("01_dog", "bedroom", "seeking")
# Large enough for brightness to be compared along the motion.
SETTINGS = replace(TINY, frames=6, height=96, width=144)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def clip(data):
    return make_clip(AgedSource(path=data / "clips" / "01_dog.mp4", preset="8mm amateur"), SETTINGS)


def test_presets_are_spread_over_the_sources(tmp_path):
    for name in (*VALIDATION, "02_cups"):
        path = tmp_path / ("clips" if name[:2] in ("01", "02") or name in CLIPS else "photos") / name
        path.parent.mkdir(exist_ok=True)
        path.with_suffix(".mp4" if path.parent.name == "clips" else ".jpg").touch()
    settings = PreRestoreBenchmarkSettings()
    found = find_aged_sources(tmp_path, settings)
    assert len(set(found)) == 12 and {one.path.stem for one in found} == VALIDATION
    assert {one.preset for one in found[:6]} == set(settings.presets)
    assert {one.path.stem for one in found[:6]} == VALIDATION
    for preset in settings.presets:
        kinds = [one.path.parent.name for one in found if one.preset == preset]
        assert sorted(kinds) == ["clips", "photos"]
    every = find_aged_sources(tmp_path, PreRestoreBenchmarkSettings(clips=100))
    assert len(every) == 36 and every[:12] == found


def test_a_folder_without_validation_files_says_so(tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "02_cups.mp4").touch()
    with pytest.raises(FilmFileError, match="validation"):
        find_aged_sources(tmp_path, TINY)


def test_a_clip_holds_the_stages_of_one_film(clip):
    assert clip.name == "01_dog/8mm amateur"
    assert clip.damaged.shape == clip.reference.shape == (6, 3, 96, 144)
    # Repair changes what it marks and nothing else; flicker removal changes the brightness.
    sound = (clip.masks == 0)[:, None].expand_as(clip.damaged)
    assert torch.equal(clip.damaged[sound], clip.repaired[sound])
    assert not torch.equal(clip.repaired, clip.even)
    # Grain, blur and codec are what is left to do.
    assert 15 < psnr(clip.repaired, clip.reference) < 45
    again = (clip.reference * 255).round() / 255
    assert torch.equal(again, clip.reference)


def test_a_clip_depends_on_its_name_and_seed_alone(clip, data):
    source = AgedSource(path=data / "clips" / "01_dog.mp4", preset="8mm amateur")
    assert torch.equal(make_clip(source, SETTINGS).damaged, clip.damaged)
    other = make_clip(AgedSource(path=source.path, preset="1940s"), SETTINGS)
    assert not torch.equal(other.reference, clip.reference)


def test_a_clip_comes_back_from_its_file(clip, tmp_path):
    clip.save(tmp_path / "clip.npz")
    read = DamagedClip.load(tmp_path / "clip.npz")
    for name in ("damaged", "repaired", "even", "reference", "masks", "visible"):
        assert torch.equal(getattr(read, name), getattr(clip, name)), name
    assert torch.allclose(read.flow, clip.flow, atol=0.02)
    frames, masks = DamagedClip.load_only(tmp_path / "clip.npz", "even", "masks")
    assert torch.equal(frames, clip.even) and torch.equal(masks, clip.masks)


@pytest.mark.parametrize(
    "wrong",
    [
        {"frames": 3},
        {"height": 32},
        {"presets": ("1880s",)},
        {"presets": ("1940s", "1940s")},
        {"clips": 0},
        {"lengths": (8, 8)},
        {"seed": -1},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(SettingsError):
        PreRestoreBenchmarkSettings(**wrong)
