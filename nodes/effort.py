"""One choice in the place of many: the level of effort, and the knobs that stand back behind it."""

from typing import Literal, TypeVar, get_args

from comfy_api.latest import io

from ..vldm_core.errors import SettingsError
from ..vldm_core.film.defect_map import LARGEST_GROWTH, LEAST_CONTRAST, MapSettings
from ..vldm_core.film.dirt.detection import DirtSettings
from ..vldm_core.film.scratches.columns import parse_columns
from ..vldm_core.film.scratches.settings import ScratchSettings
from ..vldm_core.film.spared.settings import Falling, SparingSettings
from ..vldm_core.stages.settings import QUALITIES

Polarity = Literal["both", "dark", "bright"]

FALLING = get_args(Falling)

AUTO = "auto"
"""A choice that is left to the level of effort."""

NORMAL = "normal"

_Made = TypeVar("_Made", bound=io.Input)


def advanced(made: _Made) -> _Made:
    """Have an input shown with the advanced ones only.

    Hosts know the mark in what a node says of itself; their classes of inputs took it as an argument only later.
    """
    made.extra_dict["advanced"] = True
    return made


def quality_input(what: str) -> io.Combo.Input:
    """Return the level of effort.

    Args:
        what: What each level does on this node, for the tooltip.
    """
    return io.Combo.Input("quality", options=list(QUALITIES), default=NORMAL, optional=True, tooltip=what)


def map_inputs() -> list[io.Input]:
    """Return the inputs that say how a map of damage is read."""
    default = MapSettings()
    return [
        advanced(
            io.Float.Input(
                "map_clean",
                default=default.clean,
                min=0.0,
                max=1.0,
                step=0.01,
                optional=True,
                tooltip=(
                    "Value of defect_map where the film is undamaged, 0 black to 1 white. 0 for a mask; about 0.9 for "
                    "an infrared scan, on which damage is dark."
                ),
            )
        ),
        advanced(
            io.Float.Input(
                "map_damaged",
                default=default.damaged,
                min=0.0,
                max=1.0,
                step=0.01,
                optional=True,
                tooltip=(
                    "Value of defect_map where the film is damaged for sure. 1 for a mask; about 0.3 for an infrared "
                    "scan. Values between the two say how likely damage is."
                ),
            )
        ),
        advanced(
            io.Float.Input(
                "map_threshold",
                default=default.threshold,
                min=0.01,
                max=1.0,
                step=0.01,
                optional=True,
                tooltip="How likely defect_map must say that a pixel is damaged, 0 to 1. Lower marks more.",
            )
        ),
        advanced(
            io.Int.Input(
                "map_grow",
                default=default.grow,
                min=0,
                max=LARGEST_GROWTH,
                optional=True,
                tooltip="Pixels by which the marks of defect_map become wider, where two scans do not lie exactly.",
            )
        ),
        advanced(
            io.Boolean.Input(
                "map_only",
                default=False,
                optional=True,
                tooltip="Take the dirt of defect_map alone. Off: what is found is added to it.",
            )
        ),
    ]


NO_LIMIT = 0
"""A largest size that limits nothing."""


def size_inputs() -> list[io.Input]:
    """Return the limits of the size of spots."""
    return [
        advanced(
            io.Int.Input(
                "dirt_min_size",
                default=DirtSettings.min_size,
                min=1,
                max=1000,
                optional=True,
                tooltip="Spots of fewer pixels are left alone. Higher spares grain and misses small dust.",
            )
        ),
        advanced(
            io.Int.Input(
                "dirt_max_size",
                default=NO_LIMIT,
                min=NO_LIMIT,
                max=1_000_000,
                optional=True,
                tooltip="Spots of more pixels are left alone; 0 is no limit. Lower spares large things that move.",
            )
        ),
    ]


def column_inputs() -> list[io.Input]:
    """Return what a user knows of scratches: their polarity, and columns with and without one."""
    return [
        advanced(
            io.Combo.Input(
                "scratch_polarity",
                options=list(get_args(Polarity)),
                default=ScratchSettings.polarity,
                optional=True,
                tooltip="Only dark scratches (on the print), only bright ones (on the negative), or both.",
            )
        ),
        advanced(
            io.String.Input(
                "scratch_columns",
                default="",
                optional=True,
                tooltip=(
                    "Columns that are a scratch because you say so, such as 287-288, 100@10-40: columns from the left, "
                    "from 0, and behind @ the frames, where it is not all. They are marked from top to bottom."
                ),
            )
        ),
        advanced(
            io.String.Input(
                "scratch_excluded",
                default="",
                optional=True,
                tooltip=(
                    "Columns in which no scratch is ever marked, written likewise: a mast, the edge of a wall. Counts "
                    "before scratch_columns."
                ),
            )
        ),
    ]


def sparing_inputs() -> list[io.Input]:
    """Return what is left alone though it looks like damage."""
    default = SparingSettings()
    return [
        advanced(
            io.Boolean.Input(
                "spare_graphics",
                default=default.graphics,
                optional=True,
                tooltip="Mark nothing on letters and digits that were laid over the scene; dirt on them stays, too.",
            )
        ),
        advanced(
            io.Combo.Input(
                "falling",
                options=list(FALLING),
                default=default.falling,
                optional=True,
                tooltip=(
                    "Marks that seem to be rain, snow, sparks or glints. kept: left alone where there are any, with "
                    "the dirt among them; judged: only those that were followed on their way; dirt: marked all."
                ),
            )
        ),
    ]


def column_fault(*texts: str | None) -> str | None:
    """Return what is wrong with columns as they are typed, or None."""
    try:
        for text in texts:
            ScratchSettings(forced=parse_columns(text or ""))
    except SettingsError as error:
        return str(error)
    return None


def map_fault(clean: float | None, damaged: float | None, *, only: bool | None, linked: bool) -> str | None:
    """Return what does not go together in a map of damage, or None; a value that comes over a link is None.

    Args:
        clean: Value of the undamaged film.
        damaged: Value of damage.
        only: Whether nothing else is to be marked.
        linked: Whether there is a map.
    """
    if only and not linked:
        return "map_only is on, but nothing is connected to defect_map; connect the map, or switch map_only off"
    if clean is not None and damaged is not None and abs(clean - damaged) < LEAST_CONTRAST:
        return f"map_clean and map_damaged are both {clean}; give the map's value of clean film and the one of damage"
    return None
