"""Settings of the pre-restoration benchmark."""

import os
from dataclasses import dataclass, field

from vldm_core.ageing import PRESETS
from vldm_core.errors import SettingsError

from ..common.settings import check_chosen, check_least, check_seed, check_size


@dataclass(frozen=True, kw_only=True)
class PreRestoreBenchmarkSettings:
    """What the pre-restoration benchmark runs on.

    Attributes:
        frames: Frames per clip, at least 4.
        height: Lines of every clip.
        width: Columns of every clip.
        presets: Presets of the simulation that clips are aged with; their order is that of the report.
        clips: Largest number of aged clips. The first ones take one preset and one source each, so that few clips
            still cover both.
        costs: Whether time and memory are measured; they mean nothing while something else runs.
        cost_frames: Frames on which time is measured.
        lengths: Lengths of a shorter and a longer stream between which peak memory is compared.
        real_films: Names of the films below `film/` that pictures are made of; names that are not there are left out.
        real_frames: Frames of each real film that are shown.
        lanes: Clips worked on side by side, each by one thread. Time is measured before, with nothing else running.
        seed: Seed of the simulation.
    """

    frames: int = 16
    height: int = 368
    width: int = 480
    presets: tuple[str, ...] = ("1900s", "1920s", "1940s", "1960s", "8mm amateur", "newsreel")
    clips: int = 12
    costs: bool = True
    cost_frames: int = 16
    lengths: tuple[int, int] = (24, 96)
    real_films: tuple[str, ...] = ("san_francisco_1906", "great_train_robbery_1903", "market_street_1906")
    real_frames: int = 10
    lanes: int = field(default_factory=lambda: os.cpu_count() or 1)
    seed: int = 1906

    def __post_init__(self) -> None:
        check_least(self, frames=4, clips=1, cost_frames=3, real_frames=1, lanes=1)
        check_size(self.width, self.height)
        check_chosen("presets", self.presets, PRESETS)
        if not 1 <= self.lengths[0] < self.lengths[1]:
            raise SettingsError(f"benchmark lengths are {self.lengths}; give a shorter and a longer stream, in frames")
        check_seed(self.seed)
