"""Everything that can be set about the simulation of an old film."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType

from ..errors import SettingsError
from .codec import CodecModel
from .defects.blotches import BlotchModel
from .defects.cinch_marks import CinchModel
from .defects.cue_marks import CueModel
from .defects.dirt import DirtModel
from .defects.hair import HairModel
from .defects.scratches import LineModel
from .defects.splices import SpliceModel
from .defects.stains import StainModel
from .defects.tears import TearModel
from .defects.texture_folder import SheetModel
from .look.aperture import ApertureModel
from .look.cadence import CadenceModel
from .look.emulsion import EmulsionModel
from .look.exposure import FlickerModel
from .look.fading import FadingModel
from .look.grain import GrainModel
from .look.softness import SoftnessModel
from .look.vignette import VignetteModel
from .look.weave import WeaveModel
from .mixing import MixingModel
from .presets import PRESET_MODELS


@dataclass(frozen=True, kw_only=True)
class SimulationSettings:
    """Which defects a simulated film has, in the order in which they come upon the picture; None leaves one out.

    Lengths in the models are in pixels of a frame with 480 lines and scale with the height.

    Attributes:
        camera_weave: The scene moves in the camera gate; scratches do not move with it.
        lens: The camera's lens is soft; grain and damage stay sharp.
        vignette: The lens gives less light to the corners.
        flicker: Exposure changes from frame to frame.
        emulsion: Colours the stock saw, its contrast, and the glow of bright places.
        fading: Density is lost and tinted.
        aperture: A dark border with round corners.
        lines: Line scratches.
        tears: Strips without emulsion.
        blotches: Large soft patches, each seen for one frame.
        stains: Water and mould, over several frames.
        dirt: Dust and dirt.
        hair: Hair and lint.
        sheets: Whole scans of damage; none without a folder of `textures`.
        splices: Seams, where frames are lost and the film jumps in the scanner gate.
        cues: Marks that announce the end of a reel.
        cinches: Scratches of a single frame.
        grain: Film grain.
        scanner_weave: The film moves in the scanner gate: picture, scratches and dirt together.
        cadence: Repeated and missing frames.
        mixing: Frames blended or interlaced with the next.
        softness: Blur and few pixels of the scan, over everything.
        codec: Compression of the digital copy.
        textures: Folder with shapes for dirt, hair, blotches and stains, see ``TextureFolder``; None draws them all.
    """

    camera_weave: WeaveModel | None = WeaveModel()
    lens: SoftnessModel | None = None
    vignette: VignetteModel | None = None
    flicker: FlickerModel | None = FlickerModel()
    emulsion: EmulsionModel | None = None
    fading: FadingModel | None = FadingModel()
    aperture: ApertureModel | None = None
    lines: LineModel | None = LineModel()
    tears: TearModel | None = None
    blotches: BlotchModel | None = BlotchModel()
    stains: StainModel | None = None
    dirt: DirtModel | None = DirtModel()
    hair: HairModel | None = HairModel()
    sheets: SheetModel | None = None
    splices: SpliceModel | None = None
    cues: CueModel | None = None
    cinches: CinchModel | None = None
    grain: GrainModel | None = GrainModel()
    scanner_weave: WeaveModel | None = None
    cadence: CadenceModel | None = None
    mixing: MixingModel | None = None
    softness: SoftnessModel | None = None
    codec: CodecModel | None = None
    textures: Path | None = None

    @classmethod
    def preset(cls, name: str) -> "SimulationSettings":
        """Return one of the ready-made settings.

        Args:
            name: A key of ``PRESETS``.

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
        known = DEFECTS
        for defect in defects:
            if defect not in known:
                raise SettingsError(f"There is no simulated defect {defect!r}; choose from {', '.join(known)}.")
        return replace(self, **{name: None for name in known if name not in defects})


DEFECTS: tuple[str, ...] = tuple(field.name for field in fields(SimulationSettings) if field.name != "textures")
"""Names of everything that can be simulated, in the order in which it comes upon the picture."""

PRESETS: Mapping[str, SimulationSettings] = MappingProxyType(
    {name: SimulationSettings(**models) for name, models in PRESET_MODELS.items()}  # type: ignore[arg-type]
)
"""Settings by name: ``light``, ``worn`` and ``heavy`` wear, the decades ``1890s`` … ``1990s``, ``8mm amateur``, and
``newsreel``. The decades to the 1940s and the newsreel are black and white, toned or not; the others keep colour."""
