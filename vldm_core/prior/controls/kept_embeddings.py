"""What a system makes of the hint alone, kept for the steps of a sampling.

The embedding of a picture (PASD, SeeSR) runs at the size of the picture and not of the latent: little arithmetic, and
much of the time. It is the same in every step and for every chunk of conditioning, so it is made once for a region.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ..call import UNetCall

MOST_BYTES = 2**30
"""What is kept at most, bytes: 100 frames of 1024×1024 in half precision. Regions beyond are embedded in every step."""


class KeptEmbeddings:
    """Embeddings by region: frames, corner, size, device and type."""

    def __init__(self) -> None:
        self._kept: dict[object, Tensor] = {}
        self._bytes = 0
        self._hint: Tensor | None = None

    def forget(self) -> None:
        """Keep nothing."""
        self._kept.clear()
        self._bytes, self._hint = 0, None

    def of(self, call: UNetCall, hint: Tensor, make: Callable[[], Tensor]) -> Tensor:
        """Return the embedding of a region, made now or before.

        Args:
            call: What the pass is about.
            hint: Of the whole clip; with another one all is made anew.
            make: Makes the embedding (F, C, h, w) of the region.
        """
        assert call.inputs is not None
        if hint is not self._hint:
            self.forget()
            self._hint = hint
        x = call.inputs.x
        key = (call.frames, call.corner, tuple(x.shape[-2:]), x.device, x.dtype)
        if key not in self._kept:
            made = make()
            size = made.numel() * made.element_size()
            # Training needs the way back through the embedding in every step.
            if torch.is_grad_enabled() or self._bytes + size > MOST_BYTES:
                return made
            self._kept[key], self._bytes = made, self._bytes + size
        return self._kept[key]
