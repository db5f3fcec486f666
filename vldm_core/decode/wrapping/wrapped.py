"""Decode with controllable feature wrapping, on a VAE of either host, in chunks and tiles.

The VAE stays as it is: hooks catch what its encoder computes of the degraded picture and change what its decoder
computes, and are taken off again. Frames are wrapped by themselves. A tile of the latent is wrapped with the encoder's
features of the same tile of the picture, so memory does not grow with the picture; both then take their norms over the
tile, as the decoder does in any tiled decoding.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import SettingsError
from ...progress import Progress, silent
from ..chunks import Decode
from ..memory_fallback import DecodePlan, decode_within_memory
from .network import LEVELS, FeatureWrapping
from .vae_view import VAEView

Encode = Callable[[Tensor], object]
"""Runs a VAE's encoder over pictures (B, 3, H, W), RGB, [0, 1]; what it gives back is not looked at."""

PUBLISHED_FIDELITY = 0.5
"""Fidelity weight that StableSR uses by default."""

_SCALE = 8
"""Pixels of the picture for a latent pixel."""


def check_fidelity(fidelity: float) -> None:
    """Check a fidelity weight.

    Raises:
        SettingsError: It is outside 0 … 1.
    """
    if not 0 <= fidelity <= 1:
        raise SettingsError(f"the fidelity weight of feature wrapping is {fidelity}; use 0 … 1")


class WrappedVAE:
    """A VAE and the layers that wrap its decoder.

    Args:
        vae: See `VAEView`.
        layers: On the device where the VAE works.
        fidelity: How much the degraded picture counts: 0 is the plain decoder, 1 all that the layers add.

    Raises:
        SettingsError: The VAE is of another kind or of other widths, or the weight is out of range.
    """

    def __init__(self, vae: nn.Module, layers: FeatureWrapping, *, fidelity: float = PUBLISHED_FIDELITY) -> None:
        check_fidelity(fidelity)
        self.fidelity = fidelity
        self._view = VAEView(vae)
        self.layers = layers
        for level in LEVELS:
            width, wanted = self._view.levels[level].width, layers.width(level)
            if width != wanted:
                raise SettingsError(
                    f"the VAE is {width} channels wide at level {level}, and the feature wrapping was made for "
                    f"{wanted}; use the VAE of Stable Diffusion 1.x or 2.x with the published files"
                )

    def features(self, pictures: Tensor, encode: Encode) -> dict[int, Tensor]:
        """Return what the encoder sees.

        Args:
            pictures: (B, 3, H, W), RGB, [0, 1].
            encode: The VAE's encoding.

        Returns:
            (B, C, H / 2^n, W / 2^n) for levels n = 1 and 2. What the encoder would compute after that is left out.
        """
        found: dict[int, Tensor] = {}

        def keep(level: int, _module: nn.Module, inputs: Any) -> None:
            found[level] = inputs[0]
            if len(found) == len(LEVELS):
                raise _SeenEnoughError

        with ExitStack() as stack:
            for level, place in self._view.levels.items():
                stack.callback(place.down.register_forward_pre_hook(partial(keep, level)).remove)
            try:
                encode(pictures)
            except _SeenEnoughError:
                return found
        raise SettingsError("the VAE's encoder runs without its own modules, so its features cannot be seen")

    @contextmanager
    def wrapped(self, features: Mapping[int, Tensor]) -> Iterator[None]:
        """Wrap the decoder inside the block, which decodes once the frames that the features are of.

        Raises:
            SettingsError: The decoder ran without being wrapped, or decoded something of another size.
        """
        done = set()

        def change(level: int, _module: nn.Module, inputs: Any) -> Any:
            hidden, encoded = inputs[0], features[level]
            if hidden.shape != encoded.shape:
                raise SettingsError(
                    f"at level {level} the decoder has {tuple(hidden.shape)} and the encoder {tuple(encoded.shape)}; "
                    "decode the latents of the same frames"
                )
            done.add(level)
            like = next(self.layers.parameters())
            wrapped = self.layers(level, encoded.to(like), hidden.to(like), self.fidelity)
            return (wrapped.to(hidden), *inputs[1:])

        with ExitStack() as stack:
            for level, place in self._view.levels.items():
                stack.callback(place.up.register_forward_pre_hook(partial(change, level)).remove)
            yield
        if len(done) < len(LEVELS):
            raise SettingsError(
                "the VAE decodes without its own modules, so it cannot be wrapped; use one that is not compiled"
            )


class _SeenEnoughError(Exception):
    """Ends the encoder's work, on its way through the encoder."""


def decode_wrapped(
    latents: Tensor,
    pictures: Tensor,
    vae: WrappedVAE,
    plan: DecodePlan,
    *,
    decode: Decode,
    encode: Encode,
    output: Tensor | None = None,
    out_of_memory: type[BaseException] = torch.OutOfMemoryError,
    progress: Progress = silent,
) -> Tensor:
    """Decode a clip with feature wrapping; with a fidelity weight of 0 it is `decode_within_memory`, bit for bit.

    Args:
        latents: (T, C, h, w), scaled as ``decode`` wants them.
        pictures: (T, 3, 8·h, 8·w), RGB, [0, 1], the degraded frames.
        vae: The VAE with its layers.
        plan: See :func:`vldm_core.decode.memory_fallback.decode_within_memory`.
        decode: The VAE's decoding.
        encode: The VAE's encoding.
        output: Likewise.
        out_of_memory: Likewise.
        progress: Likewise.

    Returns:
        (T, 3, 8·h, 8·w), float32, [0, 1].

    Raises:
        SettingsError: The pictures are not those of the latents, or even the smallest plan does not fit into memory.
    """
    count, _, height, width = latents.shape
    wanted = (count, 3, _SCALE * height, _SCALE * width)
    if pictures.shape != wanted:
        raise SettingsError(
            f"feature wrapping needs the degraded frames of the latents, {wanted}; got {tuple(pictures.shape)}. Give "
            "it the frames that were encoded"
        )
    if vae.fidelity == 0:
        return decode_within_memory(
            latents, decode, plan, output=output, out_of_memory=out_of_memory, progress=progress
        )

    def wrapped(places: Tensor) -> Tensor:
        frame, place = divmod(int(places[0, 0, 0, 0]), height * width)
        top, left = divmod(place, width)
        bottom, right = top + places.shape[-2], left + places.shape[-1]
        frames = slice(frame, frame + len(places))
        part = latents[frames, :, top:bottom, left:right]
        picture = pictures[frames, :, _SCALE * top : _SCALE * bottom, _SCALE * left : _SCALE * right]
        with vae.wrapped(vae.features(picture, encode)):
            return decode(part)

    # In place of the latents go numbers that say where each of them lies, so that whatever cuts them to chunks and
    # tiles cuts the pictures as well.
    places = torch.arange(count * height * width).reshape(count, 1, height, width)
    return decode_within_memory(places, wrapped, plan, output=output, out_of_memory=out_of_memory, progress=progress)
