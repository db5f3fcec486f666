"""Seams are marked beside the dirt and filled, whatever the windows; clean film leaves bit-equal."""

from dataclasses import replace

import pytest
import torch

from vldm_core.film.dirt.detection import DirtSettings
from vldm_core.film.splices.detection import SpliceSettings
from vldm_core.progress import Pulse, silent
from vldm_core.stages.analysis import analyse_shot
from vldm_core.stages.batch.damage import look_for_damage
from vldm_core.stages.batch.shots import Batch
from vldm_core.stages.plan import StagePlan
from vldm_core.stages.settings import StageSettings
from vldm_core.stages.stage import ShotContext
from vldm_core.stages.stage_frame import StageFrame

from ..film.splices.test_detection import HEIGHT, WIDTH, scene, with_line

ALONE = replace(StageSettings.no_stages(), dirt=DirtSettings(min_size=1_000_000), splices=SpliceSettings())
"""Spots of dirt are never that large."""
AT = 5


def clean():
    return torch.from_numpy(scene(11, seed=4))[:, None].repeat(1, 3, 1, 1) / 255


def spliced(row=8):
    film = scene(11, seed=4)
    film[AT], truth = with_line(film[AT], row, 245.0)
    return torch.from_numpy(film)[:, None].repeat(1, 3, 1, 1) / 255, torch.from_numpy(truth)


def restored(frames, settings=ALONE):
    made = list(Batch(frames=frames).run(StagePlan.from_settings(settings), Pulse(silent, "restore", len(frames))))
    return torch.stack([frame.image for frame in made]), made


@pytest.mark.parametrize("first", [0, AT])
def test_a_seam_is_filled_and_nothing_else_changes(first):
    """Also in the first frame of a shot."""
    worn, truth = spliced()
    made, frames = restored(worn[first:])
    marks = torch.zeros(len(made), HEIGHT, WIDTH, dtype=torch.bool)
    marks[AT - first] = frames[AT - first].dirt > 0.5
    unmarked = ~marks[:, None].expand_as(made)
    assert torch.equal(made[unmarked], worn[first:][unmarked])
    before, after = ((film[AT - first] - clean()[AT])[:, truth].square().mean() for film in (worn[first:], made))
    assert after < before / 30


def test_who_looks_for_no_dirt_looks_for_no_splices():
    assert not StagePlan.from_settings(replace(ALONE, dirt=None)).stages
    assert [stage.name for stage in StagePlan.from_settings(ALONE).stages] == ["dirt marking", "splices", "dirt repair"]


def test_clean_film_leaves_bit_equal():
    made, _ = restored(clean())
    assert torch.equal(made, clean())


def test_windows_do_not_show():
    worn, _ = spliced()
    plan = StagePlan.from_settings(ALONE)
    results = []
    for window in (1, 4, 11):
        shot = ShotContext(analysis=analyse_shot(worn, plan.analysis, HEIGHT, WIDTH), window=window)
        frames = (StageFrame(image=frame, origin=t, number=t) for t, frame in enumerate(worn))
        results.append(torch.stack([frame.image for frame in plan.run(frames, shot)]))
    assert torch.equal(results[0], results[2])
    assert torch.equal(results[1], results[2])


def test_what_is_protected_is_not_marked():
    worn, _ = spliced()
    protect = torch.zeros(len(worn), HEIGHT, WIDTH)
    protect[:, :, :100] = 1
    masks, _ = look_for_damage(worn, replace(StageSettings(), lines=None), protect=protect)
    assert masks.dirt[AT, :20, 100:].any(dim=0).float().mean() > 0.95
    assert not masks.dirt[AT, :20, :100].any()


def test_seams_are_certain_where_certainty_is_asked_for():
    worn, truth = spliced()
    masks, judged = look_for_damage(worn, replace(StageSettings(), lines=None), probability=True)
    assert masks.dirt[AT][truth].mean() > 0.95
    assert judged.dirt[AT][truth].mean() > 0.95


def test_who_gives_all_marks_gets_no_others():
    plan = StagePlan.from_settings(replace(ALONE, given_dirt="alone"))
    assert "splices" not in [stage.name for stage in plan.stages]


def test_every_level_of_effort_looks_for_splices():
    assert all(StageSettings.of_quality(level).splices is not None for level in ("fast", "normal", "best"))
