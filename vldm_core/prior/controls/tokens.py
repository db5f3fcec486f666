"""Embeddings of pictures that another program computed and saved: a tagger's for SeeSR, for example.

A safetensors file holds either one tensor (tokens, channels) or (pictures, tokens, channels), or a tensor
(tokens, channels) for each picture under its number: "0", "1", … or "shot.0", "frame.12". Pictures are the frames of
the clip, or one for each of its shots.
"""

import re
from pathlib import Path

import torch
from torch import Tensor

from ...files.weights import WeightFileError, read_contents, some

_NUMBER = re.compile(r"(\d+)(?!.*\d)")


def read_tokens(path: Path) -> Tensor:
    """Read saved embeddings.

    Returns:
        (pictures, tokens, channels), float32.

    Raises:
        WeightFileError: The file is missing, damaged, no safetensors file, or does not hold what the module says.
    """
    if path.suffix.lower() != ".safetensors":
        raise WeightFileError(f"{path} does not end in .safetensors; save the embeddings as such a file")
    held = read_contents(path)
    if not held:
        raise WeightFileError(f"{path} holds no tensor; save a tensor (tokens, channels) for each shot or frame")
    strange = [
        f"{key} {tuple(value.shape)}" for key, value in held.items() if not _is_embedding(value, alone=len(held) == 1)
    ]
    if strange:
        raise WeightFileError(
            f"{path} holds {some(strange)}; embeddings are (tokens, channels) of finite numbers, one for each shot or "
            "frame"
        )
    if len(held) == 1:
        (only,) = held.values()
        return (only if only.ndim == 3 else only[None]).float()
    numbers = {key: match[1] for key in held if (match := _NUMBER.search(key))}
    unnumbered = [key for key in held if key not in numbers]
    if unnumbered:
        raise WeightFileError(f"{path}: {some(unnumbered)} say no shot or frame; name them by number: 0, 1, …")
    order = sorted(held, key=lambda key: int(numbers[key]))
    if [int(numbers[key]) for key in order] != list(range(len(order))):
        raise WeightFileError(
            f"{path} holds embeddings number {some([numbers[key] for key in order], most=8)}; number them from 0 on "
            "without gaps"
        )
    shapes = {tuple(value.shape) for value in held.values()}
    if len({shape[-2:] for shape in shapes}) != 1:
        raise WeightFileError(
            f"{path} holds embeddings of different sizes, {some([str(shape) for shape in sorted(shapes)])}; all need "
            "as many tokens"
        )
    return torch.stack([held[key].reshape(held[key].shape[-2:]) for key in order]).float()


def _is_embedding(tensor: Tensor, *, alone: bool) -> bool:
    sides = tensor.ndim == 2 or (tensor.ndim == 3 and (alone or len(tensor) == 1))
    return sides and tensor.is_floating_point() and min(tensor.shape) > 0 and bool(tensor.isfinite().all())
