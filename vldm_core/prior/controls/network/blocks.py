"""The building blocks of Stable Diffusion's UNet, under the names of the original checkpoints.

Residual block, spatial transformer and time embedding as in Rombach et al. (arXiv:2112.10752) and their code: GroupNorm
of 32 groups, eps 1e-5 in residual blocks and 1e-6 before transformers, exact GELU with the gate second. They stand here
once, because a control is a copy of parts of the UNet and has to run without either host's classes.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....errors import SettingsError

GROUPS = 32
_RES_EPS, _TRANSFORMER_EPS = 1e-5, 1e-6
_LONGEST_PERIOD = 10000.0

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""How queries (B, heads, n, d) look at keys and values (B, heads, m, d); returns (B, heads, n, d)."""


def attend_to_all(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return scaled dot-product attention over all positions; see `Attend`."""
    return functional.scaled_dot_product_attention(query, key, value)


def timestep_embedding(timesteps: Tensor, channels: int) -> Tensor:
    """Return (B, channels): cosines, then sines, of timesteps (B,) at periods from 2π to 2π · 10 000."""
    half = channels // 2
    falling = torch.arange(half, dtype=torch.float32, device=timesteps.device) / half
    angles = timesteps.float()[:, None] * torch.exp(-math.log(_LONGEST_PERIOD) * falling)
    found = torch.cat([angles.cos(), angles.sin()], dim=1)
    return functional.pad(found, (0, channels % 2))


def time_mlp(channels: int) -> nn.Sequential:
    """Return the layers that follow a `timestep_embedding` of so many channels; they give four times as many."""
    return nn.Sequential(nn.Linear(channels, 4 * channels), nn.SiLU(), nn.Linear(4 * channels, 4 * channels))


class TimedResidualBlock(nn.Module):
    """GroupNorm, SiLU, 3×3 convolution, twice, with the time added between.

    Args:
        channels: Of what comes in.
        out_channels: Of what goes out.
        time_channels: Of the time embedding.
    """

    def __init__(self, channels: int, out_channels: int, time_channels: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, channels, eps=_RES_EPS), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time_channels, out_channels))
        # The third is dropout, which has no weights and no effect here.
        self.out_layers = nn.Sequential(
            nn.GroupNorm(GROUPS, out_channels, eps=_RES_EPS),
            nn.SiLU(),
            nn.Identity(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )
        same = channels == out_channels
        self.skip_connection = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return (B, out_channels, h, w) for x (B, channels, h, w) and time (B, time_channels)."""
        branch = self.in_layers(x) + self.emb_layers(time)[..., None, None]
        return self.skip_connection(x) + self.out_layers(branch)


class Attention(nn.Module):
    """Multi-head attention; without a context to itself.

    Args:
        channels: Of the queries and of what goes out.
        context: Channels of the context.
        heads: How many heads.
    """

    def __init__(self, channels: int, context: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise SettingsError(f"{channels} channels do not divide into {heads} heads")
        self.heads = heads
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(context, channels, bias=False)
        self.to_v = nn.Linear(context, channels, bias=False)
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(
        self, x: Tensor, context: Tensor | None = None, attend: Attend = attend_to_all, *, heads: int | None = None
    ) -> Tensor:
        """Return (B, n, channels) for x (B, n, channels) and a context (B, m, context); `heads` replaces its own."""
        looked = x if context is None else context
        q, k, v = (
            part.unflatten(-1, (heads or self.heads, -1)).transpose(1, 2)
            for part in (self.to_q(x), self.to_k(looked), self.to_v(looked))
        )
        return self.to_out(attend(q, k, v).transpose(1, 2).flatten(2))


class _GatedLinear(nn.Module):
    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 2 * out_channels)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * functional.gelu(gate)


class GatedFeedForward(nn.Module):
    """GEGLU to four times the channels and back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(_GatedLinear(channels, 4 * channels), nn.Identity(), nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, n, channels) for the same."""
        return self.net(x)


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention, feed-forward, each after a LayerNorm and added to what came in."""

    def __init__(self, channels: int, context: int, heads: int) -> None:
        super().__init__()
        self.attn1 = Attention(channels, channels, heads)
        self.ff = GatedFeedForward(channels)
        self.attn2 = Attention(channels, context, heads)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.norm3 = nn.LayerNorm(channels)

    def forward(
        self, x: Tensor, context: Tensor, attend: Attend = attend_to_all, *, heads: int | None = None
    ) -> Tensor:
        """Return (B, n, channels) for x (B, n, channels) and a context (B, m, context)."""
        x = x + self.attn1(self.norm1(x), attend=attend, heads=heads)
        x = x + self.attn2(self.norm2(x), context, attend=attend, heads=heads)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """A transformer over the pixels of a feature map, added to it.

    Args:
        channels: Of the map.
        context: Channels of the context.
        heads: Attention heads.
        linear: Whether the projections are linear layers, as in Stable Diffusion 2.x, or 1×1 convolutions.
        depth: Transformer blocks.
    """

    def __init__(self, channels: int, context: int, heads: int, *, linear: bool, depth: int = 1) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels, eps=_TRANSFORMER_EPS)
        self.proj_in = nn.Linear(channels, channels) if linear else nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList(TransformerBlock(channels, context, heads) for _ in range(depth))
        self.proj_out = nn.Linear(channels, channels) if linear else nn.Conv2d(channels, channels, 1)
        self.linear = linear

    def forward(
        self, x: Tensor, context: Tensor, attend: Attend = attend_to_all, *, heads: int | None = None
    ) -> Tensor:
        """Return (B, channels, h, w) for x (B, channels, h, w) and a context (B, m, context).

        `attend` says how both attentions look; the context of one that does not look everywhere lies on x's grid.
        `heads` replaces its own number, which no file says: a transformer that joins a UNet takes that of the UNet.
        """
        height = x.shape[-2]
        inside = self.norm(x)
        if not self.linear:
            inside = self.proj_in(inside)
        inside = inside.flatten(2).transpose(1, 2)
        if self.linear:
            inside = self.proj_in(inside)
        for block in self.transformer_blocks:
            inside = block(inside, context, attend, heads=heads)
        if self.linear:
            inside = self.proj_out(inside)
        inside = inside.transpose(1, 2).unflatten(2, (height, -1))
        return x + (inside if self.linear else self.proj_out(inside))


class Downsample(nn.Module):
    """A 3×3 convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels, ⌈h/2⌉, ⌈w/2⌉) for (B, channels, h, w)."""
        return self.op(x)
