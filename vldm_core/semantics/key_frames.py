"""Key frames: the few frames that stand for a shot.

The features of a shot are clustered; every cluster gives the frame that lies nearest its centre among its least damaged
ones. How many clusters there are follows from the shot: one is added as long as some frame is farther from all centres
than neighbouring frames usually are from each other, so the noise of the film makes none and a pan makes several.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import SettingsError
from ..video.shots import Shot
from .recognition.features import checked_features

_ROUNDS = 25
# Distances that agree to this many digits are equal; the rest is rounding.
_DIGITS = 9


@dataclass(frozen=True, kw_only=True)
class KeyFrameSettings:
    """How many key frames a shot gets, and which.

    Attributes:
        most: Most key frames of a shot.
        change: Least distance, of features of length 1, between a frame and the nearest centre that asks for one more
            key frame. Lower gives more key frames.
        contrast: That distance must also be so many times the usual distance of neighbouring frames. Lower gives more.
        cleanest: Share of a cluster's frames, the least damaged ones, from which its key frame is taken.
        spoilt: A frame with this much more of its picture damaged than the cleaner quarter of its shot has, 0 … 1, is
            no key frame and makes no cluster.
        samples: Frames of a shot that are looked at, evenly spread, where it has more. Bounds memory and time.
    """

    most: int = 4
    change: float = 0.2
    contrast: float = 3.0
    cleanest: float = 0.25
    spoilt: float = 0.1
    samples: int = 512

    def __post_init__(self) -> None:
        for name, least in (("most", 1), ("samples", 1)):
            if getattr(self, name) < least:
                raise SettingsError(f"{name} is {getattr(self, name)}; use {least} or more")
        if not 0 <= self.change <= 2:
            raise SettingsError(f"change is {self.change}; use 0 to 2")
        if not 0 <= self.contrast < math.inf:
            raise SettingsError(f"contrast is {self.contrast}; use 0 or more")
        for name in ("cleanest", "spoilt"):
            if not 0 < getattr(self, name) <= 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; use more than 0 and at most 1")


def sampled_frames(shot: Shot, most: int) -> tuple[int, ...]:
    """Return which frames of a shot are looked at: all, or `most` spread evenly from the first to the last."""
    count = len(shot)
    if count <= most:
        return tuple(range(shot.first, shot.last))
    if most == 1:
        return (shot.first + count // 2,)
    return tuple(shot.first + index * (count - 1) // (most - 1) for index in range(most))


def choose_key_frames(
    features: Tensor, damage: Tensor | None = None, settings: KeyFrameSettings | None = None
) -> tuple[int, ...]:
    """Choose the key frames of one shot.

    Args:
        features: (T, D), one row per frame that was looked at, in order; T may be 0.
        damage: (T,), share of every frame that is damaged, 0 … 1; None is no damage.
        settings: How many, and which.

    Returns:
        Rows of the key frames, ascending; empty where there is no frame. Same features, same rows.

    Raises:
        SettingsError: The layouts do not fit, or there are values that are not finite.
    """
    settings = settings or KeyFrameSettings()
    count = len(features)
    shares = _checked_damage(damage, count)
    if count == 0:
        return ()
    rows = checked_features(features, count).double()
    sound = _sound(shares, settings.spoilt)
    labels = _clusters(rows[sound], settings)
    found = []
    for cluster in range(int(labels.max()) + 1):
        members = sound[labels == cluster]
        centre = rows[members].mean(0)
        candidates = members[_cleanest(shares[members], settings.cleanest)]
        distances = (rows[candidates] - centre).norm(dim=1)
        middle = (count - 1) / 2
        found.append(
            min(
                (round(float(distance), _DIGITS), abs(int(row) - middle), int(row))
                for distance, row in zip(distances, candidates, strict=True)
            )[2]
        )
    return tuple(sorted(found))


def _checked_damage(damage: Tensor | None, count: int) -> Tensor:
    if damage is None:
        return torch.zeros(count, dtype=torch.float64)
    damage = damage.detach().double().cpu()
    if damage.shape != (count,):
        raise SettingsError(f"damage is {tuple(damage.shape)} for {count} frames; give one share per frame")
    if not bool(((damage >= 0) & (damage <= 1)).all()):
        raise SettingsError("damage has values outside 0 … 1; give the share of every frame that is damaged")
    return damage


def _sound(shares: Tensor, spoilt: float) -> Tensor:
    """Rows that are not far more damaged than the cleaner quarter of the shot."""
    usual = shares.sort().values[(len(shares) - 1) // 4]
    return torch.nonzero(shares <= usual + spoilt)[:, 0]


def _cleanest(shares: Tensor, share: float) -> Tensor:
    """Tell which are the least damaged; those as damaged as the last of them belong to them."""
    bound = shares.sort().values[math.ceil(share * len(shares)) - 1]
    return shares <= bound


def _clusters(rows: Tensor, settings: KeyFrameSettings) -> Tensor:
    """Cluster features by k-means; return a cluster per row, -1 for rows that belong to none.

    Clusters of a frame or two, among many frames, are flashes and damage: their frames are left out.
    """
    limit = max(settings.change, settings.contrast * _usual_step(rows))
    least = 1 if len(rows) < 4 else max(2, math.ceil(0.02 * len(rows)))
    kept = torch.arange(len(rows))
    centres = rows.mean(0, keepdim=True)
    while len(centres) < settings.most:
        inside = rows[kept]
        nearest = torch.cdist(inside, centres, compute_mode="donot_use_mm_for_euclid_dist").min(1).values
        farthest = int(nearest.argmax())
        if float(nearest[farthest]) <= limit:
            break
        grown, labels = _k_means(inside, torch.cat([centres, inside[farthest : farthest + 1]]))
        sizes = torch.bincount(labels, minlength=len(grown))
        if bool((sizes >= least).all()):
            if len(grown) <= len(centres):
                break
            centres = grown
            continue
        large = sizes[labels] >= least
        if not bool(large.any()):
            break
        kept = kept[large]
        centres, _ = _k_means(rows[kept], centres)
    labels = torch.full((len(rows),), -1)
    _, labels[kept] = _k_means(rows[kept], centres)
    return labels


def _usual_step(rows: Tensor) -> float:
    """Median distance of neighbouring frames that differ: how much noise and ordinary motion change."""
    steps = (rows[1:] - rows[:-1]).norm(dim=1)
    steps = steps[steps > 10.0**-_DIGITS]
    return float(steps.median()) if len(steps) else 0.0


def _k_means(rows: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from given centres; centres that no row is nearest to are dropped.

    Returns:
        Centres (K, D) and the nearest centre of every row.
    """
    labels = torch.full((len(rows),), -1)
    for _ in range(_ROUNDS):
        distances = torch.cdist(rows, centres, compute_mode="donot_use_mm_for_euclid_dist")
        found = distances.min(1).indices
        used, found = found.unique(sorted=True, return_inverse=True)
        centres = torch.stack([rows[found == cluster].mean(0) for cluster in range(len(used))])
        if torch.equal(found, labels):
            break
        labels = found
    return centres, labels
