"""What many parts of the package must pass, checked in one way."""

import dataclasses
import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn

from vldm_core.errors import SettingsError

Call = tuple[str, int, int | None]
Network = TypeVar("Network", bound=nn.Module)


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that a setting takes.

    Attributes:
        low: Smallest one; -inf for none.
        high: Largest one; inf for none.
        low_belongs: Whether the smallest one itself is taken.
        high_belongs: Whether the largest one itself is taken.
    """

    low: float = -math.inf
    high: float = math.inf
    low_belongs: bool = True
    high_belongs: bool = True

    def inside(self, whole: bool) -> list[float]:
        """Return numbers at the ends, of the range and in it."""
        return [edge for edge, _ in self._ends(whole)]

    def outside(self, whole: bool) -> list[float]:
        """Return the numbers that come next after the ends, ones far away, and what is not a number of any size."""
        beyond = [following for _, following in self._ends(whole)]
        far = [self.low - 1000 if self.low > -math.inf else None, self.high + 1000 if self.high < math.inf else None]
        endless = [] if whole else [number for number in (self.low, self.high, math.nan) if not math.isfinite(number)]
        return beyond + [number for number in far if number is not None] + endless

    def _ends(self, whole: bool) -> list[tuple[float, float]]:
        """Return the last number inside and the first one outside, for each end."""
        ends = []
        for limit, belongs, outwards in (
            (self.low, self.low_belongs, -math.inf),
            (self.high, self.high_belongs, math.inf),
        ):
            if math.isinf(limit):
                continue
            limit = int(limit) if whole else float(limit)
            step = math.copysign(1, outwards)
            out, back = (
                (limit + step, limit - step)
                if whole
                else (math.nextafter(limit, outwards), math.nextafter(limit, -outwards))
            )
            ends.append((limit, out) if belongs else (back, limit))
        return [(int(a), int(b)) if whole else (a, b) for a, b in ends]


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two numbers, the smallest and the largest, both of them in one range."""

    range: Range


def between(low: float, high: float) -> Range:
    """From `low` to `high`, both taken."""
    return Range(low, high)


def at_least(low: float) -> Range:
    """`low` and everything above it."""
    return Range(low)


def above(low: float, high: float = math.inf) -> Range:
    """More than `low`, and at most `high`."""
    return Range(low, high, low_belongs=False)


def share_below_one(*, zero: bool = True) -> Range:
    """From 0, taken or not, to 1, which is not."""
    return Range(0, 1, low_belongs=zero, high_belongs=False)


def numeric_fields(settings: type) -> dict[str, Any]:
    """Return the fields whose defaults are numbers or pairs of numbers, with the defaults."""
    defaults = settings()
    found = {field.name: getattr(defaults, field.name) for field in dataclasses.fields(settings)}
    return {name: value for name, value in found.items() if _is_number(value) or _is_pair(value)}


def check_range(settings: type, name: str, allowed: Range | Pair) -> None:
    """Check that a setting takes the ends of its range, and refuses by name what lies outside, infinity and NaN.

    The other settings have their defaults.
    """
    default = getattr(settings(), name)
    sample = default[0] if isinstance(allowed, Pair) else default
    whole = isinstance(sample, int)
    limits = allowed.range if isinstance(allowed, Pair) else allowed
    wrong: list[Any] = limits.outside(whole)
    right: list[Any] = limits.inside(whole)
    if isinstance(allowed, Pair):
        low, high = min([*right, *default]), max([*right, *default])
        right = [(low, high), default]
        # Either end of the pair, and the two in the wrong order.
        wrong = [(low, value) if value > high else (value, high) for value in wrong] + [(high, low)]
        wrong += [] if whole else [(low, math.nan)]
    for value in right:
        assert getattr(settings(**{name: value}), name) == value
    for value in wrong:
        with pytest.raises(SettingsError) as refusal:
            settings(**{name: value})
        message = str(refusal.value)
        assert name in message or name.replace("_", " ") in message, f"{message!r} does not name {name}"
        shown = value if isinstance(value, tuple) else (value,)
        assert any(text in message for number in shown for text in (str(number), f"{number:g}", f"{number:.2g}")), (
            f"{message!r} does not say that {name} is {value}"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(_is_number(item) for item in value)


class InterruptError(Exception):
    """What a host raises from a progress callback when its user has had enough."""


def interrupt_comes_out(
    work: Callable[[Callable[..., None]], object], at: int = 1, *, phase: str | None = None
) -> list[Call]:
    """Check that an interrupt ends the work at once and arrives as what it is.

    Args:
        work: Is given the progress callback and does the work.
        at: Number of the call that interrupts, from 1.
        phase: Count the calls of this phase alone.

    Returns:
        Phase, done and total of all calls, in order.
    """
    calls: list[Call] = []

    def progress(name: str, done: int, total: int | None, preview: object = None) -> None:
        calls.append((name, done, total))
        if sum(phase in (None, name) for name, *_ in calls) == at and phase in (None, name):
            raise InterruptError

    with pytest.raises(InterruptError):
        work(progress)
    assert sum(phase in (None, name) for name, *_ in calls) == at, "the work went on after the interrupt"
    return calls


def windows_agree(
    run: Callable[[slice, slice], Tensor], whole: Tensor, edges: Iterable[int], *, radius: int = 0
) -> None:
    """Check that a clip that is worked on in windows gives the bits of the whole clip.

    Args:
        run: Is given which frames of the clip the window holds and which of these count, as slices; returns the result
            for the whole window.
        whole: Result for the clip, (T, …).
        edges: First frames of the windows, in any order; 0 and T are added.
        radius: Neighbours that the work looks at on either side.
    """
    for first, last in pairwise(sorted({0, len(whole), *edges})):
        start, stop = max(0, first - radius), min(len(whole), last + radius)
        kept = slice(first - start, last - start)
        assert torch.equal(run(slice(start, stop), kept)[kept], whole[first:last]), f"frames {first} to {last - 1}"


def survives_its_file(
    network: Network, save: Callable[[Network, Path], object], load: Callable[[Path], Network], path: Path
) -> Network:
    """Check that a network comes back from its file with its configuration and all its values; return it.

    It comes back ready to be used: in evaluation mode.
    """
    save(network, path)
    back = load(path)
    assert type(back) is type(network)
    assert back.config == network.config
    assert not back.training
    written, read = network.state_dict(), back.state_dict()
    assert list(written) == list(read)
    differing = [key for key, value in written.items() if not torch.equal(value, read[key])]
    assert not differing, f"other values in {differing}"
    return back
