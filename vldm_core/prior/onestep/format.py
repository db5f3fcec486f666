"""What is published of a one-step restorer beside its weights: how it is run, and under which licence."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...decode.colour import Method
from .step import OneStep
from .tiles import PublishedTiles

if TYPE_CHECKING:
    from .system import OneStepSystem

Contents = Mapping[str, Any]
"""What a published file holds: entries that are tables of tensors, lists of names, and numbers."""


@dataclass(frozen=True, kw_only=True)
class OneStepFormat:
    """A published system.

    Attributes:
        system: Its name.
        base: Model that it was trained on.
        source: Where it is published.
        files: What its files are called there.
        licence: Of the published weights.
        commercial: Whether that licence allows commercial use; None where nothing certain is published.
        step: How its prediction becomes the result.
        tables: Entries of its file that hold tensors; all are needed. Empty where the file is one table itself.
        notes: Entries that may stand beside them: ranks, and lists of layers.
        mark: Part of the names of its tensors, by which the file is told.
        build: Makes the system of a file's contents.
        ranks: Entries of the file that hold a rank, and the one that is known.
        prompt: What the picture shows, where nobody says.
        negative: What it shall not show, likewise; only with guidance.
        guidance: How strongly the two guide, 1 is without.
        colour: How its authors give the colours back.
        tiles: How its authors part large latents.
        dial: What `invention` 0 and 1 are; None where there is no such dial.
        text: Words for what the user is to say of the picture.
    """

    system: str
    base: str
    source: str
    files: str
    licence: str
    commercial: bool | None
    step: OneStep
    tables: tuple[str, ...]
    notes: tuple[str, ...] = ()
    mark: str
    build: Callable[[Contents], "OneStepSystem"]
    ranks: Mapping[str, int] = field(default_factory=dict)
    prompt: str = ""
    negative: str = ""
    guidance: float = 1.0
    colour: Method
    tiles: PublishedTiles
    dial: tuple[str, str] | None = None
    text: str
