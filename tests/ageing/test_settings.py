"""Settings of the simulation: presets, validation, choice of defects."""

from typing import Any

import pytest

from vldm_core.ageing import (
    PRESETS,
    DirtModel,
    FadingModel,
    GrainModel,
    LineModel,
    ScratchLine,
    SimulationSettings,
)
from vldm_core.errors import SettingsError


def test_presets_are_named_and_get_worse():
    wear, eras = list(PRESETS)[:3], list(PRESETS)[3:]
    assert wear == ["light", "worn", "heavy"]
    assert eras == [f"{year}s" for year in range(1890, 2000, 10)] + ["8mm amateur", "newsreel"]
    dirt = [SimulationSettings.preset(name).dirt for name in wear]
    assert dirt[0].rate < dirt[1].rate < dirt[2].rate
    grain = [PRESETS[name].grain.sigma for name in wear]
    assert grain == sorted(grain)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_lie_in_the_measured_ranges(name):
    preset = PRESETS[name]
    assert 5 <= preset.dirt.rate <= 60 and preset.dirt.lasting_share == 0.05
    assert preset.lines.count <= 4 and preset.lines.shares == (0.5, 0.3, 0.2) and preset.lines.largest_tilt <= 2
    assert preset.hair.transient_rate + preset.hair.gate_count <= 2
    gate = preset.hair.gate_count / (preset.hair.transient_rate + preset.hair.gate_count)
    assert gate == pytest.approx(0.4, abs=0.01)
    assert 0.01 <= preset.flicker.gain <= 0.07 and preset.flicker.spatial <= 0.09
    assert 0.1 <= preset.camera_weave.vertical <= 1.7 and preset.camera_weave.vertical >= preset.camera_weave.horizontal
    assert 1 <= preset.grain.sigma <= 8 and 0.6 <= preset.grain.correlation <= 2
    assert max(map(abs, preset.fading.offset)) <= 0.3
    if preset.cadence is not None:
        assert preset.cadence.duplicates <= 0.46
    if preset.splices is not None:
        assert preset.splices.dropped[1] <= 8 and (preset.splices.jump[0], preset.splices.jump[1]) == (5, 15)


def test_unknown_preset_names_the_known_ones():
    with pytest.raises(SettingsError, match="'rusty'; choose one of light, worn, heavy"):
        SimulationSettings.preset("rusty")


def test_only_keeps_the_named_defects():
    settings = SimulationSettings().only("dirt", "grain")
    assert settings.dirt == DirtModel() and settings.grain == GrainModel()
    assert settings.lines is None and settings.camera_weave is None
    with pytest.raises(SettingsError, match="'rain'; choose from camera_weave"):
        SimulationSettings().only("rain")


def test_unknown_settings_are_rejected():
    with pytest.raises(TypeError, match="rust"):
        SimulationSettings(rust=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="colour"):
        DirtModel(colour="red")  # type: ignore[call-arg]


def test_settings_are_frozen():
    with pytest.raises(AttributeError):
        SimulationSettings().dirt = None  # type: ignore[misc]


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (DirtModel, {"white_share": 1.5}),
        (LineModel, {"shares": (0, 0, 0)}),
        (FadingModel, {"contrast": (1, 1)}),
        (FadingModel, {"offset": (0, 0, 2)}),
    ],
)
def test_values_out_of_range_say_what_to_do(model, values):
    with pytest.raises(SettingsError, match=next(iter(values))) as caught:
        model(**values)
    assert "choose" in str(caught.value) or "give" in str(caught.value)


@pytest.mark.parametrize("values", [{"kind": "wild"}, {"last": 0}, {"tilt": 7}, {"profile": "round"}, {"width": 0}])
def test_lines_are_checked(values):
    good: dict[str, Any] = {"key": 1, "kind": "fixed", "x": 10, "depth": 5, "width": 2, "first": 0, "last": 10}
    ScratchLine(**good)
    with pytest.raises(SettingsError):
        ScratchLine(**good | values)
