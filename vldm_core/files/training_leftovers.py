"""What training frameworks leave in a checkpoint beside tensors, and that reading may let pass.

Checkpoints of PyTorch Lightning, with which StableSR, CoSeR and much of Stable Diffusion were trained, name the class
of a callback and hold NumPy numbers such as the best score. `torch.load(weights_only=True)` refuses the whole file
for them. Nothing of Lightning is imported or run: an empty class of the same name takes the place of the callback.
"""

from _codecs import encode
from typing import Any

import numpy as np


class ModelCheckpoint:
    """Stands for Lightning's callback; it does nothing."""


ModelCheckpoint.__module__ = "pytorch_lightning.callbacks.model_checkpoint"


def harmless_globals() -> list[Any]:
    """Return what a checkpoint may name beside tensors: none of it runs anything that a file could choose."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64)]
    # NumPy 1 wrote its own module by another name.
    return [ModelCheckpoint, scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, *kinds, encode]
