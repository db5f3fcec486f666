"""What the repair of dirt takes over from the stage that averages after it."""

import pytest

from vldm_core.film.fill.repair import DirtRepairSettings
from vldm_core.film.temporal.averaging import AveragingSettings
from vldm_core.stages.settings import StageSettings
from vldm_core.stages.single.dirt import RepairDirt
from vldm_core.stages.stage import StageModels


@pytest.mark.parametrize(
    ("average", "grain"),
    [
        (None, 0.8),
        (AveragingSettings(), 0.0),
        (AveragingSettings(keep_grain=1.0), 0.8),
        (AveragingSettings(strength=0.5), 0.4),
    ],
)
def test_a_fill_gets_the_grain_that_averaging_leaves_the_frame(average: AveragingSettings | None, grain: float) -> None:
    settings = StageSettings(average=average, dirt_repair=DirtRepairSettings(grain=0.8))
    stage = RepairDirt.of(settings, StageModels())
    assert stage is not None
    assert stage.settings.grain == pytest.approx(grain)
