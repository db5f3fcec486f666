"""What a captioner is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image
from torch import Tensor

from ..recognition.local_models import ModelSource


class Captioner(Protocol):
    """Says what pictures show."""

    def __call__(self, frames: Tensor) -> list[str]:
        """Caption frames.

        Args:
            frames: (N, 3, H, W), RGB, [0, 1].

        Returns:
            One sentence each; the same for the same frame, whatever stands beside it.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class CaptionerKind:
    """A class of captioners.

    Attributes:
        source: What its folder holds and where to get it.
        open: Opens a checked folder on a device.
    """

    source: ModelSource
    open: Callable[[Path, str], Captioner]


def pictures(frames: Tensor) -> Iterator[Image.Image]:
    """Give frames (N, 3, H, W) in [0, 1] as pictures of 8 bits."""
    for frame in frames:
        levels = (frame.detach().cpu().float().clamp(0, 1) * 255).round().byte()
        yield Image.fromarray(levels.permute(1, 2, 0).contiguous().numpy())


def sentence(text: str) -> str:
    """Put a model's words in one line, without what cannot be printed."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
