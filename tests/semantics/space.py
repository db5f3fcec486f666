"""A constructed space of features: one axis per description, and one for pictures that fit none."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize


class WordSpace:
    """A text encoder in which a sentence has the axis of the description that it contains."""

    def __init__(self, descriptions: Sequence[str]) -> None:
        self.descriptions = descriptions
        self.calls = 0

    def __call__(self, texts: Sequence[str]) -> Tensor:
        self.calls += 1
        rows = torch.zeros(len(texts), len(self.descriptions) + 1)
        for row, text in zip(rows, texts, strict=True):
            row[max(range(len(self.descriptions)), key=lambda i: len(self.descriptions[i]) * self._has(i, text))] = 1
        return rows

    def _has(self, index: int, text: str) -> bool:
        return self.descriptions[index] in text


def looks_like(descriptions: Sequence[str], weights: Mapping[str, float]) -> Tensor:
    """Features (1, D) of a picture that is so much like each of the descriptions."""
    row = torch.zeros(1, len(descriptions) + 1)
    for name, weight in weights.items():
        row[0, descriptions.index(name)] = weight
    if not weights:
        row[0, -1] = 1
    return normalize(row, dim=1)
