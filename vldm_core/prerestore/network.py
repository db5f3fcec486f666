"""The pre-restoration network: recurrent over a shot in both directions, aligned by optical flow.

Per frame an encoder goes down to a quarter of the size. There a state travels through the shot, backwards and forwards
(K. C. K. Chan et al., "BasicVSR", CVPR 2021): at every frame it is brought along the flow, mixed with the frame and its
aligned neighbour by attention in windows, whose *queries come from the current frame and keys and values from the
aligned neighbours*, or by a 3-D convolution, and refined by residual blocks. Damage masks and the consistency of the
flow gate what is brought along (`alignment.py`). A decoder then returns to full size through an eighth.

Heads give the picture at 1, 1/2, 1/4 and 1/8 (each is trained against the clean frame of that size, as PASD trains its
degradation-removal encoder, T. Yang et al., ECCV 2024, section 3.2), and a latent at 1/8 that stands in for the
encoder of Stable Diffusion's VAE (`layers/latent_head.py`). Untrained, the pictures equal the input.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import SettingsError
from ..files.networks import NetworkKind
from .alignment import NEARBY_CHANNELS, Alignment, aligned, soundness
from .layers.blocks import (
    FULL_WIDTH,
    SLOPE,
    Double,
    FeedForward,
    Halve,
    ResidualBlock,
    WindowAttention,
    residual_blocks,
)
from .layers.latent_head import SCALE, LatentHead

STATE_SCALE = 4
"""Size of a frame over that of the travelling state."""

_CONTRAST, _APART = 4.0, 8.0
"""Factors that bring pictures and the distance to neighbours to about unit variance."""
_SHARES = 2
"""Planes in which the full picture takes over a share of each neighbour: one before, one after."""
_SHARE_SCALE = 4.0
"""Factor on the shares of the neighbours, which are to grow faster than what is added in grey levels."""
_RESIDUAL = 0.1
"""Factor on what a residual block adds at the start of training: deep stacks begin close to the identity."""


@dataclass(frozen=True, kw_only=True)
class PreRestorerConfig:
    """The shape of the network.

    Attributes:
        widths: Channels at 1/2, 1/4 and 1/8 of the size.
        encoder_blocks: Residual blocks at 1/2 and at 1/4 in the encoder.
        state_blocks: Residual blocks behind every step of the travelling state.
        bottom_blocks: Residual blocks at 1/8.
        decoder_blocks: Residual blocks at 1/4 and at 1/2 in the decoder.
        heads: Attention heads.
        window: Side of the attention windows, in pixels of the features.
        mixing: "attention" in windows, or "conv3d": a 3-D convolution over state, neighbour and frame.
        latent: Whether there is a latent head.
    """

    widths: tuple[int, int, int] = (32, 48, 64)
    encoder_blocks: tuple[int, int] = (1, 2)
    state_blocks: int = 2
    bottom_blocks: int = 2
    decoder_blocks: tuple[int, int] = (1, 2)
    heads: int = 4
    window: int = 8
    mixing: Literal["attention", "conv3d"] = "attention"
    latent: bool = True

    def __post_init__(self) -> None:
        if len(self.widths) != 3 or any(width < 4 or width % self.heads for width in self.widths[1:]):
            raise SettingsError(
                f"pre-restorer widths are {self.widths}; use three numbers, the last two multiples of the heads, "
                f"here {self.heads}"
            )
        counts = (*self.encoder_blocks, self.state_blocks, self.bottom_blocks, *self.decoder_blocks)
        if any(count < 0 for count in counts) or self.heads < 1 or self.window < 2:
            raise SettingsError("pre-restorer blocks must be 0 or more, heads 1 or more, the window 2 or more")
        if self.mixing not in ("attention", "conv3d"):
            raise SettingsError(f"pre-restorer mixing is {self.mixing!r}; use 'attention' or 'conv3d'")


SMALL = PreRestorerConfig()
BASE = PreRestorerConfig(
    widths=(64, 128, 192),
    encoder_blocks=(4, 4),
    state_blocks=6,
    bottom_blocks=6,
    decoder_blocks=(3, 4),
    heads=8,
)


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """What the network makes of frames.

    Attributes:
        pictures: (B, T, 3, H/s, W/s) at s = 1, 2, 4 and 8, RGB, about [0, 1], not clipped.
        latent: (B, T, 4, H/8, W/8), unscaled like the VAE's mean, or None without that head.
        features: (B, T, C, H/s, W/s) at s = 2, 4 and 8, for control branches and the fusion decoder.
    """

    pictures: tuple[Tensor, Tensor, Tensor, Tensor]
    latent: Tensor | None
    features: tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class PreRestored:
    """What the network makes of a stretch of a shot.

    Attributes:
        decoded: Of the frames that were not mere lookahead.
        state: Carry it into the next call to go on with the shot.
    """

    decoded: Decoded
    state: "ShotState"


@dataclass(frozen=True, kw_only=True)
class ShotState:
    """What a shot hands on from one stretch of frames to the next.

    Attributes:
        features: (B, C, H/4, W/4) of its last frame.
        memory: (B, C, H/4, W/4), the forward state behind that frame.
    """

    features: Tensor
    memory: Tensor


class PreRestorer(nn.Module):
    """See the module.

    Args:
        config: Its shape.
    """

    def __init__(self, config: PreRestorerConfig = SMALL) -> None:
        super().__init__()
        self.config = config
        half, quarter, eighth = config.widths
        self.stem = nn.Conv2d(4 * (3 + 1 + NEARBY_CHANNELS), half, 3, padding=1)
        self.encode_half = residual_blocks(half, config.encoder_blocks[0])
        self.to_quarter = Halve(half, quarter)
        self.encode_quarter = residual_blocks(quarter, config.encoder_blocks[1])
        self.backward_step = _Step(config)
        self.forward_step = _Step(config)
        self.merge = nn.Conv2d(3 * quarter, quarter, 1)
        self.to_eighth = Halve(quarter, eighth)
        self.bottom_attention = WindowAttention(eighth, heads=config.heads, window=config.window)
        self.bottom_feed = FeedForward(eighth)
        self.bottom = residual_blocks(eighth, config.bottom_blocks)
        self.from_eighth = Double(eighth, quarter)
        self.decode_quarter = residual_blocks(quarter, config.decoder_blocks[0])
        self.from_quarter = Double(quarter, half)
        self.decode_half = residual_blocks(half, config.decoder_blocks[1])
        self.to_full = nn.Conv2d(half, 4 * FULL_WIDTH, 3, padding=1)
        self.heads = nn.ModuleList(
            nn.Conv2d(width, 3 + (_SHARES if level == 0 else 0), 3, padding=1)
            for level, width in enumerate((FULL_WIDTH, half, quarter, eighth))
        )
        self.latent = LatentHead(eighth, config.bottom_blocks) if config.latent else None
        self.apply(_start)
        for head in self.heads:
            nn.init.zeros_(head.weight)  # type: ignore[arg-type]

    def forward(
        self,
        frames: Tensor,
        masks: Tensor,
        before: Alignment,
        after: Alignment,
        *,
        nearby: Tensor | None = None,
        state: ShotState | None = None,
        lookahead: int = 0,
    ) -> PreRestored:
        """Restore a stretch of a shot.

        Args:
            frames: (B, T, 3, H, W), RGB, [0, 1]; H and W multiples of 8.
            masks: (B, T, H, W), 1 = damaged or repaired.
            before: How frames look their predecessors up: T entries with a state, the first for the frame before the
                stretch; T-1 without one.
            after: How frames 0 … T-2 look their successors up.
            nearby: (B, T, 6, H, W) of `alignment.nearby`; None leaves the neighbours' pixels out.
            state: From the stretch before, or None at the start of a shot.
            lookahead: So many frames at the end only look back from the future; nothing is made of them.

        Raises:
            SettingsError: The shapes do not belong together.
        """
        _check(frames, masks, before, after, state is not None, lookahead)
        if nearby is not None and nearby.shape != (*frames.shape[:2], NEARBY_CHANNELS, *frames.shape[3:]):
            raise SettingsError(f"nearby is {tuple(nearby.shape)}; it does not belong to frames {tuple(frames.shape)}")
        halves, quarters = self.encode(frames, masks, nearby)
        sound = soundness(masks, scale=STATE_SCALE)
        merged, state = self.propagate(quarters, sound, before, after, state=state, lookahead=lookahead)
        made = frames.shape[1] - lookahead
        close = None if nearby is None else nearby[:, :made]
        return PreRestored(decoded=self.decode(frames[:, :made], halves[:, :made], merged, close), state=state)

    def propagate(
        self,
        quarters: Tensor,
        sound: Tensor,
        before: Alignment,
        after: Alignment,
        *,
        state: ShotState | None,
        lookahead: int,
    ) -> tuple[Tensor, ShotState]:
        """Let the state travel through a stretch; see `forward`.

        Args:
            quarters: (B, T, C, H/4, W/4) of `encode`.
            sound: (B, T, H/4, W/4) of `alignment.soundness`: only these features travel.
            before: See `forward`.
            after: See `forward`.
            state: See `forward`.
            lookahead: See `forward`.

        Returns:
            (B, T - lookahead, 3C, H/4, W/4): features, forward state and backward state; and what to go on with.
        """
        length = quarters.shape[1]
        travelling = quarters * sound[:, :, None].to(quarters.dtype)
        future: list[Tensor] = []
        memory: Tensor | None = None
        for t in reversed(range(length)):
            last = t == length - 1
            way = None if last else (after.flow[:, t], after.trust[:, t])
            memory = self.backward_step(travelling[:, t], None if last else travelling[:, t + 1], memory, way)
            future.append(memory)
        future.reverse()

        past: list[Tensor] = []
        memory, neighbour = (None, None) if state is None else (state.memory, state.features)
        for t in range(length - lookahead):
            entry = t if state is not None else t - 1
            way = None if neighbour is None else (before.flow[:, entry], before.trust[:, entry])
            memory = self.forward_step(travelling[:, t], neighbour, memory, way)
            neighbour = travelling[:, t]
            past.append(memory)
        assert memory is not None and neighbour is not None
        made = length - lookahead
        merged = torch.cat((quarters[:, :made], torch.stack(past, 1), torch.stack(future[:made], 1)), dim=2)
        return merged, ShotState(features=neighbour, memory=memory)

    def encode(self, frames: Tensor, masks: Tensor, nearby: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encode frames, each by itself.

        Args:
            frames: (B, T, 3, H, W).
            masks: (B, T, H, W).
            nearby: See `forward`.

        Returns:
            (B, T, C, H/2, W/2) and (B, T, C, H/4, W/4).
        """
        shape = frames.shape[:2]
        if nearby is None:
            nearby = frames.new_zeros(*shape, NEARBY_CHANNELS, *frames.shape[3:])
        seen = torch.cat((_CONTRAST * (frames - 0.5), masks[:, :, None].to(frames), _APART * nearby), dim=2)
        seen = seen.flatten(0, 1)
        half = functional.leaky_relu(self.stem(functional.pixel_unshuffle(seen, 2)), SLOPE, inplace=True)
        half = self.encode_half(half)
        quarter = self.encode_quarter(self.to_quarter(half))
        return half.unflatten(0, shape), quarter.unflatten(0, shape)

    def decode(self, frames: Tensor, halves: Tensor, merged: Tensor, nearby: Tensor | None = None) -> "Decoded":
        """Decode frames, each by itself.

        Args:
            frames: (B, T, 3, H, W).
            halves: (B, T, C, H/2, W/2) of `encode`.
            merged: (B, T, 3C, H/4, W/4): features of `encode`, forward state, backward state.
            nearby: See `forward`.
        """
        shape = frames.shape[:2]
        quarter, eighth = self.decode_coarse(merged.flatten(0, 1))
        half, full = self.decode_fine(quarter, halves.flatten(0, 1))
        source = frames.flatten(0, 1)
        near = None if nearby is None else nearby.flatten(0, 1)
        pictures = [(source + self.change(full, near)).unflatten(0, shape)]
        for level, features in enumerate((half, quarter, eighth), 1):
            picture = functional.avg_pool2d(source, 2**level) + self.heads[level](features)[:, :3]
            pictures.append(picture.unflatten(0, shape))
        latent = None
        if self.latent is not None:
            latent = self.latent(self.latent.seen(pictures[0].flatten(0, 1), eighth)).unflatten(0, shape)
        full_size, second, third, last = pictures
        return Decoded(
            pictures=(full_size, second, third, last),
            latent=latent,
            features=(half.unflatten(0, shape), quarter.unflatten(0, shape), eighth.unflatten(0, shape)),
        )

    def decode_coarse(self, merged: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features (N, C, H/4, W/4) and (N, C, H/8, W/8) of `decode` for merged ones (N, 3C, H/4, W/4)."""
        quarter = self.merge(merged)
        eighth = self.to_eighth(quarter)
        eighth = eighth + self.bottom_attention(eighth, eighth[:, None])
        eighth = self.bottom(eighth + self.bottom_feed(eighth))
        return self.decode_quarter(self.from_eighth(eighth, quarter)), eighth

    def decode_fine(self, quarter: Tensor, halves: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features (N, C, H/2, W/2) and (N, C, H, W) of `decode`.

        They depend on what lies within `fine_reach` pixels, so that a frame can be decoded in parts.

        Args:
            quarter: (N, C, H/4, W/4) of `decode_coarse`.
            halves: (N, C, H/2, W/2) of `encode`.
        """
        half = self.decode_half(self.from_quarter(quarter, halves))
        return half, functional.pixel_shuffle(functional.leaky_relu(self.to_full(half), SLOPE, inplace=True), 2)

    def change(self, full: Tensor, nearby: Tensor | None) -> Tensor:
        """Return what full-size features (N, C, H, W), with `nearby` (N, 6, H, W), add to a picture: (N, 3, H, W)."""
        made = self.heads[0](full)
        added = made[:, :3]
        if nearby is not None:
            shares = _SHARE_SCALE * made[:, 3:, None]
            for share, seen in zip(shares.unbind(1), nearby.unflatten(1, (_SHARES, 3)).unbind(1), strict=True):
                added = torch.addcmul(added, share, seen)
        return added

    @property
    def encode_reach(self) -> int:
        """Pixels on each side that features of `encode` depend on."""
        at_half = 1 + 2 * self.config.encoder_blocks[0] + 1
        return 2 * at_half + 4 * 2 * self.config.encoder_blocks[1]

    @property
    def fine_reach(self) -> int:
        """Pixels on each side that a picture depends on in what `decode_fine` takes."""
        return 2 * (2 * self.config.decoder_blocks[1] + 1) + 1


class _Step(nn.Module):
    """One step of the travelling state."""

    def __init__(self, config: PreRestorerConfig) -> None:
        super().__init__()
        channels = config.widths[1]
        self.mixing = config.mixing
        if config.mixing == "attention":
            self.attention = WindowAttention(channels, heads=config.heads, window=config.window, sources=2)
            self.feed = FeedForward(channels)
        else:
            self.volume = nn.Conv3d(channels, channels, 3, padding=(0, 1, 1))
        self.join = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.refine = residual_blocks(channels, config.state_blocks)

    def forward(
        self, here: Tensor, neighbour: Tensor | None, memory: Tensor | None, way: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        """Return the state at a frame, (B, C, h, w), from its features, those of its neighbour and the state there."""
        if neighbour is None or memory is None or way is None:
            near = travelled = torch.zeros_like(here)
            trust = here.new_zeros(here.shape[0], *here.shape[2:])
        else:
            near, travelled = (aligned(picture, *way) for picture in (neighbour, memory))
            trust = way[1].to(here.dtype)
        if self.mixing == "attention":
            seen = trust[:, None].expand(-1, 2, -1, -1)
            # What is damaged here takes nothing.
            mixed = here + (trust[:, None] > 0) * self.attention(here, torch.stack((near, travelled), 1), seen)
            mixed = mixed + self.feed(mixed)
            del near
        else:
            volume = torch.stack((travelled, near, here), dim=2)
            mixed = here + (trust[:, None] > 0) * self.volume(volume)[:, :, 0]
        joined = self.join(torch.cat((mixed, travelled), dim=1))
        return self.refine(functional.leaky_relu(joined, SLOPE, inplace=True))


def _start(module: nn.Module) -> None:
    """Start values that keep the strength of the signal from layer to layer (K. He et al., ICCV 2015).

    torch's own let it fade, so that the heads see next to nothing and learn for hundreds of steps to see it.
    """
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, a=SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, ResidualBlock):
        # Deep stacks of such blocks start close to the identity.
        with torch.no_grad():
            module.conv2.weight.mul_(_RESIDUAL)


def _check(frames: Tensor, masks: Tensor, before: Alignment, after: Alignment, continued: bool, lookahead: int) -> None:
    count, length, channels, height, width = frames.shape
    if channels != 3 or height % SCALE or width % SCALE:
        raise SettingsError(
            f"the pre-restorer takes RGB frames (B, T, 3, H, W) with sides divisible by {SCALE}, got "
            f"{tuple(frames.shape)}; pad them first"
        )
    if tuple(masks.shape) != (count, length, height, width):
        raise SettingsError(f"masks are {tuple(masks.shape)}; these frames need {(count, length, height, width)}")
    wanted = (length if continued else length - 1, length - 1)
    if (len(before), len(after)) != wanted:
        raise SettingsError(f"{length} frames need {wanted} alignments before and after, got {len(before), len(after)}")
    if not 0 <= lookahead < length:
        raise SettingsError(f"lookahead is {lookahead} of {length} frames; leave at least one frame to restore")


KIND: NetworkKind[PreRestorer] = NetworkKind("vldm.pre_restorer", "pre-restorer", PreRestorer, PreRestorerConfig)
"""How such networks are kept in files."""
