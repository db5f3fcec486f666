"""How S3Diff's scores become a matrix for every block, which stands between the halves of its adapters.

With p = 2π · score · w, a score becomes [sin p, cos p]; both scores side by side pass one layer, the block's embedding
another, and a third makes r² numbers of the two: M, row by row. An adapted layer is y = base(x) + s · B(Mᵀ A(x)), so
that M depends on the scores and the block alone and the update is merged like any other, with B Mᵀ in the place of B.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from ....files.weights import WeightFileError
from ..adapters import Updates

_WIDE, _SCORES = 64, 256
_EMBEDDINGS = {"vae": 6, "unet": 10}
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.")


class Steering:
    """The matrices of one network.

    Args:
        name: "unet" or "vae", as the file has it.
        rank: Of the adapters.
        tensors: The network's three layers, its embeddings and `w`, entries of the file joined with dots.

    Raises:
        WeightFileError: One is missing or of another shape.
    """

    def __init__(self, name: str, rank: int, tensors: Mapping[str, Tensor]) -> None:
        self._rank, self._unet = rank, name == "unet"
        start, wide, scores_wide = f"state_dict_{name}", _WIDE, _SCORES
        shapes = {
            "w": (wide,),
            f"{start}_de_mlp.0.weight": (scores_wide, 4 * wide),
            f"{start}_de_mlp.0.bias": (scores_wide,),
            f"{start}_block_mlp.0.weight": (wide, wide),
            f"{start}_block_mlp.0.bias": (wide,),
            f"{start}_fuse_mlp.weight": (rank**2, scores_wide + wide),
            f"{start}_fuse_mlp.bias": (rank**2,),
            f"state_embeddings.{start}_block.weight": (_EMBEDDINGS[name], wide),
        }
        wrong = [key for key, shape in shapes.items() if key not in tensors or tuple(tensors[key].shape) != shape]
        if wrong:
            raise WeightFileError(
                f"S3Diff's steering of its {name} does not fit: missing or of another shape: {', '.join(wrong)}; take "
                "the published file"
            )
        found = [tensors[key].float() for key in shapes]
        self._w, *layers, self._embeddings = found
        self._de, self._block, self._fuse = (layers[0], layers[1]), (layers[2], layers[3]), (layers[4], layers[5])

    def matrices(self, scores: Tensor) -> Tensor:
        """Return M of every block, (blocks, r, r).

        Args:
            scores: (2,), [0, 1].
        """
        phase = scores.float()[:, None] * self._w * (2 * math.pi)
        waves = torch.cat((phase.sin(), phase.cos()), dim=1).flatten()
        damage = functional.linear(waves, *self._de).relu()
        blocks = functional.linear(self._embeddings, *self._block).relu()
        joined = torch.cat((damage.expand(len(blocks), -1), blocks), dim=1)
        return functional.linear(joined, *self._fuse).view(-1, self._rank, self._rank)

    def number(self, layer: str) -> int:
        """Return which block a layer belongs to."""
        match = _BLOCK.search(layer)
        if match:
            return int(match[2]) + (5 if match[1] == "up" else 0)
        if "mid_block" in layer:
            return 4
        return 9 if self._unet else 5

    def steered(self, updates: Updates, scores: Tensor) -> Updates:
        """Return updates with the matrices inside.

        Args:
            updates: As the file has them.
            scores: (2,), [0, 1].
        """
        matrices = self.matrices(scores)
        found = {}
        for layer, update in updates.items():
            up = update.up
            inside = up.flatten(1) @ matrices[self.number(layer)].T
            found[layer] = replace(update, up=inside.view(up.shape))
        return found
