"""Settings of the film benchmark."""

import os
from dataclasses import dataclass, field

from vldm_core.errors import SettingsError

from .methods import METHODS
from .sources.strata import STRATA, Stratum


@dataclass(frozen=True, kw_only=True)
class FilmBenchmarkSettings:
    """What the film benchmark runs on.

    Attributes:
        frames: Frames per clip without lines, at least 4.
        line_frames: Frames per clip with lines, at least 4; line detectors want 16 or more.
        height: Lines of every clip.
        width: Columns of every clip.
        grain: Standard deviation of the grain in the mid-tones, grey levels.
        all_sources: Take every clip and photograph of the data folder; otherwise only those kept for validation
            (`split.py`), which nothing was trained on.
        sources: Largest number of sources, spread evenly over what there is; None takes all.
        strata: Strata to age the sources in, of `film_strata.STRATA`.
        methods: Names of the methods to compare, of `film_methods.METHODS`.
        real_films: Names of the films below `film/` to restore; names that the data folder lacks are left out.
        cost_frames: Frames on which time and memory are measured, where the clip has so many.
        lanes: Clips worked on side by side, each by one thread. Time is measured before, with nothing else running.
        seed: Seed of the simulation.
    """

    frames: int = 16
    line_frames: int = 20
    height: int = 368
    width: int = 480
    grain: float = 2.5
    all_sources: bool = False
    sources: int | None = None
    strata: tuple[Stratum, ...] = tuple(STRATA)
    methods: tuple[str, ...] = tuple(METHODS)
    real_films: tuple[str, ...] = ("san_francisco_1906", "great_train_robbery_1903", "market_street_1906")
    cost_frames: int = 16
    lanes: int = field(default_factory=lambda: os.cpu_count() or 1)
    seed: int = 1906

    def __post_init__(self) -> None:
        if min(self.frames, self.line_frames) < 4:
            raise SettingsError(
                f"the benchmark needs at least 4 frames per clip, got {self.frames} and {self.line_frames}"
            )
        if self.cost_frames < 3:
            raise SettingsError(f"time is measured on at least 3 frames, got cost_frames {self.cost_frames}")
        if min(self.height, self.width) < 64:
            raise SettingsError(f"benchmark frames are {self.width}x{self.height}; use 64 px or more on each side")
        if self.sources is not None and self.sources < 1:
            raise SettingsError(f"the benchmark needs at least 1 source, got {self.sources}")
        for what, chosen, known in (("methods", self.methods, METHODS), ("strata", self.strata, STRATA)):
            if not chosen or [name for name in chosen if name not in known] or len(set(chosen)) < len(chosen):
                raise SettingsError(f"benchmark {what} are {tuple(chosen)}; choose some, each once, of {tuple(known)}")
        if self.lanes < 1:
            raise SettingsError(f"the benchmark needs at least 1 lane, got {self.lanes}")
        if not 0 <= self.seed < 1 << 32:
            raise SettingsError(f"the benchmark seed is {self.seed}; choose a whole number from 0 to 2**32 - 1")

    @classmethod
    def quick(cls) -> "FilmBenchmarkSettings":
        """Return settings for a first look: three sources, few frames of each, one real film."""
        return cls(frames=8, line_frames=16, cost_frames=8, sources=3, real_films=("san_francisco_1906",))
