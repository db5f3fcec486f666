"""Range checks shared by the settings of all defects."""

from ..errors import SettingsError


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
