"""What Restore Reel is told, and the settings that come of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from comfy_api.latest import Input, io
from torch import Tensor

from ...vldm_core.film.defect_map import MapSettings
from ...vldm_core.film.dirt.detection import DirtSettings
from ...vldm_core.film.fill.repair import DirtRepairSettings
from ...vldm_core.film.flicker.removal import FlickerSettings
from ...vldm_core.film.scratches.columns import parse_columns
from ...vldm_core.film.scratches.settings import ScratchSettings
from ...vldm_core.film.spared.settings import SparingSettings
from ...vldm_core.film.temporal.averaging import AveragingSettings
from ...vldm_core.film.weave.stabilise import StabiliseSettings
from ...vldm_core.prerestore.shipped import PreRestoration
from ...vldm_core.reel.mask_films import GivenMap
from ...vldm_core.reel.restore import ReelSettings
from ...vldm_core.stages.settings import StageSettings
from ...vldm_core.video.reading.reader import Deinterlace
from ..effort import AUTO, NO_LIMIT, NORMAL, column_inputs, size_inputs, sparing_inputs
from ..film.reduce_grain import averaging_inputs, missed_damage_input
from ..film.remove_flicker import flash_input
from ..prerestore.pre_restore import strength_inputs

DETECTORS = (AUTO, "learned", "weight-free")
POLARITY = ("both", "dark", "bright")
FIELD_ORDERS: dict[str, Deinterlace] = {"auto": "auto", "top": "tff", "bottom": "bff", "off": "off"}
AVERAGES = StageSettings().average is not None
PRE_RESTORES = StageSettings().prerestore is not None
BITS = (AUTO, "8", "10")
_CRF = 16
_MOST_CRF = 51


@dataclass(frozen=True, kw_only=True)
class ReelInputs:
    """The inputs of Restore Reel by their names; its schema and help page say what each is."""

    quality: str | int = NORMAL
    dirt: bool = True
    scratches: bool = True
    flicker: bool = True
    average: bool | None = None
    prerestore: bool | None = None
    stabilise: bool = False
    codec: str = "h264"
    folder: str = "temp"
    filename_prefix: str = "video/restored"
    write_masks: bool = False
    crf: int = _CRF
    dirt_polarity: str = DirtSettings.polarity
    dirt_certainty: float = DirtSettings.certainty
    dirt_min_size: int = DirtSettings.min_size
    dirt_max_size: int = NO_LIMIT
    dirt_grain: float = DirtRepairSettings.grain
    scratch_detector: str = AUTO
    scratch_certainty: float = ScratchSettings.certainty
    scratch_polarity: str = ScratchSettings.polarity
    scratch_columns: str = ""
    scratch_excluded: str = ""
    spare_graphics: bool = SparingSettings.graphics
    falling: str = SparingSettings.falling
    average_strength: float = AveragingSettings.strength
    average_keep_grain: float = AveragingSettings.keep_grain
    missed_damage: bool = AveragingSettings.missed_damage
    prerestore_strength: float = PreRestoration.strength
    keep_grain: float = PreRestoration.keep_grain
    flash: float = FlickerSettings.flash
    deinterlace: str = "auto"
    strict: bool = ReelSettings.strict
    alpha_map: bool = False
    map_clean: float = MapSettings.clean
    map_damaged: float = MapSettings.damaged
    map_threshold: float = MapSettings.threshold
    map_grow: int = MapSettings.grow
    map_only: bool = False
    bits: str = AUTO
    review: bool = False
    record: bool = False
    keep_work: bool = False
    protect: Tensor | None = None
    prerestorer: Any = None
    defect_map: Input.Video | None = None
    dirt_masks: Input.Video | None = None
    scratch_masks: Input.Video | None = None

    def __post_init__(self) -> None:
        older = is_crf(self.quality)
        # Before there were levels of effort, a reel was pre-restored unless its workflow said no, and never averaged.
        said = {
            "average": AVERAGES and not older if self.average is None else self.average,
            "prerestore": PRE_RESTORES or older if self.prerestore is None else self.prerestore,
            **({"crf": int(self.quality), "quality": NORMAL} if older else {}),
        }
        for name, value in said.items():
            object.__setattr__(self, name, value)

    def stages(self) -> ReelSettings:
        """Return what the level of effort, the switches and the knobs say."""
        level = ReelSettings.of_quality(str(self.quality))
        assert level.dirt is not None and level.lines is not None and level.flicker is not None, "on in every level"
        dirt = replace(
            level.dirt,
            polarity=self.dirt_polarity,  # type: ignore[arg-type]
            certainty=self.dirt_certainty,
            min_size=self.dirt_min_size,
            max_size=self.dirt_max_size or None,
        )
        lines = replace(
            level.lines,
            certainty=self.scratch_certainty,
            polarity=self.scratch_polarity,  # type: ignore[arg-type]
            forced=parse_columns(self.scratch_columns),
            excluded=parse_columns(self.scratch_excluded),
        )
        if self.scratch_detector != AUTO:
            lines = replace(lines, detector=self.scratch_detector)  # type: ignore[arg-type]
        prerestore = replace(
            level.prerestore or PreRestoration(), strength=self.prerestore_strength, keep_grain=self.keep_grain
        )
        average = replace(
            level.average or AveragingSettings(),
            strength=self.average_strength,
            keep_grain=self.average_keep_grain,
            missed_damage=self.missed_damage,
        )
        return replace(
            level,
            dirt=dirt if self.dirt else None,
            spare=SparingSettings(graphics=self.spare_graphics, falling=self.falling),  # type: ignore[arg-type]
            standing=level.standing if self.dirt else None,
            splices=level.splices if self.dirt else None,
            lines=lines if self.scratches else None,
            dirt_repair=replace(level.dirt_repair, grain=self.dirt_grain),
            flicker=replace(level.flicker, flash=self.flash) if self.flicker else None,
            average=average if self.average else None,
            prerestore=prerestore if self.prerestore else None,
            stabilise=StabiliseSettings() if self.stabilise else None,
        )

    def maps(self, opened: Callable[[Input.Video], Any]) -> Iterator[GivenMap]:
        """Give the damage that is known from elsewhere.

        Args:
            opened: Gives what the core can stream for a VIDEO.
        """
        reading = MapSettings(
            clean=self.map_clean, damaged=self.map_damaged, threshold=self.map_threshold, grow=self.map_grow
        )
        if self.defect_map is not None:
            yield GivenMap(source=opened(self.defect_map), reading=reading, alone=self.map_only)
        if self.alpha_map:
            yield GivenMap(source=None, reading=reading, alone=self.map_only)
        if self.dirt_masks is not None:
            yield GivenMap(source=opened(self.dirt_masks), kind="dirt", alone=True)
        if self.scratch_masks is not None:
            yield GivenMap(source=opened(self.scratch_masks), kind="scratch", alone=True)


def delivery_inputs() -> list[io.Input]:
    """Return the knobs of how the film is written."""
    return [
        io.Combo.Input(
            "bits",
            options=list(BITS),
            default=AUTO,
            optional=True,
            tooltip=(
                "Bits per sample of the file. auto: as the film has them. 10 keeps what averaging and evening out gain "
                "between the steps of 8 bits; few browsers play it. prores always has 10."
            ),
        ),
        io.Boolean.Input(
            "review",
            default=False,
            optional=True,
            tooltip=(
                "Also write a small film beside it, NAME_review.mp4: each frame before and after, side by side, with "
                "its number and the sound."
            ),
        ),
    ]


def is_crf(quality: object) -> bool:
    """Tell whether workflows from before the levels of effort say a CRF by this name."""
    return isinstance(quality, int) and not isinstance(quality, bool) and 0 <= quality <= _MOST_CRF


def advanced_inputs() -> list[io.Input]:
    """Return the knobs that stand behind the level of effort."""
    return [
        io.Int.Input(
            "crf",
            default=_CRF,
            min=0,
            max=_MOST_CRF,
            optional=True,
            tooltip=(
                "Quality of h264 and h265 files: lower is better and larger, 16 looks like the source. ffv1 ignores it."
            ),
        ),
        io.Combo.Input(
            "dirt_polarity",
            options=list(POLARITY),
            default=DirtSettings.polarity,
            optional=True,
            tooltip="Dark is dirt on the print, bright is dirt on the negative; restrict it to spare the rest.",
        ),
        io.Float.Input(
            "dirt_certainty",
            default=DirtSettings.certainty,
            min=0.0,
            max=0.99,
            step=0.01,
            optional=True,
            tooltip=(
                "How sure it must be, 0 to 1, that it is dirt and not something that moves. Lower finds more dirt and "
                "takes more of what moves for it."
            ),
        ),
        *size_inputs(),
        io.Float.Input(
            "dirt_grain",
            default=DirtRepairSettings.grain,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            tooltip=(
                "Share of the film's grain that filled places are given back. 1 looks like the surroundings, 0 is the "
                "smoothest and measures best."
            ),
        ),
        io.Combo.Input(
            "scratch_detector",
            options=list(DETECTORS),
            default=AUTO,
            optional=True,
            tooltip=(
                "What tells scratches from the scene. learned: neural, motion and a small network that judges what a "
                "line looks like, also where nothing moves; weight-free: classical, motion alone; auto: as quality has "
                "it."
            ),
        ),
        io.Float.Input(
            "scratch_certainty",
            default=ScratchSettings.certainty,
            min=0.0,
            max=1.0,
            step=0.01,
            optional=True,
            tooltip=(
                "Neural detector (learned) only: how sure it must be, 0 to 1, that a line is a scratch. Lower finds "
                "more and takes more of the scene for scratches."
            ),
        ),
        *column_inputs(),
        *sparing_inputs(),
        *averaging_inputs("average_"),
        missed_damage_input(),
        *strength_inputs("prerestore_", optional=True),
        flash_input(),
        io.Combo.Input(
            "deinterlace",
            options=list(FIELD_ORDERS),
            default="auto",
            optional=True,
            tooltip=(
                "auto: every stretch of the film as its pictures show, said in the report. top, bottom: the whole "
                "film, with that field first. off: leave the lines as they are."
            ),
        ),
        io.Boolean.Input(
            "strict",
            default=ReelSettings.strict,
            optional=True,
            tooltip=(
                "Stop at the first frame that a stage cannot do. Off: the frame is passed on as it came, and the "
                "report names it."
            ),
        ),
        io.Boolean.Input(
            "alpha_map",
            default=False,
            optional=True,
            tooltip="Take the film's own alpha channel as a map of damage, read as map_clean and map_damaged say.",
        ),
    ]


def kept_inputs() -> list[io.Input]:
    """Return the switches for what is kept; they stand last, so that workflows from before keep their values."""
    record = io.Boolean.Input(
        "record",
        default=ReelInputs.record,
        optional=True,
        tooltip=(
            "Also write a record of every repair beside the film, NAME.record.zip, with the pixels that were there "
            "before: vldm_core record shows it, takes repairs back and writes a report."
        ),
    )
    work = io.Boolean.Input(
        "keep_work",
        default=ReelInputs.keep_work,
        optional=True,
        tooltip=(
            "Keep the finished pieces in vldm_work in the output folder, also when the film is finished: with a Box "
            "Fix, another codec or another prior only what it touches is made again. They take more room than the film."
        ),
    )
    return [record, work]
