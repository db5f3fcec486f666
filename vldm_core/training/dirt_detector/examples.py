"""Examples for the dirt network: what `DirtFeatures` shows of aged shots, and what there is to be found.

The planes cost optical flow, so they are computed once and kept as 8-bit files, one per shot. A shot depends on its
number and the seed alone, so making them can be interrupted and goes on where it stopped.
"""

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...ageing import (
    BlotchModel,
    CadenceModel,
    CodecModel,
    DirtModel,
    FadingModel,
    FlickerModel,
    GrainModel,
    HairModel,
    LineModel,
    Simulation,
    SimulationSettings,
    SoftnessModel,
    WeaveModel,
    binary_truth,
    simulate,
)
from ...data.clean_shots import MaterialSettings, TrainingMaterial
from ...errors import FilmFileError, SettingsError
from ...film.dirt.detection import LONGEST_LIFE
from ...film.dirt.evidence import Window
from ...film.dirt.features import PLANES, DirtFeatures
from ...progress import Progress, silent
from ...video.flow import to_luma
from ..output import claim_sources

DIRT, BLOTCH, FAINT_DIRT, FAINT_BLOTCH = 1, 2, 4, 8
"""Bits of a label: damage that is to be found, and what is too faint to count either way."""

MATERIAL = MaterialSettings(clip_share=0.35, object_share=0.65)
"""How shots are drawn for the detector: often with something fast in them."""

HARD_MATERIAL = MaterialSettings(
    clip_share=0.35, clip_steps=4, object_share=1.0, objects=6, object_speed=(8.0, 60.0), speed=(1.0, 24.0)
)
"""The same for hard shots: always with several fast things."""

STEPS = 26.0
"""8-bit steps per unit of a plane."""

_RIM = 0.05
# A shot that is longer costs more; the middle frames have everything on both sides that the planes can look at.
_FRAMES = 8
_MIDDLE = (3, 4)
_HEIGHT, _WIDTH = 288, 352


@dataclass(frozen=True, kw_only=True)
class ExampleSettings:
    """How examples are made.

    Attributes:
        shots: Number of shots.
        hard_shots: Number of shots besides, in which things move so fast that hardly any flow is right.
        side: Side of the square that is kept of a frame, px.
        clean_share: Share of shots without dirt: what moves there is the whole lesson. Twice as many of the hard ones.
        texture_share: Share of shots whose dirt has the shapes of a folder, where one is given.
        seed: Another seed gives other shots.
    """

    shots: int = 790
    hard_shots: int = 200
    side: int = 176
    clean_share: float = 0.25
    texture_share: float = 0.35
    seed: int = 0

    def __post_init__(self) -> None:
        if self.shots < 1:
            raise SettingsError(f"{self.shots} shots of examples were asked for; use 1 or more")
        if not 32 <= self.side <= _HEIGHT:
            raise SettingsError(f"the side of an example is {self.side}; use 32 … {_HEIGHT} px")
        if self.hard_shots < 0:
            raise SettingsError(f"{self.hard_shots} hard shots of examples were asked for; use 0 or more")
        for name, most in (("clean_share", 0.5), ("texture_share", 1)):
            if not 0 <= getattr(self, name) <= most:
                raise SettingsError(f"example {name} is {getattr(self, name)}; use a share from 0 to {most}")


@dataclass(frozen=True, kw_only=True)
class Examples:
    """The examples of one shot.

    Attributes:
        planes: (N, len(PLANES), side, side) int8, in units of 1 / `STEPS`.
        labels: (N, side, side) uint8, see `DIRT`.
    """

    planes: NDArray[np.int8]
    labels: NDArray[np.uint8]


