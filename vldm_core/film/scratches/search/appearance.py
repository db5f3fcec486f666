"""What a candidate looks like: pictures along its path and a few numbers, for the network that judges it.

A scratch is a thin line of even offset that runs straight through everything in the picture, also over what moves in
front of the background; a pole or door frame starts and ends at objects, has a shaded side and gets occluded. So the
surroundings of the path are straightened and averaged over time, near and far, and the strength of the line is laid out
over time and height beside what changes next to it. Everything is scaled so that polarity, depth, size of the frame and
length of the window do not show.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from ....arrays import FloatArray
from .candidates import Candidate, Window
from .motion_test import separability
from .paths import Path, sample_along

ROWS = 24
"""Rows of all pictures: the height of the frame is brought to so many."""

COLUMNS = 33
"""Columns of the pictures near and far from the path."""

TIMES = 16
"""Columns of the pictures over time."""

NEAR_PLANES = 6
"""Planes of the picture near the path; the network that ships was trained on as many."""

FAR_PLANES = 3
"""Planes of the picture far from it."""

TIME_PLANES = 4
"""Planes of the picture over time."""

NUMBERS = 18
"""Numbers that say of the path as a whole what no picture of it shows."""

_REACH = COLUMNS // 2
"""Columns on each side of the path."""

_FAR_STEP = 4
"""Columns of the frame that are one in the picture far from the path."""

_LEAST_DEPTH = 1.5
"""Grey levels that a line is taken to be deep at least, where planes are given in units of its depth."""

_CLIP = 3.0
"""Factor of that depth up to which planes are told: what stands out more is no line's doing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Appearance:
    """What candidates look like; all values are about −3 … 3.

    Attributes:
        near: (n, 6, 24, 33) averages over time at −16 … 16 pixels from the path: luma relative to its surroundings in
            units of the depth, ridge response, what the scene leaves of it, its deviation over time, the deviation of
            the luma over time, and the luma itself.
        far: (n, 3, 24, 33) luma and ridges of either polarity at −64 … 64 pixels.
        times: (n, 4, 24, 16) over time: ridge response and unexplained evidence on the path, change of the luma beside
            the path, and displacement of the scene.
        numbers: (n, 18) length, strength, slant, motion of line and scene.
    """

    near: FloatArray
    far: FloatArray
    times: FloatArray
    numbers: FloatArray

    def __len__(self) -> int:
        return len(self.numbers)


def appearance(window: Window, candidates: list[Candidate]) -> Appearance:
    """Describe the candidates of a window.

    Args:
        window: The profiles.
        candidates: Found in them, the plainest first.
    """
    everywhere = _Surroundings.of(window)
    parts = [_describe(window, everywhere, candidate, candidates) for candidate in candidates]
    shapes = ((NEAR_PLANES, ROWS, COLUMNS), (FAR_PLANES, ROWS, COLUMNS), (TIME_PLANES, ROWS, TIMES), (NUMBERS,))
    stacks = [
        np.clip(np.stack([part[kind] for part in parts]), -_CLIP, _CLIP).astype(np.float32)
        if parts
        else np.zeros((0, *shape), np.float32)
        for kind, shape in enumerate(shapes)
    ]
    return Appearance(near=stacks[0], far=stacks[1], times=stacks[2], numbers=stacks[3])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Surroundings:
    """Averages of a window over time, (bands, W): luma, and the strongest ridge of either polarity within 4 pixels."""

    luma: FloatArray
    bright: FloatArray
    dark: FloatArray

    @classmethod
    def of(cls, window: Window) -> "_Surroundings":
        ridge = window.ridge.mean(axis=0)
        row = np.ones((1, _FAR_STEP), np.uint8)
        return cls(
            luma=np.asarray(cv2.blur(window.mean.mean(axis=0), (_FAR_STEP, 1)), np.float32),
            bright=np.asarray(cv2.dilate(ridge, row), np.float32),
            dark=np.asarray(cv2.dilate(-ridge, row), np.float32),
        )


