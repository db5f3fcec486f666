"""Scene-linear light, as OpenEXR files hold it, as 16-bit values that the stages can work on, and back.

Stages compare, average and fill values that look evenly spaced, as video has them. So light from 0 to 1 is coded by the
curve of sRGB (IEC 61966-2-1) on the lower three quarters of the 16 bits; above 1, the upper quarter counts the steps of
half floats: 1024 for each stop up to 65504, the largest half. Each half above 1/512 has a code of its own and comes
back exactly; below, codes are 1.6 millionths apart. Negative light and NaN become 0, which concerns only what a stage
changes: whoever writes takes the rest from the source.
"""

import functools

import numpy as np

WHITE = 3 << 14
"""Code of 1.0."""

SRGB_TRANSFER = 13
"""FFmpeg's number of sRGB's transfer characteristic."""

_HALF_ONE = 0x3C00
"""Bits of the half float 1.0."""

_HALF_INFINITE = 0x7C00
_KNEE, _SLOPE, _OFFSET, _POWER = 0.0031308, 12.92, 0.055, 2.4
"""sRGB: below the knee a straight line, above it a power with an offset."""


def coded(light: np.ndarray) -> np.ndarray:
    """Code light.

    Args:
        light: Floats of any shape; single precision is looked at in the precision of half.

    Returns:
        uint16 of that shape.
    """
    with np.errstate(over="ignore"):
        half = light.astype(np.float16)
    codes: np.ndarray = _codes()[half.view(np.uint16)]
    return codes


def light_of(codes: np.ndarray) -> np.ndarray:
    """Return the light that codes (uint16) stand for, as float32."""
    light: np.ndarray = _light()[codes]
    return light


def as_srgb(codes: np.ndarray) -> np.ndarray:
    """Return codes (uint16) as a screen shows them: sRGB over the full 16 bits, with everything above 1 white."""
    shown: np.ndarray = _shown()[codes]
    return shown


def light_of_srgb(shown: np.ndarray) -> np.ndarray:
    """Return the light of sRGB values over the full range of their type, uint8 or uint16, as float32, 0 … 1."""
    return _linear(shown / np.float64(np.iinfo(shown.dtype).max)).astype(np.float32)


def _linear(shown: np.ndarray) -> np.ndarray:
    power: np.ndarray = ((shown + _OFFSET) / (1 + _OFFSET)) ** _POWER
    return np.where(shown <= _KNEE * _SLOPE, shown / _SLOPE, power)


@functools.lru_cache(maxsize=1)
def _codes() -> np.ndarray:
    """Code of each half float, by its bits."""
    codes = np.zeros(1 << 16, np.uint16)
    below = np.arange(_HALF_ONE, dtype=np.uint16)
    light = below.view(np.float16).astype(np.float64)
    shown = np.where(light <= _KNEE, light * _SLOPE, (1 + _OFFSET) * light ** (1 / _POWER) - _OFFSET)
    codes[below] = np.rint(shown * WHITE)
    codes[_HALF_ONE:_HALF_INFINITE] = np.arange(WHITE, 1 << 16)
    codes[_HALF_INFINITE] = (1 << 16) - 1
    return codes


@functools.lru_cache(maxsize=1)
def _light() -> np.ndarray:
    """Light of each code."""
    light = _linear(np.arange(1 << 16) / WHITE).astype(np.float32)
    halves = np.arange(_HALF_INFINITE, dtype=np.uint16)
    codes = _codes()[halves]
    # Of several halves with one code none is the light of it; of a code without a half, the curve is.
    alone = np.bincount(codes, minlength=1 << 16)[codes] == 1
    light[codes[alone]] = halves[alone].view(np.float16).astype(np.float32)
    light[0] = 0
    return light


@functools.lru_cache(maxsize=1)
def _shown() -> np.ndarray:
    codes = np.minimum(np.arange(1 << 16, dtype=np.int64), WHITE)
    return ((codes * 65535 + WHITE // 2) // WHITE).astype(np.uint16)
