"""Temporal layers that turn an image prior into a video prior: VideoLDM (Blattmann et al., arXiv:2304.08818).

After every residual block of the UNet follows a temporal convolution, after every spatial transformer an attention over
frames. The layers of the image model stay frozen. A temporal layer l is mixed with what it follows,

    out = (1 - α)·x + α·l(x),   α = sigmoid(m),   l(x) = x + r(x),

so out = x + α·r(x). The last projection of r starts at zero: new layers are the identity, and yet every parameter gets
a gradient by the second step (the last projection at once, the rest as soon as it has moved). Published variants that
start with a weight of exactly one on x give the temporal layers no gradient at all.

Normalisation is per frame, so that a frame's flicker does not leak into its neighbours' statistics. Attention sees
distances instead of positions, by a learnt bias per head that is constant beyond a largest distance; so it runs on
clips of any length and does not depend on where in a clip a frame lies.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...errors import SettingsError
from ..attachment import Attachment, Change
from ..call import UNetCall
from ..unet import UNetView
from .attention import FEW_PIXELS, AttentionWindows, TemporalSelfAttention, over_pixels

GROUPS = 32


@dataclass(frozen=True, kw_only=True)
class TemporalConfig:
    """Shape of a set of temporal layers.

    Attributes:
        convolutions: (site, channels) of every temporal convolution; sites are `Site.name`, such as "down.0.1.res".
        attentions: (site, channels) of every temporal attention.
        heads: Attention heads; divides the channels.
        kernel: Frames that a temporal convolution sees; odd.
        max_distance: Distance in frames from which on the attention bias is constant.
    """

    convolutions: tuple[tuple[str, int], ...]
    attentions: tuple[tuple[str, int], ...]
    heads: int = 8
    kernel: int = 3
    max_distance: int = 32

    def __post_init__(self) -> None:
        if not self.convolutions and not self.attentions:
            raise SettingsError("temporal layers need at least one place; got no convolutions and no attentions")
        names = [name for name, _ in self.layers()]
        if len(set(names)) != len(names):
            raise SettingsError("a place may have one temporal layer only; a name is given twice")
        for name, channels in self.layers():
            if channels < 1 or channels % GROUPS:
                raise SettingsError(f"temporal layers need a multiple of {GROUPS} channels; {name} has {channels}")
        if self.heads < 1 or any(channels % self.heads for _, channels in self.attentions):
            raise SettingsError(f"{self.heads} heads do not divide the channels of every temporal attention")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise SettingsError(f"the temporal kernel must be odd and positive; got {self.kernel}")
        if self.max_distance < 1:
            raise SettingsError(f"max_distance must be at least 1 frame; got {self.max_distance}")

    @classmethod
    def for_unet(
        cls, view: UNetView, *, heads: int = 8, kernel: int = 3, max_distance: int = 32, attention: bool = True
    ) -> "TemporalConfig":
        """Return the shape of layers after every residual block and, with `attention`, every spatial transformer."""
        return cls(
            convolutions=tuple((site.name, site.channels) for site in view.of_kind("res")),
            attentions=tuple((site.name, site.channels) for site in view.of_kind("attn")) if attention else (),
            heads=heads,
            kernel=kernel,
            max_distance=max_distance,
        )

    def layers(self) -> tuple[tuple[str, int], ...]:
        """Return (site, channels) of all layers."""
        return self.convolutions + self.attentions


class TemporalConvolution(nn.Module):
    """A convolution over frames alone, `nn.Conv3d` with kernel (k, 1, 1) and zeros beyond the ends of the clip.

    The k frames around a frame lie one behind the other in memory, so seen with overlapping strides a clip already is
    the matrix that an ordinary convolution would first have to copy together, and one batched product does the rest.

    Attributes:
        weight: (out, k, in), contiguous: `nn.Conv3d`'s (out, in, k, 1, 1) with its axes moved.
        bias: (out,).
    """

    def __init__(self, channels: int, kernel: int, *, zero: bool = False) -> None:
        super().__init__()
        self.kernel = kernel
        bound = 0.0 if zero else (channels * kernel) ** -0.5
        self.weight = nn.Parameter(torch.empty(channels, kernel, channels).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))

    def forward(self, clip: Tensor) -> Tensor:
        """Convolve (F, C, h, w) over frames."""
        frames, channels = clip.shape[:2]
        margin = self.kernel // 2
        padded = functional.pad(clip.flatten(1), (0, 0, margin, margin)).view((frames + 2 * margin) * channels, -1)
        columns = padded.unfold(0, self.kernel * channels, channels)
        weight = self.weight.flatten(1)
        if columns.shape[1] < FEW_PIXELS:
            out = functional.linear(columns.contiguous(), weight, self.bias).transpose(1, 2)
        else:
            out = torch.baddbmm(self.bias[:, None], weight.expand(frames, -1, -1), columns.transpose(1, 2))
        return out.unflatten(2, clip.shape[2:])


class TemporalResidual(nn.Module):
    """r(x) after a residual block: twice GroupNorm per frame, SiLU, temporal convolution; the last starts at zero."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(GROUPS, channels)
        self.conv1 = TemporalConvolution(channels, kernel)
        self.norm2 = nn.GroupNorm(GROUPS, channels)
        self.conv2 = TemporalConvolution(channels, kernel, zero=True)

    def forward(self, clip: Tensor, windows: AttentionWindows | None) -> Tensor:
        """Return r (F, C, h, w) of a clip of the same shape; convolutions need no windows."""
        hidden = self.conv1(functional.silu(self.norm1(clip)))
        return self.conv2(functional.silu(self.norm2(hidden)))


