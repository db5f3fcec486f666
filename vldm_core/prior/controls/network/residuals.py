"""Where the residuals of a ControlNet join a UNet."""

import torch
from torch import Tensor

from ....errors import SettingsError
from ...unet import UNetView
from ..control import ControlPlace, Features, PlaceChange


def residual_places(view: UNetView, residuals: int) -> list[ControlPlace]:
    """Return the places of a ControlNet's residuals: the UNet's skips, where the way up takes them, and its middle.

    Features are named `residual.0` … in the order of the way down, and `middle`.

    Args:
        view: The UNet.
        residuals: How many the side network gives without the middle.

    Raises:
        SettingsError: The UNet has another number of skips.
    """
    up = [site for site in view.of_kind("res") if site.name.startswith("up.")]
    if len(up) != residuals:
        raise SettingsError(
            f"this control gives {residuals} residuals, and the UNet takes {len(up)} skips; choose a model of the "
            "family that the control was made for"
        )

    def add(name: str) -> PlaceChange:
        def change(joined: Tensor, features: Features) -> Tensor:
            residual = features[name].to(joined)
            # What comes up lies before the skip.
            rising = joined.shape[1] - residual.shape[1]
            return torch.cat([joined[:, :rising], joined[:, rising:] + residual], dim=1)

        return change

    middle = view["mid.1.res"]
    found = [
        ControlPlace(module=middle.module, at="output", change=_plus_middle, scale=middle.scale),
    ]
    for index, site in enumerate(up):
        found.append(
            ControlPlace(
                module=site.module, at="picture", change=add(f"residual.{residuals - 1 - index}"), scale=site.scale
            )
        )
    return found


def _plus_middle(passing: Tensor, features: Features) -> Tensor:
    return passing + features["middle"].to(passing)
