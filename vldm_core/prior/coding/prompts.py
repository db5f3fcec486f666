"""Prompts to text features by transformers' CLIP, one for all shots or one for each."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import SettingsError
from ...video.shots import Shot
from ...wording import counted

_LOG = logging.getLogger(__name__)


def prompt_of_each(texts: str | Sequence[str], shots: Sequence[Shot], what: str) -> tuple[str, ...]:
    """Return one text, or one per shot.

    Raises:
        SettingsError: There are as many texts neither as shots nor as one; `what` names them.
    """
    if isinstance(texts, str):
        return (texts,)
    if len(texts) != len(shots) or not all(isinstance(text, str) for text in texts):
        raise SettingsError(
            f"got {counted(len(texts), what)} for {counted(len(shots), 'shot')}; give one for all or one for each"
        )
    return tuple(texts)


def text_features(texts: Sequence[str], tokenizer: Any, text_encoder: Any, device: torch.device) -> list[Tensor]:
    """Read texts.

    Args:
        texts: As the tokenizer takes them.
        tokenizer: transformers' `CLIPTokenizer`.
        text_encoder: transformers' `CLIPTextModel`.
        device: Where it runs.

    Returns:
        (L, C) for each.
    """
    length = tokenizer.model_max_length
    tokens = tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    for text, ids in zip(texts, tokenizer(texts).input_ids, strict=True):
        if len(ids) > length:
            _LOG.warning("a prompt has %d tokens, %d are read: %s", len(ids), length, text)
    masked = getattr(text_encoder.config, "use_attention_mask", False)
    attention = tokens.attention_mask.to(device) if masked else None
    return list(text_encoder(tokens.input_ids.to(device), attention_mask=attention)[0])


def of_frames(features: Sequence[Tensor], shots: Sequence[Shot]) -> Tensor:
    """Return (1, L, C) for the features of one text, (T, L, C) for one per shot."""
    if len(features) == 1:
        return features[0][None]
    return torch.cat([each.expand(len(shot), -1, -1) for each, shot in zip(features, shots, strict=True)])
