"""What the user decides about content that is easily taken for damage."""

from dataclasses import dataclass
from typing import Literal, get_args

from ...errors import SettingsError

Falling = Literal["kept", "judged", "dirt"]
"""What becomes of marks that seem to be rain, snow, sparks or glints."""


@dataclass(frozen=True, kw_only=True)
class SparingSettings:
    """What is left alone though it looks like damage.

    Attributes:
        graphics: Whether letters and digits that were laid over the scene are looked for, and nothing is marked on
            them. Dirt on them stays, too.
        falling: What becomes of small marks that go their way from frame to frame as rain, snow and sparks do, or that
            crowd in one part of the picture frame after frame as glints on water do. "kept" leaves all small marks of
            such a frame or place alone, and dirt among them with them; "judged" leaves those alone that were followed
            on their way; "dirt" judges nothing and marks them all.
    """

    graphics: bool = True
    falling: Falling = "kept"

    def __post_init__(self) -> None:
        if self.falling not in get_args(Falling):
            raise SettingsError(f"falling is {self.falling!r}; use one of {', '.join(get_args(Falling))}")
