"""BLIP (Li et al., ICML 2022), as transformers has it."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..recognition.local_models import ModelSource, load_model, load_processor
from .captioner import CaptionerKind, pictures, sentence

SOURCE = ModelSource(
    name="BLIP",
    repository="Salesforce/blip-image-captioning-base",
    architectures=("BlipForConditionalGeneration",),
)
_MOST_TOKENS = 40


class BlipCaptioner:
    """A `Captioner` of short sentences.

    Args:
        model: BlipForConditionalGeneration.
        processor: BlipProcessor.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        self._model = model
        self._processor = processor

    @torch.inference_mode()
    def __call__(self, frames: Tensor) -> list[str]:
        """Caption frames one by one, by the likeliest word at every step."""
        found = []
        for picture in pictures(frames):
            inputs = self._processor(images=picture, return_tensors="pt").to(self._model.device)
            tokens = self._model.generate(
                pixel_values=inputs["pixel_values"], do_sample=False, num_beams=1, max_new_tokens=_MOST_TOKENS
            )
            found.append(sentence(self._processor.decode(tokens[0], skip_special_tokens=True)))
        return found


def open_blip(folder: Path, device: str) -> BlipCaptioner:
    """Open a checked folder."""
    processor = load_processor(folder, SOURCE, "BlipProcessor")
    return BlipCaptioner(load_model(folder, SOURCE, SOURCE.architectures[0]).to(device), processor)


KIND = CaptionerKind(source=SOURCE, open=open_blip)
