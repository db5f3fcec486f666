"""Clips as they come out of the repair, and what they should look like: what the pre-restorer is trained on.

Films are simulated once, with all their damage, and their repair is imitated: what is filled shows the undamaged film
with less grain and slightly out of place, of scratches a remainder stays, some damage has been missed, and some places
without damage have been filled. A film is kept as a file of bytes, see `example_files`. Samples are windows of
films, mirrored and turned, with most of their flicker taken out as the stage before does it; they depend on their
number and the seed alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...ageing import binary_truth
from ...ageing.validation import require_within
from ...data.clean_shots import TrainingMaterial
from ...data.degraded_clips import DegradedClips, Pair, PairSettings
from ...data.samples import NumberedSamples
from ...errors import FilmFileError, SettingsError
from ...prerestore.alignment import nearby
from ...progress import Progress, silent
from ...video.flow import FlowSettings, estimate_flow
from ..example_files import claim, make_missing, read

_FLOW = FlowSettings(quality="fast")
_ARRAYS = ("frames", "target", "masks")
_GRANULARITY = 8
"""The network takes frames whose sides are multiples of this, px."""


class RepairedClip(TypedDict):
    """One sample.

    Attributes:
        frames: (T, 3, H, W) in [0, 1], repaired, with everything else that is wrong with the film.
        target: (T, 3, H, W) in [0, 1].
        masks: (T, H, W), 1 = repaired.
        backward: (T-1, 2, H, W) flow of `frames`: entry t lives on frame t+1 and looks up frame t.
        forward: (T-1, 2, H, W): entry t lives on frame t and looks up frame t+1.
        nearby: (T, 6, H, W) of `prerestore.alignment.nearby`.
    """

    frames: Tensor
    target: Tensor
    masks: Tensor
    backward: Tensor
    forward: Tensor
    nearby: Tensor


@dataclass(frozen=True, kw_only=True)
class RepairedFilmSettings:
    """How films are made.

    Attributes:
        films: How many.
        frames: Their length.
        height: Of their frames, px.
        width: The same.
        missed: Share of defects that the repair has missed.
        needless: Mean number of undamaged places per frame that were filled.
        needless_radius: Smallest and largest half axis of such a place, px.
        scratch_remainder: Standard deviation of the share of a scratch's depth that is left, or too much was taken off.
        scratch_marked: Share of frames whose scratches are in the mask of what was repaired: the reel gives the mask of
            scratches to the network or does not.
        rim: Pixels by which a fill reaches beyond what can be measured of a defect: its rim is fainter than that.
        fill_shift: Standard deviation of the distance by which a fill lies beside its place, px: flow is that exact.
        fill_blur: Smallest and largest standard deviation of its blur, px: it is an average of neighbours.
        presets: Weight of every simulation preset; None uses all alike.
        seed: Another seed gives other films.
    """

    films: int = 400
    frames: int = 8
    height: int = 320
    width: int = 384
    missed: float = 0.08
    needless: float = 1.0
    needless_radius: tuple[int, int] = (2, 8)
    scratch_remainder: float = 0.1
    scratch_marked: float = 0.5
    rim: int = 1
    fill_shift: float = 0.4
    fill_blur: tuple[float, float] = (0.4, 1.0)
    presets: Mapping[str, float] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("films", 1), ("frames", 2), ("height", 64), ("width", 64), ("seed", 0), ("rim", 0)):
            if getattr(self, name) < least:
                raise SettingsError(f"repaired films {name} is {getattr(self, name)}; use {least} or more")
        for name in ("missed", "scratch_marked"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"repaired films {name} is {getattr(self, name)}; use a share from 0 to 1")
        for name in ("needless", "scratch_remainder", "fill_shift"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingsError(f"repaired films {name} is {getattr(self, name)}; use 0 or more")
        for name in ("needless_radius", "fill_blur"):
            low, high = getattr(self, name)
            if not 0 < low <= high < math.inf:
                raise SettingsError(f"repaired films {name} is {(low, high)}; use a smallest and a largest above 0")


@dataclass(frozen=True, kw_only=True)
class FlickerField:
    """How flicker is told from grain and scene: it is the difference to the target that changes slowly over the frame.

    Attributes:
        scale: Fraction of the size at which it is looked for, 1 / scale.
        sigma: Standard deviation of the smoothing, px of that size.
        left: Share of the flicker that a whole film keeps, on which a run is judged.
    """

    scale: int = 8
    sigma: float = 3.0
    left: float = 0.2

    def __post_init__(self) -> None:
        require_within("flicker scale", self.scale, 1, 64)
        require_within("flicker sigma", self.sigma, 0.5, 50)
        require_within("flicker left", self.left, 0, 1)


def make_films(
    material: TrainingMaterial,
    folder: Path,
    settings: RepairedFilmSettings,
    *,
    part: int = 0,
    parts: int = 1,
    progress: Progress = silent,
) -> list[Path]:
    """Make the films that are not there yet.

    Args:
        material: Clean shots.
        folder: Where the films lie; it belongs to these settings alone.
        settings: How they are made.
        part: Which of `parts` shares of the films to make, so that several processes can work side by side.
        parts: Number of shares.
        progress: Called once per film.

    Returns:
        The files of all films, in order, whether they are there or not.

    Raises:
        SettingsError: The folder holds films that were made with other settings.
        FilmFileError: The folder holds films of other files.
    """
    claim(folder, repr(replace(settings, films=1)), (*material.clips, *material.photos))
    clips = degraded_films(material, settings)
    files = [folder / f"{number:05d}.npz" for number in range(settings.films)]

    def make(number: int) -> dict[str, NDArray]:
        film = clips.sample(number)
        frames, masks = imitate_repair(film, settings, np.random.default_rng([settings.seed, number, 3]))
        return {"frames": _bytes(frames), "target": _bytes(film["clean"]), "masks": masks.numpy()}

    make_missing(files, make, part=part, parts=parts, progress=progress)
    return files


def degraded_films(material: TrainingMaterial, settings: RepairedFilmSettings) -> DegradedClips:
    """Return the films of `make_films` as they are before their repair: damaged, undamaged and clean, by number."""
    return DegradedClips(
        material,
        seed=settings.seed,
        settings=PairSettings(
            frames=settings.frames,
            height=settings.height,
            width=settings.width,
            target="sharp",
            undamaged=True,
            presets=settings.presets,
        ),
    )


def imitate_repair(film: Pair, settings: RepairedFilmSettings, stream: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return the frames of a film as a repair leaves them, and the mask of what was repaired.

    Args:
        film: With `undamaged`.
        settings: How good the repair is.
        stream: Chance.

    Returns:
        (T, 3, H, W) in [0, 1] and (T, H, W) bool.
    """
    frames, masks = film["aged"].clone(), torch.zeros(film["aged"].shape[0], *film["aged"].shape[2:], dtype=torch.bool)
    local = torch.stack([mask for kind, mask in film["masks"].items() if kind != "lines"]).amax(dim=0)
    rim = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * settings.rim + 1,) * 2)
    for t, undamaged in enumerate(film["undamaged"]):
        rest = 1 - stream.normal(0, settings.scratch_remainder)
        frames[t] += rest * (film["masks"]["lines"][t] > 0) * (undamaged - frames[t])
        found = _kept(binary_truth(local[t]).numpy(), stream, settings.missed)
        found = np.maximum(cv2.dilate(found, rim), _needless(found.shape, stream, settings))
        where = torch.from_numpy(found > 0)
        frames[t] = torch.where(where, _filled(undamaged, stream, settings), frames[t])
        masks[t] = where | (
            binary_truth(film["masks"]["lines"][t]) if stream.random() < settings.scratch_marked else False
        )
    return frames.clamp(0, 1), masks


