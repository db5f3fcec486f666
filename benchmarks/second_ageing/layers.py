"""Layers of damage and how they meet the picture."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .settings import Kind
from .textures import Plane, Spot

WHITE = 255.0
"""Grey level of white."""

Mix = Literal["density", "clearing", "add", "opaque"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """One mark in one frame.

    Attributes:
        kind: What it is.
        spot: Its shape, and where that lies in the frame.
        mix: How it meets the picture I, with c the cover and a the amount:
            density, I·10^(-ac), as dirt on a print; clearing, white minus that of the negative, as dirt on a negative;
            add, I + ac in grey levels, with either sign; opaque, I(1-c) + ac, the amount being its grey level.
        amount: See there.
    """

    kind: Kind
    spot: Spot
    mix: Mix
    amount: float

    def lay(self, picture: Plane) -> None:
        """Lay the mark on a picture in grey levels, (H, W), in place."""
        region, cover = picture[self.spot.rows, self.spot.columns], self.spot.cover
        amount = np.float32(self.amount)
        if self.mix == "density":
            region *= np.power(np.float32(10), -amount * cover)
        elif self.mix == "clearing":
            region[:] = np.float32(WHITE) - (np.float32(WHITE) - region) * np.power(np.float32(10), -amount * cover)
        elif self.mix == "add":
            region += amount * cover
        else:
            region += np.clip(cover, 0, 1) * (amount - region)


def log_even(stream: np.random.Generator, bounds: tuple[float, float]) -> float:
    """Draw evenly in the logarithm."""
    return float(np.exp(stream.uniform(np.log(bounds[0]), np.log(bounds[1]))))
