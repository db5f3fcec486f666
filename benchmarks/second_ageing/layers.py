"""Layers of damage and how they meet the picture."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .settings import Kind
from .textures import Plane

WHITE = 255.0
"""Grey level of white."""

Mix = Literal["density", "clearing", "add", "opaque"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """One mark in one frame.

    Attributes:
        kind: What it is.
        cover: (H, W), 0 = nothing; the shape of the mark.
        mix: How it meets the picture I, with c the cover and a the amount:
            density, I·10^(-ac), as dirt on a print; clearing, white minus that of the negative, as dirt on a negative;
            add, I + ac in grey levels, with either sign; opaque, I(1-c) + ac, the amount being its grey level.
        amount: See there.
    """

    kind: Kind
    cover: Plane
    mix: Mix
    amount: float

    def on(self, picture: Plane) -> Plane:
        """Lay the mark on a picture in grey levels, (H, W)."""
        if self.mix == "density":
            return picture * np.power(np.float32(10), np.float32(-self.amount) * self.cover)
        if self.mix == "clearing":
            left = np.power(np.float32(10), np.float32(-self.amount) * self.cover)
            return np.float32(WHITE) - (np.float32(WHITE) - picture) * left
        if self.mix == "add":
            return picture + np.float32(self.amount) * self.cover
        cover = np.clip(self.cover, 0, 1)
        return picture * (1 - cover) + np.float32(self.amount) * cover


def log_even(stream: np.random.Generator, bounds: tuple[float, float]) -> float:
    """Draw evenly in the logarithm."""
    return float(np.exp(stream.uniform(np.log(bounds[0]), np.log(bounds[1]))))