def without_flicker(
    frames: NDArray[np.uint8], target: NDArray[np.uint8], left: float, field: FlickerField | None = None
) -> NDArray[np.uint8]:
    """Bring the brightness of frames close to that of the target, as the removal of flicker does.

    Args:
        frames: (T, 3, H, W).
        target: The same shape; it has no flicker.
        left: Share of the flicker that is left, 0 … 1.
        field: How flicker is told from all else.
    """
    field = field or FlickerField()
    even = np.empty_like(frames)
    height, width = frames.shape[2:]
    for t, (frame, steady) in enumerate(zip(frames, target, strict=True)):
        apart = (frame.astype(np.float32) - steady).transpose(1, 2, 0)
        small = -(-width // field.scale), -(-height // field.scale)
        flicker = cv2.resize(apart, small, interpolation=cv2.INTER_AREA)
        flicker = cv2.GaussianBlur(flicker, (0, 0), field.sigma, borderType=cv2.BORDER_REFLECT)
        flicker = cv2.resize(flicker, (width, height), interpolation=cv2.INTER_LINEAR)
        even[t] = np.clip(np.rint(frame - (1 - left) * flicker.transpose(2, 0, 1)), 0, 255)
    return even


def _kept(damage: NDArray[np.bool_], stream: np.random.Generator, missed: float) -> NDArray[np.uint8]:
    """Leave some defects out."""
    count, labels = cv2.connectedComponents(damage.astype(np.uint8), connectivity=8)
    kept = stream.random(count) >= missed
    kept[0] = False
    return kept[labels].astype(np.uint8)


def _needless(shape: tuple[int, ...], stream: np.random.Generator, settings: RepairedFilmSettings) -> NDArray[np.uint8]:
    marks = np.zeros(shape, np.uint8)
    least, most = settings.needless_radius
    for _ in range(int(stream.poisson(settings.needless))):
        centre = int(stream.integers(shape[1])), int(stream.integers(shape[0]))
        axes = int(stream.integers(least, most + 1)), int(stream.integers(least, most + 1))
        cv2.ellipse(marks, centre, axes, float(stream.uniform(0, 180)), 0, 360, 1, -1)
    return marks


def _filled(undamaged: Tensor, stream: np.random.Generator, settings: RepairedFilmSettings) -> Tensor:
    """What a motion-compensated fill shows: averaged, and a fraction of a pixel out of place."""
    picture = np.ascontiguousarray(undamaged.numpy().transpose(1, 2, 0))
    shift = stream.normal(0, settings.fill_shift, 2)
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64)
    moved = cv2.warpAffine(picture, matrix, picture.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
    soft = cv2.GaussianBlur(moved, (0, 0), float(stream.uniform(*settings.fill_blur)))
    return torch.from_numpy(np.ascontiguousarray(soft.transpose(2, 0, 1)))


def _bytes(frames: Tensor) -> NDArray[np.uint8]:
    return (frames * 255).round().clamp(0, 255).to(torch.uint8).numpy()


class RepairedClips(NumberedSamples[RepairedClip]):
    """Windows of films, mirrored and turned; see `NumberedSamples` for their order.

    Args:
        files: Of `make_films`.
        seed: Another seed gives other windows.
        frames: Length of a sample.
        side: Height and width of a sample, px, a multiple of 8.
        batch: Samples in a block; the batch size of the loader.
        flicker: Largest share of its flicker that a sample keeps, 0 … 1.

    Raises:
        SettingsError: A number is out of range.
    """

    def __init__(
        self, files: list[Path], *, seed: int, frames: int, side: int, batch: int, flicker: float = 0.4
    ) -> None:
        super().__init__(seed=seed, batch=batch)
        if not 0 <= flicker <= 1:
            raise SettingsError(f"the share of flicker is {flicker}; use 0 … 1")
        if not files or frames < 2 or side < 2 * _GRANULARITY or side % _GRANULARITY:
            raise SettingsError(
                f"{len(files)} films, samples of {frames} frames of {side} px; use at least one film, 2 frames, and "
                f"{2 * _GRANULARITY} px in multiples of {_GRANULARITY}"
            )
        self._files, self._frames, self._side, self._flicker = list(files), frames, side, flicker

    def sample(self, index: int) -> RepairedClip:
        """Return one sample.

        Raises:
            FilmFileError: A film is missing or smaller than a sample.
        """
        stream = np.random.default_rng([self.seed, index])
        path = self._files[int(stream.integers(len(self._files)))]
        cut = self._cut(path, stream)
        cut["frames"] = without_flicker(cut["frames"], cut["target"], float(stream.uniform(0, self._flicker)))
        pictures = {name: torch.from_numpy(array) for name, array in cut.items()}
        for axis in (-1, -2):
            if stream.random() < 0.5:
                pictures = {name: picture.flip(axis) for name, picture in pictures.items()}
        if stream.random() < 0.5:
            pictures = {name: picture.transpose(-1, -2) for name, picture in pictures.items()}
        if stream.random() < 0.5:
            pictures = {name: picture.flip(0) for name, picture in pictures.items()}
        return _with_flow(pictures)

    @staticmethod
    def whole(path: Path) -> RepairedClip:
        """Return a whole film, but for what its sides have beyond a multiple of 8, with little of its flicker.

        Raises:
            FilmFileError: It cannot be read.
        """
        film = read(path, _ARRAYS)
        film["frames"] = without_flicker(film["frames"], film["target"], FlickerField().left)
        height, width = (side // _GRANULARITY * _GRANULARITY for side in film["masks"].shape[1:])
        return _with_flow({name: torch.from_numpy(array[..., :height, :width]) for name, array in film.items()})

    def _cut(self, path: Path, stream: np.random.Generator) -> dict[str, NDArray[Any]]:
        arrays = read(path, _ARRAYS)
        count, height, width = arrays["masks"].shape
        if min(height, width) < self._side or count < self._frames:
            raise FilmFileError(
                f"{path} has {count} frames of {width}×{height}, too few or small for {self._frames} of {self._side} px"
            )
        first = int(stream.integers(count - self._frames + 1))
        top, left = int(stream.integers(height - self._side + 1)), int(stream.integers(width - self._side + 1))
        span = slice(first, first + self._frames)
        rows, columns = slice(top, top + self._side), slice(left, left + self._side)
        return {name: np.ascontiguousarray(array[span, ..., rows, columns]) for name, array in arrays.items()}


def _with_flow(pictures: Mapping[str, Tensor]) -> RepairedClip:
    frames, target = (pictures[name].contiguous().float() / 255 for name in ("frames", "target"))
    masks = pictures["masks"].contiguous().float()
    backward = estimate_flow(frames, masks=masks, settings=_FLOW)
    forward = estimate_flow(frames, masks=masks, settings=_FLOW, direction="forward")
    return RepairedClip(
        frames=frames,
        target=target,
        masks=masks,
        backward=backward,
        forward=forward,
        nearby=nearby(frames, backward, forward, masks),
    )
