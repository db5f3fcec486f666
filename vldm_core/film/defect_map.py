"""Maps of damage that come from elsewhere: an infrared scan, a film's alpha channel, masks that somebody painted.

They are trusted. An infrared scan sees dust and scratches and hardly the dyes of a colour film; its picture is even and
bright, and the damage dark on it. What the two levels are is said by its user, not measured.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import SettingsError
from .masks import MaskEdit, edit_mask

LARGEST_GROWTH = 16
"""Pixels; scans lie on each other to within a pixel or two."""

LEAST_CONTRAST = 1 / 256
"""Values (0 … 1) by which clean film and damage differ at least: no more than a level of a map of eight bits."""


@dataclass(frozen=True, kw_only=True)
class MapSettings:
    """How a map of damage is read.

    Attributes:
        clean: Value (0 … 1) of the map where the film is undamaged.
        damaged: Value (0 … 1) where it is damaged for sure, 1/256 or more away from `clean`; less than it where damage
            is dark, as in an infrared scan. Values between the two say how likely damage is.
        threshold: How likely damage has to be to be marked. Above 0, up to 1.
        grow: Pixels by which what is marked becomes wider on every side. 0 … 16.
    """

    clean: float = 0.0
    damaged: float = 1.0
    threshold: float = 0.5
    grow: int = 0

    def __post_init__(self) -> None:
        for name in ("clean", "damaged"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"map {name} is {getattr(self, name)}; use 0 (black) … 1 (white)")
        if abs(self.damaged - self.clean) < LEAST_CONTRAST:
            raise SettingsError(
                f"map clean is {self.clean} and map damaged {self.damaged}, which no map tells apart; give the value "
                "where the film is undamaged and the one where it is damaged, 1/256 apart or more"
            )
        if not 0 < self.threshold <= 1:
            raise SettingsError(f"map threshold is {self.threshold}; use more than 0, up to 1")
        if not 0 <= self.grow <= LARGEST_GROWTH:
            raise SettingsError(f"map grow is {self.grow}; use 0 … {LARGEST_GROWTH} pixels")


def map_probability(values: Tensor, settings: MapSettings) -> Tensor:
    """Tell how likely every pixel is damaged.

    Args:
        values: Any shape, the map's values in [0, 1].
        settings: What they mean.

    Returns:
        The same shape, float32, 0 … 1.
    """
    share = (values.to(torch.float32) - settings.clean) / (settings.damaged - settings.clean)
    return share.clamp_(0, 1)


def map_marks(values: Tensor, settings: MapSettings) -> Tensor:
    """Mark what a map says is damaged.

    Args:
        values: (T, H, W), the map's values in [0, 1].
        settings: What they mean.

    Returns:
        (T, H, W) float32, 1 = damaged, else 0.
    """
    return edit_mask(map_probability(values, settings), MaskEdit(threshold=settings.threshold, grow=settings.grow))