def draw_ageing(stream: np.random.Generator, settings: ExampleSettings, textures: Path | None) -> SimulationSettings:
    """Draw how a shot is aged."""

    def happens(share: float) -> bool:
        return bool(stream.random() < share)

    def spread(low: float, high: float) -> float:
        """Draw log-uniformly."""
        return float(low * (high / low) ** stream.random())

    # Lengths are given for 480 lines; films have more or fewer than these shots.
    zoom = spread(0.8, 2.6)
    dirty = not happens(settings.clean_share)
    opacity = (0.3, 1.0) if happens(0.3) else (0.4, 1.0)
    return SimulationSettings(
        camera_weave=WeaveModel(
            horizontal=spread(0.1, 1.2) * zoom, vertical=spread(0.15, 1.8) * zoom, rotation=spread(0.005, 0.06)
        )
        if happens(0.5)
        else None,
        lens=SoftnessModel(blur=(0.4, 1.6), scale=(0.7, 1.0)) if happens(0.3) else None,
        flicker=FlickerModel(gain=spread(0.008, 0.08), gamma=spread(0.004, 0.04), spatial=spread(0.008, 0.06))
        if happens(0.6)
        else None,
        fading=FadingModel(contrast=(stream.uniform(0.7, 1.0),) * 3, offset=(stream.uniform(0, 0.08),) * 3)
        if happens(0.3)
        else None,
        lines=LineModel(count=spread(0.5, 4), shares=(0.65, 0.35, 0.0)) if happens(0.5) else None,
        blotches=BlotchModel(rate=spread(0.1, 1.2), size=(18 * zoom, 90 * zoom), opacity=(0.1, 0.6))
        if dirty and happens(0.7)
        else None,
        dirt=DirtModel(
            rate=spread(4, 50),
            size=(2.0 * min(zoom, 1.0), 25.0 * zoom),
            median_size=spread(3, 6) * zoom,
            opacity=opacity,
            lasting_share=spread(0.03, 0.2),
        )
        if dirty
        else None,
        hair=HairModel(transient_rate=spread(0.2, 2), gate_count=0, width=(1.0 * zoom, 2.4 * zoom))
        if dirty and happens(0.6)
        else None,
        grain=GrainModel(sigma=spread(0.8, 8), correlation=spread(0.8, 2.2) * zoom, density=happens(0.5)),
        scanner_weave=WeaveModel(horizontal=0.3, vertical=0.5, rotation=0.01) if happens(0.2) else None,
        cadence=CadenceModel(duplicates=0.25, regular=happens(0.5)) if happens(0.06) else None,
        softness=SoftnessModel(blur=(0.3, 1.0), scale=(0.7, 1.0)) if happens(0.25) else None,
        codec=_draw_codec(stream) if happens(0.25) else None,
        textures=textures if happens(settings.texture_share) else None,
    )


def _draw_codec(stream: np.random.Generator) -> CodecModel:
    if stream.random() < 0.3:
        return CodecModel(codec="jpeg", quality=(50, 95))
    return CodecModel(codec="h264", quality=(14, 28))


def make_examples(
    material: TrainingMaterial,
    index: int,
    settings: ExampleSettings,
    textures: Path | None = None,
    *,
    hard: bool = False,
) -> Examples:
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
    if hard:
        settings = replace(settings, clean_share=2 * settings.clean_share)
    clean = material.shot(index, frames=_FRAMES, height=_HEIGHT, width=_WIDTH, seed=settings.seed)
    aged = simulate(clean, draw_ageing(stream, settings, textures), seed=int(stream.integers(1 << 62)))
    features = DirtFeatures(Window(to_luma((aged.frames * 255).round() / 255)), lifetime=LONGEST_LIFE)
    labels = label(aged)
    ends, near = (0, _FRAMES - 1), (1, 2, _FRAMES - 3, _FRAMES - 2)
    outer = [int(stream.choice(near)), int(stream.choice(ends if stream.random() < (0.8 if hard else 0.4) else near))]
    planes, kept = [], []
    for number in (*_MIDDLE, *dict.fromkeys(outer)):
        seen = features.planes(number)
        if seen is not None:
            place = _place(stream, seen, labels[number], settings.side)
            planes.append(to_bytes(seen[:, *place]))
            kept.append(labels[number][place])
    empty = (0, settings.side, settings.side)
    return Examples(
        planes=np.stack(planes) if planes else np.zeros((0, len(PLANES), *empty[1:]), np.int8),
        labels=np.stack(kept) if kept else np.zeros(empty, np.uint8),
    )


