"""Scores of a restored film and of its masks against a clip of which everything is known.

Pictures are grey levels, (T, H, W). A restorer may choose the brightness of a frame, so every frame is first brought to
the truth by one gain, fitted where nothing was damaged.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vldm_core.metrics.fidelity import GREY_LEVELS, decibels, ssim
from vldm_core.metrics.temporal import warp_error

from ..common.material import motion_of
from ..second_ageing.settings import KINDS, LASTING, Kind
from .clips import FilmClip, Mask

Pictures = NDArray[np.float32]

TOLERANCE = 1
"""Pixels by which a mark may lie off."""

_BEST = 99.0
"""Decibels reported for a perfect match."""


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """What a restored film is like, against the truth. PSNR in dB after the gain fit; None = does not apply.

    Attributes:
        whole: PSNR of the whole picture.
        ssim: Structural similarity.
        inside: Kind of damage → PSNR inside its mask, all frames together.
        outside: PSNR where nothing was damaged.
        worst_frame: Largest loss of PSNR outside of a frame against the damaged film, 0 = no frame got worse.
        xpsnr: Perceptually weighted PSNR, dB.
        st_lpips: Shift-tolerant perceptual distance, 0 = alike.
        warp_error: Grey levels along the motion of the truth; reads well for blur, so never by itself.
    """

    whole: float
    ssim: float
    inside: Mapping[str, float | None]
    outside: float
    worst_frame: float
    xpsnr: float | None = None
    st_lpips: float | None = None
    warp_error: float | None = None


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Pixels of masks; they add up over clips.

    Attributes:
        real: Visibly damaged.
        found: Of those, with a mark of the right mask within the tolerance.
        found_any: Of those, with a mark of any mask within the tolerance.
        right: Marked, by the mask for the kind, within the tolerance of such damage; of lines, of their skirts.
        wrong: Marked by it where no damage of any kind changes the picture.
    """

    real: int = 0
    found: int = 0
    found_any: int = 0
    right: int = 0
    wrong: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        """Pool two clips."""
        return Counts(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    @property
    def recall(self) -> float | None:
        """Share of the damage that the right mask found."""
        return self.found / self.real if self.real else None

    @property
    def recall_any(self) -> float | None:
        """Share of the damage that any mask found."""
        return self.found_any / self.real if self.real else None

    @property
    def precision(self) -> float | None:
        """Share of the marks that are right; marks on other damage count neither way."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of recall and precision."""
        recall, precision = self.recall, self.precision
        if recall is None:
            return None
        return 2 * recall * precision / (recall + precision) if precision and recall else 0.0


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Masks that a method made, (T, H, W) bool each.

    Attributes:
        dirt: Of damage that passes.
        lines: Of scratches along the film.
        standing: Of marks that stay at one place of the frame.
    """

    dirt: Mask
    lines: Mask
    standing: Mask

    @property
    def any(self) -> Mask:
        """All of them."""
        return self.dirt | self.lines | self.standing

    def of(self, kind: Kind) -> Mask:
        """The mask that is meant for a kind of damage."""
        return self.lines if kind in LASTING else self.standing if kind == "standing" else self.dirt


def gain_fitted(output: Pictures, clip: FilmClip) -> Pictures:
    """Bring every frame to the truth by the gain with the least squared error where nothing was damaged."""
    calm, fitted = ~clip.touched, np.empty_like(output)
    for index, picture in enumerate(output):
        own, true = picture[calm[index]], clip.clean[index][calm[index]].astype(np.float32)
        power = float(np.square(own, dtype=np.float64).sum())
        gain = float((own.astype(np.float64) * true).sum()) / power if power else 1.0
        fitted[index] = picture * np.float32(gain)
    return fitted


Motion = tuple[torch.Tensor, torch.Tensor]
"""Flow (T-1, 2, H, W), and where it is consistent (T-1, H, W)."""


def motion_of_truth(clip: FilmClip) -> Motion:
    """Measure the motion of a clip's truth, which the warp error is taken along; it takes a while."""
    return motion_of(_rgb(clip.clean.astype(np.float32)).contiguous())


def fidelity(clip: FilmClip, output: Pictures, *, motion: Motion | None = None) -> Fidelity:
    """Score a restored film.

    Args:
        clip: The clip.
        output: (T, H, W) grey levels.
        motion: That of the truth, or None to leave the warp error out.
    """
    fitted = gain_fitted(output, clip)
    truth = clip.clean.astype(np.float32)
    squares = np.square(fitted - truth)
    came = np.square(gain_fitted(clip.aged.astype(np.float32), clip) - truth)
    calm = ~clip.touched
    loss = [finite(before[seen]) - finite(after[seen]) for before, after, seen in zip(came, squares, calm, strict=True)]
    return Fidelity(
        whole=finite(squares),
        ssim=ssim(_rgb(fitted), _rgb(truth)) or 0.0,
        inside={kind: finite(squares[mask]) if mask.any() else None for kind, mask in clip.masks.items()},
        outside=finite(squares[calm]),
        worst_frame=max(0.0, *loss),
        warp_error=None if motion is None else warp_error(_rgb(fitted), *motion),
    )


def finite(squares: NDArray[np.float32]) -> float:
    """Return the PSNR of squared errors in grey levels, at most 99 dB."""
    return min(_BEST, decibels(float(squares.mean(dtype=np.float64)), GREY_LEVELS)) if squares.size else math.nan


def _rgb(pictures: Pictures) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pictures))[:, None].expand(-1, 3, -1, -1) / GREY_LEVELS


def grown(mask: Mask, radius: int = TOLERANCE) -> Mask:
    """Grow a mask by a square of (2·radius + 1) pixels in each frame."""
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    return np.stack([np.asarray(cv2.dilate(plane.astype(np.uint8), kernel)) > 0 for plane in mask])


def detection(clip: FilmClip, marks: Marks) -> dict[Kind, Counts]:
    """Count what masks found of every kind of damage in a clip."""
    calm = ~grown(clip.touched)
    anywhere = grown(marks.any)
    counts = {}
    for kind, mask in clip.masks.items():
        own = marks.of(kind)
        near = grown(clip.rims[kind] if kind in LASTING else mask)
        counts[kind] = Counts(
            real=int(mask.sum()),
            found=int((mask & grown(own)).sum()),
            found_any=int((mask & anywhere).sum()),
            right=int((own & near).sum()),
            wrong=int((own & ~near & calm).sum()),
        )
    return counts


def pooled(counts: Iterable[Mapping[Kind, Counts]]) -> dict[Kind, Counts]:
    """Add up the counts of several clips."""
    total: dict[Kind, Counts] = {}
    for one in counts:
        for kind, count in one.items():
            total[kind] = total.get(kind, Counts()) + count
    return {kind: total[kind] for kind in KINDS if kind in total}
