"""A ControlNet: an encoder whose skips pass 1×1 convolutions on their way to the UNet (arXiv:2302.05543)."""

from torch import Tensor, nn

from .encoder import Encoder, EncoderConfig


class ControlBranch(Encoder):
    """An encoder with a 1×1 convolution behind each skip and behind the middle, under DiffBIR's names.

    Args:
        config: See :class:`EncoderConfig`.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config)
        self.zero_convs = nn.ModuleList(nn.Sequential(nn.Conv2d(width, width, 1)) for width in self.skips)
        width = config.channels[-1]
        self.middle_block_out = nn.Sequential(nn.Conv2d(width, width, 1))

    def residuals(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor,
        *,
        strength: float = 1.0,
        added: Tensor | None = None,
        tokens: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Run it; arguments as in :meth:`Encoder.forward`.

        Returns:
            `residual.0` … in the order of the way down and `middle`, times the strength.
        """
        found, middle = self(x, timesteps, context, added=added, tokens=tokens)
        features = {
            f"residual.{i}": conv(skip) for i, (conv, skip) in enumerate(zip(self.zero_convs, found, strict=True))
        }
        features["middle"] = self.middle_block_out(middle)
        return features if strength == 1 else {name: strength * feature for name, feature in features.items()}
