"""One conditioning per shot, laid out over the frames of a clip.

What a prior is told about a frame is the encoding of its shot, the very same numbers for every frame of the shot; it
changes exactly at a cut and is mixed nowhere. A clip with one prompt keeps a single item, which serves any number of
frames and costs no memory; only where shots differ is there an item per frame.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import SettingsError
from ...video.shots import Shot, covering_shots
from ...wording import counted


def over_frames(values: Sequence[Tensor], shots: Sequence[Shot]) -> Tensor:
    """Give every frame the value of its shot.

    Args:
        values: One (1, …) per shot, all of one shape; shots with one prompt may share a tensor.
        shots: Shots that cover the clip in order.

    Returns:
        (T, …), one item per frame; or (1, …), for all frames, where every shot has the same value.

    Raises:
        SettingsError: There is not one value per shot, or their shapes differ.
    """
    spans = covering_shots(shots, shots[-1].last if shots else 0)
    if len(values) != len(spans):
        raise SettingsError(f"{counted(len(spans), 'shot')} need as many values; got {len(values)}")
    shapes = {tuple(value.shape) for value in values}
    if len(shapes) > 1 or any(value.ndim == 0 or value.shape[0] != 1 for value in values):
        listed = ", ".join(map(str, sorted(shapes)))
        raise SettingsError(f"the shots' values must be (1, …) and of one shape; got {listed}")
    if one_for_all(values):
        return values[0]
    laid = torch.empty(spans[-1].last, *values[0].shape[1:], dtype=values[0].dtype, device=values[0].device)
    for value, shot in zip(values, spans, strict=True):
        laid[shot.first : shot.last] = value
    return laid


def one_for_all(values: Sequence[Tensor]) -> bool:
    """Tell whether every shot has the same value, bit for bit."""
    return all(value is values[0] or torch.equal(value, values[0]) for value in values)


def equally_long(tokens: Sequence[Tensor]) -> list[Tensor]:
    """Bring token sequences to one length.

    A sequence is repeated as a whole, to the least common multiple of the lengths: attention over a sequence and over
    whole repetitions of it gives the same, because every key counts the same number of times.

    Args:
        tokens: One (1, L, C) per shot; L may differ.

    Returns:
        Sequences (1, L', C); those of the right length are handed through, and equal objects stay one object.

    Raises:
        SettingsError: Something is no token sequence, or the widths C differ.
    """
    if any(sequence.ndim != 3 or sequence.shape[0] != 1 or sequence.shape[1] == 0 for sequence in tokens):
        shapes = ", ".join(str(tuple(sequence.shape)) for sequence in tokens)
        raise SettingsError(f"a prompt's encoding is (1, tokens, width); got {shapes}")
    if len(widths := {sequence.shape[2] for sequence in tokens}) > 1:
        raise SettingsError(f"the prompts are encoded {sorted(widths)} wide; encode all with the same text encoder")
    length = math.lcm(*(sequence.shape[1] for sequence in tokens))
    made: dict[int, Tensor] = {}
    for sequence in tokens:
        if id(sequence) not in made:
            times = length // sequence.shape[1]
            made[id(sequence)] = sequence if times == 1 else sequence.repeat(1, times, 1)
    return [made[id(sequence)] for sequence in tokens]
