"""All-in-Attention: what CoSeR puts before the first block of a spatial transformer.

Two features from a shared control branch arrive at a transformer: of the degraded frame, l, and of a reference picture,
r. With tokens x of the UNet, the frame's tokens p = proj(norm(l)) and the reference's tokens norm(r), which stay
unprojected although the file has a projection for them:

1. x ← x + zero(hard(q = p, k = v = norm(r))): each token of the frame takes the one best fitting token of the
   reference, times the score of the fit, so that a good match counts and a bad one fades;
2. x ← x + zero(attention(q = norm(x), k = v = p)), ordinary attention.

Then the transformer goes on with its own blocks. Without a reference step 1 is left out. At the end of a level of the
UNet features have half the channels and pass a 3×3 convolution first.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....errors import SettingsError
from ....files.published import fill, numbered, shape_of
from ....files.weights import WeightFileError

GROUPS = 32
"""Groups of the norm before a feature's projection; published."""

SCORE_BYTES = 64 * 2**20
"""Largest size of the scores of hard attention that are held at a time, bytes: the matrix of a whole picture grows with
the fourth power of its side."""


@dataclass(frozen=True, kw_only=True)
class AllInAttentionConfig:
    """Shape of the layers at one transformer.

    Attributes:
        channels: Of the transformer.
        features: Channels of the features; those of the transformer, or others that a convolution brings to them.
        depth: Blocks of the transformer.
        halved: Whether features come twice as large as the transformer's picture and are halved first. No file says
            so; the published ones are not.
    """

    channels: int
    features: int
    depth: int = 1
    halved: bool = False

    def __post_init__(self) -> None:
        if self.channels < 1 or self.channels % GROUPS:
            raise SettingsError(f"All-in-Attention needs a multiple of {GROUPS} channels; got {self.channels}")
        if self.features < 1 or self.depth < 1:
            raise SettingsError(f"features and depth must be at least 1; got {self.features} and {self.depth}")

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], *, halved: bool = False) -> "AllInAttentionConfig":
        """Read the shape off the added weights of one transformer.

        Raises:
            WeightFileError: The file holds something else.
        """
        (channels,) = shape_of(tensors, "norm_clr_lna.weight", 1)
        features = channels
        if "dubconv_lna.weight" in tensors:
            features = shape_of(tensors, "dubconv_lna.weight", 4)[1]
        try:
            return cls(
                channels=channels, features=features, depth=len(numbered(tensors, "transformer_blocks.")), halved=halved
            )
        except SettingsError as error:
            raise WeightFileError(f"the All-in-Attention of this file is unknown: {error}") from error


class _Projections(nn.Module):
    """The projections of an attention, with the names of the checkpoint."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)
        self.to_out = nn.Sequential(nn.Linear(channels, channels))


class _Block(nn.Module):
    """The added layers of one transformer block, with the names of the checkpoint.

    `norm5_lna` is in the file, and nothing depends on it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attn3_lr_lna = _Projections(channels)
        self.attn4_ref_lna = _Projections(channels)
        self.zero_conv_lna = nn.Conv2d(channels, channels, 1)
        self.zero_conv_r_lna = nn.Conv2d(channels, channels, 1)
        self.norm4_lna = nn.LayerNorm(channels)
        self.norm5_lna = nn.LayerNorm(channels)

    def matched(self, hint: Tensor, reference: Tensor, heads: int) -> Tensor:
        """Return what the reference's tokens (F, m, C) add to the frame's (F, n, C)."""
        hard = self.attn4_ref_lna
        found = hard_attention(
            _per_head(hard.to_q(hint), heads),
            _per_head(hard.to_k(reference), heads),
            _per_head(hard.to_v(reference), heads),
        )
        return _pointwise(self.zero_conv_r_lna, hard.to_out(found.transpose(1, 2).flatten(2)))

    def forward(self, x: Tensor, hint: Tensor, reference: Tensor | None, heads: int) -> Tensor:
        """Return x (N, F, n, C), N chunks of conditioning, after looking at the frame's tokens and the reference's."""
        if reference is not None:
            x = x + self.matched(hint, reference, heads)
        soft, (chunks, frames, tokens, _) = self.attn3_lr_lna, x.shape
        # All chunks look at the same frame: their queries lie one behind the other.
        query = soft.to_q(self.norm4_lna(x)).unflatten(-1, (heads, -1)).permute(1, 3, 0, 2, 4)
        found = functional.scaled_dot_product_attention(
            query.reshape(frames, heads, chunks * tokens, -1),
            _per_head(soft.to_k(hint), heads),
            _per_head(soft.to_v(hint), heads),
        )
        found = found.unflatten(2, (chunks, tokens)).permute(2, 0, 3, 1, 4).flatten(3)
        return x + _pointwise(self.zero_conv_lna, soft.to_out(found))


