"""Figures of a clip beside its target, and their mean over clips and seeds."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from vldm_core.metrics.fidelity import decibels, psnr, ssim
from vldm_core.metrics.temporal import flicker_index, warp_error
from vldm_core.video.luma import luma

from ..film.perceptual import st_lpips
from .clips import HeldOutClip

Scores = Mapping[str, float]

MEASURES: Mapping[str, str] = {
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "st_lpips": "ST-LPIPS",
    "flicker": "flicker, %",
    "warp": "warp error, levels",
}
"""Name of a measure → heading. Flicker is the local one; the warp error is that beyond the target's own."""

HIGHER_IS_BETTER = frozenset({"psnr", "ssim"})


def scores(frames: Tensor, clip: HeldOutClip) -> Scores:
    """Measure frames (T, 3, H, W) in [0, 1] beside the target of a clip."""
    found: dict[str, float] = {
        "psnr": float(psnr(frames, clip.target)),
        "ssim": float(ssim(frames, clip.target) or 0.0),
        "flicker": 100 * flicker_index(frames, clip.flow, clip.visible).local,
        "warp": (warp_error(frames, clip.flow, clip.visible) or 0.0)
        - (warp_error(clip.target, clip.flow, clip.visible) or 0.0),
    }
    distance = st_lpips(_levels(frames), _levels(clip.target))
    return found if distance is None else found | {"st_lpips": distance}


def _levels(frames: Tensor) -> np.ndarray:
    return luma(frames).round().clamp(0, 255).byte().numpy()


def psnr_inside(frames: Tensor, clip: HeldOutClip, masks: Tensor) -> float | None:
    """Return the PSNR of the pixels of masks (T, H, W), dB, or None where they have none."""
    where = masks[:, None].expand_as(frames) > 0.5
    if not bool(where.any()):
        return None
    return float(decibels(float((frames - clip.target)[where].square().mean())))


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over clips, and how far it goes apart from seed to seed.

    Attributes:
        value: Mean over clips and seeds.
        spread: Standard deviation of the means of the seeds; 0 of one seed.
    """

    value: float
    spread: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.spread:.3f}" if self.spread else f"{self.value:.3f}"


def means(by_seed: Sequence[Sequence[Scores]]) -> dict[str, Mean]:
    """Average figures of clips, seed by seed."""
    names = [name for name in by_seed[0][0] if all(name in scores for seed in by_seed for scores in seed)]
    found = {}
    for name in names:
        each = [statistics.fmean(scores[name] for scores in seed) for seed in by_seed]
        found[name] = Mean(value=statistics.fmean(each), spread=statistics.pstdev(each))
    return found
