"""A trained fusion: what the prior made, brought back into the pre-restoration network.

`fusion.py` mixes two pictures; this network mixes features. At 1/8, 1/4 and 1/2 of the size the pre-restored features
are the queries of attention in windows, and what comes from the prior gives keys and values. What that is, is one of:

- "latent": the prior's clean latent z0, its 4 channels repeated to the width of the features and passed through a
  convolution that starts at zero, at 1/8;
- "decoder": the features of the VAE's decoder on their way up (`DecoderFeatures`), at all three sizes;
- "picture": the decoded picture, encoded again by the pre-restorer's own encoder, at 1/2 and 1/4.

A fidelity weight scales what is added: 0 is the pre-restored picture, bit for bit, 1 all that the network takes over
from the prior. Untrained, every weight gives the pre-restored picture.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import SettingsError
from ..files.networks import NetworkKind
from ..prerestore.layers.blocks import FULL_WIDTH, SLOPE, Double, FeedForward, WindowAttention, residual_blocks
from ..prerestore.layers.latent_head import LATENT_CHANNELS

Source = Literal["latent", "decoder", "picture"]

_LEVELS: Mapping[str, tuple[int, ...]] = {"latent": (2,), "decoder": (0, 1, 2), "picture": (0, 1)}
"""Of the features, at which level there is something from the prior: 0 is 1/2 of the size, 2 is 1/8."""


@dataclass(frozen=True, kw_only=True)
class FusionDecoderConfig:
    """The shape of the network.

    Attributes:
        source: What comes from the prior.
        widths: Channels of the pre-restorer's features at 1/2, 1/4 and 1/8.
        decoder_widths: Channels of the VAE decoder's features at 1/2, 1/4 and 1/8, for the source "decoder".
        blocks: Residual blocks at every size.
        heads: Attention heads.
        window: Side of the attention windows.
    """

    source: Source = "latent"
    widths: tuple[int, int, int] = (32, 48, 64)
    decoder_widths: tuple[int, int, int] = (512, 512, 512)
    blocks: int = 1
    heads: int = 4
    window: int = 8

    def __post_init__(self) -> None:
        if self.source not in get_args(Source):
            raise SettingsError(f"fusion source is {self.source!r}; use one of {', '.join(get_args(Source))}")
        if any(width < 1 or width % self.heads for width in self.widths) or self.widths[2] % LATENT_CHANNELS:
            raise SettingsError(
                f"fusion widths are {self.widths}; use multiples of the {self.heads} heads, the last one of "
                f"{LATENT_CHANNELS}, too"
            )
        if min(self.decoder_widths) < 1 or self.blocks < 0 or self.window < 2:
            raise SettingsError("fusion needs decoder widths of 1 or more, blocks of 0 or more, a window of 2 or more")


class FusionDecoder(nn.Module):
    """See the module.

    Args:
        config: Its shape.
    """

    def __init__(self, config: FusionDecoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or FusionDecoderConfig()
        half, quarter, eighth = config.widths
        self.inward = nn.ModuleDict()
        self.attention = nn.ModuleDict()
        self.feed = nn.ModuleDict()
        for level in _LEVELS[config.source]:
            width = config.widths[level]
            self.inward[str(level)] = _inward(config, level)
            self.attention[str(level)] = WindowAttention(width, heads=config.heads, window=config.window)
            self.feed[str(level)] = FeedForward(width)
        self.bottom = residual_blocks(eighth, config.blocks)
        self.from_eighth = Double(eighth, quarter)
        self.middle = residual_blocks(quarter, config.blocks)
        self.from_quarter = Double(quarter, half)
        self.top = residual_blocks(half, config.blocks)
        self.to_full = nn.Conv2d(half, 4 * FULL_WIDTH, 3, padding=1)
        self.head = nn.Conv2d(FULL_WIDTH, 3, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(
        self,
        picture: Tensor,
        features: tuple[Tensor, Tensor, Tensor],
        prior: Mapping[int, Tensor],
        *,
        weight: float | Tensor = 1.0,
    ) -> Tensor:
        """Fuse frames, each by itself.

        Args:
            picture: (N, 3, H, W), pre-restored, about [0, 1]; H and W multiples of 8.
            features: (N, C, H/s, W/s) at s = 2, 4 and 8 of the pre-restorer.
            prior: From `from_latent`, `from_decoder` or `from_picture`: what comes from the prior, by level.
            weight: Fidelity weight, 0 … 1; one number, or (N,) with one per frame.

        Returns:
            (N, 3, H, W), about [0, 1], not clipped.

        Raises:
            SettingsError: The weight is out of range, or the sizes do not belong together.
        """
        self._check(picture, features, prior, weight)
        share = torch.as_tensor(weight, dtype=picture.dtype, device=picture.device).reshape(-1, 1, 1, 1)
        mixed = []
        for level, own in enumerate(features):
            name = str(level)
            if name in self.attention:
                given = self.inward[name](prior[level].to(own.dtype))
                own = own + share * self.attention[name](own, given[:, None])
                own = own + share * self.feed[name](own)
            mixed.append(own)
        quarter = self.middle(self.from_eighth(self.bottom(mixed[2]), mixed[1]))
        half = self.top(self.from_quarter(quarter, mixed[0]))
        full = functional.leaky_relu(functional.pixel_shuffle(self.to_full(half), 2), SLOPE)
        # Times 0 would still turn -0 into 0 and a broken prior into NaN.
        return torch.where(share > 0, picture + share * self.head(full), picture)

    def _check(
        self,
        picture: Tensor,
        features: tuple[Tensor, Tensor, Tensor],
        prior: Mapping[int, Tensor],
        weight: float | Tensor,
    ) -> None:
        values = torch.as_tensor(weight)
        if not bool(((values >= 0) & (values <= 1)).all()) or values.numel() not in (1, picture.shape[0]):
            raise SettingsError(f"the fidelity weight is {weight}; use 0 … 1, one number or one per frame")
        wanted = {level: (picture.shape[-2] >> level + 1, picture.shape[-1] >> level + 1) for level in range(3)}
        if picture.shape[-2] % 8 or picture.shape[-1] % 8:
            raise SettingsError(f"the picture is {tuple(picture.shape)}; its sides must be divisible by 8")
        for level, own in enumerate(features):
            if tuple(own.shape[1:]) != (self.config.widths[level], *wanted[level]):
                raise SettingsError(
                    f"features {level} are {tuple(own.shape)}; this fusion needs "
                    f"{(len(picture), self.config.widths[level], *wanted[level])} for its picture"
                )
        for level in _LEVELS[self.config.source]:
            needed = (len(picture), self._channels(level), *wanted[level])
            seen = tuple(prior[level].shape) if level in prior else "missing"
            if seen != needed:
                raise SettingsError(
                    f"what the prior gives at level {level} is {seen}; this fusion, trained on the source "
                    f"{self.config.source!r}, needs {needed} for its picture"
                )

    def _channels(self, level: int) -> int:
        """Channels of what comes from the prior."""
        if self.config.source == "latent":
            return LATENT_CHANNELS
        return (self.config.decoder_widths if self.config.source == "decoder" else self.config.widths)[level]


def _inward(config: FusionDecoderConfig, level: int) -> nn.Module:
    """What brings the prior to the width of the features."""
    width = config.widths[level]
    if config.source == "latent":
        convolution = nn.Conv2d(width, width, 1)
        nn.init.zeros_(convolution.weight)
        nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        return nn.Sequential(_Repeat(width // LATENT_CHANNELS), convolution)
    return nn.Conv2d(config.decoder_widths[level] if config.source == "decoder" else width, width, 1)


class _Repeat(nn.Module):
    """Repeat the channels."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat(1, self.times, 1, 1)


