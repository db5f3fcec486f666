"""Self-attention over the frames of a clip, one sequence per pixel: the core of every temporal layer here.

Tokens are laid out (frames, pixels, channels). The projections then are single large matrix products on contiguous
memory, the product before and the one after the tokens can read and write (channels, pixels) pictures directly
(`tokens_from` and `add_tokens`), and the attention kernel steps over frames by stride, so no picture is transposed by
copy.

The affine part of the LayerNorm's shift and the positional encoding need no pass of their own: for the normalised
token n, scale g, shift b and encoding p of a frame, W(g·n + b + p) = W(g·n) + W(b + p), and the second term is one bias
row per frame. It costs 1/pixels of the projection and is formed anew on every call, so there is no stored product that
could outlive a change of the weights.

Clips longer than a window are attended to in overlapping windows whose outputs are crossfaded (FreeNoise, Qiu et al.,
arXiv:2310.15169): queries, keys and values are formed once for all frames, and positions restart in every window.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...errors import SettingsError

CPU_TOKENS = 1024
"""Tokens that a CPU works on at a time: enough for full speed of the matrix products, few enough for its cache."""

CHUNK_BYTES = 64 * 2**20
"""Largest size of one intermediate of a chunk on any other device."""

FEW_PIXELS = 256
"""Pictures smaller than this are transposed by copy: a matrix product per frame would read the weights too often."""

MOST_PIXELS = 32768
"""Sequences per attention call; CUDA kernels take at most 65535."""


@dataclass(frozen=True, kw_only=True)
class AttentionWindows:
    """How frames of a long clip see each other.

    Attributes:
        length: Frames per window. A clip of no more frames is one window, which is plain attention.
        stride: Frames from the start of one window to the next; below `length`, so that windows overlap.
    """

    length: int = 16
    stride: int = 4

    def __post_init__(self) -> None:
        if self.length < 2:
            raise SettingsError(f"attention windows need at least 2 frames; got length {self.length}")
        if not 1 <= self.stride < self.length:
            raise SettingsError(
                f"the stride of attention windows must be between 1 and length - 1 = {self.length - 1} so that windows "
                f"overlap; got {self.stride}"
            )

    def spans(self, frames: int) -> tuple[tuple[int, int], ...]:
        """Return (first, last) of every window over a clip, last exclusive; the last one ends with the clip."""
        if frames <= self.length:
            return ((0, frames),)
        starts = [*range(0, frames - self.length, self.stride), frames - self.length]
        return tuple((start, start + self.length) for start in starts)


def pyramid(length: int) -> list[int]:
    """Return the crossfade weights 1, 2, …, 2, 1 of a window."""
    return [min(position + 1, length - position) for position in range(length)]


def sinusoids(positions: int, channels: int) -> Tensor:
    """Return the sinusoidal positional encoding (positions, channels).

    Channel 2i holds sin(position · 10000^(-2i/channels)), channel 2i + 1 the cosine (Vaswani et al., arXiv:1706.03762).
    """
    position = torch.arange(positions, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, channels, 2, dtype=torch.float32) * (-math.log(10000.0) / channels))
    table = torch.empty(positions, channels)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate)
    return table


class TemporalSelfAttention(nn.Module):
    """LayerNorm, attention over frames, output projection; the caller adds the residual.

    Args:
        channels: Width C of the tokens.
        heads: Attention heads; divides `channels`.
        positions: Longest sequence that the sinusoidal encoding covers; 0 for none.

    Raises:
        SettingsError: The heads do not divide the channels.
    """

    def __init__(self, channels: int, heads: int, *, positions: int = 0) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise SettingsError(f"{heads} attention heads do not divide {channels} channels")
        self.heads = heads
        self.norm = nn.LayerNorm(channels)
        self.to_qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.to_out = nn.Linear(channels, channels)
        self.positions: Tensor | None
        self.register_buffer("positions", sinusoids(positions, channels) if positions else None)

    def shift(self, frames: int) -> Tensor:
        """Return what LayerNorm's shift and the positions add to queries, keys and values: (1 or frames, 3C)."""
        rows = self.norm.bias[None]
        if self.positions is not None:
            rows = rows + self.positions[:frames].to(rows)
        return functional.linear(rows, self.to_qkv.weight)

    def forward(
        self,
        tokens: Tensor,
        shift: Tensor,
        *,
        windows: AttentionWindows | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Attend over frames.

        Args:
            tokens: (F, P, C).
            shift: From `shift`, for the frames of the longest window. An argument because it is the same for all
                pixels, which come in chunks.
            windows: Windows; None attends over all frames at once.
            bias: (heads, f, f) added to the attention logits, f the frames of a window.

        Returns:
            (F, P, C), without the residual.
        """
        spans = ((0, tokens.shape[0]),) if windows is None else windows.spans(tokens.shape[0])
        normalised = functional.layer_norm(tokens, tokens.shape[-1:], self.norm.weight, None, self.norm.eps)
        qkv = self.to_qkv(normalised)
        if len(spans) == 1:
            return self.to_out(self._attend(qkv.add_(shift[:, None]), bias))
        fused = torch.zeros_like(normalised)
        total = torch.zeros(tokens.shape[0], 1, 1, dtype=tokens.dtype, device=tokens.device)
        for first, last in spans:
            weight = torch.tensor(pyramid(last - first), dtype=tokens.dtype, device=tokens.device)[:, None, None]
            fused[first:last] += weight * self._attend(qkv[first:last] + shift[:, None], bias)
            total[first:last] += weight
        return self.to_out(fused / total)

    def _attend(self, qkv: Tensor, bias: Tensor | None) -> Tensor:
        """Attend over frames with queries, keys and values (f, P, 3C); returns (f, P, C)."""
        query, key, value = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 1, 3, 0, 4)
        mask = None if bias is None else bias[None].to(query.dtype)
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return attended.permute(2, 0, 1, 3).flatten(2)


def tokens_from(pictures: Tensor, projection: nn.Linear) -> Tensor:
    """Project pictures (F, C, h, w) to tokens (F, h·w, C')."""
    flat = pictures.flatten(2).transpose(1, 2)
    if flat.shape[1] < FEW_PIXELS:
        return projection(flat.contiguous())
    weight = projection.weight.t().expand(flat.shape[0], -1, -1)
    if projection.bias is None:
        return torch.bmm(flat, weight)
    return torch.baddbmm(projection.bias, flat, weight)


def add_tokens(pictures: Tensor, tokens: Tensor, projection: nn.Linear, *, strength: Tensor | float = 1.0) -> Tensor:
    """Return pictures (F, C, h, w) + strength · projection(tokens (F, h·w, C')).

    Args:
        pictures: What to add to; left as it is.
        tokens: Tokens.
        projection: Its output width is C.
        strength: One factor, or one per frame (F,).
    """
    if isinstance(strength, Tensor):
        strength = strength.to(tokens)[:, None, None]
        if projection.bias is not None:
            pictures = pictures + (strength * projection.bias)[:, 0, :, None, None]
        tokens, alpha = tokens * strength, 1.0
    else:
        if projection.bias is not None:
            pictures = pictures + (strength * projection.bias)[:, None, None]
        alpha = strength
    flat = pictures.flatten(2)
    if flat.shape[2] < FEW_PIXELS:
        added = functional.linear(tokens, projection.weight).transpose(1, 2)
        return torch.add(flat, added, alpha=alpha).view_as(pictures)
    weight = projection.weight.expand(tokens.shape[0], -1, -1)
    return torch.baddbmm(flat, weight, tokens.transpose(1, 2), alpha=alpha).view_as(pictures)


def over_pixels(tokens: Tensor, width: int, block: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a block whose pixels do not see each other, some pixels at a time.

    Args:
        tokens: (F, P, C). Overwritten where no gradient is recorded; with gradients every intermediate is kept
            anyway, and the block runs once.
        width: Channels of the block's widest intermediate.
        block: (F, p, C) -> (F, p, C).

    Returns:
        (F, P, C).
    """
    if torch.is_grad_enabled():
        return block(tokens)
    frames, pixels, _ = tokens.shape
    step = pixels_at_a_time(frames, width, tokens.element_size(), on_cpu=tokens.device.type == "cpu")
    for first in range(0, pixels, step):
        part = tokens[:, first : first + step]
        part.copy_(block(part))
    return tokens


def pixels_at_a_time(frames: int, width: int, element_size: int, *, on_cpu: bool) -> int:
    """Return how many pixels a chunk may hold so that no intermediate is larger than the budget; at least 1."""
    tokens = CHUNK_BYTES // (width * element_size)
    if on_cpu:
        tokens = min(tokens, CPU_TOKENS)
    return max(1, min(tokens // frames, MOST_PIXELS))
