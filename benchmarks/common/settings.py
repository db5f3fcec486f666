"""Checks that the settings of several benchmarks make."""

from collections.abc import Collection

from vldm_core.errors import SettingsError

SMALLEST_SIDE = 64
"""Pixels: shorter sides leave the stages no picture to work on."""


def check_least(settings: object, **least: int) -> None:
    """Refuse numbers that are too small.

    Args:
        settings: The settings.
        least: Name of a setting → its smallest value.

    Raises:
        SettingsError: One is smaller.
    """
    for name, smallest in least.items():
        value = getattr(settings, name)
        if value < smallest:
            raise SettingsError(f"benchmark {name} is {value}; use {smallest} or more")


def check_size(width: int, height: int) -> None:
    """Refuse frames that are too small.

    Raises:
        SettingsError: A side is shorter than `SMALLEST_SIDE`.
    """
    if min(width, height) < SMALLEST_SIDE:
        raise SettingsError(f"benchmark frames are {width}x{height}; use {SMALLEST_SIDE} px or more on each side")


def check_chosen(what: str, chosen: Collection[str], known: Collection[str]) -> None:
    """Refuse an empty choice, a name twice, and names that there are not.

    Args:
        what: What is chosen, in the plural.
        chosen: The names.
        known: Those that there are.

    Raises:
        SettingsError: The choice cannot be run.
    """
    if not chosen or set(chosen) - set(known) or len(set(chosen)) < len(chosen):
        raise SettingsError(
            f"benchmark {what} are {', '.join(chosen) or 'none'}; choose some, each once, of {', '.join(known)}"
        )


def check_seed(seed: int, bits: int = 32) -> None:
    """Refuse a seed that does not fit into so many bits.

    Raises:
        SettingsError: It does not.
    """
    if not 0 <= seed < 1 << bits:
        raise SettingsError(f"the benchmark seed is {seed}; choose a whole number from 0 to 2**{bits} - 1")
