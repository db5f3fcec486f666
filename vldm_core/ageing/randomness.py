"""Random numbers that depend on the frame number and not on the order in which frames are asked for.

Every draw comes from a Philox stream keyed by (seed, name, block number). A time series is therefore the same
whether a reel is aged from its start, from its middle or in chunks, and memory does not grow with its length.
"""

import math
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..arrays import FloatArray

_BLOCK = 64  # frames per stream: creating a stream costs about as much as drawing from it this often
_SIGN_OFFSET = 1 << 40  # SeedSequence keys are non-negative, but lives that began before frame 0 have negative blocks
_CACHED_BLOCKS = 64


def generator(seed: int, name: str, *counters: int) -> np.random.Generator:
    """Return the random stream of one purpose and one position.

    Args:
        seed: Seed of the whole simulation, 0 … 2**64 - 1.
        name: Purpose, for example ``"dirt"``; different names give independent streams.
        counters: Position of the draw, for example the frame number; may be negative.

    Returns:
        A fresh generator; the same arguments always give the same stream.
    """
    key = (zlib.crc32(name.encode()), *(counter + _SIGN_OFFSET for counter in counters))
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy=seed, spawn_key=key)))


def log_uniform(stream: np.random.Generator, low: float, high: float) -> float:
    """Draw a number between two, of whose logarithm every value is as likely."""
    return float(np.exp(stream.uniform(math.log(low), math.log(high))))


class WhiteNoise:
    """Independent standard normal numbers at integer positions, positive or negative."""

    def __init__(self, seed: int, name: str, *counters: int, channels: int = 1) -> None:
        """Prepare the sequence; see :func:`generator` for seed, name and counters.

        Args:
            seed: Seed of the simulation.
            name: Purpose.
            counters: Further key.
            channels: Numbers per position.
        """
        self._seed, self._name, self._counters, self._channels = seed, name, counters, channels
        self._block = lru_cache(maxsize=_CACHED_BLOCKS)(self._draw_block)

    def values(self, start: int, stop: int) -> FloatArray:
        """Return the numbers at positions start … stop - 1 as (stop - start, channels)."""
        blocks = [self._block(number) for number in range(start // _BLOCK, (stop - 1) // _BLOCK + 1)]
        offset = start - start // _BLOCK * _BLOCK
        return np.concatenate(blocks)[offset : offset + stop - start]

    def _draw_block(self, number: int) -> FloatArray:
        stream = generator(self._seed, self._name, *self._counters, number)
        return stream.standard_normal((_BLOCK, self._channels), dtype=np.float32)


class Autoregressive:
    """Stationary AR(1) series of unit variance: x[t] = rho x[t-1] + sqrt(1 - rho^2) e[t].

    Evaluated in its moving-average form, sum of rho^k e[t-k], cut off where rho^k < 1e-4, so that any position can be
    asked for directly.
    """

    LARGEST_RHO = 0.98

    def __init__(self, seed: int, name: str, *counters: int, rho: float, channels: int = 1) -> None:
        """Prepare the series.

        Args:
            seed: Seed of the simulation.
            name: Purpose.
            counters: Further key.
            rho: Correlation of neighbouring positions, 0 … 0.98.
            channels: Independent series.
        """
        length = 1 if rho <= 1e-4 else math.ceil(math.log(1e-4) / math.log(rho))
        weights = rho ** np.arange(length - 1, -1, -1, dtype=np.float64)
        self._weights = (weights / np.sqrt(np.sum(weights**2))).astype(np.float32)
        self._noise = WhiteNoise(seed, name, *counters, channels=channels)

    def at(self, index: int) -> FloatArray:
        """Return the values at one position as (channels,)."""
        return self._weights @ self._noise.values(index + 1 - len(self._weights), index + 1)


class SmoothNoise:
    """Smooth noise on the real line: normal numbers at knots, joined by cosine ramps."""

    def __init__(self, seed: int, name: str, *counters: int, pitch: float, channels: int = 1) -> None:
        """Prepare the noise.

        Args:
            seed: Seed of the simulation.
            name: Purpose.
            counters: Further key.
            pitch: Distance of the knots, in the unit of the positions asked for.
            channels: Independent series.
        """
        self._pitch = pitch
        self._noise = WhiteNoise(seed, name, *counters, channels=channels)

    def at(self, positions: NDArray[np.float64]) -> FloatArray:
        """Return the values at positions (N,) as (N, channels)."""
        knots = np.asarray(positions, dtype=np.float64) / self._pitch
        lower = np.floor(knots).astype(np.int64)
        share = (0.5 - 0.5 * np.cos(np.pi * (knots - lower))).astype(np.float32)[:, None]
        first = int(lower.min())
        values = self._noise.values(first, int(lower.max()) + 2)
        return values[lower - first] * (1 - share) + values[lower - first + 1] * share


class Living(Protocol):
    """Something that appears in a frame and is gone some frames later."""

    @property
    def first(self) -> int:
        """First frame in which it is seen."""
        ...

    @property
    def last(self) -> int:
        """First frame in which it is no longer seen."""
        ...


LivingT = TypeVar("LivingT", bound=Living)


class Population(Generic[LivingT]):
    """Defects that live for several frames, born as a Poisson process that has always been running."""

    def __init__(
        self,
        seed: int,
        name: str,
        *,
        births_per_frame: float,
        longest_life: int,
        draw: Callable[[np.random.Generator, int], LivingT],
    ) -> None:
        """Prepare the population.

        Args:
            seed: Seed of the simulation.
            name: Purpose.
            births_per_frame: Mean number of births in a frame.
            longest_life: Largest ``last - first`` that ``draw`` may return, frames.
            draw: Makes one member from a stream and its first frame.
        """
        self._seed, self._name, self._rate, self._longest = seed, name, births_per_frame, longest_life
        self._draw = draw
        self._block = lru_cache(maxsize=_CACHED_BLOCKS + longest_life // _BLOCK)(self._draw_block)

    def between(self, first: int, last: int) -> Iterator[LivingT]:
        """Yield the members seen in at least one of the frames first … last - 1."""
        for number in range((first - self._longest) // _BLOCK, (last - 1) // _BLOCK + 1):
            for member in self._block(number):
                if member.first < last and member.last > first:
                    yield member

    def _draw_block(self, number: int) -> tuple[LivingT, ...]:
        stream = generator(self._seed, self._name, number)
        births = np.sort(stream.integers(0, _BLOCK, stream.poisson(self._rate * _BLOCK)))
        return tuple(self._draw(stream, number * _BLOCK + int(birth)) for birth in births)
