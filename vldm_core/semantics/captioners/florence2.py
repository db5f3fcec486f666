"""Florence-2 (Xiao et al., CVPR 2024), in the class of its own that transformers has.

The folders that Microsoft published hold code and are refused; the same weights in transformers' own layout are those
of the community on Hugging Face.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..recognition.local_models import ModelSource, load_model, load_processor
from .captioner import CaptionerKind, pictures, sentence

SOURCE = ModelSource(
    name="Florence-2",
    repository="florence-community/Florence-2-base",
    architectures=("Florence2ForConditionalGeneration",),
)
# A sentence; the longer tasks fill the text that CLIP reads with one key frame.
_TASK = "<CAPTION>"
_MOST_TOKENS = 60
_BEAMS = 3


class FlorenceCaptioner:
    """A `Captioner`.

    Args:
        model: Florence2ForConditionalGeneration.
        processor: Florence2Processor.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        self._model = model
        self._processor = processor

    @torch.inference_mode()
    def __call__(self, frames: Tensor) -> list[str]:
        """Caption frames one by one, by beam search."""
        found = []
        for picture in pictures(frames):
            inputs = self._processor(text=_TASK, images=picture, return_tensors="pt").to(self._model.device)
            tokens = self._model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                pixel_values=inputs["pixel_values"],
                do_sample=False,
                num_beams=_BEAMS,
                max_new_tokens=_MOST_TOKENS,
            )
            found.append(sentence(self._processor.batch_decode(tokens, skip_special_tokens=True)[0]))
        return found


def open_florence(folder: Path, device: str) -> FlorenceCaptioner:
    """Open a checked folder."""
    processor = load_processor(folder, SOURCE, "Florence2Processor")
    return FlorenceCaptioner(load_model(folder, SOURCE, SOURCE.architectures[0]).to(device), processor)


KIND = CaptionerKind(source=SOURCE, open=open_florence)
