"""Restorers of video and of stills in the host's hands: memory, device, precision, VAE, blocked outputs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from comfy import model_management
from comfy.model_patcher import ModelPatcher
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor, nn

from ...vldm_core.prerestore.clip import pre_restore_shots
from ...vldm_core.prerestore.image_model import FrameSettings, bytes_needed, first_tile, working_size
from ...vldm_core.prerestore.network import KIND, PreRestorer
from ...vldm_core.prerestore.run import PreRestoreSettings, memory_needed
from ...vldm_core.progress import Progress
from .node_run import ImageBatch

if TYPE_CHECKING:
    from comfy.sd import VAE
    from spandrel import ImageModelDescriptor

OUT_OF_MEMORY: type[BaseException] = model_management.OOM_EXCEPTION
_ENCODED_AT_ONCE = 8


def managed(module: nn.Module) -> ModelPatcher:
    """Give a network to the host, which loads it when it is needed and puts it away when it is not."""
    return ModelPatcher(
        module,
        load_device=model_management.get_torch_device(),
        offload_device=model_management.unet_offload_device(),
    )


def prerestorer_model(path: Path) -> ModelPatcher:
    """Read a pre-restorer as a model whose memory the host manages.

    Raises:
        WeightFileError: The file is missing, damaged, or does not hold a pre-restorer.
    """
    return managed(KIND.load(path).to(_precision(model_management.get_torch_device())))


def on_card() -> bool:
    """Tell whether networks run on something faster than the processor."""
    return model_management.get_torch_device().type != "cpu"


def _precision(device: torch.device) -> torch.dtype:
    """Return what the host would run a network in: half precision where the device is faster with it."""
    if model_management.should_use_fp16(device):
        return torch.float16
    return torch.bfloat16 if model_management.should_use_bf16(device) else torch.float32


def on_device(model: ModelPatcher, height: int, width: int, settings: PreRestoreSettings) -> PreRestorer:
    """Make room on the device, load a pre-restorer there and return it.

    Args:
        model: From `prerestorer_model`.
        height: Of the frames it is for.
        width: Of the frames it is for.
        settings: Tells how many frames are held.
    """
    needed = memory_needed(model.model, height, width, settings)
    model_management.load_models_gpu([model], memory_required=needed, force_full_load=True)
    network: PreRestorer = model.model
    # With --novram the host leaves weights behind and expects layers of its own kind to fetch them.
    return network.to(model.load_device)


class ManagedPreRestorer:
    """Pre-restores what goes into a prior.

    Args:
        network: On any device.
        settings: How.
    """

    def __init__(self, network: PreRestorer, settings: PreRestoreSettings) -> None:
        self.settings = settings
        self.model = managed(network)

    def on_device(self, height: int, width: int) -> PreRestorer:
        """Make room for frames of a size on the device, load the network there and return it."""
        return on_device(self.model, height, width, self.settings)

    def restored(self, frames: Tensor, repaired: Tensor | None, progress: Progress) -> tuple[Tensor, Tensor | None]:
        """Pre-restore a part of a shot.

        Args:
            frames: (T, 3, H, W), RGB, [0, 1].
            repaired: (T, H, W), 1 = repaired, or None.
            progress: Called per frame; may raise to interrupt.

        Returns:
            (T, 3, H, W) in [0, 1], and the latents of the network's own head, (T, 4, H/8, W/8), unscaled as a LATENT
            has them, or None where it has no head.
        """
        network = self.on_device(*frames.shape[-2:])
        return pre_restore_shots(frames, network, self.settings, masks=repaired, progress=progress)


def encoded(vae: "VAE", images: ImageBatch, progress: Progress) -> Tensor:
    """Encode pictures a few at a time, so that an interrupt is heard.

    Args:
        vae: Of Stable Diffusion's kind: one latent per picture.
        images: (T, H, W, 3); H and W multiples of 8.
        progress: Called after every few pictures.

    Returns:
        (T, 4, H/8, W/8), unscaled, as a LATENT has them.
    """
    parts = []
    for first in range(0, len(images), _ENCODED_AT_ONCE):
        parts.append(vae.encode(images[first : first + _ENCODED_AT_ONCE]))
        progress("encode", min(first + _ENCODED_AT_ONCE, len(images)), len(images))
    return torch.cat(parts)


def encodes_pictures(vae: "VAE") -> bool:
    """Tell whether a VAE gives one latent per picture, as that of Stable Diffusion does."""
    return bool(vae.latent_dim == 2)


def blocked(message: str) -> ExecutionBlocker:
    """Return what stands for an output that there is not; the host shows the message when a node wants to use it."""
    return ExecutionBlocker(message)


@contextmanager
def image_model_on_device(
    model: "ImageModelDescriptor", height: int, width: int, settings: FrameSettings
) -> Iterator[int | None]:
    """Make room on the device and have an image model there for as long as it is needed.

    Args:
        model: From a loader of upscale models.
        height: Of the frames it is for.
        width: Of the frames it is for.
        settings: Size and tiles.

    Yields:
        Tiles to begin with: their largest side in pixels, or None for whole frames.
    """
    device = model_management.get_torch_device()
    tall, wide = working_size(height, width, model.scale, settings)
    needed = model_management.module_size(model.model) + bytes_needed(tall, wide, model)
    model_management.free_memory(needed, device)
    model.to(device)
    try:
        yield first_tile(height, width, model, float(model_management.get_free_memory(device)), settings)
    finally:
        model.to("cpu")