class RelativePositionBias(nn.Module):
    """A learnt attention bias per head and distance in frames.

    As in T5 (Raffel et al., arXiv:1910.10683) the bias is added to the logits and shared beyond a largest distance; the
    distances below it are all told apart.
    """

    def __init__(self, heads: int, max_distance: int) -> None:
        super().__init__()
        self.max_distance = max_distance
        self.table = nn.Parameter(torch.zeros(heads, 2 * max_distance + 1))

    def forward(self, frames: int) -> Tensor:
        """Return (heads, frames, frames): what a row's frame adds to the logit of a column's frame."""
        position = torch.arange(frames, device=self.table.device)
        distance = (position[None] - position[:, None]).clamp(-self.max_distance, self.max_distance)
        return self.table[:, distance + self.max_distance]


class TemporalAttention(nn.Module):
    """r(x) after a spatial transformer: attention over frames, its output projection starting at zero."""

    def __init__(self, channels: int, heads: int, max_distance: int) -> None:
        super().__init__()
        self.distance = RelativePositionBias(heads, max_distance)
        self.attention = TemporalSelfAttention(channels, heads)
        nn.init.zeros_(self.attention.to_out.weight)
        nn.init.zeros_(self.attention.to_out.bias)

    def forward(self, clip: Tensor, windows: AttentionWindows | None) -> Tensor:
        """Return r (F, C, h, w) of a clip of the same shape."""
        frames, channels = clip.shape[:2]
        longest = frames if windows is None else min(frames, windows.length)
        shift, bias = self.attention.shift(longest), self.distance(longest)
        tokens = clip.flatten(2).transpose(1, 2).contiguous()
        tokens = over_pixels(tokens, 3 * channels, lambda part: self.attention(part, shift, windows=windows, bias=bias))
        return tokens.transpose(1, 2).unflatten(2, clip.shape[2:])


class MixedLayer(nn.Module):
    """A temporal layer and how much of it is mixed in.

    Attributes:
        layer: r.
        mix: m; a scalar, 0 mixes half.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.mix = nn.Parameter(torch.zeros(()))

    def forward(self, clip: Tensor, *, windows: AttentionWindows | None = None, strength: float = 1.0) -> Tensor:
        """Return x + strength·α·r(x) of a clip x (F, C, h, w)."""
        x = clip.to(self.mix.dtype)
        return torch.addcmul(x, torch.sigmoid(self.mix), self.layer(x, windows), value=strength).to(clip.dtype)


class TemporalLayers(Attachment):
    """All temporal layers of a UNet.

    Args:
        config: Their shape.
        windows: Attention windows for segments longer than their length; None attends over whole segments.
        strength: Factor on what every layer adds; 0 switches the attachment off, 1 is what was trained.
        layers: Layers to share with another attachment; None makes new ones, which change nothing until trained.

    Raises:
        SettingsError: The strength is out of range.
    """

    def __init__(
        self,
        config: TemporalConfig,
        *,
        windows: AttentionWindows | None = None,
        strength: float = 1.0,
        layers: nn.ModuleDict | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= strength <= 10:
            raise SettingsError(f"the strength of temporal layers must be between 0 and 10; got {strength}")
        self.config = config
        self.windows = windows
        self.strength = strength
        self.layers = nn.ModuleDict(dict(_new_layers(config))) if layers is None else layers

    def configured(self, *, windows: AttentionWindows | None = None, strength: float = 1.0) -> "TemporalLayers":
        """Return an attachment that uses the same weights in another way."""
        return TemporalLayers(self.config, windows=windows, strength=strength, layers=self.layers)

    def changes(self, view: UNetView) -> Iterable[tuple[nn.Module, Change]]:
        """Hook every residual block and spatial transformer that has a layer.

        Raises:
            SettingsError: The UNet lacks a place or has other channels there.
        """
        check_fit(self.config, view)
        return [
            (view[name].module, self._change(self.layers[name.replace(".", "_")])) for name, _ in self.config.layers()
        ]

    def _change(self, layer: nn.Module) -> Change:
        def change(batch: Tensor, call: UNetCall) -> Tensor:
            if self.strength == 0:
                return batch
            parts = [
                layer(part, windows=self.windows, strength=self.strength)
                for clip in call.clips(batch)
                for part in (clip[first:last] for first, last in call.segments)
            ]
            return parts[0] if len(parts) == 1 else torch.cat(parts)

        return change


def check_fit(config: TemporalConfig, view: UNetView) -> None:
    """Check that temporal layers of this shape fit a UNet.

    Raises:
        SettingsError: The UNet lacks a place or has other channels there.
    """
    for name, channels in config.layers():
        site = view.sites.get(name)
        if site is None or site.channels != channels:
            found = "has no such place" if site is None else f"has {site.channels} there"
            raise SettingsError(
                f"the temporal layer of {name!r} has {channels} channels, but the UNet {found}; "
                "temporal layers fit UNets of the shape they were made for"
            )


def _new_layers(config: TemporalConfig) -> Iterator[tuple[str, nn.Module]]:
    for name, channels in config.convolutions:
        yield name.replace(".", "_"), MixedLayer(TemporalResidual(channels, config.kernel))
    for name, channels in config.attentions:
        yield (
            name.replace(".", "_"),
            MixedLayer(TemporalAttention(channels, config.heads, config.max_distance)),
        )
