"""Examples for the dirt network: what `DirtFeatures` shows of aged shots, and what there is to be found.

The planes cost optical flow, so they are computed once and kept as 8-bit files, one per shot; see `example_files`.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...ageing import Simulation, binary_truth, simulate
from ...data.clean_shots import MaterialSettings, TrainingMaterial
from ...errors import FilmFileError, SettingsError
from ...film.dirt.comparisons import Comparisons
from ...film.dirt.detection import LONGEST_LIFE
from ...film.dirt.features import PLANES, DirtFeatures
from ...film.motion.window import FrameWindow
from ...progress import Progress, silent
from ..example_files import claim, make_missing, read
from .ageing import DirtAgeing, draw_ageing

DIRT, BLOTCH, FAINT_DIRT, FAINT_BLOTCH = 1, 2, 4, 8
"""Bits of a label: damage that is to be found, and what is too faint to count either way."""

STEPS = 26.0
"""8-bit steps per unit of a plane: planes are compressed to about ±4.9, and 127 steps are all there are."""

# Two in the middle, two further out on each side and one at each end.
_LEAST_FRAMES = 8


@dataclass(frozen=True, kw_only=True)
class DirtExampleSettings:
    """How examples are made.

    Attributes:
        shots: Number of shots.
        hard_shots: Number of shots besides, in which things move so fast that hardly any flow is right.
        frames: Length of a shot. A longer one costs more, and the middle ones of eight have everything on both sides
            that the planes can look at.
        height: Of its frames, px.
        width: The same.
        side: Side of the square that is kept of a frame, px.
        clean_share: Share of shots without dirt: what moves there is the whole lesson. Twice as many of the hard ones.
        texture_share: Share of shots whose dirt has the shapes of a folder, where one is given.
        end_share: Share of shots from which the first or last frame is kept too, where one neighbour is missing.
        hard_end_share: The same of hard shots.
        any_square: Share of frames of which a square anywhere is kept; of the others the one of three squares that has
            the most in it, since most places teach nothing.
        faintest: Visibility (see `ageing.binary_truth`) below which a change counts as no damage; between it and the
            truth it counts neither way.
        ageing: How shots are aged.
        material: How shots are drawn: often with something fast in them.
        hard_material: How hard shots are drawn: always with several fast things.
        seed: Another seed gives other shots.
    """

    shots: int = 790
    hard_shots: int = 200
    frames: int = 8
    height: int = 288
    width: int = 352
    side: int = 176
    clean_share: float = 0.25
    texture_share: float = 0.35
    end_share: float = 0.4
    hard_end_share: float = 0.8
    any_square: float = 0.4
    faintest: float = 0.05
    ageing: DirtAgeing = DirtAgeing()
    material: MaterialSettings = MaterialSettings(clip_share=0.35, object_share=0.65)
    hard_material: MaterialSettings = MaterialSettings(
        clip_share=0.35, clip_steps=4, object_share=1.0, objects=6, object_speed=(8.0, 60.0), speed=(1.0, 24.0)
    )
    seed: int = 0

    def __post_init__(self) -> None:
        if self.shots < 1:
            raise SettingsError(f"{self.shots} shots of examples were asked for; use 1 or more")
        if self.hard_shots < 0:
            raise SettingsError(f"{self.hard_shots} hard shots of examples were asked for; use 0 or more")
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
            ("any_square", 1),
            ("faintest", 0.5),
        ):
            if not 0 <= getattr(self, name) <= most:
                raise SettingsError(f"example {name} is {getattr(self, name)}; use a share from 0 to {most}")


@dataclass(frozen=True, kw_only=True)
class ShotExamples:
    """The examples of one shot.

    Attributes:
        planes: (N, len(PLANES), side, side) int8, in units of 1 / `STEPS`.
        labels: (N, side, side) uint8, see `DIRT`.
    """

    planes: NDArray[np.int8]
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
    frames = settings.frames
    clean = material.shot(index, frames=frames, height=settings.height, width=settings.width, seed=settings.seed)
    aged = simulate(clean, model, seed=int(stream.integers(1 << 62)))
    features = DirtFeatures(Comparisons(FrameWindow((aged.frames * 255).round() / 255)), lifetime=LONGEST_LIFE)
    labels = label(aged, settings.faintest)
    middle, ends, near = (frames // 2 - 1, frames // 2), (0, frames - 1), (1, 2, frames - 3, frames - 2)
    end_share = settings.hard_end_share if hard else settings.end_share
    outer = [int(stream.choice(near)), int(stream.choice(ends if stream.random() < end_share else near))]
    planes, kept = [], []
    for number in (*middle, *dict.fromkeys(outer)):
        seen = features.planes(number)
        if seen is not None:
            place = _place(stream, seen, labels[number], settings)
            planes.append(to_bytes(seen[:, *place]))
            kept.append(labels[number][place])
    empty = (0, settings.side, settings.side)
    return ShotExamples(
        planes=np.stack(planes) if planes else np.zeros((0, len(PLANES), *empty[1:]), np.int8),
        labels=np.stack(kept) if kept else np.zeros(empty, np.uint8),
    )


def to_bytes(planes: Tensor) -> NDArray[np.int8]:
    """Return planes as 8 bits."""
    return (planes * STEPS).round().clamp(-127, 127).to(torch.int8).numpy()


def label(aged: Simulation, faintest: float) -> NDArray[np.uint8]:
    """Return what is to be found in every frame, (T, H, W), see `DIRT` and `DirtExampleSettings.faintest`."""
    found = np.zeros(tuple(aged.masks["dirt"].shape), np.uint8)
    dirt = torch.maximum(aged.masks["dirt"], aged.masks["hair"])
    for mask, bit, faint in ((dirt, DIRT, FAINT_DIRT), (aged.masks["blotches"], BLOTCH, FAINT_BLOTCH)):
        truth = binary_truth(mask)
        found[truth.numpy()] |= bit
        found[((mask > faintest) & ~truth).numpy()] |= faint
    return found


def _place(
    stream: np.random.Generator, planes: Tensor, labels: NDArray[np.uint8], settings: DirtExampleSettings
) -> tuple[slice, slice]:
    """Choose the square to keep: of a few, mostly the one with the most in it."""
    side, (height, width) = settings.side, labels.shape
    tops, lefts = stream.integers(height - side + 1, size=3), stream.integers(width - side + 1, size=3)
    places = [
        (slice(int(top), int(top) + side), slice(int(left), int(left) + side))
        for top, left in zip(tops, lefts, strict=True)
    ]
    if stream.random() < settings.any_square:
        return places[0]
    spikes = planes[PLANES.index("spike")].abs().numpy()
    return max(places, key=lambda place: float(spikes[place].sum()))


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
        folder: Where the files go, one per shot; about 2.9 MB each with the default settings.
        settings: How examples are made; a folder holds those of one setting.
        textures: Folder of scanned shapes.
        progress: Called once per shot.

    Returns:
        The files, mixed.

    Raises:
        SettingsError: The folder holds examples of other settings.
        FilmFileError: There is nothing to use in the data, or the folder holds examples of other files.
    """
    usual = TrainingMaterial(data, settings=settings.material)
    hard = TrainingMaterial(data, settings=settings.hard_material)
    claim(folder, f"{replace(settings, shots=1, hard_shots=0)} {PLANES}", (*usual.clips, *usual.photos))
    names = [f"shot-{index:05d}" for index in range(settings.shots)]
    names += [f"hard-{index:05d}" for index in range(settings.hard_shots)]
    files = [folder / f"{name}.npz" for name in names]

    def make(number: int) -> dict[str, NDArray]:
        is_hard = number >= settings.shots
        index = number - settings.shots if is_hard else number
        made = shot_examples(hard if is_hard else usual, index, settings, textures, hard=is_hard)
        return {"planes": made.planes, "labels": made.labels}

    make_missing(files, make, progress=progress)
    order = np.random.default_rng(settings.seed).permutation(len(files))
    return tuple(files[number] for number in order)


def load_examples(paths: Sequence[Path]) -> tuple[Tensor, Tensor]:
    """Read examples into memory.

    Returns:
        Planes (N, len(PLANES), side, side) int8 and labels (N, side, side) uint8.

    Raises:
        FilmFileError: A file is damaged, or there is nothing in any.
    """
    parts = [read(path, ("planes", "labels")) for path in paths]
    if not sum(len(part["planes"]) for part in parts):
        raise FilmFileError("there are no examples to train on; make more shots")
    planes, labels = (torch.cat([torch.from_numpy(part[name]) for part in parts]) for name in ("planes", "labels"))
    return planes, labels
