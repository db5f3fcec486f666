"""The host's CLIP, CLIP Vision and VAE as the encoders of the core, and foreign models under the host's memory."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from comfy import model_management
from comfy.model_patcher import ModelPatcher
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from ...vldm_core.errors import SettingsError
from ...vldm_core.semantics.captioners.captioner import Captioner
from ...vldm_core.semantics.captioners.registry import open_captioner
from ...vldm_core.semantics.recognition.clip import open_clip
from ...vldm_core.semantics.recognition.features import FrameEncoder, LatentEncoder, TextEncoder
from ...vldm_core.semantics.recognition.shared_space import check_shared_space, colour_cards

# Longer side of the pictures that a VAE makes features of: more shows nothing new and costs its square.
_VAE_SIDE = 256
_VAE_MULTIPLE = 8
# The host's names of CLIP text encoders with a projection.
_CLIP_KINDS = ("g", "h", "l")


def vision_encoder(clip_vision: Any) -> FrameEncoder:
    """Return CLIP Vision as an encoder of frames: its projected embedding of a picture."""

    def encode(frames: Tensor) -> Tensor:
        model_management.throw_exception_if_processing_interrupted()
        found = clip_vision.encode_image(frames.movedim(1, -1))["image_embeds"]
        # SigLIP gives one per patch.
        return found.flatten(1, -2).mean(1) if found.ndim > 2 else found

    return encode


def latent_encoder(vae: Any) -> FrameEncoder:
    """Return a VAE as an encoder of frames: what its latents of a small copy look like."""

    def encode(frames: Tensor) -> Tensor:
        model_management.throw_exception_if_processing_interrupted()
        scale = min(1.0, _VAE_SIDE / max(frames.shape[-2:]))
        size = [max(1, round(side * scale / _VAE_MULTIPLE)) * _VAE_MULTIPLE for side in frames.shape[-2:]]
        return vae.encode(interpolate(frames, size=size, mode="area").movedim(1, -1))

    return LatentEncoder(encode)


def text_encoder(clip: Any, width: int) -> TextEncoder:
    """Return the host's CLIP as an encoder of texts: the projected embedding of the end of the text.

    Args:
        clip: The host's CLIP. Of several text encoders the one of the right width is taken.
        width: Of the embeddings.

    Raises:
        SettingsError: There is no CLIP, or none of that width.
    """
    if clip is None:
        raise SettingsError("the checkpoint has no text encoder; connect a CLIP from another loader")
    stage = clip.cond_stage_model
    inner = {name: getattr(stage, f"clip_{name}") for name in _CLIP_KINDS if hasattr(stage, f"clip_{name}")}
    widths = {name: encoder.transformer.text_projection.weight.shape[0] for name, encoder in inner.items()}
    fitting = [name for name in inner if widths[name] == width]
    if not fitting:
        has = ", ".join(map(str, widths.values())) or "none, as it is not a CLIP"
        raise SettingsError(
            f"clip_vision embeds pictures in {width} numbers and clip texts in {has}, so they are not of one CLIP; use "
            "a CLIP folder, or a CLIP Vision and a CLIP that were trained together"
        )
    name = fitting[0]

    def encode(texts: Sequence[str]) -> Tensor:
        model_management.throw_exception_if_processing_interrupted()
        clip.load_model()
        # A text longer than one section loses its end, as in every CLIP.
        tokens = [[token for token, *_ in clip.tokenize(text, disable_weights=True)[name][0]] for text in texts]
        inner[name].reset_clip_options()
        # The text encoders of Stable Diffusion 1.x leave the projection out unless they are asked.
        inner[name].set_clip_options({"projected_pooled": True})
        try:
            pooled = inner[name].encode(tokens)[1]
        finally:
            inner[name].reset_clip_options()
        return normalize(pooled.float().cpu(), dim=1)

    return encode


def checked_pair(clip: Any, clip_vision: Any) -> tuple[FrameEncoder, TextEncoder]:
    """Return the host's CLIP Vision and CLIP as encoders of one space.

    Raises:
        SettingsError: They do not belong together.
    """
    frames = vision_encoder(clip_vision)
    texts = text_encoder(clip, frames(colour_cards()[:1]).shape[1])
    check_shared_space(frames, texts)
    return frames, texts


def pair_of_folder(folder: Path) -> tuple[FrameEncoder, TextEncoder]:
    """Open CLIP from a folder, under the host's memory.

    Raises:
        ModelFolderError: The folder holds no CLIP that can be used.
    """
    clip = open_clip(folder)
    load = _managed(clip)

    def frames(pictures: Tensor) -> Tensor:
        load()
        return clip.frames(pictures)

    def texts(said: Sequence[str]) -> Tensor:
        load()
        return clip.texts(said)

    return frames, texts


def managed_captioner(folder: Path) -> Captioner:
    """Open a captioner from a folder, under the host's memory.

    Raises:
        ModelFolderError: The folder holds no captioner that can be used.
    """
    captioner = open_captioner(folder)
    load = _managed(captioner)

    def caption(frames: Tensor) -> list[str]:
        load()
        return captioner(frames)

    return caption


class _Held(torch.nn.Module):
    """A foreign network as the host takes it, which sets attributes that such a network computes itself."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network


def _managed(owner: object) -> Callable[[], None]:
    """Put the network that an object of the core holds under the host's memory.

    Returns:
        Loads the network where the host runs text encoders; to be called before every use, for the host may have taken
        it off again.
    """
    (network,) = (value for value in vars(owner).values() if isinstance(value, torch.nn.Module))
    patcher = ModelPatcher(
        _Held(network),
        load_device=model_management.text_encoder_device(),
        offload_device=model_management.text_encoder_offload_device(),
    )

    def load() -> None:
        model_management.throw_exception_if_processing_interrupted()
        # Only layers of the host's own kind can run while they are not loaded.
        model_management.load_models_gpu([patcher], force_full_load=True)

    return load
