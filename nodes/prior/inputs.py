"""Inputs that several nodes of the prior share."""

from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.decode.colour import ColourSettings
from ...vldm_core.errors import SettingsError
from ..effort import advanced
from ..host.node_run import ImageBatch, frames_from_image, mask_for
from ..sockets import Shots

PIXELS_PER_LATENT = 8
COLOURS = ("wavelet", "adain", "lab", "off")


def colour_input(over: str) -> io.Input:
    """Return the knob for how the film's colours are given back.

    Args:
        over: What they are compared over, for the tooltip.
    """
    return advanced(
        io.Combo.Input(
            "colour",
            options=list(COLOURS),
            default=ColourSettings.method,
            optional=True,
            tooltip=f"How the film's colours are given back, over whole {over}: see Match Colour.",
        )
    )


def shots_input() -> io.Input:
    """Return the optional socket for shots that every node of the prior has."""
    return Shots.Input(
        "shots",
        optional=True,
        tooltip="From Detect Shots, on the same frames: nothing is mixed across a cut. Unconnected: one shot.",
    )


def mask_of(mask: Tensor | None, images: ImageBatch | None) -> Tensor | None:
    """Return the damage mask, which belongs to the images.

    Raises:
        SettingsError: There is a mask but no images, or they do not fit.
    """
    if mask is not None and images is None:
        raise SettingsError("mask needs the images it was made from; connect images too")
    return None if mask is None or images is None else mask_for(mask, images, "mask")


def frames_of(images: ImageBatch | None, latent: Tensor) -> Tensor | None:
    """Return the pre-restored frames of a latent clip.

    Raises:
        SettingsError: They are not the picture that the latent stands for.
    """
    if images is None:
        return None
    frames = frames_from_image(images)
    wanted = (len(latent), latent.shape[-2] * PIXELS_PER_LATENT, latent.shape[-1] * PIXELS_PER_LATENT)
    if (len(frames), *frames.shape[-2:]) != wanted:
        raise SettingsError(
            f"images: {len(frames)} frames of {frames.shape[-1]}×{frames.shape[-2]}, but the latent stands for "
            f"{wanted[0]} of {wanted[2]}×{wanted[1]}; connect the images that went into VAE Encode"
        )
    return frames
