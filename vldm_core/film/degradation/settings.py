"""Everything that can be set about the simulation of an old film."""

from dataclasses import dataclass, fields, replace

from ...errors import SettingsError
from .blotches import BlotchModel
from .dirt import DirtModel
from .exposure import FlickerModel
from .fading import FadingModel
from .grain import GrainModel
from .hair import HairModel
from .lines import LineModel
from .weave import WeaveModel


@dataclass(frozen=True, kw_only=True)
class SimulationSettings:
    """Which defects a simulated film has, in the order in which they come upon the picture; None leaves one out.

    Lengths in the models are in pixels of a frame with 480 lines and scale with the height.

    Attributes:
        camera_weave: The scene moves in the camera gate; scratches do not move with it.
        flicker: Exposure changes from frame to frame.
        fading: Density is lost and tinted.
        lines: Line scratches.
        blotches: Large soft patches.
        dirt: Dust and dirt.
        hair: Hair and lint.
        grain: Film grain.
        scanner_weave: The film moves in the scanner gate: picture, scratches and dirt together.
    """

    camera_weave: WeaveModel | None = WeaveModel()
    flicker: FlickerModel | None = FlickerModel()
    fading: FadingModel | None = FadingModel()
    lines: LineModel | None = LineModel()
    blotches: BlotchModel | None = BlotchModel()
    dirt: DirtModel | None = DirtModel()
    hair: HairModel | None = HairModel()
    grain: GrainModel | None = GrainModel()
    scanner_weave: WeaveModel | None = None

    @classmethod
    def preset(cls, name: str) -> "SimulationSettings":
        """Return one of the ready-made settings.

        Args:
            name: A key of :data:`PRESETS`.

        Raises:
            SettingsError: When there is no such preset.
        """
        if name not in PRESETS:
            raise SettingsError(f"There is no simulation preset {name!r}; choose one of {', '.join(PRESETS)}.")
        return PRESETS[name]

    def only(self, *defects: str) -> "SimulationSettings":
        """Return these settings with all defects left out but the named ones.

        Args:
            defects: Attribute names, for example ``"dirt", "lines"``.

        Raises:
            SettingsError: When there is no such defect.
        """
        known = [field.name for field in fields(self)]
        for defect in defects:
            if defect not in known:
                raise SettingsError(f"There is no simulated defect {defect!r}; choose from {', '.join(known)}.")
        return replace(self, **{name: None for name in known if name not in defects})


PRESETS: dict[str, SimulationSettings] = {
    "light": SimulationSettings(
        camera_weave=WeaveModel(horizontal=0.15, vertical=0.25, rotation=0.01),
        flicker=FlickerModel(gain=0.01, gamma=0.005, spatial=0.01),
        fading=FadingModel(contrast=(0.95, 0.95, 0.95), offset=(0.01, 0.01, 0.01), drift=0.01),
        lines=LineModel(count=0.6, depth=(2.0, 20.0), width=(1.0, 3.0)),
        blotches=BlotchModel(rate=0.03),
        dirt=DirtModel(rate=6.0, median_size=3.5),
        hair=HairModel(transient_rate=0.05, gate_count=0.1),
        grain=GrainModel(sigma=1.5, correlation=0.8),
    ),
    "worn": SimulationSettings(),
    "heavy": SimulationSettings(
        camera_weave=WeaveModel(horizontal=0.9, vertical=1.6, rotation=0.06),
        flicker=FlickerModel(gain=0.07, gamma=0.04, spatial=0.06, rho=0.5),
        fading=FadingModel(contrast=(0.75, 0.75, 0.75), offset=(0.06, 0.06, 0.06), drift=0.04),
        lines=LineModel(count=4.0),
        blotches=BlotchModel(rate=0.6, opacity=(0.1, 0.7)),
        dirt=DirtModel(rate=55.0, median_size=5.0, spread=0.7),
        hair=HairModel(transient_rate=0.9, gate_count=0.7),
        grain=GrainModel(sigma=6.0, correlation=1.6),
        scanner_weave=WeaveModel(horizontal=0.2, vertical=0.3, rotation=0.01),
    ),
}
"""Ready-made settings: a film kept well, one that was shown for years, and one that nearly was thrown away."""
