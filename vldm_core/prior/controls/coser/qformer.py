"""The querying transformer that turns what CLIP sees into tokens of language.

A Q-Former (Li et al., BLIP-2, arXiv:2301.12597): learnt queries attend to each other in every layer and to a picture's
tokens in every second one, post-norm as in BERT. CoSeR trains its output to be the last text tokens that CLIP gives
a caption of the clean picture, so the tokens stand beside a prompt's.

The checkpoint also stores BERT's word and position tables and the feed-forward layers for text. No output depends on
them; they are left aside when a file is read.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....errors import SettingsError
from ....files.published import fill, numbered, shape_of
from ....files.weights import WeightFileError

_EPS = 1e-12
"""BERT's constant in the square root of every LayerNorm, in squares of a feature."""

_NAMES = (
    ("queries", "query_tokens"),
    ("layers.", "Qformer.encoder.layer."),
    (".attention.out.", ".attention.output.dense."),
    (".attention.norm.", ".attention.output.LayerNorm."),
    (".cross.out.", ".crossattention.output.dense."),
    (".cross.norm.", ".crossattention.output.LayerNorm."),
    (".attention.query.", ".attention.self.query."),
    (".attention.key.", ".attention.self.key."),
    (".attention.value.", ".attention.self.value."),
    (".cross.", ".crossattention.self."),
    (".feed.inner.", ".intermediate_query.dense."),
    (".feed.out.", ".output_query.dense."),
    (".feed.norm.", ".output_query.LayerNorm."),
)
_LAYER = "Qformer.encoder.layer."
_UNUSED = re.compile(
    r"Qformer\.embeddings\.(position_ids|word_embeddings\.weight|position_embeddings\.weight)"
    r"|Qformer\.encoder\.layer\.\d+\.(intermediate|output)\..+"
)


@dataclass(frozen=True, kw_only=True)
class QFormerConfig:
    """Shape of the transformer.

    Attributes:
        width: Of queries and output.
        vision: Width of the picture's tokens.
        inner: Width of the feed-forward layers.
        depth: Layers.
        crossed: Layers that look at the picture, by number.
        queries: Tokens of language that come out.
        heads: Attention heads; no file says how many, the published one has 16.
    """

    width: int = 1024
    vision: int = 1024
    inner: int = 3072
    depth: int = 12
    crossed: tuple[int, ...] = (0, 2, 4, 6, 8, 10)
    queries: int = 50
    heads: int = 16

    def __post_init__(self) -> None:
        if self.heads < 1 or self.width % self.heads:
            raise SettingsError(f"{self.heads} attention heads do not divide the {self.width} channels of the Q-Former")
        if not set(self.crossed) <= set(range(self.depth)):
            raise SettingsError(f"layers {self.crossed} are to look at the picture, but there are {self.depth} layers")

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], *, heads: int = 16) -> "QFormerConfig":
        """Read the shape off a file.

        Raises:
            WeightFileError: The file holds something else.
        """
        _, queries, width = shape_of(tensors, "query_tokens", 3)
        layers = numbered(tensors, _LAYER)
        crossed = tuple(n for n in layers if f"{_LAYER}{n}.crossattention.self.key.weight" in tensors)
        if not crossed or layers != tuple(range(len(layers))):
            raise WeightFileError(f"the Q-Former has layers {layers}, of which {crossed} look at the picture")
        key = f"{_LAYER}{crossed[0]}.crossattention.self.key.weight"
        try:
            return cls(
                width=width,
                vision=shape_of(tensors, key, 2)[1],
                inner=shape_of(tensors, f"{_LAYER}0.intermediate_query.dense.weight", 2)[0],
                depth=len(layers),
                crossed=crossed,
                queries=queries,
                heads=heads,
            )
        except SettingsError as error:
            raise WeightFileError(f"the Q-Former of this file is unknown: {error}") from error


class _Attention(nn.Module):
    """norm(x + out(attention(x, context)))."""

    def __init__(self, config: QFormerConfig, context: int) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.width, config.width)
        self.key = nn.Linear(context, config.width)
        self.value = nn.Linear(context, config.width)
        self.out = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=_EPS)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        parts = (self.query(x), self.key(context), self.value(context))
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        attended = functional.scaled_dot_product_attention(query, key, value)
        return self.norm(x + self.out(attended.transpose(1, 2).flatten(2)))


class _FeedForward(nn.Module):
    """norm(x + out(GELU(inner(x))))."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.inner = nn.Linear(config.width, config.inner)
        self.out = nn.Linear(config.inner, config.width)
        self.norm = nn.LayerNorm(config.width, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.out(functional.gelu(self.inner(x))))


class _Layer(nn.Module):
    """Attention among the queries, to the picture where this layer does that, feed-forward."""

    def __init__(self, config: QFormerConfig, number: int) -> None:
        super().__init__()
        self.attention = _Attention(config, config.width)
        self.cross = _Attention(config, config.vision) if number in config.crossed else None
        self.feed = _FeedForward(config)

    def forward(self, x: Tensor, vision: Tensor) -> Tensor:
        x = self.attention(x, x)
        if self.cross is not None:
            x = self.cross(x, vision)
        return self.feed(x)


class QFormer(nn.Module):
    """Tokens of a picture to tokens of language."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.config = config
        self.queries = nn.Parameter(torch.zeros(1, config.queries, config.width))
        self.norm = nn.LayerNorm(config.width, eps=_EPS)
        self.layers = nn.ModuleList(_Layer(config, number) for number in range(config.depth))

    @classmethod
    def from_published(cls, tensors: Mapping[str, Tensor], *, heads: int = 16) -> "QFormer":
        """Build the transformer that a file holds.

        Args:
            tensors: Without the prefix `global_adapter.`.
            heads: Attention heads.

        Raises:
            WeightFileError: The file does not fit; the message lists why.
        """
        config = QFormerConfig.of(tensors, heads=heads)
        with torch.device("meta"):
            network = cls(config)
        fill(network, tensors, "the Q-Former (global_adapter)", published=published_name, unused=is_unused)
        return network.eval()

    def forward(self, vision: Tensor) -> Tensor:
        """Return (B, queries, width) for a picture's tokens (B, n, vision)."""
        x = self.norm(self.queries).expand(len(vision), -1, -1)
        for layer in self.layers:
            x = layer(x, vision)
        return x


def published_name(key: str) -> str:
    """Return the published name of a key of `QFormer`, below `global_adapter.`."""
    if key.startswith("norm."):
        return f"Qformer.embeddings.LayerNorm.{key.removeprefix('norm.')}"
    for own, published in _NAMES:
        key = key.replace(own, published)
    return key


def is_unused(key: str) -> bool:
    """Tell whether no output depends on a published key: tables and layers that BERT has for text."""
    return _UNUSED.fullmatch(key) is not None
