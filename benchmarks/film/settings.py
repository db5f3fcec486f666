"""Settings of the film benchmark."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vldm_core.errors import SettingsError

from ..common.settings import check_chosen, check_least, check_seed, check_size

Model = Literal["second", "training"]

MODELS: Mapping[Model, str] = {
    "second": "the second ageing model (`benchmarks/second_ageing`), which nothing is trained on",
    "training": "the damage simulation that networks are trained on (`vldm_core/ageing`), with other seeds",
}

Part = Literal["aged", "clean", "real", "films", "cost"]

PARTS: Mapping[Part, str] = {
    "aged": "aged clips: fidelity inside every kind of damage and outside, and detection",
    "clean": "clean clips with grain: what is marked and changed there",
    "real": "real films: the known line of one, and what else can be measured without a truth",
    "films": "films of one's own, for pictures of what every method makes of them",
    "cost": "time for a frame and start-up, by process",
}


OWN: Mapping[str, tuple[str, ...]] = {
    "normal": (),
    "fast": ("--quality", "fast"),
    "best": ("--quality", "best"),
    "repair only": ("--no-flicker", "--no-average"),
}
"""Name of one of our own methods → options of `restore`."""


@dataclass(frozen=True, kw_only=True)
class FilmBenchmarkSettings:
    """What the film benchmark runs on.

    Attributes:
        frames: Frames of every clip, at least 8: the peers look at seven to each side for the brightness.
        height: Lines of every clip.
        width: Columns of every clip.
        models: Ageing models, of `MODELS`.
        parts: What is measured, of `PARTS`.
        clips: Largest number of validation clips for each model, evenly spread; None takes all.
        own: Names of our own methods, of `OWN`.
        checkouts: Name → folder of another version of this repository, run as our own defaults are.
        films: Films of one's own, for pictures.
        perceptual: Whether ST-LPIPS is measured where it is installed.
        cost_frames: Frames of the shorter and the longer film of which the difference tells the time for a frame.
        seed: Seed of both models.
    """

    frames: int = 16
    height: int = 480
    width: int = 854
    models: tuple[Model, ...] = tuple(MODELS)
    parts: tuple[Part, ...] = tuple(PARTS)
    clips: int | None = None
    own: tuple[str, ...] = ("fast", "normal", "best", "repair only")
    checkouts: Mapping[str, Path] = field(default_factory=dict)
    films: tuple[Path, ...] = ()
    perceptual: bool = True
    cost_frames: tuple[int, int] = (8, 24)
    seed: int = 2026

    def __post_init__(self) -> None:
        check_least(self, frames=8)
        check_size(self.width, self.height)
        check_chosen("models", self.models, MODELS)
        check_chosen("parts", self.parts, PARTS)
        check_chosen("own methods", self.own, OWN)
        if self.clips is not None:
            check_least(self, clips=1)
        if not 8 <= self.cost_frames[0] < self.cost_frames[1]:
            raise SettingsError(f"benchmark cost_frames are {self.cost_frames}; give 8 or more, then a larger number")
        check_seed(self.seed)
