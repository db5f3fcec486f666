"""A trained fusion in the host's hands."""

from pathlib import Path
from typing import Any

from comfy import model_management
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ....vldm_core.decode.fusion_decoder import KIND, FusionDecoder

_BYTES_PER_PIXEL = 1500
"""What fusing four frames takes per pixel of one of them, in single precision."""


def check_fusion(path: Path) -> None:
    """Look at the header of a file.

    Raises:
        WeightFileError: It is missing, damaged, or does not hold a fusion.
    """
    KIND.check(path)


def fusion_model(path: Path) -> ModelPatcher:
    """Read a fusion as a model whose memory the host manages.

    Raises:
        WeightFileError: The file is missing, damaged, or does not hold a fusion.
    """
    return ModelPatcher(
        KIND.load(path),
        load_device=model_management.get_torch_device(),
        offload_device=model_management.unet_offload_device(),
    )


def network_on_device(model: ModelPatcher, frames: Tensor) -> FusionDecoder:
    """Make room on the device, load a fusion there and return it.

    Args:
        model: From `fusion_model`.
        frames: (T, 3, H, W), that it is for.
    """
    needed = _BYTES_PER_PIXEL * frames.shape[-2] * frames.shape[-1]
    model_management.load_models_gpu([model], memory_required=needed, force_full_load=True)
    network: Any = model.model
    # With --novram the host leaves weights behind and expects layers of its own kind to fetch them.
    return network.to(model.load_device)