def to_bytes(planes: Tensor) -> NDArray[np.int8]:
    """Return planes as 8 bits."""
    return (planes * STEPS).round().clamp(-127, 127).to(torch.int8).numpy()


def label(aged: Simulation) -> NDArray[np.uint8]:
    """Return what is to be found in every frame, (T, H, W), see `DIRT`."""
    found = np.zeros(tuple(aged.masks["dirt"].shape), np.uint8)
    dirt = torch.maximum(aged.masks["dirt"], aged.masks["hair"])
    for mask, bit, faint in ((dirt, DIRT, FAINT_DIRT), (aged.masks["blotches"], BLOTCH, FAINT_BLOTCH)):
        truth = binary_truth(mask)
        found[truth.numpy()] |= bit
        found[((mask > _RIM) & ~truth).numpy()] |= faint
    return found


def _place(stream: np.random.Generator, planes: Tensor, labels: NDArray[np.uint8], side: int) -> tuple[slice, slice]:
    """Choose the square to keep: of a few, mostly the one with the most in it."""
    height, width = labels.shape
    tops, lefts = stream.integers(height - side + 1, size=3), stream.integers(width - side + 1, size=3)
    places = [
        (slice(int(top), int(top) + side), slice(int(left), int(left) + side))
        for top, left in zip(tops, lefts, strict=True)
    ]
    if stream.random() < 0.4:
        return places[0]
    spikes = planes[PLANES.index("spike")].abs().numpy()
    return max(places, key=lambda place: float(spikes[place].sum()))


def generate_examples(
    data: Path,
    folder: Path,
    settings: ExampleSettings,
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
    folder.mkdir(parents=True, exist_ok=True)
    stamp, note = repr(replace(settings, shots=1, hard_shots=0)) + f" {PLANES}", folder / "settings.txt"
    if note.is_file() and note.read_text() != stamp:
        raise SettingsError(f"{folder} holds examples of other settings; empty it or choose another folder")
    note.write_text(stamp)
    paths: list[Path] = []
    total = settings.shots + settings.hard_shots
    for hard, count in ((False, settings.shots), (True, settings.hard_shots)):
        material = TrainingMaterial(data, settings=HARD_MATERIAL if hard else MATERIAL)
        claim_sources(folder, (*material.clips, *material.photos))
        for index in range(count):
            path = folder / f"{'hard' if hard else 'shot'}-{index:05d}.npz"
            if not path.is_file():
                _write(path, make_examples(material, index, settings, textures, hard=hard))
            paths.append(path)
            progress("make examples", len(paths), total)
    order = np.random.default_rng(settings.seed).permutation(total)
    return tuple(paths[number] for number in order)


def _write(path: Path, made: Examples) -> None:
    """Write a file whole or not at all."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, planes=made.planes, labels=made.labels)
    os.replace(part, path)


def load_examples(paths: Sequence[Path]) -> tuple[Tensor, Tensor]:
    """Read examples into memory.

    Returns:
        Planes (N, len(PLANES), side, side) int8 and labels (N, side, side) uint8.

    Raises:
        FilmFileError: A file is damaged, or there is nothing in any.
    """
    planes, labels = [], []
    for path in paths:
        try:
            with np.load(path) as stored:
                planes.append(torch.from_numpy(stored["planes"]))
                labels.append(torch.from_numpy(stored["labels"]))
        except (OSError, ValueError, KeyError) as error:
            raise FilmFileError(f"{path} holds no examples ({error}); delete it and make them again") from error
    if not sum(len(part) for part in planes):
        raise FilmFileError("there are no examples to train on; make some first")
    return torch.cat(planes), torch.cat(labels)
