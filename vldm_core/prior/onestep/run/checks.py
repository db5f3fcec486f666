"""What is found out before a clip is restored in one step, and what becomes of its undamaged part afterwards."""

import torch
from torch import Tensor

from ....errors import SettingsError
from ..system import OneStepSystem, dialled
from .settings import OneStepSettings


def check_settings(system: OneStepSystem, settings: OneStepSettings, *, prediction: str) -> None:
    """Check that settings are for a system, and that a model predicts what it was made for.

    Args:
        system: The restorer.
        settings: How it is to work.
        prediction: What the model predicts: "eps", or another.

    Raises:
        SettingsError: One does not go with the others.
    """
    known = system.format
    dialled(known, settings.invention)
    if settings.guidance is not None and settings.guidance != 1 and known.guidance == 1:
        raise SettingsError(f"guidance is {settings.guidance}, and {known.system} is not guided; leave it at 1")
    if settings.scores is not None and not system.needs_scores:
        raise SettingsError(f"scores are given, and {known.system} is steered by none; leave them out")
    if system.needs_scores and settings.scores is None and not system.networks:
        raise SettingsError(
            f"{known.system}'s estimator of the damage is missing: give de_net.pth too, or say the two scores yourself"
        )
    if not system.carries_unet and prediction != "eps":
        raise SettingsError(
            f"this model predicts {prediction}, and {known.system} was made for {known.base}, which predicts noise; "
            "choose a checkpoint of the base model (512 pixels)"
        )


def check_masks(frames: Tensor, masks: Tensor | None, settings: OneStepSettings) -> None:
    """Check that masks (T, H, W) belong to frames (T, 3, H, W), and are there where they are needed.

    Raises:
        SettingsError: They do not, or are not.
    """
    wanted = (len(frames), *frames.shape[-2:])
    if masks is not None and masks.shape != wanted:
        raise SettingsError(f"masks are {tuple(masks.shape)}, the frames need {wanted}")
    if settings.keep_outside and masks is None:
        raise SettingsError("what lies outside the damage is to be kept, and no mask says where that is; give masks")


def kept_outside(made: Tensor, frames: Tensor, masks: Tensor) -> Tensor:
    """Put a restored picture into the damage alone.

    Args:
        made: (T, 3, H, W), restored.
        frames: Likewise, as they came.
        masks: (T, H, W), [0, 1].

    Returns:
        (T, 3, H, W): `frames` bit for bit where a mask is 0, `made` where it is 1, between them a mean.
    """
    share = masks[:, None].to(made)
    return torch.where(share == 0, frames, torch.lerp(frames, made, share))
