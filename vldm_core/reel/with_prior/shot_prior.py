"""What a prior does otherwise to single shots: a part of their row in the table of settings."""

import json
from dataclasses import dataclass, fields
from typing import Any, Self

from ...errors import SettingsError

PRIOR = "prior"
"""What the settings of a prior are called in a row."""

WORDS = (f"{PRIOR}.prompt", f"{PRIOR}.negative")
"""Columns whose cells are text, whatever they look like."""

_NUMBERS = {"strength": (0.0, 1.0), "cfg": (0.0, None), "steps": (1, 1000), "seed": (0, None)}
"""Least and largest value."""
_WHOLE = ("steps", "seed")


@dataclass(frozen=True, kw_only=True)
class PriorOfShot:
    """What is said of a prior for some frames; None says nothing, so that what holds for the film holds there.

    Attributes:
        apply: Whether the prior works on them at all; else they stay as repaired.
        prompt: What they show, in the place of all other prompts.
        negative: What they shall not show, likewise.
        strength: How far they are noised, 0 … 1.
        cfg: How strongly the prompts guide, 0 or more.
        steps: Steps of the whole schedule, 1 … 1000.
        seed: Of their noise, 0 or more.
    """

    apply: bool = True
    prompt: str | None = None
    negative: str | None = None
    strength: float | None = None
    cfg: float | None = None
    steps: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        for name in ("prompt", "negative"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise SettingsError(f"{PRIOR}.{name} is {value!r}; give text")
        for name, (least, most) in _NUMBERS.items():
            value = getattr(self, name)
            if value is None:
                continue
            kind = int if name in _WHOLE else int | float
            within = isinstance(value, kind) and not isinstance(value, bool) and value >= least  # type: ignore[operator]
            if not within or (most is not None and value > most):
                scale = f"{least} or more" if most is None else f"{least} to {most}"
                whole = "a whole number, " if name in _WHOLE else ""
                raise SettingsError(f"{PRIOR}.{name} is {value!r}; use {whole}{scale}")

    @classmethod
    def of(cls, said: Any) -> Self:
        """Read what JSON says of it: `false` or null switches it off, `true` says nothing, a table says more.

        Raises:
            SettingsError: There is no such setting or value.
        """
        if said is None or isinstance(said, bool):
            return cls(apply=bool(said))
        names = [field.name for field in fields(cls) if field.name != "apply"]
        if not isinstance(said, dict):
            raise SettingsError(f"{PRIOR} is {said!r}; give true, false, or a table with {', '.join(names)}")
        if unknown := sorted(said.keys() - set(names)):
            raise SettingsError(f"there is no setting {PRIOR}.{unknown[0]} of a shot; there are {', '.join(names)}")
        return cls(**said)

    @property
    def said(self) -> dict[str, Any]:
        """As JSON holds it under `PRIOR`; empty where nothing is said."""
        if not self.apply:
            return {PRIOR: False}
        own = {name: value for name, value in vars(self).items() if name != "apply" and value is not None}
        return {PRIOR: own} if own else {}

    def __str__(self) -> str:
        return json.dumps(self.said, ensure_ascii=False)
