"""Range checks shared by the settings of all defects, and by those of material and examples to train on."""

from collections.abc import Collection
from dataclasses import fields
from typing import Any

from ..errors import SettingsError

LEAST = 1e-3
"""Smallest end of a range that is drawn log-uniformly: 0 has no logarithm."""


def require_within(name: str, value: float, low: float, high: float) -> None:
    """Check one number.

    Args:
        name: Setting as the user wrote it, for the message.
        value: Value seen.
        low: Smallest allowed value.
        high: Largest allowed value.

    Raises:
        SettingsError: When the value is outside the range or not a number.
    """
    if not low <= value <= high:
        raise SettingsError(f"{name} is {value!r}; choose a number from {low:g} to {high:g}.")


def require_span(name: str, span: tuple[float, float], low: float, high: float) -> None:
    """Check a (smallest, largest) pair from which a defect draws.

    Args:
        name: Setting as the user wrote it, for the message.
        span: The pair.
        low: Smallest allowed value of either end.
        high: Largest allowed value of either end.

    Raises:
        SettingsError: When the pair is reversed, or an end is outside the range.
    """
    if len(span) != 2 or not low <= span[0] <= span[1] <= high:
        raise SettingsError(
            f"{name} is {span!r}; give a pair (smallest, largest) with {low:g} <= smallest <= largest <= {high:g}."
        )


def require_ranges(what: str, settings: Any, most: float, *, logarithmic: Collection[str] = ()) -> None:
    """Check all numbers and pairs of numbers of a dataclass.

    Args:
        what: What the settings are of, for the message.
        settings: The dataclass. Fields whose names end in ``share`` go from 0 to 1, others from 0 to ``most``.
        most: Largest number there.
        logarithmic: Fields that are drawn log-uniformly, and so have to be above 0.

    Raises:
        SettingsError: When a number is outside its range or not a number, or a pair is reversed.
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        low = LEAST if field.name in logarithmic else 0
        high = 1 if field.name.endswith("share") else most
        if isinstance(value, tuple) and len(value) == 2:
            require_span(f"{what} {field.name}", value, low, high)
        elif isinstance(value, int | float):
            require_within(f"{what} {field.name}", value, low, high)