class AllInAttention(nn.Module):
    """The added layers of one transformer; its keys are those of the checkpoint below the transformer."""

    def __init__(self, config: AllInAttentionConfig) -> None:
        super().__init__()
        self.config = config
        channels, features = config.channels, config.features
        stride = 2 if config.halved else 1
        widened = features != channels
        self.dubconv_lna = nn.Conv2d(features, channels, 3, stride=stride, padding=1) if widened else None
        self.norm_clr_lna = nn.GroupNorm(GROUPS, channels, eps=1e-6)
        self.proj_in_clr_lna = nn.Linear(channels, channels)
        self.dubconv_r_lna = nn.Conv2d(features, channels, 3, stride=stride, padding=1) if widened else None
        self.norm_cref_lna = nn.GroupNorm(GROUPS, channels, eps=1e-6)
        # In the file, and never applied by the original.
        self.proj_in_cref_lna = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList(_Block(channels) for _ in range(config.depth))

    @classmethod
    def from_published(
        cls, tensors: Mapping[str, Tensor], *, what: str = "All-in-Attention", halved: bool = False
    ) -> "AllInAttention":
        """Build the layers that a file holds for one transformer.

        Args:
            tensors: The added ones (`_lna`), without the prefix of the transformer.
            what: Name of the place in messages.
            halved: See :class:`AllInAttentionConfig`.

        Raises:
            WeightFileError: The file does not fit; the message lists why.
        """
        config = AllInAttentionConfig.of(tensors, halved=halved)
        with torch.device("meta"):
            layers = cls(config)
        fill(layers, tensors, what)
        return layers.eval()

    def forward(self, x: Tensor, hint: Tensor, reference: Tensor | None, *, heads: int, block: int = 0) -> Tensor:
        """Return the tokens with which one of the transformer's blocks begins.

        Args:
            x: (N · F, n, C), tokens of the UNet: chunks of conditioning, each with the same F frames.
            hint: (F, features, h, w) of the degraded frames; twice as large where `halved`.
            reference: Likewise of the references; None leaves the hard attention out.
            heads: Attention heads of the transformer.
            block: Number of the block.

        Returns:
            (N · F, n, C).
        """
        tokens = self.hint_tokens(hint)
        theirs = None if reference is None else self.reference_tokens(reference)
        within = self.transformer_blocks[block]
        return within(x.unflatten(0, (-1, len(hint))), tokens, theirs, heads).flatten(0, 1)

    def hint_tokens(self, feature: Tensor) -> Tensor:
        """Return (F, n, C) of the degraded frames."""
        return self.proj_in_clr_lna(_tokens(self.norm_clr_lna(self._fitted(feature, self.dubconv_lna))))

    def reference_tokens(self, feature: Tensor) -> Tensor:
        """Return (F, n, C) of the references."""
        return _tokens(self.norm_cref_lna(self._fitted(feature, self.dubconv_r_lna)))

    def _fitted(self, feature: Tensor, widen: nn.Module | None) -> Tensor:
        if widen is not None:
            return widen(feature)
        return functional.avg_pool2d(feature, 2) if self.config.halved else feature


def hard_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return, for every query, the value of its best key times the score of the two.

    The score is the scaled dot product itself. Queries are taken some at a time, so that no more than `SCORE_BYTES` of
    scores exist at once.

    Args:
        query: (B, heads, n, d).
        key: (B, heads, m, d).
        value: (B, heads, m, d).

    Returns:
        (B, heads, n, d).
    """
    width, keys = query.shape[-1], key.shape[-2]
    row = query.shape[0] * query.shape[1] * keys * query.element_size()
    step = max(1, SCORE_BYTES // row)
    scaled = key.transpose(-1, -2) * width**-0.5
    parts = []
    for part in query.split(step, dim=2):
        score, best = (part @ scaled).max(dim=-1, keepdim=True)
        parts.append(value.gather(2, best.expand(-1, -1, -1, width)) * score)
    return torch.cat(parts, dim=2)


def _per_head(tokens: Tensor, heads: int) -> Tensor:
    return tokens.unflatten(-1, (heads, -1)).transpose(1, 2)


def _tokens(picture: Tensor) -> Tensor:
    return picture.flatten(2).transpose(1, 2)


def _pointwise(convolution: nn.Conv2d, tokens: Tensor) -> Tensor:
    """Apply a 1×1 convolution to tokens (…, C)."""
    return functional.linear(tokens, convolution.weight.flatten(1), convolution.bias)
