"""Building blocks of the pre-restoration network: convolutions, resampling and attention in windows."""

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.1
"""Factor on what is below 0 in the activations of the pre-restorer and the fusion; shipped weights are made for it."""

FULL_WIDTH = 12
"""Channels of the features of both at full size: few, because there are four times as many pixels as anywhere else."""

_LARGEST_PART = 64 << 20
"""Bytes that the scores of attention, or a feed-forward's widest layer, may take at once when nothing is learnt."""
_LARGEST_CACHED_PART = 4 << 20
"""Bytes that the scores may take on a processor: while they stay in its caches, attention takes a fifth less time."""
_HIDDEN = -1e4
"""Added to the score of a key that must not be looked at; finite, so that a window without any key gives no NaN."""


class ResidualBlock(nn.Module):
    """x + conv(act(conv(x))), without normalisation: restoration needs the absolute level.

    B. Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPRW 2017.

    Args:
        channels: Of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        # Deep stacks of such blocks start close to the identity.
        nn.init.normal_(self.conv2.weight, std=0.02 * channels**-0.5)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W) for (N, C, H, W)."""
        return self.conv2(functional.leaky_relu(self.conv1(x), SLOPE, inplace=True)).add_(x)


def residual_blocks(channels: int, count: int) -> nn.Sequential:
    """Return a row of residual blocks."""
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))


class Halve(nn.Module):
    """Half the size: a 3×3 convolution of stride 2.

    Args:
        before: Channels of the input.
        after: Channels of the output.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, after, H/2, W/2) for (N, before, H, W)."""
        return functional.leaky_relu(self.conv(x), SLOPE, inplace=True)


class Double(nn.Module):
    """Twice the size by sub-pixel convolution, joined with what was there before it was halved.

    W. Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel CNN", CVPR 2016.

    Args:
        before: Channels of the small input.
        after: Channels of the output and of the skip connection.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, 4 * after, 1)
        self.join = nn.Conv2d(2 * after, after, 1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return (N, after, 2H, 2W) for x (N, before, H, W) and skip (N, after, 2H, 2W)."""
        larger = functional.pixel_shuffle(functional.leaky_relu(self.conv(x), SLOPE, inplace=True), 2)
        return self.join(torch.cat((larger, skip), dim=1))


