"""A part of a shot, shown with as many neighbours as the plan says, comes out as in the whole."""

import pytest
import torch

from vldm_core.film.standing.detection import StandingSettings
from vldm_core.film.weave.stabilise import StabiliseSettings
from vldm_core.prerestore.shipped import PreRestoration
from vldm_core.stages.analysis import analyse_shot
from vldm_core.stages.plan import StagePlan
from vldm_core.stages.settings import StageSettings
from vldm_core.stages.stage import ShotContext

from .test_large_frames import HEIGHT, WIDTH, damaged, film_frames

EVERYTHING = StageSettings(standing=StandingSettings(), stabilise=StabiliseSettings())


@pytest.mark.parametrize("settings", [EVERYTHING, StageSettings(dirt=None), StageSettings(lines=None, average=None)])
def test_a_part_comes_out_as_in_the_whole(settings):
    plan = StagePlan.from_settings(settings)
    assert plan.reach is not None
    first, last = plan.reach + 5, plan.reach + 9
    frames = damaged(last + plan.reach + 6)
    analysis = analyse_shot(frames, plan.analysis, HEIGHT, WIDTH)
    whole = list(plan.run(film_frames(frames), ShotContext(analysis=analysis)))
    start = first - plan.reach
    given = list(film_frames(frames))[start : last + plan.reach]
    part = list(plan.run(iter(given), ShotContext(analysis=analysis, first=start)))
    for index in range(first, last):
        one, other = whole[index], part[index - start]
        assert torch.equal(one.image, other.image)
        for kind in ("dirt", "scratch"):
            if (mask := getattr(one, kind)) is not None:
                assert torch.equal(mask, getattr(other, kind))


def test_what_goes_along_the_shot_has_no_parts():
    assert StagePlan.from_settings(StageSettings(prerestore=PreRestoration())).reach is None
    assert StagePlan.from_settings(StageSettings.no_stages()).reach == 0
