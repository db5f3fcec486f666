"""Settings of training refuse what lies outside their ranges, and say which one and what."""

import dataclasses

import pytest

from vldm_core.errors import SettingsError
from vldm_core.training.dirt_detector.ageing import DirtAgeing
from vldm_core.training.dirt_detector.examples import DirtExampleSettings
from vldm_core.training.dirt_detector.task import DirtTrainingSettings
from vldm_core.training.prerestorer.examples import FlickerField, RepairedFilmSettings
from vldm_core.training.prerestorer.task import PreRestoreTrainingSettings
from vldm_core.training.scratch_detector.ageing import ScratchAgeing
from vldm_core.training.scratch_detector.examples import LabelSettings, ScratchExampleSettings
from vldm_core.training.scratch_detector.scenes import SceneSettings
from vldm_core.training.scratch_detector.task import ScratchTrainingSettings
from vldm_core.training.settings import TrainerSettings

from ..testers import Pair, Range, above, at_least, between, check_range, numeric_fields, share_below_one

LOG, SHARE = 1e-3, between(0, 1)


def shares(settings: type) -> dict[str, Range | Pair]:
    return {name: SHARE for name in numeric_fields(settings) if name.endswith("share")}


def spans(settings: type, most: float, *, uniform: tuple[str, ...] = ()) -> dict[str, Range | Pair]:
    pairs = [name for name, value in numeric_fields(settings).items() if isinstance(value, tuple)]
    return {name: Pair(between(0 if name in uniform else LOG, most)) for name in pairs}


RANGES: dict[type, dict[str, Range | Pair]] = {
    TrainerSettings: {
        **dict.fromkeys(
            ("steps", "batch", "accumulation", "warmup", "youth", "checkpoint_every", "record_every"), at_least(1)
        ),
        **dict.fromkeys(("workers", "validate_every", "seed"), at_least(0)),
        "rate": Range(1e-6, 1, high_belongs=False),
        "final_rate": between(0, 4e-4),
        "decay": share_below_one(),
        "clip": above(0),
        "average": share_below_one(),
    },
    DirtTrainingSettings: {
        "evidence": above(0),
        "least_overlap": above(0),
        "start": between(-20, 20),
        "held_out": Range(0, 1, low_belongs=False, high_belongs=False),
        "alarm_cost": above(0),
    },
    DirtExampleSettings: {
        "shots": at_least(1),
        "hard_shots": at_least(0),
        "film_shots": at_least(0),
        "frames": at_least(10),
        "side": between(32, 288),
        "clean_share": between(0, 0.5),
        "texture_share": SHARE,
        "end_share": SHARE,
        "hard_end_share": SHARE,
        **dict.fromkeys(("faintest", "dirt_deviations", "blotch_deviations"), at_least(0)),
    },
    DirtAgeing: shares(DirtAgeing) | spans(DirtAgeing, 500, uniform=("fading_contrast", "fading_offset")),
    ScratchTrainingSettings: {
        "scratches": Range(0, 1, low_belongs=False, high_belongs=False),
        "doubt": share_below_one(),
        "noise": at_least(0),
        "held_out": Range(0, 1, low_belongs=False, high_belongs=False),
        "mark_cost": above(0),
    },
    ScratchExampleSettings: shares(ScratchExampleSettings)
    | {
        "shots": at_least(1),
        "shots_a_file": at_least(1),
        "least_score": between(0, 1000),
        "largest_tilt": between(0, 45),
        "seed": at_least(0),
    },
    ScratchAgeing: shares(ScratchAgeing)
    | {"most_scratches": between(1, 20), "margin": between(0, 0.4), "grain": Pair(between(LOG, 255))},
    LabelSettings: {"hit": between(0, 255), "overlap": SHARE, "faintest": between(0, 255)},
    SceneSettings: shares(SceneSettings)
    | {"uprights": between(1, 100), "objects": between(1, 100), "shake_memory": SHARE, "pan": Pair(between(LOG, 1000))},
    RepairedFilmSettings: {
        "films": at_least(1),
        "frames": at_least(2),
        "height": at_least(64),
        "width": at_least(64),
        "missed": SHARE,
        "needless": at_least(0),
        "scratch_remainder": at_least(0),
        "scratch_marked": SHARE,
        "rim": at_least(0),
        "fill_shift": at_least(0),
        "fill_blur": Pair(above(0)),
        "seed": at_least(0),
    },
    FlickerField: {"scale": between(1, 64), "sigma": between(0.5, 50), "left": SHARE},
    PreRestoreTrainingSettings: {
        "validation_films": at_least(1),
        "gradient": at_least(0),
        "temporal": at_least(0),
        "latent": at_least(0),
    },
}


@pytest.mark.parametrize("settings", RANGES, ids=lambda settings: settings.__name__)
def test_a_setting_refuses_what_is_outside_its_range(settings: type) -> None:
    for name, allowed in RANGES[settings].items():
        check_range(settings, name, allowed)


@pytest.mark.parametrize("settings", RANGES, ids=lambda settings: settings.__name__)
def test_settings_are_frozen_and_named(settings: type) -> None:
    assert settings.__dataclass_params__.frozen  # type: ignore[attr-defined]
    described = settings.__doc__ or ""
    assert all(f"{field.name}: " in described for field in dataclasses.fields(settings))


def test_settings_that_belong_together() -> None:
    for settings, wrong in (
        (TrainerSettings, {"precision": "int8"}),
        (TrainerSettings, {"betas": (0.9, 1.0)}),
        (TrainerSettings, {"rate": 1e-7}),
        (DirtTrainingSettings, {"side": 12}),
        (ScratchExampleSettings, {"frames": (4,)}),
        (SceneSettings, {"kinds": (0.5, 0.5, 0.5, 0.5)}),
        (PreRestoreTrainingSettings, {"frames": 9}),
    ):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            settings(**wrong)  # type: ignore[arg-type]
