"""The way down and the middle of Stable Diffusion's UNet: the body of every ControlNet.

Module names are those of the original checkpoints (`input_blocks.4.1.…`), so that files in that layout load as they
are; :mod:`.names` brings diffusers' names to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from ....errors import SettingsError
from ....files.weights import WeightFileError
from .blocks import Downsample, SpatialTransformer, TimedResidualBlock, time_mlp, timestep_embedding

_HEADS_OF_SD1 = 8
_HEAD_CHANNELS_OF_SD2 = 64
_TEXT_OF_SD1 = 768


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Shape of an encoder.

    Attributes:
        in_channels: Of what comes in: 4, or 8 where a latent hint lies behind the noisy latent.
        channels: Of each level, from the largest picture down.
        blocks: Residual blocks of a level.
        attended: For each level, whether transformers follow its residual blocks.
        context: Channels of the text.
        heads: Attention heads at each level. Files do not say it.
        linear: Whether transformers project by linear layers, as in Stable Diffusion 2.x.
        tokens: Channels of an image embedding that further transformers look at (SeeSR); None without them.
    """

    in_channels: int = 4
    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    blocks: int = 2
    attended: tuple[bool, ...] = (True, True, True, False)
    context: int = 768
    heads: tuple[int, ...] = (8, 8, 8, 8)
    linear: bool = False
    tokens: int | None = None

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.attended) == len(self.heads) >= 1 or self.blocks < 1:
            raise SettingsError(
                f"an encoder of {self.channels} channels, {self.blocks} blocks, {self.heads} heads and transformers at "
                f"{self.attended} makes no sense"
            )

    @classmethod
    def of(cls, shapes: Mapping[str, tuple[int, ...]], *, heads: tuple[int, ...] | None = None) -> "EncoderConfig":
        """Read the shape of an encoder off its tensors.

        Args:
            shapes: Shape of every tensor, under the original names without prefix.
            heads: Attention heads at each level; None is how the families were published: 8 with text 768 wide, else 64
                channels each.

        Raises:
            WeightFileError: The tensors are not those of such an encoder.
        """
        try:
            first = shapes["input_blocks.0.0.weight"]
            levels: list[int] = []
            attended: list[bool] = []
            runs: list[int] = []
            count = 1 + max(int(key.split(".")[1]) for key in shapes if key.startswith("input_blocks."))
            fresh = True
            for index in range(1, count):
                block = f"input_blocks.{index}"
                if f"{block}.0.op.weight" in shapes:
                    fresh = True
                    continue
                if fresh:
                    levels.append(shapes[f"{block}.0.out_layers.3.weight"][0])
                    attended.append(f"{block}.1.norm.weight" in shapes)
                    runs.append(0)
                    fresh = False
                runs[-1] += 1
            transformer = next(key for key in shapes if key.endswith(".1.proj_in.weight"))
            context = shapes[f"{transformer.removesuffix('proj_in.weight')}transformer_blocks.0.attn2.to_k.weight"][1]
            if len(set(runs)) != 1:
                raise WeightFileError(f"levels have {runs} residual blocks; Stable Diffusion's have as many each")
        except (KeyError, IndexError, ValueError, StopIteration) as error:
            raise WeightFileError(f"this is not the encoder of a Stable Diffusion UNet ({error} is missing)") from error
        tokens = shapes.get("input_blocks.1.2.transformer_blocks.0.attn2.to_k.weight")
        if heads is None:
            of_sd1 = context == _TEXT_OF_SD1
            heads = tuple(_HEADS_OF_SD1 if of_sd1 else max(1, width // _HEAD_CHANNELS_OF_SD2) for width in levels)
        return cls(
            in_channels=first[1],
            channels=tuple(levels),
            blocks=runs[0],
            attended=tuple(attended),
            context=context,
            heads=heads,
            linear=len(shapes[transformer]) == 2,
            tokens=None if tokens is None else tokens[1],
        )


class Encoder(nn.Module):
    """The way down and the middle.

    Args:
        config: See :class:`EncoderConfig`.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        width = config.channels[0]
        time = 4 * width
        self.time_embed = time_mlp(width)
        layers = [nn.ModuleList([nn.Conv2d(config.in_channels, width, 3, padding=1)])]
        self.skips: list[int] = [width]
        for level, channels in enumerate(config.channels):
            for _ in range(config.blocks):
                block = nn.ModuleList([TimedResidualBlock(width, channels, time)])
                if config.attended[level]:
                    block.extend(self._transformers(channels, config.heads[level]))
                layers.append(block)
                width = channels
                self.skips.append(width)
            if level < len(config.channels) - 1:
                layers.append(nn.ModuleList([Downsample(width)]))
                self.skips.append(width)
        self.input_blocks = nn.ModuleList(layers)
        self.middle_block = nn.ModuleList([TimedResidualBlock(width, width, time)])
        self.middle_block.extend(self._transformers(width, config.heads[-1]))
        self.middle_block.append(TimedResidualBlock(width, width, time))

    def _transformers(self, channels: int, heads: int) -> list[nn.Module]:
        """Return the transformer that reads the text, and behind it the one that reads an image embedding."""
        contexts = [self.config.context, *([] if self.config.tokens is None else [self.config.tokens])]
        return [SpatialTransformer(channels, context, heads, linear=self.config.linear) for context in contexts]

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor,
        *,
        added: Tensor | None = None,
        tokens: Tensor | None = None,
    ) -> tuple[list[Tensor], Tensor]:
        """Run it.

        Args:
            x: (B, in_channels, h, w).
            timesteps: (B,).
            context: (B, L, context) text.
            added: (B, channels[0], h, w), added after the first convolution: a picture's embedding.
            tokens: (B, n, tokens) image embedding; None leaves its transformers out.

        Returns:
            What the UNet's skips hold, from the first convolution down, and the middle's output.
        """
        time = self.time_embed(timestep_embedding(timesteps, self.config.channels[0]).to(x))
        found: list[Tensor] = []
        for block in self.input_blocks:
            x = self._through(block, x, time, context, tokens)  # type: ignore[arg-type]
            if added is not None and not found:
                x = x + added
            found.append(x)
        return found, self._through(self.middle_block, x, time, context, tokens)

    @staticmethod
    def _through(block: nn.ModuleList, x: Tensor, time: Tensor, context: Tensor, tokens: Tensor | None) -> Tensor:
        readers = 0
        for layer in block:
            if isinstance(layer, TimedResidualBlock):
                x = layer(x, time)
            elif isinstance(layer, SpatialTransformer):
                readers += 1
                read = context if readers == 1 else tokens
                if read is not None:
                    x = layer(x, read)
            else:
                x = layer(x)
        return x
