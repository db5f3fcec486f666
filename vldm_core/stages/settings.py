"""Which stages a film goes through, and how each of them works."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self, get_args

from ..errors import SettingsError
from ..film.dirt.detection import DirtSettings
from ..film.fill.repair import DirtRepairSettings
from ..film.flicker.removal import FlickerSettings
from ..film.scratches.repair.repair import ScratchRepairSettings
from ..film.scratches.settings import ScratchSettings
from ..film.spared.settings import SparingSettings
from ..film.splices.detection import SpliceSettings
from ..film.standing.detection import StandingSettings
from ..film.temporal.averaging import AveragingSettings
from ..film.weave.stabilise import StabiliseSettings
from ..prerestore.shipped import PreRestoration

_SWITCH = {"switch": True}
"""Marks the fields whose None leaves stages out."""

Quality = Literal["fast", "normal", "best"]
"""How much effort is made, in the place of many settings."""

QUALITIES: tuple[Quality, ...] = get_args(Quality)
"""The levels, from the quickest."""

GivenUse = Literal["ignored", "added", "alone"]
"""What becomes of marks that frames bring along: nothing, joined to what is found, or taken with nothing looked for."""


@dataclass(frozen=True, kw_only=True)
class StageSettings:
    """What is done to the frames of a film; None leaves a stage out.

    Attributes:
        dirt: How transient dirt is found.
        lines: How persistent line scratches are found.
        standing: How marks that stay and are no lines are found: hairs in the gate, dirt on the lens.
        splices: How the seams of splices, and frame lines that a jump brings into sight, are found, where dirt is.
        flicker: How flicker is measured and removed.
        average: How frames are averaged with their neighbours along the motion.
        prerestore: How a network takes blur, noise and compression off.
        stabilise: How gate weave is removed.
        dirt_repair: How dirt is filled.
        line_repair: How scratches are repaired.
        spare: What is left alone though it looks like damage.
        motion: How well the motion of a shot is known where frames are compared: "quick" is measured once, "refined" a
            second time without what is plainly damage, which takes about twice as long.
        given_dirt: What becomes of marks of dirt that the frames bring along.
        given_scratch: What becomes of marks of scratches that the frames bring along.
    """

    dirt: DirtSettings | None = field(default_factory=DirtSettings, metadata=_SWITCH)
    lines: ScratchSettings | None = field(default_factory=ScratchSettings, metadata=_SWITCH)
    standing: StandingSettings | None = field(default=None, metadata=_SWITCH)
    splices: SpliceSettings | None = field(default_factory=SpliceSettings, metadata=_SWITCH)
    flicker: FlickerSettings | None = field(default_factory=FlickerSettings, metadata=_SWITCH)
    average: AveragingSettings | None = field(default_factory=AveragingSettings, metadata=_SWITCH)
    prerestore: PreRestoration | None = field(default=None, metadata=_SWITCH)
    stabilise: StabiliseSettings | None = field(default=None, metadata=_SWITCH)
    dirt_repair: DirtRepairSettings = field(default_factory=DirtRepairSettings)
    line_repair: ScratchRepairSettings = field(default_factory=ScratchRepairSettings)
    spare: SparingSettings = field(default_factory=SparingSettings)
    motion: Literal["quick", "refined"] = "refined"
    given_dirt: GivenUse = "ignored"
    given_scratch: GivenUse = "ignored"

    def __post_init__(self) -> None:
        if self.motion not in ("quick", "refined"):
            raise SettingsError(f"motion is {self.motion!r}; use 'quick' or 'refined'")
        for name in ("given_dirt", "given_scratch"):
            if getattr(self, name) not in get_args(GivenUse):
                raise SettingsError(f"{name} is {getattr(self, name)!r}; use one of {', '.join(get_args(GivenUse))}")

    @classmethod
    def of_quality(cls, quality: str = "normal", **others: Any) -> Self:
        """Settings for a level of effort.

        Args:
            quality: "fast", "normal" or "best"; normal is what the settings are by default.
            others: Further fields, which count before what the level says.

        Raises:
            SettingsError: There is no such level.
        """
        if quality not in _LEVELS:
            raise SettingsError(f"quality is {quality!r}; use one of {', '.join(QUALITIES)}")
        return cls(**{**_LEVELS[quality](), **others})

    @classmethod
    def no_stages(cls) -> Self:
        """Settings that leave every stage out, to which the stages that are wanted are added."""
        return cls(**{entry.name: None for entry in fields(cls) if entry.metadata.get("switch")})  # type: ignore[arg-type]


def before_a_prior() -> dict[str, Any]:
    """What is done to the picture before a prior sees it, in fields of `StageSettings`."""
    return {"average": None, "prerestore": PreRestoration()}


def _fast() -> dict[str, Any]:
    """What takes least time: for a look, or for a long reel."""
    return {
        "lines": ScratchSettings(detector="weight-free"),
        "dirt_repair": DirtRepairSettings(reach=2),
        "average": AveragingSettings(reach=2),
        "motion": "quick",
    }


def _best() -> dict[str, Any]:
    """What finds more, at a tenth more time in the first pass."""
    return {"standing": StandingSettings()}


_LEVELS: Mapping[str, Callable[[], dict[str, Any]]] = {"fast": _fast, "normal": dict, "best": _best}
"""What each level says otherwise than the defaults of the fields."""
