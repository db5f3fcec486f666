"""The trained fusion over a clip: its shots are pre-restored once more, and what the prior made of them joins in.

The fusion takes the features of the pre-restorer, which are large. So they are not kept while the prior samples: the
pre-restorer runs again, which costs little beside a prior, and memory holds those of a few frames.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import SettingsError
from ..prerestore.network import SCALE, PreRestorer
from ..prerestore.run import PreRestoredFrame, PreRestoreSettings, pre_restore_stream
from ..progress import Progress, Pulse, silent
from ..video.shots import Shot, covering_shots
from .fusion_decoder import FusionDecoder
from .prior_fusion import PriorAt, fuse_with_prior, prior_decoder, prior_latents, prior_pictures
from .temporal_vae import LATENT_SCALE

DecodeLatents = Callable[[Tensor], Tensor]
"""Unscaled latents (F, 4, h, w), as the VAE takes them → pictures (F, 3, 8h, 8w), RGB, [0, 1]."""

_AS_TRAINED = PreRestoreSettings(keep_grain=0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedFusion:
    """A fusion and the pre-restorer that it was trained with.

    Attributes:
        fusion: On its device.
        network: Likewise.
        settings: How frames are pre-restored. Training keeps no grain.
        weight: Fidelity weight: 0 is the pre-restored picture, bit for bit, 1 all that was learnt to be taken over.

    Raises:
        SettingsError: The weight is out of range, or the fusion was trained with a pre-restorer of another shape.
    """

    fusion: FusionDecoder
    network: PreRestorer
    settings: PreRestoreSettings = _AS_TRAINED
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise SettingsError(f"the fidelity weight is {self.weight}; use 0 … 1")
        wanted, found = tuple(self.fusion.config.widths), tuple(self.network.config.widths)
        if wanted != found:
            raise SettingsError(
                f"this fusion was trained with a pre-restorer of widths {wanted}, and this one has {found}; choose the "
                "pre-restorer that it was trained with"
            )


def fuse_clip(
    frames: Tensor,
    latents: Tensor,
    how: TrainedFusion,
    *,
    decode: DecodeLatents,
    decoder: nn.Module,
    masks: Tensor | None = None,
    shots: Sequence[Shot] | None = None,
    progress: Progress = silent,
) -> Tensor:
    """Pre-restore a clip and fuse it with what a prior made of it.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1], as they went into the pre-restoration whose result went into the prior.
        latents: (T, 4, h, w), unscaled, what the prior made; h and w are H / 8 and W / 8, rounded up.
        how: Fusion and pre-restorer.
        decode: Runs the VAE's decoder.
        decoder: The decoder inside the VAE, of either host.
        masks: (T, H, W), 1 = repaired, as the pre-restoration got them.
        shots: Shots that cover the clip; None is one shot.
        progress: Called per frame; may raise to interrupt.

    Returns:
        (T, 3, H, W), [0, 1].

    Raises:
        SettingsError: The sizes do not belong together, or the fusion was trained on another VAE.
        VLDMError: One frame alone does not fit into memory.
    """
    count, _, height, width = frames.shape
    wanted = (count, 4, -(-height // SCALE), -(-width // SCALE))
    if tuple(latents.shape) != wanted:
        raise SettingsError(
            f"the latents are {tuple(latents.shape)}; {count} frames of {width}×{height} have {wanted}: give the "
            "frames that went into the prior, at the same size"
        )
    if masks is not None and masks.shape != (count, height, width):
        raise SettingsError(f"masks are {tuple(masks.shape)}, the frames need {(count, height, width)}")
    result = torch.empty_like(frames)
    pulse = Pulse(progress, "fuse", count)
    for shot in covering_shots(shots, count):
        span = slice(shot.first, shot.last)
        made = _stream(frames, masks, shot, how, pulse.beat)
        prior = _prior(latents[span], how, decode, decoder)
        fused = fuse_with_prior(made, prior, how.fusion, weight=how.weight, beat=pulse.beat)
        for t, frame in enumerate(fused, shot.first):
            result[t] = frame
            pulse.step(result[t])
    return result


def _stream(
    frames: Tensor, masks: Tensor | None, shot: Shot, how: TrainedFusion, beat: Progress
) -> Iterator[PreRestoredFrame]:
    pairs = ((frames[t], None if masks is None else masks[t]) for t in range(shot.first, shot.last))
    return pre_restore_stream(pairs, how.network, how.settings, features=True, beat=beat)


def _prior(latents: Tensor, how: TrainedFusion, decode: DecodeLatents, decoder: nn.Module) -> PriorAt:
    source = how.fusion.config.source
    if source == "latent":
        # Trained on latents as the UNet has them.
        return prior_latents(LATENT_SCALE * latents)
    if source == "decoder":
        return prior_decoder(latents, decoder, decode)

    def pictures(first: int, last: int) -> Mapping[int, Tensor]:
        return prior_pictures(decode(latents[first:last]).clamp(0, 1), how.network)(0, last - first)

    return pictures
