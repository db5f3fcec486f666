"""Timecode of single pictures (SMPTE ST 12-1): counted on from a film's first, and as the words of DPX and EXR."""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

_WRITTEN = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.,])(\d\d)")
_DROP_BIT = 1 << 6
_DAY_HOURS = 24
_UNDEFINED = 0xFFFFFFFF
"""What a DPX header says where it has no value."""


@dataclass(frozen=True, kw_only=True)
class Timecode:
    """A timecode.

    Attributes:
        hours: 0 … 23.
        minutes: 0 … 59.
        seconds: 0 … 59.
        frames: 0 … one less than the frames of a second.
        drop: Whether numbers are left out so that it keeps time at 29.97 frames per second.
    """

    hours: int
    minutes: int
    seconds: int
    frames: int
    drop: bool = False

    @classmethod
    def of(cls, text: str) -> Self | None:
        """Read ``01:00:00:00`` (``01:00:00;00`` with dropped numbers); None where it is none."""
        found = _WRITTEN.fullmatch(text.strip())
        if found is None:
            return None
        hours, minutes, seconds, frames = (int(found[group]) for group in (1, 2, 3, 5))
        return cls(hours=hours, minutes=minutes, seconds=seconds, frames=frames, drop=found[4] != ":")

    @classmethod
    def of_word(cls, word: int) -> Self | None:
        """Read a word of packed decimal digits, hours first; None where it holds none."""
        digits = [(word >> shift & 0xF, word >> shift + 4 & mask) for shift, mask in ((24, 3), (16, 7), (8, 7), (0, 3))]
        hours, minutes, seconds, frames = (10 * tens + units for units, tens in digits)
        plain = all(units < 10 for units, _ in digits) and hours < _DAY_HOURS and minutes < 60 and seconds < 60
        if word == _UNDEFINED or not plain:
            return None
        return cls(hours=hours, minutes=minutes, seconds=seconds, frames=frames, drop=bool(word & _DROP_BIT))

    @property
    def word(self) -> int:
        """The same as a word of packed decimal digits."""
        parts = (self.frames, self.seconds, self.minutes, self.hours)
        digits = sum((part // 10 << 4 | part % 10) << 8 * place for place, part in enumerate(parts))
        return digits | (_DROP_BIT if self.drop else 0)

    def after(self, frames: int, rate: Fraction) -> "Timecode":
        """The timecode so many frames on, at a frame rate; at midnight it begins again."""
        second = max(1, round(rate))
        # Two numbers of each minute are left out at 30 frames per second, four at 60; not in each tenth minute.
        left_out = second // 15 if self.drop else 0
        minute, ten = 60 * second - left_out, 600 * second - 9 * left_out
        whole = self.hours * 60 + self.minutes
        count = (whole * 60 + self.seconds) * second + self.frames - left_out * (whole - whole // 10) + frames
        tens, rest = divmod(count % (6 * _DAY_HOURS * ten), ten)
        minutes = 0 if rest < 60 * second else 1 + (rest - 60 * second) // minute
        rest = rest if not minutes else (rest - 60 * second) % minute + left_out
        minutes += 10 * tens
        return Timecode(
            hours=minutes // 60, minutes=minutes % 60, seconds=rest // second, frames=rest % second, drop=self.drop
        )

    def __str__(self) -> str:
        return f"{self.hours:02d}:{self.minutes:02d}:{self.seconds:02d}{';' if self.drop else ':'}{self.frames:02d}"
