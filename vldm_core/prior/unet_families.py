"""Families of diffusion models, told apart by what their UNets are made of.

What is supported: windows, tiles, guidance and LoRAs per shot work on the UNets of Stable Diffusion 1.x, 2.x and XL,
which are of one kind. AnimateDiff's motion modules were published for 1.x alone: they would join a 2.x UNet, whose
layers have the same widths, and add what means nothing there. Models without such a UNet (Stable Diffusion 3, Flux,
Wan …) and Stable Video Diffusion, which has temporal layers of its own, are refused.
"""

from ..errors import SettingsError
from .unet import UNetView

SUPPORTED = "Stable Diffusion 1.x, 2.x and XL"
"""Families whose UNets the parts of this package join."""

_BY_TEXT_WIDTH = {
    768: "Stable Diffusion 1.x",
    1024: "Stable Diffusion 2.x",
    1280: "the refiner of Stable Diffusion XL",
    2048: "Stable Diffusion XL",
}
_MOTION = 768

SD2_TEXT = 1024
"""Channels of the text of Stable Diffusion 2.x."""


def family_of(view: UNetView) -> str | None:
    """Return the family of a UNet by the width of its text conditioning; None where no published family has it."""
    return _BY_TEXT_WIDTH.get(view.context_dim)


def check_motion_family(view: UNetView) -> None:
    """Check that a UNet is not of a family that no motion modules were published for.

    Raises:
        SettingsError: It is.
    """
    family = family_of(view)
    if family is not None and view.context_dim != _MOTION:
        raise SettingsError(
            f"AnimateDiff's motion modules were made for {_BY_TEXT_WIDTH[_MOTION]} (text {_MOTION} wide), and this "
            f"model is {family} (text {view.context_dim} wide); choose a {_BY_TEXT_WIDTH[_MOTION]} model, or do "
            "without motion modules"
        )


def check_text(view: UNetView, width: int, what: str) -> None:
    """Check that something was trained with the text of a UNet's family.

    Args:
        view: The UNet.
        width: Channels of the text that it was trained with.
        what: What it is, for the message: "this file of DiffBIR".

    Raises:
        SettingsError: It was not.
    """
    if view.context_dim != width:
        family = _BY_TEXT_WIDTH.get(width)
        raise SettingsError(
            f"{what} was made for {_named(width)}, and this model is {_named(view.context_dim)}; choose "
            f"{'a model of the family that it was made for' if family is None else f'a {family} model'}"
        )


def _named(width: int) -> str:
    family = _BY_TEXT_WIDTH.get(width)
    return f"one with text {width} wide" if family is None else f"{family} (text {width} wide)"
