"""Figures of a pre-restored clip, and their means over clips."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

from torch import Tensor

from vldm_core.metrics.fidelity import psnr, ssim, texture
from vldm_core.metrics.temporal import flicker_index, warp_error

from ..detection.scores import finite, mean_of
from .material import DamagedClip


@dataclass(frozen=True, kw_only=True)
class PictureFigures:
    """What a film is worth beside its reference.

    Attributes:
        psnr: dB, at most 100; None where nothing was compared with the reference.
        ssim: -1 … 1, likewise.
        detail: Share of the reference's fine texture that is there; see `metrics.Texture`.
        residue: Fine texture that is not the reference's, grey levels.
        warp_error: Difference of neighbours along the flow of the reference, grey levels.
        flicker: Overall flicker index, as a fraction.
    """

    psnr: float | None
    ssim: float | None
    detail: float | None
    residue: float | None
    warp_error: float | None
    flicker: float | None


def picture_figures(clip: DamagedClip, film: Tensor) -> PictureFigures:
    """Measure a film against the reference of its clip.

    Args:
        clip: Reference and its flow.
        film: (T, 3, H, W) in [0, 1].
    """
    fine = texture(film, clip.reference)
    return PictureFigures(
        psnr=finite(psnr(film, clip.reference)),
        ssim=ssim(film, clip.reference),
        detail=fine.detail,
        residue=fine.residue,
        warp_error=warp_error(film, clip.flow, clip.visible),
        flicker=flicker_index(film, clip.flow, clip.visible).overall,
    )


def mean_figures(rows: Iterable[PictureFigures]) -> PictureFigures:
    """Average every figure over the clips that have it."""
    found = list(rows)
    return PictureFigures(
        **{field.name: mean_of(getattr(row, field.name) for row in found) for field in fields(PictureFigures)}
    )
