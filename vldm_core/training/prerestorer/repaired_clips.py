"""Clips as they come out of the repair, and what they should look like: what the pre-restorer is trained on.

Films are simulated once, with all their damage, and their repair is imitated: what is filled shows the undamaged film
with less grain and slightly out of place, of scratches a remainder stays, some damage has been missed, and some sound
places have been filled for nothing. A film is kept as a file of bytes; samples are windows of films, mirrored and
turned, with most of their flicker taken out as the stage before does it, and depend on their number and the seed alone.
"""

import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from ...ageing import binary_truth
from ...data.clean_shots import TrainingMaterial
from ...data.degraded_clips import DegradedClips, Pair, PairSettings
from ...errors import FilmFileError, SettingsError
from ...prerestore.alignment import nearby
from ...progress import Progress, silent
from ...video.flow import FlowSettings, estimate_flow
from ..output import claim_sources

_FLOW = FlowSettings(quality="fast")
_FLICKER_OF_WHOLE = 0.2
_FIELD_SCALE, _FIELD_SIGMA = 8, 3.0
"""Flicker is looked for at this fraction of the size, smoothed by so many pixels of that."""
_RIM = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))


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
        line_remainder: Standard deviation of the share of a scratch's depth that is left, or too much was taken off.
        presets: Weight of every simulation preset; None uses all alike.
        seed: Another seed gives other films.
    """

    films: int = 400
    frames: int = 8
    height: int = 320
    width: int = 384
    missed: float = 0.08
    needless: float = 1.0
    line_remainder: float = 0.1
    presets: Mapping[str, float] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("films", 1), ("frames", 2), ("height", 64), ("width", 64), ("seed", 0)):
            if getattr(self, name) < least:
                raise SettingsError(f"repaired films {name} is {getattr(self, name)}; use {least} or more")
        if not 0 <= self.missed <= 1 or self.needless < 0 or self.line_remainder < 0:
            raise SettingsError("repaired films need missed in 0 … 1, needless and line_remainder from 0")


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
        FilmFileError: The folder holds films that were made otherwise, or of other files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, settings, material)
    clips = DegradedClips(
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
    files = [folder / f"{number:05d}.npz" for number in range(settings.films)]
    for number in range(part, settings.films, parts):
        if not files[number].is_file():
            film = clips.sample(number)
            frames, masks = imitate_repair(film, settings, np.random.default_rng([settings.seed, number, 3]))
            partial = files[number].with_suffix(f".{part}.part")
            with partial.open("wb") as file:
                np.savez(file, frames=_bytes(frames), target=_bytes(film["clean"]), masks=masks.numpy())
            os.replace(partial, files[number])
        progress("make films", number // parts + 1, -(-settings.films // parts))
    return files


def _claim(folder: Path, settings: RepairedFilmSettings, material: TrainingMaterial) -> None:
    """Write down what the films of a folder are, or check that it is the same."""
    note, text = folder / "films.txt", repr(asdict(replace(settings, films=1)))
    if note.is_file() and note.read_text() != text:
        raise FilmFileError(f"{folder} holds films made with other settings ({note.read_text()}); use another folder")
    note.write_text(text)
    claim_sources(folder, (*material.clips, *material.photos))


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
    for t, undamaged in enumerate(film["undamaged"]):
        rest = 1 - stream.normal(0, settings.line_remainder)
        frames[t] += rest * (film["masks"]["lines"][t] > 0) * (undamaged - frames[t])
        # Seen damage is filled, with the rim that is fainter than anything measurable.
        found = _kept(binary_truth(local[t]).numpy(), stream, settings.missed)
        found = np.maximum(cv2.dilate(found, _RIM), _needless(found.shape, stream, settings.needless))
        where = torch.from_numpy(found > 0)
        frames[t] = torch.where(where, _filled(undamaged, stream), frames[t])
        masks[t] = where | (binary_truth(film["masks"]["lines"][t]) if stream.random() < 0.5 else False)
    return frames.clamp(0, 1), masks


def without_flicker(frames: NDArray[np.uint8], target: NDArray[np.uint8], left: float) -> NDArray[np.uint8]:
    """Bring the brightness of frames close to that of the target, as the removal of flicker does.

    Args:
        frames: (T, 3, H, W).
        target: The same shape; it has no flicker.
        left: Share of the flicker that is left, 0 … 1.
    """
    even = np.empty_like(frames)
    height, width = frames.shape[2:]
    for t, (frame, steady) in enumerate(zip(frames, target, strict=True)):
        apart = (frame.astype(np.float32) - steady).transpose(1, 2, 0)
        small = -(-width // _FIELD_SCALE), -(-height // _FIELD_SCALE)
        field = cv2.resize(apart, small, interpolation=cv2.INTER_AREA)
        field = cv2.GaussianBlur(field, (0, 0), _FIELD_SIGMA, borderType=cv2.BORDER_REFLECT)
        field = cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)
        even[t] = np.clip(np.rint(frame - (1 - left) * field.transpose(2, 0, 1)), 0, 255)
    return even


def _kept(damage: NDArray[np.bool_], stream: np.random.Generator, missed: float) -> NDArray[np.uint8]:
    """Leave some defects out."""
    count, labels = cv2.connectedComponents(damage.astype(np.uint8), connectivity=8)
    kept = stream.random(count) >= missed
    kept[0] = False
    return kept[labels].astype(np.uint8)


def _needless(shape: tuple[int, ...], stream: np.random.Generator, mean: float) -> NDArray[np.uint8]:
    marks = np.zeros(shape, np.uint8)
    for _ in range(int(stream.poisson(mean))):
        centre = int(stream.integers(shape[1])), int(stream.integers(shape[0]))
        axes = int(stream.integers(2, 9)), int(stream.integers(2, 9))
        cv2.ellipse(marks, centre, axes, float(stream.uniform(0, 180)), 0, 360, 1, -1)
    return marks


def _filled(undamaged: Tensor, stream: np.random.Generator) -> Tensor:
    """What a motion-compensated fill shows: averaged, and a fraction of a pixel out of place."""
    picture = np.ascontiguousarray(undamaged.numpy().transpose(1, 2, 0))
    shift = stream.normal(0, 0.4, 2)
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64)
    moved = cv2.warpAffine(picture, matrix, picture.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
    soft = cv2.GaussianBlur(moved, (0, 0), float(stream.uniform(0.4, 1.0)))
    return torch.from_numpy(np.ascontiguousarray(soft.transpose(2, 0, 1)))


def _bytes(frames: Tensor) -> NDArray[np.uint8]:
    return (frames * 255).round().clamp(0, 255).to(torch.uint8).numpy()


class RepairedClips(IterableDataset[RepairedClip]):
    """Windows of films as a resumable data set; see `pairs.DegradedClips` for the order of samples.

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
        super().__init__()
        if not 0 <= flicker <= 1:
            raise SettingsError(f"the share of flicker is {flicker}; use 0 … 1")
        if not files or frames < 2 or side < 16 or side % 8 or batch < 1:
            raise SettingsError(
                f"{len(files)} films, samples of {frames} frames of {side} px, blocks of {batch}; use at least one "
                "film, 2 frames, 16 px in multiples of 8, and 1 sample"
            )
        self._files, self._seed, self._frames, self._side, self._batch = list(files), seed, frames, side, batch
        self._flicker = flicker
        self._start = 0

    def __iter__(self) -> Iterator[RepairedClip]:
        """Yield the samples of this worker, without end."""
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info is not None else (0, 1)
        block = self._start // self._batch + worker
        while True:
            for index in range(block * self._batch, (block + 1) * self._batch):
                yield self.sample(index)
            block += workers

    def sample(self, index: int) -> RepairedClip:
        """Return one sample.

        Raises:
            FilmFileError: A film is missing or smaller than a sample.
        """
        stream = np.random.default_rng([self._seed, index])
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
        """Return a whole film, but for sides that are no multiple of 8, with a fifth of its flicker.

        Raises:
            FilmFileError: It cannot be read.
        """
        film = _read(path)
        film["frames"] = without_flicker(film["frames"], film["target"], _FLICKER_OF_WHOLE)
        height, width = (side // 8 * 8 for side in film["masks"].shape[1:])
        return _with_flow({name: torch.from_numpy(array[..., :height, :width]) for name, array in film.items()})

    def _cut(self, path: Path, stream: np.random.Generator) -> dict[str, NDArray[Any]]:
        arrays = _read(path)
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

    def advance(self, samples: int) -> None:
        """Count samples as used."""
        self._start += samples

    def state_dict(self) -> dict[str, int]:
        """Return where the data set is."""
        return {"seed": self._seed, "start": self._start}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go to where a data set was.

        Raises:
            SettingsError: It had another seed.
        """
        if state["seed"] != self._seed:
            raise SettingsError(f"the state is of seed {state['seed']}, the data set has {self._seed}; use that seed")
        self._start = state["start"]


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path) as film:
            return {name: film[name] for name in ("frames", "target", "masks")}
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise FilmFileError(f"{path} is not a film to train on ({error}); make the films again") from error


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
