"""One view over Stable Diffusion's VAE in its two module layouts, as far as feature wrapping needs it.

Level 0 of the encoder and the decoder works on the whole picture, level n on one 2^n times smaller. The encoder's
feature of a level is what its downsampling is given, the decoder's what its upsampling is given: after all residual
blocks of the level.
"""

from dataclasses import dataclass

from torch import nn

from ...errors import SettingsError
from .network import LEVELS

_DOUBLINGS = 3
"""Of Stable Diffusion's VAE: a latent pixel is 8 pixels wide."""

_WANTED = "use the VAE of Stable Diffusion 1.x or 2.x"


@dataclass(frozen=True, kw_only=True)
class WrappedLevel:
    """Where a level hands over.

    Attributes:
        down: The encoder's downsampling, which is given the encoder's feature.
        up: The decoder's upsampling, which is given the decoder's feature.
        width: Channels of both.
    """

    down: nn.Module
    up: nn.Module
    width: int


class VAEView:
    """The places of a VAE that feature wrapping looks at.

    Args:
        vae: ComfyUI's `AutoencoderKL` or another VAE in the layout of the original code, or diffusers'.

    Raises:
        SettingsError: It is another kind of VAE.
    """

    def __init__(self, vae: nn.Module) -> None:
        encoder, decoder = getattr(vae, "encoder", None), getattr(vae, "decoder", None)
        if not isinstance(encoder, nn.Module) or not isinstance(decoder, nn.Module):
            raise SettingsError(f"{type(vae).__name__} has no encoder and decoder; {_WANTED}")
        if any(_mixes_frames(module) for module in decoder.modules()):
            raise SettingsError(
                "feature wrapping was trained for the decoder of single pictures, and this VAE mixes neighbouring "
                f"frames; {_WANTED}"
            )
        self.encoder, self.decoder = encoder, decoder
        self.levels = {level: _level(encoder, decoder, level) for level in LEVELS}


def _mixes_frames(module: nn.Module) -> bool:
    """Tell a block of Stable Video Diffusion's decoder, in ComfyUI's and in diffusers' layout."""
    return any(isinstance(getattr(module, name, None), nn.Module) for name in ("time_stack", "temporal_res_block"))


def _level(encoder: nn.Module, decoder: nn.Module, level: int) -> WrappedLevel:
    down, up = dict(encoder.named_modules()), dict(decoder.named_modules())
    layouts = (
        (f"down.{level}.downsample", f"up.{level}.upsample", "down", "up"),
        (
            f"down_blocks.{level}.downsamplers.0",
            f"up_blocks.{_DOUBLINGS - level}.upsamplers.0",
            "down_blocks",
            "up_blocks",
        ),
    )
    for below, above, downs, ups in layouts:
        if below not in down or above not in up:
            continue
        if not len(down[downs]) == len(up[ups]) == _DOUBLINGS + 1:  # type: ignore[arg-type]
            break
        width, other = (getattr(getattr(module, "conv", None), "in_channels", 0) for module in (down[below], up[above]))
        if width < 1 or width != other:
            raise SettingsError(
                f"at level {level} the VAE's encoder is {width} channels wide and its decoder {other}; {_WANTED}"
            )
        return WrappedLevel(down=down[below], up=up[above], width=int(width))
    raise SettingsError(f"{type(encoder).__name__} is not an encoder of Stable Diffusion's shape; {_WANTED}")
