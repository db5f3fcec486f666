"""Run the trained fusion over a shot: a stream of pre-restored frames, and what the prior made of the same frames.

`fusion_decoder.py` is the network. Here its three sources are asked for a few frames at a time, so that memory holds
the features of one segment of the pre-restorer and of these few frames, however long the shot is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import SettingsError, VLDMError
from ..prerestore.network import SCALE, PreRestorer
from ..prerestore.run import PreRestoredFrame
from ..progress import Progress, silent
from .fusion_decoder import DecoderFeatures, FusionDecoder, from_latent, from_picture

PriorAt = Callable[[int, int], Mapping[int, Tensor]]
"""Gives what comes from the prior for frames first … last - 1 of the shot, by level; see `FusionDecoder`."""

_FRAMES_AT_ONCE = 4
"""Frames whose features of the prior are held at a time; memory grows with them."""


def prior_latents(latents: Tensor) -> PriorAt:
    """Return the source "latent".

    Args:
        latents: (T, 4, H/8, W/8), the prior's clean latents.
    """
    return lambda first, last: from_latent(latents[first:last])


def prior_decoder(latents: Tensor, decoder: nn.Module, decode: Callable[[Tensor], object]) -> PriorAt:
    """Return the source "decoder": the latents are decoded for what the decoder computes on its way.

    Args:
        latents: (T, 4, H/8, W/8), in the scale that `decode` takes.
        decoder: The decoder inside the VAE.
        decode: Runs it over some of the latents, on its own device.

    Raises:
        SettingsError: The layout of the decoder is not known.
    """
    features = DecoderFeatures(decoder)

    def at(first: int, last: int) -> Mapping[int, Tensor]:
        with features.caught() as found:
            decode(latents[first:last])
        return found

    return at


def prior_pictures(pictures: Tensor, network: PreRestorer) -> PriorAt:
    """Return the source "picture": the decoded pictures, encoded by the pre-restorer.

    Args:
        pictures: (T, 3, H, W), RGB, [0, 1]; padded to a multiple of 8 as the pre-restorer pads.
        network: The pre-restorer whose features are fused.
    """
    like = next(network.parameters())

    def at(first: int, last: int) -> Mapping[int, Tensor]:
        padded = _padded(pictures[first:last]).to(like)[None]
        halves, quarters = network.encode(padded, padded.new_zeros(1, last - first, *padded.shape[-2:]))
        return from_picture(halves[0], quarters[0])

    return at


def fuse_with_prior(
    frames: Iterable[PreRestoredFrame],
    prior: PriorAt,
    fusion: FusionDecoder,
    *,
    weight: float | Sequence[float] = 1.0,
    beat: Progress = silent,
) -> Iterator[Tensor]:
    """Fuse a shot.

    The pre-restorer has to work at the size at which the prior did: on the fitted frames, where frames were fitted.

    Args:
        frames: From `pre_restore_stream` with features, in order.
        prior: What the prior made of the same frames, from `prior_latents`, `prior_decoder` or `prior_pictures`; of the
            source that the fusion was trained for.
        fusion: On the device and in the precision to run in.
        weight: Fidelity weight, 0 (pre-restored, bit for bit) … 1; one number, or one per frame.
        beat: Called before every few frames; may raise to interrupt.

    Yields:
        (3, H, W) in [0, 1] for every frame, on its device.

    Raises:
        SettingsError: Frames without features, or sizes or weights that do not fit.
        VLDMError: One frame alone does not fit into memory.
    """
    source, first, at_once = iter(frames), 0, _FRAMES_AT_ONCE
    while held := list(islice(source, _FRAMES_AT_ONCE)):
        done = 0
        while done < len(held):
            part = held[done : done + at_once]
            beat("fuse", first + done, None)
            try:
                yield from _fused(part, first + done, prior, fusion, weight)
            except torch.OutOfMemoryError as error:
                if at_once == 1:
                    raise VLDMError("fusion of a single frame does not fit into memory; use smaller frames") from error
                at_once //= 2
            else:
                done += len(part)
        first += len(held)


@torch.inference_mode()
def _fused(
    part: Sequence[PreRestoredFrame],
    first: int,
    prior: PriorAt,
    fusion: FusionDecoder,
    weight: float | Sequence[float],
) -> list[Tensor]:
    like = next(fusion.parameters())
    given = []
    for frame in part:
        if frame.features is None:
            raise SettingsError("these frames have no features; pre-restore them with features=True")
        given.append(frame.features)
    half, quarter, eighth = (torch.stack(level).to(like) for level in zip(*given, strict=True))
    last = first + len(part)
    share = weight if isinstance(weight, int | float) else torch.tensor(weight[first:last])
    padded = _padded(torch.stack([frame.image for frame in part]))
    # The network adds to its picture. Here it adds to nothing, so that the frames keep their own precision.
    found = {level: features.to(like) for level, features in prior(first, last).items()}
    change = fusion(torch.zeros_like(padded).to(like), (half, quarter, eighth), found, weight=share)
    height, width = part[0].image.shape[-2:]
    return [
        (frame.image + own[:, :height, :width].to(frame.image)).clamp(0, 1)
        for frame, own in zip(part, change, strict=True)
    ]


def _padded(pictures: Tensor) -> Tensor:
    height, width = pictures.shape[-2:]
    return functional.pad(pictures, (0, -width % SCALE, 0, -height % SCALE), mode="replicate")