def _describe(
    window: Window, everywhere: _Surroundings, candidate: Candidate, candidates: list[Candidate]
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    path, polarity = candidate.path, candidate.path.polarity
    luma = _straight(window.mean, path)
    ridge = _straight(window.ridge, path)
    rest = _straight(window.explained.evidence, path)
    usual = luma.mean(axis=0)
    level = usual.mean(axis=1, keepdims=True)
    core = usual[:, _REACH - 1 : _REACH + 2].mean(axis=1)
    beside = (usual[:, _REACH - 7 : _REACH - 4].mean(axis=1) + usual[:, _REACH + 5 : _REACH + 8].mean(axis=1)) / 2
    depths = polarity * (core - beside)
    depth = max(float(np.median(depths)), _LEAST_DEPTH)
    near = np.stack(
        (
            polarity * (usual - level) / (2 * depth),
            polarity * ridge.mean(axis=0),
            polarity * rest.mean(axis=0),
            ridge.std(axis=0),
            np.log1p(luma.std(axis=0)) / 2,
            usual / 128 - 1,
        )
    )
    far = _far(everywhere, path, depth)
    bands = window.ridge.shape[1]
    on_plain = (polarity * sample_along(window.plain, path) / 2).astype(np.float32)
    on_rest = (polarity * sample_along(window.evidence, path) / 2).astype(np.float32)
    flanks = luma[..., [0, 4, 8, _REACH - 6, _REACH + 6, -9, -5, -1]].mean(axis=2)
    change = (np.abs(flanks - np.median(flanks, axis=0)) / 16).astype(np.float32)
    moved = window.explained.overall[path.frames]
    slow = np.broadcast_to((moved - moved.mean())[:, None] / 4, (len(moved), bands))
    times = np.stack([_over_time(plane) for plane in (on_plain, on_rest, change, slow)])
    numbers = _numbers(window, candidate, candidates, depths, depth, on_plain, on_rest, change)
    return _to_rows(near), far, times, numbers


def _straight(values: FloatArray, path: Path) -> FloatArray:
    """Straighten the surroundings of a path: (n, bands, 33)."""
    window = values[path.frames]
    frames, bands, width = window.shape
    padded = np.pad(window, ((0, 0), (0, 0), (_REACH + 1, _REACH + 2)), mode="edge")
    x = np.clip(path.positions(bands), -0.5, width - 0.5) + (_REACH + 1)
    base = np.floor(x).astype(np.int64)
    part = (x - base)[..., None].astype(np.float32)
    t, b = np.arange(frames)[:, None, None], np.arange(bands)[None, :, None]
    samples = padded[t, b, base[..., None] + np.arange(-_REACH, _REACH + 2)]
    return np.asarray(samples[..., :-1] * (1 - part) + samples[..., 1:] * part, np.float32)


def _far(everywhere: _Surroundings, path: Path, depth: float) -> FloatArray:
    """Look farther around the usual place of a path, in steps of 4 pixels: (3, 24, 33)."""
    bands, width = everywhere.luma.shape
    centre = np.median(path.positions(bands), axis=0)
    columns = np.round(centre[:, None] + _FAR_STEP * np.arange(-_REACH, _REACH + 1)).astype(np.int64)
    inside = (columns >= 0) & (columns < width)
    columns = np.clip(columns, 0, width - 1)
    rows = np.arange(bands)[:, None]
    luma = everywhere.luma[rows, columns]
    bright, dark = (plane[rows, columns] * inside for plane in (everywhere.bright, everywhere.dark))
    like, unlike = (bright, dark) if path.polarity > 0 else (dark, bright)
    relative = path.polarity * (luma - luma.mean(axis=1, keepdims=True)) / (8 * depth)
    return _to_rows(np.stack((relative * inside, like, unlike)).astype(np.float32))


def _to_rows(planes: FloatArray) -> FloatArray:
    """Bring (p, bands, columns) to 24 rows."""
    return np.stack([cv2.resize(plane, (plane.shape[1], ROWS), interpolation=cv2.INTER_LINEAR) for plane in planes])


def _over_time(plane: FloatArray) -> FloatArray:
    """Bring (n, bands) to (24, 16)."""
    kernel = cv2.INTER_AREA if len(plane) >= TIMES else cv2.INTER_LINEAR
    shorter = cv2.resize(np.ascontiguousarray(plane, np.float32), (plane.shape[1], TIMES), interpolation=kernel)
    return np.asarray(cv2.resize(shorter.T, (TIMES, ROWS), interpolation=cv2.INTER_LINEAR), np.float32)


def _numbers(
    window: Window,
    candidate: Candidate,
    candidates: list[Candidate],
    depths: FloatArray,
    depth: float,
    on_plain: FloatArray,
    on_rest: FloatArray,
    change: FloatArray,
) -> FloatArray:
    path, present = candidate.path, candidate.present
    frames = len(path.x)
    displacement, local = window.explained.overall, window.explained.local
    seen = present.mean(axis=0)
    strength = on_plain.mean(axis=0)
    disturbed = change > 0.25
    kept = float(on_plain[disturbed].mean()) if disturbed.mean() > 0.02 else float(on_plain.mean())
    calm = float(on_plain[~disturbed].mean()) if (~disturbed).any() else float(on_plain.mean())
    return np.array(
        (
            float(candidate.standing),
            frames / 24 - 1,
            len(window.ridge) / 24 - 1,
            np.log(path.score / frames + 0.1),
            np.log(path.score / max(candidates[0].path.score, 1.0)),
            np.log1p(len(candidates)) / 2 - 1,
            np.log(depth) - 1.5,
            float(np.std(depths)) / (abs(float(depths.mean())) + 0.5),
            float(present.mean()) * 2 - 1,
            float((seen > 0.3).mean()) * 2 - 1,
            float(strength.std() / (abs(strength.mean()) + 0.1)),
            path.tilt * 2,
            float(np.ptp(path.x)) / 4,
            float(np.log(np.std(displacement[path.frames]) + 0.02)) / 2,
            separability(displacement, path) * 2 - 1,
            separability(local, path) * 2 - 1,
            float(on_rest.mean() / (abs(on_plain.mean()) + 0.1)),
            float(kept / (abs(calm) + 0.1)),
        ),
        np.float32,
    )
