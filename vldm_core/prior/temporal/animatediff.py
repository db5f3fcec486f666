"""AnimateDiff's motion modules, versions 1 to 3, as an attachment (Guo et al., arXiv:2307.04725).

A motion module is a small transformer over frames after every layer of the UNet: GroupNorm per frame, projection, two
temporal self-attentions with sinusoidal positions, a gated feed-forward, projection, residual. The versions share that
network. They differ in the longest clip (24 frames in version 1, 32 later), in a module in the middle of the UNet
(version 2 only), and in the UNet around them: version 1 was trained with residual blocks whose GroupNorms take their
statistics over all frames of the clip together, which this attachment reproduces with hooks.

Sampling: the published modules were trained with the linear beta schedule (0.00085 to 0.012), not scaled-linear.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...errors import SettingsError
from ..attachment import Attached, Attachment, Change
from ..call import UNetCall
from ..unet import UNetView
from ..unet_families import check_motion_family
from .attention import AttentionWindows, TemporalSelfAttention, add_tokens, over_pixels, tokens_from

MotionVersion = Literal["v1", "v2", "v3"]

HEADS = 8
GROUPS = 32
MIDDLE = "mid"


@dataclass(frozen=True, kw_only=True)
class MotionConfig:
    """Shape of a set of motion modules.

    Attributes:
        version: "v1", "v2" or "v3".
        channels: (layer, channels) per module; layers are `Site.layer` names such as "down.0.1", "mid", "up.3.2".
        positions: Longest sequence of frames that the positional encoding covers.
        heads: Attention heads of every module.
    """

    version: MotionVersion
    channels: tuple[tuple[str, int], ...]
    positions: int
    heads: int = HEADS

    def __post_init__(self) -> None:
        if self.version not in ("v1", "v2", "v3"):
            raise SettingsError(f"motion modules have versions v1, v2 and v3; got {self.version!r}")
        if not self.channels:
            raise SettingsError("a set of motion modules needs at least one module")
        if self.positions < 1:
            raise SettingsError(f"the positional encoding must cover at least one frame; got {self.positions}")

    @classmethod
    def published(
        cls, version: MotionVersion, widths: Iterable[int] = (320, 640, 1280, 1280), *, heads: int = HEADS
    ) -> "MotionConfig":
        """Return the shape of the published files, for a UNet with these widths per level."""
        widths = tuple(widths)
        channels = [(f"down.{level}.{i}", width) for level, width in enumerate(widths) for i in range(2)]
        if version == "v2":
            channels.append((MIDDLE, widths[-1]))
        channels += [(f"up.{level}.{i}", width) for level, width in enumerate(reversed(widths)) for i in range(3)]
        return cls(version=version, channels=tuple(channels), positions=24 if version == "v1" else 32, heads=heads)


@dataclass(frozen=True, kw_only=True)
class MotionModuleSettings:
    """How motion modules are used.

    Attributes:
        strength: Factor on what every module adds; 0 switches the attachment off, 1 is the published behaviour.
        frame_strengths: Further factor per frame of the clip, or None.
        windows: Attention windows for segments longer than their length; None attends over a whole segment at once,
            which cannot be longer than the positional encoding.
    """

    strength: float = 1.0
    frame_strengths: tuple[float, ...] | None = None
    windows: AttentionWindows | None = AttentionWindows()

    def __post_init__(self) -> None:
        factors = (self.strength, *(self.frame_strengths or ()))
        wrong = [factor for factor in factors if not 0 <= factor <= 10]
        if wrong:
            raise SettingsError(f"motion strengths must be between 0 and 10; got {wrong[0]}")

    @property
    def off(self) -> bool:
        """Whether the modules change nothing."""
        return self.strength == 0 or (self.frame_strengths is not None and not any(self.frame_strengths))

    def strengths(self, frames: tuple[int, ...]) -> list[float] | None:
        """Return one factor per frame of a call, or None where `strength` is all there is.

        Raises:
            SettingsError: A frame of the call has no strength.
        """
        if self.frame_strengths is None:
            return None
        if max(frames) >= len(self.frame_strengths):
            raise SettingsError(
                f"frame {max(frames)} of the clip has no motion strength; {len(self.frame_strengths)} were given, "
                "give one per frame"
            )
        return [self.strength * self.frame_strengths[frame] for frame in frames]


class MotionModule(nn.Module):
    """One motion module.

    Args:
        channels: Channels of the layer it follows; a multiple of 32 and of `heads`.
        heads: Attention heads.
        positions: Longest sequence of frames.
    """

    def __init__(self, channels: int, *, heads: int = HEADS, positions: int = 32) -> None:
        super().__init__()
        self.positions = positions
        self.norm = nn.GroupNorm(GROUPS, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.attentions = nn.ModuleList(TemporalSelfAttention(channels, heads, positions=positions) for _ in range(2))
        self.ff_norm = nn.LayerNorm(channels)
        self.ff_in = nn.Linear(channels, 8 * channels)
        self.ff_out = nn.Linear(4 * channels, channels)
        self.proj_out = nn.Linear(channels, channels)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(
        self, clip: Tensor, *, windows: AttentionWindows | None = None, strength: Tensor | float = 1.0
    ) -> Tensor:
        """Mix the frames of one clip.

        Args:
            clip: (F, C, h, w).
            windows: Attention windows; None attends over all frames at once.
            strength: Factor on what is added: one, or one per frame (F,).

        Returns:
            (F, C, h, w).

        Raises:
            SettingsError: A window is longer than the positional encoding.
        """
        longest = clip.shape[0] if windows is None else min(clip.shape[0], windows.length)
        if longest > self.positions:
            raise SettingsError(
                f"{longest} frames at once, but these motion modules know {self.positions} positions; "
                f"use attention windows of at most {self.positions} frames"
            )
        shifts = [attention.shift(longest) for attention in self.attentions]  # type: ignore[operator]

        def block(tokens: Tensor) -> Tensor:
            for attention, shift in zip(self.attentions, shifts, strict=True):
                tokens = attention(tokens, shift, windows=windows).add_(tokens)
            return self._feed_forward(tokens).add_(tokens)

        picture = clip.to(self.proj_in.weight.dtype)
        tokens = tokens_from(self.norm(picture), self.proj_in)
        tokens = over_pixels(tokens, self.ff_out.in_features, block)
        return add_tokens(picture, tokens, self.proj_out, strength=strength).to(clip.dtype)

    def _feed_forward(self, tokens: Tensor) -> Tensor:
        """GEGLU feed-forward; value and gate are two products, so that both are contiguous."""
        tokens = self.ff_norm(tokens)
        half = self.ff_out.in_features
        weight, bias = self.ff_in.weight, self.ff_in.bias
        gate = functional.gelu(functional.linear(tokens, weight[half:], bias[half:]))
        return self.ff_out(functional.linear(tokens, weight[:half], bias[:half]) * gate)


class MotionModules(Attachment):
    """All motion modules of a UNet.

    Args:
        config: Their shape.
        settings: How they are used.
        modules: Modules to share with another attachment; None makes new ones, which change nothing until trained or
            loaded (`motion_files`).
    """

    linear_schedule: ClassVar[bool] = True

    def __init__(
        self,
        config: MotionConfig,
        settings: MotionModuleSettings | None = None,
        *,
        modules: nn.ModuleDict | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.settings = settings or MotionModuleSettings()
        if modules is None:
            modules = nn.ModuleDict(
                {
                    module_name(layer): MotionModule(channels, heads=config.heads, positions=config.positions)
                    for layer, channels in config.channels
                }
            )
        self.layers = modules
        windows = self.settings.windows
        if windows is not None and windows.length > config.positions:
            raise SettingsError(
                f"attention windows of {windows.length} frames, but these motion modules know {config.positions} "
                "positions; make the windows shorter"
            )

    def configured(self, settings: MotionModuleSettings) -> "MotionModules":
        """Return an attachment that uses the same weights in another way."""
        return MotionModules(self.config, settings, modules=self.layers)

    def changes(self, view: UNetView) -> Iterable[tuple[nn.Module, Change]]:
        """Hook the end of every layer that has a module.

        Raises:
            SettingsError: The UNet is of another family than Stable Diffusion 1.x, lacks a layer or has other channels
                there.
        """
        check_motion_family(view)
        sites = {site.layer: site for site in view.layers()}
        pairs: list[tuple[nn.Module, Change]] = []
        for layer, channels in self.config.channels:
            site = sites.get(layer)
            if site is None or site.channels != channels:
                found = "has no such layer" if site is None else f"has {site.channels} channels there"
                raise SettingsError(
                    f"the motion module of layer {layer!r} has {channels} channels, but the UNet {found}; "
                    "motion modules fit the UNet they were trained on (Stable Diffusion 1.x for the published ones)"
                )
            module = self.layers[module_name(layer)]
            pairs.append((site.module, self._change(module)))  # type: ignore[arg-type]
        return pairs

    def attach(self, view: UNetView) -> Attached:
        """Hook the UNet until the result is removed; version 1 also makes its GroupNorms see whole segments.

        Raises:
            SettingsError: The UNet lacks a layer or has other channels there.
        """
        pairs = list(self.changes(view))
        handles = [module.register_forward_hook(self._hook(change)) for module, change in pairs]
        if self.config.version == "v1":
            handles += [norm.register_forward_hook(self._jointly) for norm in view.resblock_norms()]
        return Attached(handles)

    def _change(self, module: MotionModule) -> Change:
        def change(batch: Tensor, call: UNetCall) -> Tensor:
            if self.settings.off:
                return batch
            strengths = self.settings.strengths(call.frames)
            clips = call.clips(batch)
            if strengths is None:
                return _per_segment(clips, call, lambda clip, _first: self._run(module, clip, self.settings.strength))
            factors = torch.tensor(strengths, device=batch.device)
            return _per_segment(
                clips, call, lambda clip, first: self._run(module, clip, factors[first : first + clip.shape[0]])
            )

        return change

    def _run(self, module: MotionModule, clip: Tensor, strength: Tensor | float) -> Tensor:
        return module(clip, windows=self.settings.windows, strength=strength)

    def _jointly(self, norm: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor | None:
        """Replace a GroupNorm's output by one whose statistics are over the frames of each segment."""
        if self.settings.off or self._call is None:
            return None
        weight, bias = norm.weight, norm.bias

        def jointly(clip: Tensor, _first: int) -> Tensor:
            volume = clip.transpose(0, 1)[None]
            scaled = functional.group_norm(volume, norm.num_groups, weight.to(clip), bias.to(clip), norm.eps)  # type: ignore
            return scaled[0].transpose(0, 1)

        return _per_segment(self._call.clips(arguments[0]), self._call, jointly)


def module_name(layer: str) -> str:
    """Return a layer's name as PyTorch allows it for a submodule."""
    return layer.replace(".", "_")


def _per_segment(clips: Tensor, call: UNetCall, function: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Apply a function of (clip (f, C, h, w), position of its first frame) to every segment of clips (N, F, …)."""
    parts = [function(clip[first:last], first) for clip in clips for first, last in call.segments]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
