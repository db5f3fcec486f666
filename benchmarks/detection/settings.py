"""Settings of the detection benchmark."""

import os
from dataclasses import dataclass, field

from ..common.settings import check_chosen, check_least, check_seed, check_size
from .methods import METHODS
from .sources.strata import STRATA, Stratum


@dataclass(frozen=True, kw_only=True)
class DetectionBenchmarkSettings:
    """What the detection benchmark runs on.

    Attributes:
        frames: Frames per clip without lines, at least 4.
        line_frames: Frames per clip with lines, at least 4; line detectors want 16 or more.
        height: Lines of every clip.
        width: Columns of every clip.
        grain: Standard deviation of the grain in the mid-tones, grey levels.
        all_sources: Take every clip and photograph of the data folder; otherwise only those kept for validation
            (`vldm_core.data.split`), which nothing was trained on.
        sources: Largest number of sources, spread evenly over what there is; None takes all.
        strata: Strata to age the sources in, of `strata.STRATA`.
        methods: Names of the methods to compare, of `methods.METHODS`.
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
        check_least(self, frames=4, line_frames=4, cost_frames=3, lanes=1)
        check_size(self.width, self.height)
        if self.sources is not None:
            check_least(self, sources=1)
        check_chosen("methods", self.methods, METHODS)
        check_chosen("strata", self.strata, STRATA)
        check_seed(self.seed)

    @classmethod
    def quick(cls) -> "DetectionBenchmarkSettings":
        """Return settings for a first look: three sources, few frames of each, one real film."""
        return cls(frames=8, line_frames=16, cost_frames=8, sources=3, real_films=("san_francisco_1906",))
