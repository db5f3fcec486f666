"""Tokens of language beside the prompt's, in every cross-attention of the UNet.

CoSeR appends the tokens that its cognitive encoder reads off a frame to the text of the conditioned pass; the
unconditioned pass has the negative prompt alone. Hosts put both passes into one batch, whose texts then differ in
length. So at each cross-attention the items with tokens go through the module, and the others through its `forward`
behind it; nothing is padded, and nothing is computed twice.

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
"""For the size of a batch: which items get tokens, (B,) of booleans on the CPU, and theirs (items, L, C); None for
nobody."""

_TEXTS = ("encoder_hidden_states", "context", "value")
"""Names under which diffusers and ComfyUI hand the text to a cross-attention."""

_MASKS = ("attention_mask", "mask")


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
    handles: list[RemovableHandle] = []
    for attention in cross_attentions(view):
        pair = _Pair(tokens)
        handles.append(attention.register_forward_pre_hook(pair.before, with_kwargs=True))
        handles.append(attention.register_forward_hook(pair.after))
    return handles


class _Pair:
    """The two hooks of one cross-attention; between them lie the items that get no tokens."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._apart: tuple[Tensor, Tensor, Tensor, dict[str, Any]] | None = None

    def before(
        self, _module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self._apart = None
        (x,) = arguments
        found = self._tokens(len(x))
        if found is None:
            return None
        chosen, tokens = found
        texts = {name: named[name] for name in _TEXTS if named.get(name) is not None}
        if not texts or any(named.get(name) is not None for name in _MASKS):
            raise SettingsError(
                "CoSeR's tokens need a cross-attention with text and without a mask over it; remove the text mask"
            )
        # As numbers, because a device would have to be waited for to learn how many a mask chooses.
        first, others = (rows.nonzero().flatten().to(x.device) for rows in (chosen, ~chosen))
        with_tokens = {name: torch.cat([text[first], tokens.to(text)], dim=1) for name, text in texts.items()}
        if len(others):
            self._apart = first, others, x[others], {**named, **{name: text[others] for name, text in texts.items()}}
        return (x[first],), {**named, **with_tokens}

    def after(self, module: nn.Module, _arguments: Any, output: Tensor) -> Tensor:
        if self._apart is None:
            return output
        first, others, x, named = self._apart
        self._apart = None
        whole = output.new_empty(len(first) + len(others), *output.shape[1:])
        whole[first] = output
        whole[others] = module.forward(x, **named)
        return whole