def from_latent(latent: Tensor) -> dict[int, Tensor]:
    """Return what the source "latent" gives.

    Args:
        latent: (N, 4, H/8, W/8), the prior's clean latent.
    """
    return {2: latent}


def from_picture(halves: Tensor, quarters: Tensor) -> dict[int, Tensor]:
    """Return what the source "picture" gives: the decoded picture after `PreRestorer.encode`.

    Args:
        halves: (N, C, H/2, W/2).
        quarters: (N, C, H/4, W/4).
    """
    return {0: halves, 1: quarters}


class DecoderFeatures:
    """What a VAE's decoder computes on its way up, caught while it decodes.

    Both layouts are known: diffusers' `AutoencoderKL.decoder`, and that of Stable Diffusion's own code, which ComfyUI
    has. Nothing of the decoder is changed.

    Args:
        decoder: The decoder of a VAE with three doublings.

    Raises:
        SettingsError: Its layout is not known.
    """

    def __init__(self, decoder: nn.Module) -> None:
        self._places = _decoder_places(decoder)

    @contextmanager
    def caught(self) -> Iterator[dict[int, Tensor]]:
        """Catch what is computed inside the block; the dictionary is filled by decoding, frames one after the other."""
        parts: dict[int, list[Tensor]] = {level: [] for level in self._places}
        found: dict[int, Tensor] = {}

        def keep(level: int, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
            parts[level].append(output.detach())
            found[level] = parts[level][0] if len(parts[level]) == 1 else torch.cat(parts[level])

        handles = [module.register_forward_hook(partial(keep, level)) for level, module in self._places.items()]
        try:
            yield found
        finally:
            for handle in handles:
                handle.remove()


def _decoder_places(decoder: nn.Module) -> dict[int, nn.Module]:
    """The modules whose output has 1/2, 1/4 and 1/8 of the size of the picture."""
    modules = dict(decoder.named_modules())
    layouts = (
        {2: "mid_block", 1: "up_blocks.0", 0: "up_blocks.1"},
        {2: "mid.block_2", 1: "up.3.upsample", 0: "up.2.upsample"},
    )
    for names in layouts:
        if all(name in modules for name in names.values()):
            return {level: modules[name] for level, name in names.items()}
    raise SettingsError(f"{type(decoder).__name__} is not a VAE decoder of Stable Diffusion's shape")


KIND: NetworkKind[FusionDecoder] = NetworkKind(
    "vldm.fusion_decoder", "fusion decoder", FusionDecoder, FusionDecoderConfig
)
"""How such networks are kept in files."""
