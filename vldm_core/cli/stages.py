"""The options that say what is done to a film: a level of effort at first sight, every setting of a stage behind it.

Each field of the classes here is an option, and has the name of the node's input that sets the same. None leaves it to
the level of effort, or to the file of settings.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import SettingsError

if TYPE_CHECKING:
    from ..reel.mask_films import GivenMap
    from ..reel.restore import ReelSettings
    from ..stages.settings import StageSettings

_stage = partial(typer.Option, show_default=False)
_masks = partial(typer.Option, rich_help_panel="Masks and maps of damage")
_dirt = partial(typer.Option, rich_help_panel="Advanced: finding dirt", show_default=False)
_lines = partial(typer.Option, rich_help_panel="Advanced: finding scratches", show_default=False)
_repair = partial(typer.Option, rich_help_panel="Advanced: repair", show_default=False)
_picture = partial(typer.Option, rich_help_panel="Advanced: flicker, pre-restoration, weave", show_default=False)

_COLUMNS = ("scratch_columns", "scratch_excluded")
"""Options that are columns as they are typed."""

Detector = Literal["weight-free", "learned"]
Polarity = Literal["both", "dark", "bright"]

ALPHA = "alpha"
"""What `--defect-map` says for the alpha channel of the film itself."""


@dataclass(frozen=True, kw_only=True)
class DetectionOptions:
    """What the command line says about finding damage; the help of each option says what it is."""

    quality: Annotated[
        Literal["fast", "normal", "best"] | None,
        _stage(help="Level of effort: it sets everything that --settings and other options do not; else normal."),
    ] = None
    settings: Annotated[
        Path | None,
        _stage(metavar="FILE", help="Settings of this film, as --save-settings or the node Save Settings wrote them."),
    ] = None
    save_settings: Annotated[
        Path | None, _stage(metavar="FILE", help="Write what every stage is set to, as .json; for --settings.")
    ] = None
    dirt: Annotated[bool | None, _stage("--dirt/--no-dirt", help="Dirt, dust and hair.")] = None
    lines: Annotated[bool | None, _stage("--lines/--no-lines", help="Scratches.")] = None

    defect_map: Annotated[
        str | None,
        _masks(
            metavar="PATH",
            help="Damage known from elsewhere, such as an infrared scan, filled as dirt: a film or folder of pictures "
            f"with one for every frame, one picture for all, or {ALPHA}: the film's own alpha channel.",
        ),
    ] = None
    defect_levels: Annotated[
        str,
        _masks(
            metavar="CLEAN:DAMAGED",
            help="Values of the map where the film is clean and where it is damaged, 0 black, 1 white; 1:0 where "
            "damage is dark, as in an infrared scan (such as 0.9:0.3).",
        ),
    ] = "0:1"
    defect_threshold: Annotated[
        float, _masks(min=0.01, max=1, help="How likely the map must say that a pixel is damaged.")
    ] = 0.5
    defect_grow: Annotated[int, _masks(min=0, max=16, help="Pixels by which the map's marks become wider.")] = 0
    defect_only: Annotated[
        bool, _masks("--defect-only", help="Look for no dirt besides; else what is found is added to the map.")
    ] = False
    protect: Annotated[
        Path | None,
        _masks(metavar="MASK", help="Picture of the film's size; where it is white, no damage is found or repaired."),
    ] = None

    dirt_certainty: Annotated[float | None, _dirt(help="How sure it must be, 0 to 1; lower finds more.")] = None
    dirt_min_size: Annotated[int | None, _dirt(help="Spots of fewer pixels are left alone.")] = None
    dirt_max_size: Annotated[int | None, _dirt(help="Spots of more pixels are left alone.")] = None
    dirt_grow: Annotated[int | None, _dirt(help="Pixels by which dirt is marked wider.")] = None
    dirt_lifetime: Annotated[int | None, _dirt(help="Frames for which dirt may stay in place.")] = None
    dirt_polarity: Annotated[Polarity | None, _dirt(help="Dark dirt (on the print), bright (on the negative).")] = None

    spare_graphics: Annotated[
        bool | None,
        _dirt(
            "--spare-graphics/--no-spare-graphics", help="Mark nothing on burned-in text: subtitles, clocks, titles."
        ),
    ] = None
    falling: Annotated[
        Literal["kept", "judged", "dirt"] | None,
        _dirt(
            help="Small marks that move or crowd as rain, snow, sparks and glints do: kept with all small marks among "
            "them, kept where they were followed on their way (judged), or taken for dirt."
        ),
    ] = None

    scratch_detector: Annotated[
        Detector | None,
        _lines(help="What tells scratches from the scene: neural (learned) or classical (weight-free)."),
    ] = None
    scratch_threshold: Annotated[
        float | None, _lines(help="Evidence a scratch must gather, standard deviations; lower finds fainter ones.")
    ] = None
    scratch_min_depth: Annotated[
        float | None, _lines(help="Grey levels of 255 by which a scratch must differ from its surroundings.")
    ] = None
    scratch_certainty: Annotated[
        float | None, _lines(help="Learned only: how sure it must be, 0 to 1; lower finds more.")
    ] = None
    scratch_grow: Annotated[float | None, _lines(help="Pixels by which a scratch is marked wider on each side.")] = None
    scratch_polarity: Annotated[
        Polarity | None, _lines(help="Dark scratches (on the print), bright ones (on the negative).")
    ] = None
    scratch_columns: Annotated[
        str | None,
        _lines(
            metavar="COLUMNS",
            help="Columns that are a scratch because you say so: '287-288, 100@10-40', behind @ the frames, from 0.",
        ),
    ] = None
    scratch_excluded: Annotated[
        str | None, _lines(metavar="COLUMNS", help="Columns in which no scratch is marked; counts before the above.")
    ] = None
    locked_shots: Annotated[
        Literal["off", "cautious", "on"] | None,
        _lines(help="Weight-free only: which lines count as scratches where nothing moves."),
    ] = None

    def reel(self, **others: Any) -> "ReelSettings":
        """Return everything that a film is restored with.

        Args:
            others: Fields of `ReelSettings` that are no stage's.

        Raises:
            SettingsError: Options contradict each other, or have a value that cannot work.
        """
        from ..reel.restore import ReelSettings

        stages = self.stages()
        if self.save_settings is not None:
            from ..stages.preset import check_settings_path

            check_settings_path(self.save_settings, overwrite=bool(getattr(others.get("write"), "overwrite", False)))
        return ReelSettings(**{**vars(stages), "maps": self.maps(), "protect": self.protect, **others})

    def keep(self, settings: "StageSettings") -> None:
        """Write the settings where that is asked for."""
        if self.save_settings is not None:
            from ..stages.preset import write_settings

            write_settings(settings, self.save_settings)

    def stages(self) -> "StageSettings":
        """Return how the stages are set."""
        from ..stages.preset import read_settings
        from ..stages.settings import StageSettings

        if self.settings is not None and self.quality is not None:
            raise SettingsError("--settings and --quality both say how everything is set; leave one out")
        if self.settings is not None:
            stages = read_settings(self.settings)
        else:
            stages = StageSettings.of_quality(self.quality or "normal")
        return self._with_options(self._switched(stages))

    def maps(self) -> "tuple[GivenMap, ...]":
        """Return the damage that is known from elsewhere."""
        if self.defect_map is None:
            if self.defect_only:
                raise SettingsError("--defect-only: give the map too, --defect-map PATH")
            return ()
        from ..film.defect_map import MapSettings
        from ..reel.mask_films import GivenMap

        clean, damaged = _levels(self.defect_levels)
        reading = MapSettings(clean=clean, damaged=damaged, threshold=self.defect_threshold, grow=self.defect_grow)
        source = None if self.defect_map == ALPHA else Path(self.defect_map)
        return (GivenMap(source=source, reading=reading, alone=self.defect_only),)

    def _switched(self, stages: "StageSettings") -> "StageSettings":
        """Switch stages on and off as the options say."""
        from ..film.dirt.detection import DirtSettings
        from ..film.scratches.settings import ScratchSettings

        makes = {"dirt": DirtSettings, "lines": ScratchSettings, **self._more_switches()}
        switches: dict[str, Any] = {}
        for name, make in makes.items():
            wanted = getattr(self, name)
            if wanted is not None:
                switches[name] = (getattr(stages, name) or make()) if wanted else None
        return replace(stages, **switches)

    def _more_switches(self) -> dict[str, Any]:
        return {}

    def _with_options(self, stages: "StageSettings") -> "StageSettings":
        """Set single settings of stages as the options say."""
        from ..film.scratches.columns import parse_columns

        changes: dict[str, dict[str, Any]] = {}
        for option, (stage, setting) in self._places().items():
            value = getattr(self, option)
            if value is None:
                continue
            if getattr(stages, stage) is None:
                flag = f"--{option.replace('_', '-')}"
                if getattr(self, stage) is False:
                    raise SettingsError(f"{flag} and --no-{stage} contradict each other; leave one out")
                raise SettingsError(f"{flag} has nothing to set, since its stage is off; add --{stage}")
            changes.setdefault(stage, {})[setting] = parse_columns(value) if option in _COLUMNS else value
        return replace(stages, **{stage: replace(getattr(stages, stage), **said) for stage, said in changes.items()})

    def _places(self) -> dict[str, tuple[str, str]]:
        """Which setting of which stage an option is."""
        dirt = ("certainty", "min_size", "max_size", "grow", "lifetime", "polarity")
        lines = ("detector", "min_depth", "certainty", "grow", "polarity")
        return {
            **{f"dirt_{name}": ("dirt", name) for name in dirt},
            **{f"scratch_{name}": ("lines", name) for name in lines},
            "scratch_threshold": ("lines", "sensitivity"),
            "spare_graphics": ("spare", "graphics"),
            "falling": ("spare", "falling"),
            "scratch_columns": ("lines", "forced"),
            "scratch_excluded": ("lines", "excluded"),
            "locked_shots": ("lines", "locked_shots"),
        }


@dataclass(frozen=True, kw_only=True)
class RestoringOptions(DetectionOptions):
    """What the command line says about restoring; the help of each option says what it is."""

    standing: Annotated[
        bool | None,
        _stage("--standing/--no-standing", help="Remove hairs in the gate and dirt on the lens."),
    ] = None
    splices: Annotated[
        bool | None,
        _stage(
            "--splices/--no-splices", help="Remove the seams of splices, and frame lines in sight when the film jumps."
        ),
    ] = None
    flicker: Annotated[bool | None, _stage("--flicker/--no-flicker", help="Remove brightness flicker.")] = None
    stabilise: Annotated[bool | None, _stage("--stabilise/--no-stabilise", help="Remove gate weave.")] = None
    average: Annotated[
        bool | None,
        _stage(
            "--average/--no-average",
            help="Take grain, compression and missed damage off by averaging along the motion.",
        ),
    ] = None
    prerestore: Annotated[
        bool | None,
        _stage("--prerestore/--no-prerestore", help="Take blur, noise and compression off with a small network."),
    ] = None

    masks: Annotated[
        Path | None,
        _masks(
            metavar="FOLDER",
            help="Masks as --write-masks or detect wrote them, and as you edited them: repaired is what they mark, and "
            "nothing is looked for.",
        ),
    ] = None
    fix: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FRAMES@X,Y,WxH[=HOW]",
            help="Repair this box in any case, such as 120-131@40,60,80x50: from the frames around it, or with =around "
            "behind it from the picture around it, with =scratch as a scratch; =keep leaves it as it came. Repeatable.",
        ),
    ] = None
    write_masks: Annotated[
        Path | None, _masks(metavar="FOLDER", help="Write what was repaired as films of masks, for --masks.")
    ] = None

    review: Annotated[
        Path | None,
        _stage(metavar="FILE", help="Also write a small .mp4: each frame before and after, side by side, with sound."),
    ] = None
    shot_settings: Annotated[
        Path | None,
        _stage(
            metavar="TABLE",
            help="What is done otherwise to single shots or ranges of frames, .csv or .json; shots --write-settings "
            "makes one to edit.",
        ),
    ] = None

    dirt_feather: Annotated[float | None, _repair(help="Pixels over which a fill fades in, inside the mask.")] = None
    dirt_grain: Annotated[float | None, _repair(help="Share of the grain that filled places get back, 0 to 1.")] = None
    scratch_rows: Annotated[int | None, _repair(help="Rows over which the strength of a scratch is measured.")] = None

    standing_certainty: Annotated[
        float | None, _picture(help="Share of the frames that must show a mark that stays, 0.4 to 1; lower finds more.")
    ] = None
    standing_depth: Annotated[
        float | None, _picture(help="Grey levels of 255 by which a mark that stays differs from the scene.")
    ] = None
    splice_depth: Annotated[
        float | None, _picture(help="Grey levels of 255 by which the seam of a splice differs from the picture.")
    ] = None
    splice_coverage: Annotated[
        float | None, _picture(help="Share of the width over which a seam must be seen, 0.6 to 0.95; lower finds more.")
    ] = None
    flicker_strength: Annotated[float | None, _picture(help="Share of the flicker that is taken out, 0 to 1.")] = None
    flicker_spatial: Annotated[
        bool | None,
        _picture("--flicker-spatial/--no-flicker-spatial", help="Also flicker that differs between parts of a frame."),
    ] = None
    flicker_period: Annotated[float | None, _picture(help="Changes that take longer than so many frames stay.")] = None
    flash: Annotated[
        float | None,
        _picture(min=1.1, max=10, help="Light that changes by more than this factor and comes back is not flicker."),
    ] = None
    average_strength: Annotated[
        float | None, _picture(min=0, max=1, help="Share of the averaging's change that is applied.")
    ] = None
    average_reach: Annotated[
        int | None, _picture(min=0, max=3, help="Frames on each side that a frame is averaged with.")
    ] = None
    average_keep_grain: Annotated[
        float | None, _picture(min=0, max=1, help="Share of the grain that averaging keeps.")
    ] = None
    missed_damage: Annotated[
        bool | None,
        _picture(
            "--missed-damage/--no-missed-damage",
            help="Whether averaging also takes off small things that a frame shows against all its neighbours.",
        ),
    ] = None
    prerestore_strength: Annotated[
        float | None, _picture(min=0, max=1, help="Share of the network's change that is applied.")
    ] = None
    keep_grain: Annotated[
        float | None, _picture(min=0, max=1, help="Share of the grain that is taken off and that is put back.")
    ] = None
    prerestore_weights: Annotated[
        Path | None, _picture(metavar="FILE", help="Another network in the place of the one that ships.")
    ] = None
    stabilise_strength: Annotated[float | None, _picture(help="Share of the weave that is taken out, 0 to 1.")] = None
    stabilise_period: Annotated[float | None, _picture(help="Movements that take longer than so many frames stay.")] = (
        None
    )
    stabilise_max_shift: Annotated[float | None, _picture(help="Largest correction, pixels.")] = None

    @property
    def leaves_the_picture_open(self) -> bool:
        """Whether nothing is said of what is done to the whole picture beside evening its brightness out."""
        return self.average is None and self.prerestore is None and self.settings is None

    def reel(self, **others: Any) -> "ReelSettings":  # noqa: D102
        from ..film.box_fixes import parse_fixes

        fixes = parse_fixes(" ".join(self.fix or ()))
        made = super().reel(mask_films=self.write_masks, review=self.review, fixes=fixes, **others)
        if self.shot_settings is None:
            return made
        from ..reel.shot_choices import read_choices

        choices = read_choices(self.shot_settings)
        choices.check(made)
        return replace(made, choices=choices)

    def maps(self) -> "tuple[GivenMap, ...]":  # noqa: D102
        from ..reel.mask_films import reviewed_masks

        return super().maps() if self.masks is None else (*reviewed_masks(self.masks), *super().maps())

    def _more_switches(self) -> dict[str, Any]:
        from ..film.flicker.removal import FlickerSettings
        from ..film.splices.detection import SpliceSettings
        from ..film.standing.detection import StandingSettings
        from ..film.temporal.averaging import AveragingSettings
        from ..film.weave.stabilise import StabiliseSettings
        from ..prerestore.shipped import PreRestoration

        return {
            "standing": StandingSettings,
            "splices": SpliceSettings,
            "flicker": FlickerSettings,
            "average": AveragingSettings,
            "stabilise": StabiliseSettings,
            "prerestore": PreRestoration,
        }

    def _places(self) -> dict[str, tuple[str, str]]:
        return {
            **super()._places(),
            "dirt_feather": ("dirt_repair", "feather"),
            "dirt_grain": ("dirt_repair", "grain"),
            "scratch_rows": ("line_repair", "rows"),
            **{f"flicker_{name}": ("flicker", name) for name in ("strength", "spatial", "period")},
            **{f"standing_{name}": ("standing", name) for name in ("certainty", "depth")},
            **{f"splice_{name}": ("splices", name) for name in ("depth", "coverage")},
            "flash": ("flicker", "flash"),
            **{f"average_{name}": ("average", name) for name in ("strength", "reach", "keep_grain")},
            "missed_damage": ("average", "missed_damage"),
            "prerestore_strength": ("prerestore", "strength"),
            "keep_grain": ("prerestore", "keep_grain"),
            "prerestore_weights": ("prerestore", "weights"),
            **{f"stabilise_{name}": ("stabilise", name) for name in ("strength", "period", "max_shift")},
        }


def _levels(text: str) -> tuple[float, float]:
    clean, between, damaged = text.partition(":")
    try:
        if not between:
            raise ValueError(text)
        return float(clean), float(damaged)
    except ValueError:
        raise SettingsError(
            f"--defect-levels is {text!r}; give the map's value where the film is clean and the one where it is "
            "damaged, such as 0:1 or 0.9:0.3"
        ) from None
