"""One level of effort in the place of many settings, and settings kept in a file."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.film.dirt.detection import DirtSettings
from vldm_core.film.weave.stabilise import StabiliseSettings
from vldm_core.notices import Notices
from vldm_core.reel.restore import ReelSettings
from vldm_core.stages.batch import restore_frames
from vldm_core.stages.plan import StagePlan
from vldm_core.stages.preset import (
    FORMAT,
    check_settings_path,
    read_settings,
    settings_from,
    settings_text,
    write_settings,
)
from vldm_core.stages.settings import QUALITIES, StageSettings

from ..reel.conftest import damaged_frame

QUALITY = pytest.mark.parametrize("quality", QUALITIES)


def cost(settings: StageSettings) -> float:
    stages = StagePlan.from_settings(settings).stages
    return sum(stage.cost.analyse + stage.cost.restore for stage in stages)


def test_normal_is_what_the_settings_are_by_default():
    assert StageSettings.of_quality() == StageSettings.of_quality("normal") == StageSettings()
    assert ReelSettings.of_quality() == ReelSettings()


def test_levels_differ_and_fast_is_the_cheapest():
    fast, normal, best = (StageSettings.of_quality(quality) for quality in QUALITIES)
    assert len({settings_text(level) for level in (fast, normal, best)}) == len(QUALITIES)
    assert cost(fast) <= cost(normal) <= cost(best)
    # What makes it quick lies inside the stages.
    assert (fast.motion, normal.motion) == ("quick", "refined")
    assert fast.average.reach < normal.average.reach and fast.dirt_repair.reach < normal.dirt_repair.reach


def test_the_motion_of_the_level_reaches_the_stages():
    for quality, asked in (("fast", {"quick"}), ("normal", {"refined"})):
        settings = dataclasses.replace(StageSettings.of_quality(quality), average=None)
        stages = StagePlan.from_settings(settings).stages
        assert {stage.motion for stage in stages if "dirt" in stage.name} == asked


@QUALITY
def test_every_level_finds_and_repairs_dirt_and_scratches(quality):
    plan = StagePlan.from_settings(StageSettings.of_quality(quality))
    assert {"dirt", "lines", "flicker"} <= set(plan.switches)


@QUALITY
def test_every_level_works_on_every_frame(quality):
    """A frame that a stage cannot do is passed on with a notice, and would not be missed in figures of a whole film."""
    pictures = np.stack([damaged_frame(index)[0] for index in range(8)])
    frames = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    notices = Notices()
    restored, found = restore_frames(frames, StageSettings.of_quality(quality), notices=notices)
    assert notices.summary() == ()
    assert found.dirt.any() and not torch.equal(restored, frames)


def test_what_is_said_besides_counts_before_the_level():
    dirt = DirtSettings(min_size=9)
    settings = ReelSettings.of_quality("fast", dirt=dirt, strict=True)
    assert settings.dirt == dirt and settings.strict
    assert settings.lines == StageSettings.of_quality("fast").lines


def test_an_unknown_level_is_refused_in_words():
    with pytest.raises(SettingsError, match="quality is 'ultra'; use one of fast, normal, best"):
        StageSettings.of_quality("ultra")


@QUALITY
def test_settings_are_the_same_after_they_were_written_and_read(quality, tmp_path):
    settings = StageSettings.of_quality(quality, dirt=DirtSettings(polarity="dark"), stabilise=StabiliseSettings())
    path = tmp_path / "film.json"
    write_settings(settings, path)
    assert read_settings(path) == settings
    # What a reel has besides belongs to one run and not to the film.
    reel = ReelSettings.of_quality(quality, dirt=settings.dirt, stabilise=settings.stabilise, strict=True)
    assert settings_text(reel) == settings_text(settings)


def test_a_stage_that_is_off_stays_off():
    settings = StageSettings.no_stages()
    assert settings_from(settings_text(settings)) == settings


def test_what_a_file_does_not_say_has_its_default():
    text = json.dumps({"format": FORMAT, "dirt": {"min_size": 7}, "flicker": None})
    assert settings_from(text) == StageSettings(dirt=DirtSettings(min_size=7), flicker=None)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("no json", "not JSON"),
        ({"dirt": None}, "no film settings"),
        ({"format": FORMAT, "dust": {}}, "no setting dust"),
        ({"format": FORMAT, "dirt": {"size": 3}}, r"no setting dirt\.size"),
        ({"format": FORMAT, "dirt": {"certainty": 500}}, "dirt certainty is 500"),
        ({"format": FORMAT, "lines": {"certainty": "high"}}, r"lines\.certainty"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_what_is_wrong(given, words, tmp_path):
    path = tmp_path / "film.json"
    path.write_text(given if isinstance(given, str) else json.dumps(given))
    with pytest.raises(SettingsError, match=words) as refused:
        read_settings(path)
    assert str(path) in str(refused.value)


def test_a_name_that_cannot_be_written_is_told_before_the_work(tmp_path):
    with pytest.raises(SettingsError, match=r"\.json"):
        check_settings_path(tmp_path / "film.txt")
    with pytest.raises(SettingsError, match="no folder"):
        check_settings_path(tmp_path / "none" / "film.json")
    (tmp_path / "film.json").write_text("{}")
    check_settings_path(tmp_path / "film.json")
    with pytest.raises(SettingsError, match="there already"):
        check_settings_path(tmp_path / "film.json", overwrite=False)
