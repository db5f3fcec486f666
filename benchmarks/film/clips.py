"""Clips of the film benchmark: validation shots, aged by either model, with everything known about them."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vldm_core.ageing import (
    BlotchModel,
    CinchModel,
    CodecModel,
    DirtModel,
    FlickerModel,
    GrainModel,
    HairModel,
    LineModel,
    SimulationSettings,
    Simulator,
    SoftnessModel,
    WeaveModel,
    binary_truth,
    simulate,
)
from vldm_core.video.luma import luma

from ..detection.settings import DetectionBenchmarkSettings
from ..detection.sources.shots import Source, clean_clip, find_sources
from ..second_ageing.settings import KINDS, Kind
from ..second_ageing.simulate import age_again
from ..second_ageing.textures import find_textures
from .settings import FilmBenchmarkSettings, Model

Film = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_RIM = 0.05
"""Value of a soft mask of the training model from which a pixel counts as touched."""

_LOCAL = {"lines": None, "blotches": None, "dirt": None, "hair": None, "cinches": None}


@dataclass(frozen=True, kw_only=True, eq=False)
class FilmClip:
    """A clip; films are grey, (T, H, W) uint8, masks (T, H, W) bool.

    Attributes:
        name: Name of its source, and what was done to it.
        model: What aged it, or None for a clean one.
        fast: Whether the whole scene moves fast.
        aged: What a method gets to see.
        clean: What a perfect restoration that keeps the weave gives: no damage, flicker, grain or codec.
        masks: Kind → where damage of the kind is visible; kinds that the model lacks are left out.
        rims: Kind → where it changes the picture at all.
    """

    name: str
    model: Model | None
    fast: bool
    aged: Film
    clean: Film
    masks: dict[Kind, Mask]
    rims: dict[Kind, Mask]

    @property
    def touched(self) -> Mask:
        """Where damage changes the picture at all."""
        return np.logical_or.reduce([np.zeros(self.aged.shape, bool), *self.rims.values()])


def aged_clips(data: Path, settings: FilmBenchmarkSettings) -> Iterator[FilmClip]:
    """Age the validation clips of a data folder, one after the other.

    Raises:
        FilmFileError: The folder holds none, or no textures, or one cannot be read.
    """
    for model in settings.models:
        for source in sources(data, settings):
            yield _second(source, data, settings) if model == "second" else _training(source, settings)


def clean_clips(data: Path, settings: FilmBenchmarkSettings) -> Iterator[FilmClip]:
    """Make clean film of the validation clips: with weave, flicker, grain, scan and codec, without damage.

    Raises:
        FilmFileError: The folder holds none, or no textures, or one cannot be read.
    """
    for source in sources(data, settings):
        clip = _second(source, data, settings, damaged=False)
        yield replace(clip, name=f"{clip.name}, clean", model=None, masks={}, rims={})


def sources(data: Path, settings: FilmBenchmarkSettings) -> tuple[Source, ...]:
    """List the validation clips and photographs that are taken.

    Raises:
        FilmFileError: There are none.
    """
    return find_sources(data, replace(_shots(settings), sources=settings.clips))


def _shots(settings: FilmBenchmarkSettings) -> DetectionBenchmarkSettings:
    return DetectionBenchmarkSettings(
        height=settings.height, width=settings.width, frames=settings.frames, seed=settings.seed
    )


def _shot(source: Source, settings: FilmBenchmarkSettings) -> tuple[str, bool, Tensor]:
    """Return the name of a shot, whether it moves fast, and its frames (T, H, W) in grey, [0, 1]."""
    shot = clean_clip(source, _shots(settings), frames=settings.frames)
    return shot.name, shot.group == "fast motion", luma(shot.frames) / 255


def _seed(name: str, model: Model, settings: FilmBenchmarkSettings) -> int:
    return (settings.seed << 32) | zlib.crc32(f"{name}/{model}".encode())


def _second(source: Source, data: Path, settings: FilmBenchmarkSettings, *, damaged: bool = True) -> FilmClip:
    name, fast, frames = _shot(source, settings)
    textures = find_textures(data / "textures", "validation")
    kinds = KINDS if damaged else ()
    made = age_again(frames.numpy(), textures, _seed(name, "second", settings), kinds=kinds)
    return FilmClip(
        name=name, model="second", fast=fast, aged=made.aged, clean=made.clean, masks=made.masks, rims=made.rims
    )


def _training(source: Source, settings: FilmBenchmarkSettings) -> FilmClip:
    name, fast, grey = _shot(source, settings)
    seed = _seed(name, "training", settings)
    frames = grey[:, None].expand(-1, 3, -1, -1).contiguous()
    model = SimulationSettings(
        camera_weave=WeaveModel(),
        flicker=FlickerModel(),
        fading=None,
        lines=LineModel(count=4.0, shares=(0.6, 0.4, 0.0)),
        blotches=BlotchModel(rate=0.6),
        dirt=DirtModel(),
        hair=HairModel(gate_count=0),
        cinches=CinchModel(rate=0.6),
        grain=GrainModel(sigma=4.0),
        softness=SoftnessModel(blur=(0.3, 0.9), scale=(0.8, 1.0)),
        codec=CodecModel(quality=(18.0, 26.0)),
    )
    aged = simulate(frames, model, seed)
    clean = simulate(frames, replace(model, **_LOCAL, flicker=None, grain=None, codec=None), seed).frames
    marks: dict[Kind, Tensor] = {
        "dirt": torch.maximum(aged.masks["dirt"], aged.masks["hair"]),
        "blotch": aged.masks["blotches"],
        "one-frame scratch": aged.masks["cinches"],
        **_lines(model, seed, aged.masks["lines"]),
    }
    return FilmClip(
        name=name,
        model="training",
        fast=fast,
        aged=_eight_bit(aged.frames),
        clean=_eight_bit(clean),
        masks={kind: binary_truth(mask).bool().numpy() for kind, mask in marks.items()},
        rims={kind: (mask > _RIM).numpy() for kind, mask in marks.items()},
    )


def _lines(model: SimulationSettings, seed: int, seen: Tensor) -> dict[Kind, Tensor]:
    """Tell the lines of the training model apart by kind: soft masks (T, H, W), no more than can be seen of them."""
    names: dict[str, Kind] = {"fixed": "persistent", "drifting": "drifting"}
    simulator = Simulator(model, seed, *seen.shape[-2:])
    planes = [simulator.line_masks(index) for index in range(len(seen))]
    return {
        own: torch.minimum(torch.stack([frame[kind] for frame in planes]), seen)  # type: ignore[index]
        for kind, own in names.items()
    }


def _eight_bit(frames: Tensor) -> Film:
    return luma(frames).round().clamp(0, 255).to(torch.uint8).numpy()
