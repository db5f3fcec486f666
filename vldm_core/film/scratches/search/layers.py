"""Evidence for vertical line scratches: band profiles of a frame, and what the film adds to the scene in them.

A scratch is faint (below one standard deviation per pixel), but long and fixed to the film. So a frame is first reduced
to profiles: thin bands of rows, in which every pixel answers "am I a ridge, compared with what is usual around me?" and
the answers are averaged down the band. Clipping the answers keeps strong scene edges from drowning faint lines.

Over a window of frames the profiles are then explained by two layers that move past each other,

    R_t(x) = F(x) + S(x - D_t(x)) + noise,

F fixed to the film and S to the scene, where D_t is the displacement of the scene since the start of the window. Both
are found together by least squares (conjugate gradients). F is held back by a small ridge penalty, so what cannot be
told apart (the scene hardly moved) goes to the scene. Subtracting the scene layer leaves the evidence for scratches,
drifting ones included.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg

from ....arrays import FloatArray
from .scene_motion import STILL_BANDS, local_displacement, overall_displacement


@dataclass(frozen=True, kw_only=True)
class LayerRules:
    """How frames are reduced to bands, and how a window of them is split into film and scene.

    Attributes:
        band_rows: Rows of a band at the working size: enough to average grain out, few enough for gaps.
        working_height: Rows to which taller frames are reduced; a scratch of a 2K scan is still two columns wide
            there.
        flank: Working pixels from a line to what it is compared with on either side.
        clip: Ridge response of a pixel at most, in units of what is usual nearby.
        film_penalty: Ridge penalty on the film layer, relative to the number of frames: what both could explain
            goes to the scene.
        scene_penalty: The same on the scene layer: keeps what hardly a frame has seen at 0.
        scene_iterations: Steps of conjugate gradients while the motion of the scene is still being found.
        iterations: Steps of conjugate gradients once it is known.
        solved: Length of the remainder below which no step is taken: there is nothing to be explained.
    """

    band_rows: int = 16
    working_height: int = 480
    flank: int = 4
    clip: float = 2.0
    film_penalty: float = 0.02
    scene_penalty: float = 0.001
    scene_iterations: int = 4
    iterations: int = 10
    solved: float = 1e-6


_RULES = LayerRules()


@dataclass(frozen=True, kw_only=True)
class BandLayout:
    """How a frame is cut into bands of rows, and the width at which they are analysed.

    Attributes:
        height: Height of the full frame.
        width: Width of the full frame.
        work_height: Height at which the analysis works.
        work_width: Width at which the analysis works; equal to ``width`` up to about 480 lines.
        bands: Number of bands.
    """

    height: int
    width: int
    work_height: int
    work_width: int
    bands: int

    @classmethod
    def of(cls, height: int, width: int) -> "BandLayout":
        """Plan the bands of frames of a size."""
        scale = min(1.0, _RULES.working_height / height) if height > 1.25 * _RULES.working_height else 1.0
        work_height, work_width = max(1, round(height * scale)), max(1, round(width * scale))
        return cls(
            height=height,
            width=width,
            work_height=work_height,
            work_width=work_width,
            bands=max(1, round(work_height / _RULES.band_rows)),
        )

    @property
    def scale(self) -> float:
        """Full-frame pixels per working pixel, horizontally."""
        return self.width / self.work_width

    @property
    def band_rows(self) -> float:
        """Rows of a band at the working size."""
        return self.work_height / self.bands

    def edges(self, height: int) -> NDArray[np.int64]:
        """First row of every band and the end, for a frame of some height: (bands + 1,)."""
        return np.linspace(0, height, self.bands + 1).round().astype(np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class BandProfiles:
    """A frame reduced to bands.

    Attributes:
        ridge: (bands, work_width) mean ridge response in units of what is usual nearby, clipped.
        mean: (bands, work_width) mean luma, grey levels.
    """

    ridge: FloatArray
    mean: FloatArray


def at_working_size(luma: FloatArray, layout: BandLayout) -> FloatArray:
    """Reduce a frame, (H, W) grey levels, to the size at which lines are looked for."""
    size = (layout.work_width, layout.work_height)
    if luma.shape == size[::-1]:
        return luma
    return cv2.resize(luma, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def band_profiles(luma: FloatArray, layout: BandLayout) -> BandProfiles:
    """Reduce a frame to its band profiles.

    The ridge response of a pixel is its difference from the nearer (in brightness) of two flanks when it differs from
    both in the same direction, else 0, so an edge between two regions gives none.

    Args:
        luma: (H, W) grey levels 0 … 255, at full or working size.
        layout: Made for (H, W).
    """
    luma = at_working_size(luma, layout)
    padded = cv2.copyMakeBorder(luma, 0, 0, _RULES.flank, _RULES.flank, cv2.BORDER_REPLICATE)
    left = cv2.subtract(luma, padded[:, : -2 * _RULES.flank])
    right = cv2.subtract(luma, padded[:, 2 * _RULES.flank :])
    # minmod(a, b): the nearer to zero where both have one sign, else 0
    response = np.maximum(cv2.min(left, right), 0) + np.minimum(cv2.max(left, right), 0)
    usual = cv2.blur(np.minimum(np.abs(response), 25.0), (31, 31), borderType=cv2.BORDER_REFLECT)
    response /= 1.25 * usual + 0.5
    np.clip(response, -_RULES.clip, _RULES.clip, out=response)

    edges = layout.edges(layout.work_height)
    counts = np.diff(edges).astype(np.float32)[:, None]
    ridge = np.add.reduceat(response, edges[:-1], axis=0) / counts
    mean = np.add.reduceat(luma, edges[:-1], axis=0) / counts
    return BandProfiles(ridge=ridge.astype(np.float32), mean=mean.astype(np.float32))


class LayerModel:
    """The two-layer explanation of a window of profiles for one displacement of the scene.

    Layers are held with their columns first, so that what is the same for all bands is looked up once.

    Args:
        displacement: (T,) horizontal displacement of the scene since the first frame, or (T, bands, W) place by place,
            working pixels.
        sink: (T,) vertical displacement of the scene since the first frame, bands; zeros when it hardly moves.
        bands: Bands of a profile.
        width: Its columns.
    """

    def __init__(self, displacement: FloatArray, sink: FloatArray, bands: int, width: int) -> None:
        frames = len(displacement)
        self._shape = (frames, width, bands)
        # Scene point that film column x shows at time t, with the 4 taps of a cubic (Catmull-Rom) interpolation.
        columns = np.arange(width, dtype=np.float32)[:, None]
        moved = displacement[:, None, None] if displacement.ndim == 1 else displacement.transpose(0, 2, 1)
        position = columns - moved
        position -= np.floor(position.min()) - 1
        self._canvas = int(np.ceil(position.max())) + 3
        base = np.floor(position)
        u = (position - base).astype(np.float32)
        taps = np.stack(
            (
                ((2 - u) * u - 1) * u / 2,
                ((3 * u - 5) * u * u + 2) / 2,
                ((4 - 3 * u) * u + 1) * u / 2,
                (u - 1) * u * u / 2,
            ),
            axis=-1,
        )
        column = base.astype(np.int32)[..., None] - 1 + np.arange(4, dtype=np.int32)
        row = (np.arange(bands, dtype=np.float32) - sink[:, None]).astype(np.float32)
        row -= np.floor(row.min())
        self._upper = np.floor(row[:, 0]).astype(np.int64)
        self._lower_part = row[:, 0] - self._upper
        self._sinks = bool(sink.any())
        self._rows = int(self._upper.max()) + bands + 1 if self._sinks else bands
        self._by_place = displacement.ndim == 3
        points = self._canvas
        if self._by_place:
            column = column * bands + np.arange(bands, dtype=np.int32)[:, None]
            points *= bands
            if self._sinks:
                column += (np.arange(frames, dtype=np.int32) * points)[:, None, None, None]
                points *= frames
        lines = taps.size // 4
        self._look = sparse.csr_matrix(
            (taps.ravel(), column.ravel(), np.arange(0, taps.size + 1, 4)), shape=(lines, points)
        )
        self._look_back = self._look.T.tocsr()

    def _seen(self, scene: FloatArray) -> FloatArray:
        """What the film shows of a scene (points,): (T, W, bands)."""
        frames, width, bands = self._shape
        if not self._by_place:
            wide = (self._look @ scene.reshape(self._canvas, self._rows)).reshape(frames, width, self._rows)
            return self._raised(wide) if self._sinks else wide
        if self._sinks:
            rows = scene.reshape(self._canvas, self._rows)
            scene = self._raised(np.broadcast_to(rows, (frames, *rows.shape)))
        return np.asarray((self._look @ scene.ravel()).reshape(frames, width, bands), np.float32)

    def _gathered(self, picture: FloatArray) -> FloatArray:
        """The adjoint of `_seen`: (points,) from (T, W, bands)."""
        frames, width, bands = self._shape
        if not self._by_place:
            wide = self._sunk(picture, width) if self._sinks else picture
            return np.asarray((self._look_back @ wide.reshape(-1, self._rows)).ravel(), np.float32)
        scene = self._look_back @ picture.ravel()
        if self._sinks:
            scene = self._sunk(scene.reshape(frames, self._canvas, bands), self._canvas).sum(axis=0).ravel()
        return np.asarray(scene, np.float32)

    def _raised(self, wide: FloatArray) -> FloatArray:
        """The bands that every frame shows of more rows: (T, n, bands) from (T, n, rows)."""
        bands = self._shape[2]
        result = np.empty((*wide.shape[:2], bands), np.float32)
        for frame, upper, part in zip(range(len(wide)), self._upper, self._lower_part, strict=True):
            rows = wide[frame]
            np.multiply(rows[:, upper : upper + bands], 1 - part, out=result[frame])
            result[frame] += part * rows[:, upper + 1 : upper + 1 + bands]
        return result

    def _sunk(self, picture: FloatArray, columns: int) -> FloatArray:
        """The adjoint of `_raised`."""
        bands = self._shape[2]
        result = np.zeros((self._shape[0], columns, self._rows), np.float32)
        for frame, upper, part in zip(range(len(picture)), self._upper, self._lower_part, strict=True):
            rows = result[frame]
            np.multiply(picture[frame], 1 - part, out=rows[:, upper : upper + bands])
            rows[:, upper + 1 : upper + 1 + bands] += part * picture[frame]
        return result

    def fit(self, profiles: FloatArray, iterations: int = _RULES.iterations) -> tuple[FloatArray, FloatArray]:
        """Fit both layers.

        The scene is fitted alone first, so that the joint fit starts where everything ambiguous belongs to it.

        Args:
            profiles: (T, bands, W).
            iterations: Of the joint fit. Layers that hardly move past each other take more.

        Returns:
            The film layer (bands, W) and the scene layer as seen in every frame (T, bands, W).
        """
        frames, width, bands = self._shape
        size = bands * width
        profiles = np.ascontiguousarray(profiles.transpose(0, 2, 1))
        seen = self._gathered(np.ones(self._shape, np.float32))
        scene_weight: FloatArray = np.maximum(seen, 0.1 * frames) + np.float32(_RULES.scene_penalty * frames)

        def scene_only(scene: FloatArray) -> FloatArray:
            return self._gathered(self._seen(scene)) + _RULES.scene_penalty * frames * scene

        def both(layers: FloatArray) -> FloatArray:
            film, scene = layers[:size], layers[size:]
            picture = self._seen(scene)
            picture += film.reshape(width, bands)
            return np.concatenate(
                (
                    picture.sum(axis=0).ravel() + _RULES.film_penalty * frames * film,
                    self._gathered(picture) + _RULES.scene_penalty * frames * scene,
                )
            )

        target = self._gathered(profiles)
        start = _solved(scene_only, target, np.zeros_like(target), scene_weight, _RULES.scene_iterations)
        target = np.concatenate((profiles.sum(axis=0).ravel(), target))
        start = np.concatenate((np.zeros(size, np.float32), start))
        weight = np.concatenate((np.full(size, (1 + _RULES.film_penalty) * frames, np.float32), scene_weight))
        layers = _solved(both, target, start, weight, iterations)
        film, scene = layers[:size].reshape(width, bands), self._seen(layers[size:])
        return np.ascontiguousarray(film.T), np.ascontiguousarray(scene.transpose(0, 2, 1))


def _solved(
    apply: Callable[[FloatArray], FloatArray],
    target: FloatArray,
    start: FloatArray,
    diagonal: FloatArray,
    iterations: int,
) -> FloatArray:
    """Take steps of conjugate gradients towards apply(x) = target, for a symmetric positive definite operator."""
    square = (target.size, target.size)
    operator = LinearOperator(square, matvec=apply, dtype=target.dtype)
    preconditioner = LinearOperator(square, matvec=lambda x: x / diagonal, dtype=target.dtype)
    solution: FloatArray
    solution, _ = cg(operator, target, start, rtol=0, atol=_RULES.solved, maxiter=iterations, M=preconditioner)
    return solution


@dataclass(frozen=True, kw_only=True, eq=False)
class Explained:
    """What is known of a window of profiles once the scene is explained.

    Attributes:
        evidence: (T, bands, W) ridge response that no motion of the scene explains.
        overall: (T,) horizontal displacement of the scene as a whole, working pixels.
        local: (T, bands, W) displacement of the scene place by place.
    """

    evidence: FloatArray
    overall: FloatArray
    local: FloatArray


def explain_scene(ridge: FloatArray, start: FloatArray, sink: FloatArray) -> Explained:
    """Take out of a window of profiles what moves with the scene.

    Film layer and motion depend on each other: a first film layer is found with a first motion, the motion is measured
    again without it, and so on. A scratch is what neither the motion of the whole frame nor that of the place
    explains, so the weaker of the two residuals is the evidence.

    Args:
        ridge: (T, bands, W) ridge responses.
        start: (T,) rough horizontal displacement of the scene since the first frame, working pixels.
        sink: (T,) vertical displacement of the scene since the first frame, bands.
    """
    if np.ptp(sink) <= STILL_BANDS:
        sink = np.zeros_like(sink)

    def whole(displacement: FloatArray) -> LayerModel:
        return LayerModel(displacement, sink, *ridge.shape[1:])

    overall = overall_displacement(ridge, start, sink)
    film, _ = whole(overall).fit(ridge)
    overall = overall_displacement(ridge - film, overall, sink)
    film, scene = whole(overall).fit(ridge)
    local = local_displacement(ridge - film, overall, sink)
    local_scene = LayerModel(local, sink, *ridge.shape[1:]).fit(ridge)[1]
    by_frame, by_place = ridge - scene, ridge - local_scene
    weaker = np.where(np.abs(by_frame) < np.abs(by_place), by_frame, by_place)
    evidence = np.where(by_frame * by_place > 0, weaker, 0).astype(np.float32)
    return Explained(evidence=evidence, overall=overall, local=local)
