"""Which stages a film goes through, and how each of them works."""

from dataclasses import dataclass, field, fields
from typing import Self

from ..film.dirt.detection import DirtSettings
from ..film.fill.repair import DirtRepairSettings
from ..film.flicker.removal import FlickerSettings
from ..film.scratches.repair.repair import ScratchRepairSettings
from ..film.scratches.settings import ScratchSettings
from ..film.weave.stabilise import StabiliseSettings
from ..prerestore.shipped import PreRestoration

_SWITCH = {"switch": True}
"""Marks the fields whose None leaves stages out."""


@dataclass(frozen=True, kw_only=True)
class StageSettings:
    """What is done to the frames of a film; None leaves a stage out.

    Attributes:
        dirt: How transient dirt is found.
        lines: How persistent line scratches are found.
        flicker: How flicker is measured and removed.
        prerestore: How a network takes blur, noise and compression off.
        stabilise: How gate weave is removed.
        dirt_repair: How dirt is filled.
        line_repair: How scratches are repaired.
    """

    dirt: DirtSettings | None = field(default_factory=DirtSettings, metadata=_SWITCH)
    lines: ScratchSettings | None = field(default_factory=ScratchSettings, metadata=_SWITCH)
    flicker: FlickerSettings | None = field(default_factory=FlickerSettings, metadata=_SWITCH)
    prerestore: PreRestoration | None = field(default_factory=PreRestoration, metadata=_SWITCH)
    stabilise: StabiliseSettings | None = field(default=None, metadata=_SWITCH)
    dirt_repair: DirtRepairSettings = field(default_factory=DirtRepairSettings)
    line_repair: ScratchRepairSettings = field(default_factory=ScratchRepairSettings)

    @classmethod
    def no_stages(cls) -> Self:
        """Settings that leave every stage out, to which the stages that are wanted are added."""
        return cls(**{entry.name: None for entry in fields(cls) if entry.metadata.get("switch")})  # type: ignore[arg-type]
