"""Tokens of language beside the prompt's, in every cross-attention of the UNet.

CoSeR appends the tokens that its cognitive encoder reads off a frame to the text of the conditioned pass; the
unconditioned pass has the negative prompt alone. Hosts put both passes into one batch. There the texts of items without
tokens are filled up to the common length, and what fills them is masked; other attachments that work inside a
cross-attention still see the whole batch.

What takes a cross-attention's place without calling it (ComfyUI's `attn2` replacements, such as IP-Adapter's) leaves
no room for the tokens there.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ....errors import SettingsError
from ...unet import UNetView

Tokens = Callable[[int], tuple[Tensor, Tensor] | None]
"""For the size of a batch, B: which items get tokens, (B,) of booleans on the CPU, and tokens for all, (B, L, C).
None is nobody."""

_MASKS = {"encoder_hidden_states": "attention_mask", "context": "mask"}
"""Names under which diffusers and ComfyUI hand the text to a cross-attention: of the mask over it."""

_VALUE = "value"
"""Name under which ComfyUI hands over another text for the values, where a patch made one."""


def cross_attentions(view: UNetView) -> Iterator[nn.Module]:
    """Yield the cross-attention of every block of every transformer."""
    for site in view.of_kind("attn"):
        for block in site.module.transformer_blocks:  # type: ignore[union-attr]
            yield block.attn2  # type: ignore[misc]


def append_tokens(view: UNetView, tokens: Tokens) -> list[RemovableHandle]:
    """Append tokens to the text at every cross-attention until the handles are removed.

    Args:
        view: The UNet.
        tokens: Asked at every cross-attention.
    """

    def before(
        _module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        found = tokens(len(arguments[0]))
        return None if found is None else (arguments, {**named, **_with_tokens(named, *found)})

    return [attention.register_forward_pre_hook(before, with_kwargs=True) for attention in cross_attentions(view)]


def _with_tokens(named: dict[str, Any], chosen: Tensor, tokens: Tensor) -> dict[str, Tensor]:
    """Return the arguments of a cross-attention that change."""
    name = next((name for name in _MASKS if named.get(name) is not None), None)
    if name is None:
        raise SettingsError("CoSeR's tokens need a cross-attention with text; remove what takes the text away")
    text, mask = named[name], named.get(_MASKS[name])
    found = {part: torch.cat([named[part], tokens.to(text)], dim=1) for part in (name, _VALUE) if _has(named, part)}
    if mask is None and bool(chosen.all()):
        return found
    if mask is None:
        mask = text.new_zeros(len(chosen), 1, text.shape[1])
    elif tuple(mask.shape) != (len(chosen), 1, text.shape[1]) or not mask.is_floating_point():
        # Tokens of another control bring a mask of this shape.
        raise SettingsError(
            f"CoSeR's tokens cannot be set beside a mask {tuple(mask.shape)} over the text; remove the text mask"
        )
    hidden = torch.where(chosen, 0.0, torch.finfo(text.dtype).min).to(mask)[:, None, None]
    found[_MASKS[name]] = torch.cat([mask, hidden.expand(-1, -1, tokens.shape[1])], dim=2)
    return found


def _has(named: dict[str, Any], part: str) -> bool:
    return named.get(part) is not None
