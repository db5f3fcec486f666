"""How a published system lies in files: its parts, how they are told, and how they become a system."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from .control import ControlSystem
from .defaults import DEFAULTS, PublishedDefaults

Shapes = Mapping[str, tuple[int, ...]]
"""Shape of every tensor of a file, by its key there."""

Parts = Mapping[str, Mapping[str, Tensor]]
"""Tensors of each part that was found, under the keys of its file."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One file's worth of a system. A complete checkpoint may hold several.

    Attributes:
        name: Short, for messages: "control branch", "UNet".
        files: What it is called where it is published.
        found: Tells from a file's shapes whether it holds the part.
        takes: Tells which keys of such a file belong to it; the rest is never read.
        optional: Whether the system works without.
    """

    name: str
    files: str
    found: Callable[[Shapes], bool]
    takes: Callable[[str], bool]
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class ControlFormat:
    """A published system.

    Attributes:
        system: Its name.
        base: Family of the model that it controls.
        source: Where it is published.
        licence: Of the published weights.
        commercial: Whether that licence allows commercial use; None where nothing certain is published.
        hint: What the user is to give it.
        parts: Its files.
        build: Makes the system of its parts; attention heads of each level follow, None for the published ones.
    """

    system: str
    base: str
    source: str
    licence: str
    commercial: bool | None
    hint: str
    parts: tuple[Part, ...]
    build: Callable[[Parts, tuple[int, ...] | None], ControlSystem]

    @property
    def published(self) -> tuple[PublishedDefaults, ...]:
        """How its versions are run where they are published, the recommended one first."""
        return DEFAULTS[self.system]

    @property
    def defaults(self) -> PublishedDefaults:
        """How the version that is recommended is run."""
        return self.published[0]
