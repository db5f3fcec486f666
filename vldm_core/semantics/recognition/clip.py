"""CLIP from a local folder: features of frames and texts in one space, with the classes of transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from ...errors import SettingsError
from .local_models import ModelSource, check_folder, load_model, load_processor, read_architectures

SOURCE = ModelSource(
    name="CLIP", repository="openai/clip-vit-large-patch14", architectures=("CLIPModel",), pictures=False
)
VISION_SOURCE = ModelSource(
    name="CLIP Vision",
    repository="openai/clip-vit-large-patch14",
    architectures=("CLIPVisionModelWithProjection",),
    tokenizer=False,
    pictures=False,
)

# Of the pictures that CLIP was trained on; kept by all models of the family.
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)


def prepare_pictures(frames: Tensor, size: int) -> Tensor:
    """Bring frames to CLIP's size and scale: the short side is fitted, the middle is cut out.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        size: Side of CLIP's pictures in pixels.

    Returns:
        (T, 3, size, size).
    """
    height, width = frames.shape[-2:]
    factor = size / min(height, width)
    sides = (max(size, round(height * factor)), max(size, round(width * factor)))
    fitted = interpolate(frames.float(), size=sides, mode="bicubic", antialias=True).clamp(0, 1)
    top, left = (sides[0] - size) // 2, (sides[1] - size) // 2
    mean, std = (frames.new_tensor(values, dtype=torch.float32).view(1, 3, 1, 1) for values in (_MEAN, _STD))
    return (fitted[..., top : top + size, left : left + size] - mean) / std


class ClipModel:
    """A CLIP model. `frames` is a `FrameEncoder` and `texts` a `TextEncoder`.

    Args:
        model: CLIPModel, or CLIPVisionModelWithProjection.
        tokenizer: CLIPTokenizer; None where the model reads no text.
    """

    def __init__(self, model: Any, tokenizer: Any | None) -> None:
        self._model = model
        self._tokenizer = tokenizer

    @property
    def reads_text(self) -> bool:
        """Whether there is a text encoder."""
        return self._tokenizer is not None

    @torch.inference_mode()
    def frames(self, frames: Tensor) -> Tensor:
        """Encode frames (T, 3, H, W) in [0, 1] to (T, D), each of length 1."""
        config = self._model.config
        size = getattr(config, "vision_config", config).image_size
        found = self._model.vision_model(pixel_values=prepare_pictures(frames.to(self._model.device), size))
        return normalize(self._model.visual_projection(found.pooler_output), dim=1).cpu().clone()

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Encode texts to (N, D), each of length 1; what is longer than the model reads is cut off.

        Raises:
            SettingsError: The model has no text encoder.
        """
        if self._tokenizer is None:
            raise SettingsError("this CLIP folder has no text encoder; tags and eras need a whole CLIPModel")
        tokens = self._tokenizer(
            list(texts),
            padding="max_length",
            truncation=True,
            max_length=self._model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).to(self._model.device)
        found = self._model.text_model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
        return normalize(self._model.text_projection(found.pooler_output), dim=1).cpu().clone()


def open_clip(folder: Path, device: str | torch.device = "cpu") -> ClipModel:
    """Open CLIP from a folder in the layout of transformers.

    Args:
        folder: With a CLIPModel, or a CLIPVisionModelWithProjection, which gives key frames only.
        device: Where it runs.

    Raises:
        ModelFolderError: The folder holds no CLIP, is incomplete, damaged or not safe to use.
        VLDMError: transformers cannot be imported.
    """
    vision_only = VISION_SOURCE.architectures[0] in (read_architectures(folder) if folder.is_dir() else ())
    source = VISION_SOURCE if vision_only else SOURCE
    check_folder(folder, source)
    model = load_model(folder, source, source.architectures[0])
    tokenizer = None if vision_only else load_processor(folder, source, "CLIPTokenizer")
    return ClipModel(model.to(device), tokenizer)
