"""CoSeR's tokens of language, with the host's CLIP Vision."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from comfy import model_management
from torch import Tensor

from ....vldm_core.errors import SettingsError
from ....vldm_core.prior.controls.coser.cognition import CognitiveEncoder, normalised
from ....vldm_core.prior.controls.coser.references import reference_frames
from ....vldm_core.prior.controls.coser.system import CoserControl, CoserGeneration
from ....vldm_core.progress import Progress
from ....vldm_core.video.shots import Shot
from .attachments import bring
from .controls import LoadedControl

logger = logging.getLogger(__name__)


def language_tokens(
    control: LoadedControl,
    frames: Tensor,
    clip_vision: Any,
    *,
    shots: Sequence[Shot] | None,
    masks: Tensor | None,
    progress: Progress,
) -> Tensor | None:
    """Return what CoSeR's cognitive encoder says of each shot, by its least damaged frame.

    Where references are to be made, each frame is described by itself.

    Args:
        control: The loaded control.
        frames: (T, 3, H, W), [0, 1].
        clip_vision: The host's CLIP_VISION; None where nothing is connected.
        shots: They cover the clip; None is one shot.
        masks: (T, H, W), 1 where damaged.
        progress: Called for every frame that is looked at; may raise to interrupt.

    Returns:
        (T, n, d); None where there is nothing to make tokens of.

    Raises:
        SettingsError: A CLIP_VISION is connected that the system cannot use.
    """
    system = control.system
    if not isinstance(system, CoserControl):
        if clip_vision is not None:
            raise SettingsError(f"{system.name} does not look through CLIP Vision; disconnect clip_vision")
        return None
    if clip_vision is None:
        logger.warning("CoSeR runs without tokens of language: connect clip_vision, or tokens that were made before")
        return None
    if control.cognition is None:
        raise SettingsError(
            "the files of CoSeR hold no cognitive encoder, which makes tokens with clip_vision; load its checkpoint "
            "with the encoder too, or disconnect clip_vision"
        )
    each = isinstance(system, CoserGeneration)
    of_frame = range(len(frames)) if each else reference_frames(len(frames), shots=shots, damage=masks)
    chosen = sorted(set(of_frame))
    # Together, or the host might take the one away for the other.
    model_management.load_models_gpu([control.cognition, clip_vision.patcher])
    encoder: CognitiveEncoder = control.cognition.model
    bring(encoder, control.cognition.load_device)
    tokens = {}
    for done, frame in enumerate(chosen, start=1):
        tokens[frame] = _looked(encoder, frames[frame : frame + 1], clip_vision)
        progress("tokens", done, len(chosen))
    return torch.cat([tokens[frame] for frame in of_frame])


def _looked(encoder: CognitiveEncoder, frame: Tensor, clip_vision: Any) -> Tensor:
    device = next(encoder.parameters()).device
    pixels = normalised(encoder.pictures(frame.to(device), side=clip_vision.image_size))
    # The host's own preparation of pictures rounds them to 8 bits, which the original does not.
    hidden = clip_vision.model(pixel_values=pixels.to(clip_vision.load_device).float(), intermediate_output=-2)[0]
    weight = getattr(clip_vision.model.visual_projection, "weight", None)
    projection = None if weight is None else weight.t().to(device)
    return encoder(hidden.to(device), projection=projection).to(model_management.intermediate_device())
