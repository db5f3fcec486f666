"""Zero-shot recognition: which of several descriptions fits a picture best, by the likeness of CLIP features.

As CLIP does (Radford et al., ICML 2021): every description is put into several sentences, whose features are averaged;
the probability of a description is the softmax of its similarities times CLIP's scale.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...errors import SettingsError
from .features import TextEncoder, batches, checked_features

SCALE = 100.0
"""Factor on similarities that CLIP models learned; all published ones end at 100."""


def encode_texts(texts: Sequence[str], encoder: TextEncoder) -> Tensor:
    """Encode texts in batches; return (N, D) float32 on the CPU, each of length 1."""
    return torch.cat([checked_features(encoder(part), len(part)) for part in batches(texts)])


def encode_choices(choices: Sequence[Sequence[str]], encoder: TextEncoder) -> Tensor:
    """Encode descriptions that are said in several ways.

    Args:
        choices: For every description, one or more sentences.
        encoder: What makes the features.

    Returns:
        (N, D), each of length 1: the direction of the mean over the sentences.
    """
    features = encode_texts([text for sentences in choices for text in sentences], encoder)
    parts = features.split([len(sentences) for sentences in choices])
    return normalize(torch.stack([part.mean(0) for part in parts]), dim=1)


def similarities(frames: Tensor, texts: Tensor) -> Tensor:
    """Return the cosine similarities of frames and texts, (T, N) float64.

    Raises:
        SettingsError: Frames and texts are not in one space.
    """
    frames = checked_features(frames, len(frames))
    if frames.shape[1] != texts.shape[1]:
        raise SettingsError(
            f"frames have features of {frames.shape[1]} numbers and texts of {texts.shape[1]}; take both from the same "
            "CLIP model, with its projections"
        )
    return frames.double() @ texts.double().T


def probabilities(frames: Tensor, texts: Tensor, scale: float = SCALE) -> Tensor:
    """Return how likely each description is: the mean over the frames of the softmax over the descriptions, (N,)."""
    return (similarities(frames, texts) * scale).softmax(1).mean(0)