class WindowAttention(nn.Module):
    """Multi-head attention inside windows: queries from one picture, keys and values from others at the same places.

    Z. Liu et al., "Swin Transformer", ICCV 2021, with the relative position bias of its equation 4. The residual
    connection is the caller's; the output starts at 0.

    Args:
        channels: Of all pictures.
        heads: Attention heads; a divisor of `channels`.
        window: Side of a window.
        sources: How many pictures give keys and values; each has a position bias of its own.
        shift: Pixels by which the windows are displaced.
    """

    def __init__(self, channels: int, *, heads: int, window: int, sources: int = 1, shift: int = 0) -> None:
        super().__init__()
        self.heads, self.window, self.sources, self.shift = heads, window, sources, shift
        self.query_norm = nn.LayerNorm(channels)
        self.key_norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.bias = nn.Parameter(torch.zeros(sources, heads, (2 * window - 1) ** 2))
        places = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        apart = places[:, :, None] - places[:, None] + window - 1
        self.register_buffer("_index", apart[0] * (2 * window - 1) + apart[1], persistent=False)
        self._index: Tensor

    def forward(self, x: Tensor, others: Tensor, seen: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            x: (N, C, H, W), gives the queries.
            others: (N, sources, C, H, W), give keys and values.
            seen: (N, sources, H, W), 0 … 1: how far a key may be trusted; 0 hides it. None trusts all.

        Returns:
            (N, C, H, W); 0 where a window has no key to look at.
        """
        count, _channels, height, width = x.shape
        if seen is None:
            seen = x.new_ones(count, self.sources, height, width)
        area = self.window**2
        row = count * -(-width // self.window) * self.heads * self.sources * area**2 * x.element_size()
        largest = min(_LARGEST_PART, _LARGEST_CACHED_PART) if x.device.type == "cpu" else _LARGEST_PART
        most = self.window * max(1, largest // row)
        if self.shift or most >= height or torch.is_grad_enabled():
            return self._attend(x, others, seen)
        # Windows know nothing of each other, so a large picture goes through in strips of whole windows.
        result = torch.empty_like(x)
        for top in range(0, height, most):
            rows = slice(top, top + most)
            result[:, :, rows] = self._attend(x[:, :, rows], others[..., rows, :], seen[..., rows, :])
        return result

    def _attend(self, x: Tensor, others: Tensor, seen: Tensor) -> Tensor:
        count, _channels, height, width = x.shape
        queries = self._windows(x[:, None])
        keys = self._windows(others)
        # The padding has the trust 0, so nothing looks at it.
        trust = self._windows(seen[:, :, None].to(x.dtype)).flatten(1)
        query = self.query(self.query_norm(queries[:, 0]))
        key, value = self.key_value(self.key_norm(keys.flatten(1, 2))).chunk(2, dim=-1)
        scores = self._bias() + torch.log(trust.clamp(min=1e-4)).where(trust > 0, _HIDDEN)[:, None, None]
        mixed = functional.scaled_dot_product_attention(
            self._by_head(query), self._by_head(key), self._by_head(value), attn_mask=scores.to(query.dtype)
        )
        mixed = self.out(mixed.transpose(1, 2).flatten(2))
        mixed = mixed * (trust.amax(dim=1) > 0).to(mixed.dtype)[:, None, None]
        return self._picture(mixed, count, height, width)

    def _bias(self) -> Tensor:
        """Position bias, (1, heads, window², sources · window²)."""
        area = self.window**2
        picked = self.bias[:, :, self._index.flatten()].unflatten(2, (area, area))
        return picked.permute(1, 2, 0, 3).flatten(2)[None]

    def _by_head(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def _windows(self, pictures: Tensor) -> Tensor:
        """Cut (N, S, C, H, W) into windows, (N · windows, S, window², C); what lies beyond the picture is 0."""
        count, sources, _channels, height, width = pictures.shape
        side = self.window
        bottom, right = -(height + self.shift) % side, -(width + self.shift) % side
        padded = functional.pad(pictures.flatten(0, 1), (self.shift, right, self.shift, bottom))
        cut = padded.unflatten(3, (-1, side)).unflatten(2, (-1, side)).unflatten(0, (count, sources))
        # (N, S, C, rows, side, columns, side)
        return cut.permute(0, 3, 5, 1, 4, 6, 2).flatten(4, 5).flatten(0, 2)

    def _picture(self, windows: Tensor, count: int, height: int, width: int) -> Tensor:
        """Put windows (N · windows, window², C) together again."""
        side = self.window
        rows, columns = -(-(height + self.shift) // side), -(-(width + self.shift) // side)
        cut = windows.unflatten(0, (count, rows, columns)).unflatten(3, (side, side))
        whole = cut.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)
        return whole[..., self.shift : self.shift + height, self.shift : self.shift + width]


class FeedForward(nn.Module):
    """Two 1×1 layers with a GELU between, on the normalised channels; the output starts at 0.

    Args:
        channels: Of input and output.
        ratio: Width of the hidden layer over that.
    """

    def __init__(self, channels: int, ratio: int = 2) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.wide = nn.Linear(channels, ratio * channels)
        self.narrow = nn.Linear(ratio * channels, channels)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W) for (N, C, H, W), without the residual connection."""
        row = x.shape[0] * x.shape[3] * self.wide.out_features * x.element_size()
        most = max(1, _LARGEST_PART // row)
        if most >= x.shape[2] or torch.is_grad_enabled():
            return self._feed(x)
        result = torch.empty_like(x)
        for top in range(0, x.shape[2], most):
            result[:, :, top : top + most] = self._feed(x[:, :, top : top + most])
        return result

    def _feed(self, x: Tensor) -> Tensor:
        tokens = self.norm(x.permute(0, 2, 3, 1))
        return self.narrow(functional.gelu(self.wide(tokens))).permute(0, 3, 1, 2)
