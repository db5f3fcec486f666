"""Examples for the dirt network: what `DirtFeatures` shows of aged shots, and what there is to be found.

The planes cost optical flow, so they are computed once and kept as 8-bit files, one per shot; see `example_files`.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...ageing import TRUTH_THRESHOLD, Simulation, simulate
from ...data.clean_shots import MaterialSettings, TrainingMaterial
from ...errors import FilmFileError, SettingsError
from ...film.dirt.features import COARSE_PLANES, FINE_PLANES, PLANES, SCALE, DirtFeatures, DirtPlanes
from ...film.dirt.looks import NeighbourLooks
from ...film.motion.window import FrameWindow
from ...progress import Progress, silent
from ..example_files import claim, make_missing, read
from .ageing import DirtAgeing, draw_ageing
from .distractors import DistractorSettings, distracted

DIRT, SCRATCH, BLOTCH = 1, 2, 4
"""Bits of a label: damage that is to be found, by the outputs of the network."""

FAINT_DIRT, FAINT_SCRATCH, FAINT_BLOTCH = 8, 16, 32
"""Bits of what is too faint to count either way."""

UNKNOWN = 64
"""Bit of what counts neither way for any output: scratches that last, and what real film shows and nobody explains."""

_MOST_CHANGE = 16.0  # grey levels; the change that is 1 in a mask of dirt, see `ageing.VISIBLE_CHANGE`
_LEAST_FRAMES = 10


@dataclass(frozen=True, kw_only=True)
class DirtExampleSettings:
    """How examples are made.

    Attributes:
        shots: Number of shots.
        hard_shots: Number of shots besides, in which things move so fast that hardly any flow is right.
        film_shots: Number of stretches of real film besides, where there are films.
        frames: Length of a shot. A longer one costs more, and the middle ones of eight have everything on both sides
            that the planes can look at.
        height: Of its frames, px.
        width: The same.
        side: Side of the square that is kept of a frame, px.
        clean_share: Share of shots without dirt: what moves there is the whole lesson. Twice as many of the hard ones.
        texture_share: Share of shots whose dirt has the shapes of a folder, where one is given.
        end_share: Share of shots from which the first or last frame is kept too, where neighbours are missing.
        hard_end_share: The same of hard shots.
        faintest: Grey levels below which a change counts as no damage; between it and the truth it counts neither way.
        dirt_deviations: Change from which on dirt and hair are to be found, deviations of the grain.
        dirt_levels: Grey levels that this is at least and at most.
        blotch_deviations: The same of blotches, which many pixels show together.
        blotch_levels: The same.
        distractors: What comes and goes in the scenes.
        ageing: How shots are aged.
        material: How shots are drawn: often with something fast in them.
        hard_material: How hard shots are drawn: always with several fast things.
        seed: Another seed gives other shots.
    """

    shots: int = 520
    hard_shots: int = 180
    film_shots: int = 48
    frames: int = 12
    height: int = 288
    width: int = 352
    side: int = 176
    clean_share: float = 0.2
    texture_share: float = 0.5
    end_share: float = 0.4
    hard_end_share: float = 0.7
    faintest: float = 1.0
    dirt_deviations: float = 2.5
    dirt_levels: tuple[float, float] = (5.0, 8.0)
    blotch_deviations: float = 2.0
    blotch_levels: tuple[float, float] = (4.0, 12.0)
    distractors: DistractorSettings = DistractorSettings()
    ageing: DirtAgeing = DirtAgeing()
    material: MaterialSettings = MaterialSettings(clip_share=0.35, object_share=0.65)
    hard_material: MaterialSettings = MaterialSettings(
        clip_share=0.35, clip_steps=4, object_share=1.0, objects=6, object_speed=(8.0, 60.0), speed=(1.0, 24.0)
    )
    seed: int = 0

    def __post_init__(self) -> None:
        if self.shots < 1:
            raise SettingsError(f"{self.shots} shots of examples were asked for; use 1 or more")
        for name in ("hard_shots", "film_shots"):
            if getattr(self, name) < 0:
                raise SettingsError(f"{getattr(self, name)} {name} of examples were asked for; use 0 or more")
        if self.frames < _LEAST_FRAMES:
            raise SettingsError(
                f"examples of shots of {self.frames} frames were asked for; use {_LEAST_FRAMES} or more"
            )
        if not 32 <= self.side <= min(self.height, self.width):
            raise SettingsError(
                f"the side of an example is {self.side}; use 32 … {min(self.height, self.width)} px, the smaller side "
                "of the frames"
            )
        for name, most in (
            ("clean_share", 0.5),
            ("texture_share", 1),
            ("end_share", 1),
            ("hard_end_share", 1),
        ):
            if not 0 <= getattr(self, name) <= most:
                raise SettingsError(f"example {name} is {getattr(self, name)}; use a share from 0 to {most}")
        for name in ("faintest", "dirt_deviations", "blotch_deviations"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingsError(f"example {name} is {getattr(self, name)}; use a number of 0 or more")


@dataclass(frozen=True, kw_only=True)
class ShotExamples:
    """The examples of one shot.

    Attributes:
        fine: (N, len(FINE_PLANES), side, side) int8, in units of 1 / `FeatureScale.step`.
        coarse: (N, len(COARSE_PLANES), side / 2, side / 2) int8, the same.
        labels: (N, side, side) uint8, see `DIRT`.
    """

    fine: NDArray[np.int8]
    coarse: NDArray[np.int8]
    labels: NDArray[np.uint8]


def shot_examples(
    material: TrainingMaterial,
    index: int,
    settings: DirtExampleSettings,
    textures: Path | None = None,
    *,
    hard: bool = False,
) -> ShotExamples:
    """Make the examples of a shot.

    Args:
        material: Clean shots.
        index: Number of the shot.
        settings: How examples are made.
        textures: Folder of scanned shapes, see `SimulationSettings.textures`.
        hard: Whether it is one of the hard shots, of which more are clean, and more frames begin or end a shot.
    """
    name = b"hard dirt examples" if hard else b"dirt examples"
    stream = np.random.default_rng([settings.seed, index, zlib.crc32(name)])
    clean_share = 2 * settings.clean_share if hard else settings.clean_share
    model = draw_ageing(
        stream, settings.ageing, textures, clean_share=clean_share, texture_share=settings.texture_share
    )
    clean = material.shot(
        index, frames=settings.frames, height=settings.height, width=settings.width, seed=settings.seed
    )
    clean = distracted(clean, stream, settings.distractors)
    aged = simulate(clean, model, seed=int(stream.integers(1 << 62)))
    grain = model.grain.sigma if model.grain is not None else 0.0
    end_share = settings.hard_end_share if hard else settings.end_share
    return examples_of(
        aged.frames, label(aged, settings, grain), chosen_frames(stream, settings.frames, end_share), stream, settings
    )


def chosen_frames(stream: np.random.Generator, count: int, end_share: float) -> list[int]:
    """Choose frames of a shot: three in the middle with everything on both sides, and one or two near an end."""
    middle = count // 2
    numbers = [0, 1] if stream.random() < end_share else [int(stream.integers(1, 3))]
    if stream.random() < 0.5:
        numbers = [count - 1 - number for number in numbers]
    return sorted({*numbers, middle - 1, middle, middle + 1})


def examples_of(
    frames: Tensor,
    labels: NDArray[np.uint8],
    numbers: Sequence[int],
    stream: np.random.Generator,
    settings: DirtExampleSettings,
) -> ShotExamples:
    """Make examples of some frames of a shot, two squares of each.

    Args:
        frames: (T, 3, H, W) in [0, 1]; rounded to 8 bits, as scans are.
        labels: (T, H, W) uint8, see `DIRT`.
        numbers: The frames, rising.
        stream: Draws the squares.
        settings: Their side.
    """
    window = NeighbourLooks(FrameWindow((frames * 255).round() / 255))
    features = DirtFeatures(window)
    fine, coarse, kept = [], [], []
    for number in numbers:
        features.forget(number)
        window.forget(number)
        seen = features.planes(number)
        if seen is None:
            continue
        for rows, columns in _places(stream, seen, labels[number], settings.side):
            half = tuple(slice(part.start // 2, part.stop // 2) for part in (rows, columns))
            fine.append(to_bytes(seen.fine[:, rows, columns]))
            coarse.append(to_bytes(seen.coarse[:, *half]))
            kept.append(labels[number][rows, columns])
    side = settings.side
    if not kept:
        return ShotExamples(
            fine=np.zeros((0, len(FINE_PLANES), side, side), np.int8),
            coarse=np.zeros((0, len(COARSE_PLANES), side // 2, side // 2), np.int8),
            labels=np.zeros((0, side, side), np.uint8),
        )
    return ShotExamples(fine=np.stack(fine), coarse=np.stack(coarse), labels=np.stack(kept))


def to_bytes(planes: Tensor) -> NDArray[np.int8]:
    """Return planes as 8 bits."""
    return (planes * SCALE.step).round().clamp(-SCALE.most, SCALE.most).to(torch.int8).numpy()


def label(aged: Simulation, settings: DirtExampleSettings, grain: float) -> NDArray[np.uint8]:
    """Return what is to be found in every frame, (T, H, W), see `DIRT`; `grain` is its deviation, grey levels."""
    found = np.zeros(tuple(aged.masks["dirt"].shape), np.uint8)
    dirt = torch.maximum(aged.masks["dirt"], aged.masks["hair"])
    dirt_level = float(np.clip(settings.dirt_deviations * grain, *settings.dirt_levels)) / _MOST_CHANGE
    blotch_level = float(np.clip(settings.blotch_deviations * grain, *settings.blotch_levels)) / _MOST_CHANGE
    faintest = settings.faintest / _MOST_CHANGE
    for mask, level, bit, faint in (
        (dirt, dirt_level, DIRT, FAINT_DIRT),
        (aged.masks["blotches"], blotch_level, BLOTCH, FAINT_BLOTCH),
        (aged.masks["cinches"], TRUTH_THRESHOLD, SCRATCH, FAINT_SCRATCH),
    ):
        truth = mask >= level
        found[truth.numpy()] |= bit
        found[((mask > min(faintest, level / 2)) & ~truth).numpy()] |= faint
    found[(aged.masks["lines"] > 0).numpy()] |= UNKNOWN
    return found


def _places(
    stream: np.random.Generator, planes: DirtPlanes, labels: NDArray[np.uint8], side: int
) -> list[tuple[slice, slice]]:
    """Choose two squares to keep: one anywhere, and of three others the one with the most in it."""
    height, width = labels.shape
    corners = [
        (2 * int(stream.integers((height - side) // 2 + 1)), 2 * int(stream.integers((width - side) // 2 + 1)))
        for _ in range(4)
    ]
    places = [(slice(top, top + side), slice(left, left + side)) for top, left in corners]
    spikes = planes.fine[FINE_PLANES.index("beyond most")].abs().numpy()
    damaged = (labels & (DIRT | SCRATCH | BLOTCH)) > 0
    return [places[0], max(places[1:], key=lambda place: float(spikes[place].sum()) + 3 * float(damaged[place].sum()))]


def make_examples(
    data: Path,
    folder: Path,
    settings: DirtExampleSettings,
    *,
    textures: Path | None = None,
    progress: Progress = silent,
) -> tuple[Path, ...]:
    """Make all examples that are not in a folder yet.

    Args:
        data: Folder with clean clips and photographs, see `TrainingMaterial`.
        folder: Where the files go, one per shot; about 3.5 MB each with the default settings.
        settings: How examples are made; a folder holds those of one setting.
        textures: Folder of scanned shapes.
        progress: Called once per shot.

    Returns:
        The files.

    Raises:
        SettingsError: The folder holds examples of other settings.
        FilmFileError: There is nothing to use in the data, or the folder holds examples of other files.
    """
    usual = TrainingMaterial(data, settings=settings.material)
    hard = TrainingMaterial(data, settings=settings.hard_material)
    claim(folder, f"{replace(settings, shots=1, hard_shots=0, film_shots=0)} {PLANES}", (*usual.clips, *usual.photos))
    names = [f"shot-{index:05d}" for index in range(settings.shots)]
    names += [f"hard-{index:05d}" for index in range(settings.hard_shots)]
    files = [folder / f"{name}.npz" for name in names]

    def make(number: int) -> dict[str, NDArray]:
        is_hard = number >= settings.shots
        index = number - settings.shots if is_hard else number
        made = shot_examples(hard if is_hard else usual, index, settings, textures, hard=is_hard)
        return {"fine": made.fine, "coarse": made.coarse, "labels": made.labels}

    make_missing(files, make, progress=progress)
    return tuple(files)


def load_examples(paths: Sequence[Path]) -> tuple[Tensor, Tensor, Tensor]:
    """Read examples into memory.

    Returns:
        Planes (N, len(FINE_PLANES), side, side) and (N, len(COARSE_PLANES), side / 2, side / 2) int8 and labels
        (N, side, side) uint8.

    Raises:
        FilmFileError: A file is damaged, or there is nothing in any.
    """
    names = ("fine", "coarse", "labels")
    parts = [read(path, names) for path in paths]
    if not sum(len(part["labels"]) for part in parts):
        raise FilmFileError("there are no examples to train on; make more shots")
    fine, coarse, labels = (torch.cat([torch.from_numpy(part[name]) for part in parts]) for name in names)
    return fine, coarse, labels
