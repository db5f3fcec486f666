"""Settings of the film benchmark."""

from dataclasses import dataclass

from ..errors import SettingsError
from .film_methods import METHODS, OURS


@dataclass(frozen=True, kw_only=True)
class FilmBenchmarkSettings:
    """What the film benchmark runs on.

    Attributes:
        frames: Frames per clip, at least 4.
        height: Lines of every clip.
        width: Columns of every clip.
        grain: Standard deviation of the grain in the mid-tones, grey levels.
        photos: File names below `photos/` to pan over; names that the data folder lacks are left out.
        real_films: Names of the films below `film/` to restore; names that the data folder lacks are left out.
        sources: Largest number of sources, spread evenly over what there is; None takes all.
        methods: Names of the methods to compare, of `film_methods.METHODS`; ours is always among them.
        seed: Seed of the simulation.
    """

    frames: int = 16
    height: int = 368
    width: int = 480
    grain: float = 2.5
    photos: tuple[str, ...] = (
        "kait-herzog-8242.jpg",
        "samuel-zeller-337041.jpg",
        "sean-afnan-244576.jpg",
    )
    real_films: tuple[str, ...] = ("san_francisco_1906", "great_train_robbery_1903", "market_street_1906")
    sources: int | None = None
    methods: tuple[str, ...] = tuple(METHODS)
    seed: int = 1906

    def __post_init__(self) -> None:
        if self.frames < 4:
            raise SettingsError(f"the benchmark needs at least 4 frames per clip, got {self.frames}")
        if min(self.height, self.width) < 64:
            raise SettingsError(f"benchmark frames are {self.width}x{self.height}; use 64 px or more on each side")
        if self.sources is not None and self.sources < 1:
            raise SettingsError(f"the benchmark needs at least 1 source, got {self.sources}")
        unknown = [name for name in self.methods if name not in METHODS]
        if unknown or OURS not in self.methods:
            raise SettingsError(f"benchmark methods are {self.methods}; choose {OURS!r} and others of {tuple(METHODS)}")
        if not 0 <= self.seed < 1 << 32:
            raise SettingsError(f"the benchmark seed is {self.seed}; choose a whole number from 0 to 2**32 - 1")

    @classmethod
    def quick(cls) -> "FilmBenchmarkSettings":
        """Return settings for a first look: three sources, twelve frames each, one real film."""
        return cls(frames=12, sources=3, real_films=("san_francisco_1906",))
