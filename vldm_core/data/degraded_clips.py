"""Pairs of clean and aged clips for training, with the truth about every kind of damage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NotRequired, TypedDict, get_args

import numpy as np
import torch
from torch import Tensor

from ..ageing import MASK_KINDS, PRESETS, SimulationSettings, Simulator, age_span
from ..ageing.codec import GROUP
from ..errors import SettingsError
from .clean_shots import TrainingMaterial
from .samples import NumberedSamples

CleanTarget = Literal["scene", "sharp", "print", "film"]


class Pair(TypedDict):
    """One sample.

    Attributes:
        clean: (T, 3, H, W) in [0, 1], what the aged clip is to be restored to; see `PairSettings.target`.
        aged: (T, 3, H, W) in [0, 1].
        masks: For each of `MASK_KINDS` a soft mask (T, H, W) in [0, 1]; see `ageing.defects.marks` for its meaning.
        source: Name of the file it was made from, without suffix.
        preset: Name of the simulation preset, or "settings" where settings were given.
        index: Number of the sample.
        undamaged: (T, 3, H, W) in [0, 1], the aged clip without local damage; where it was asked for.
    """

    clean: Tensor
    aged: Tensor
    masks: dict[str, Tensor]
    source: str
    preset: str
    index: int
    undamaged: NotRequired[Tensor]


@dataclass(frozen=True, kw_only=True)
class PairSettings:
    """What a sample is like.

    Attributes:
        frames: Length of the clips.
        height: Of their frames, px.
        width: The same.
        film: Height and width of the film that is simulated, of which a sample shows a window; None is a film of the
            sample's own size. The size of dirt, scratches and grain goes with the height of the film.
        windows: Samples that are cut from one simulated film. More cost less time and are more alike.
        target: What `clean` is. "scene": what was in front of the camera, `AgedFrame.clean`; weave moves the aged
            picture against it. "print": the same film without damage, grain, flicker, mixed frames and codec, but with
            its weave and its tones, so aligned with the aged film. "sharp": likewise, and without the softness of lens
            and copy. "film": the same film without local damage alone;
            where nothing is marked it equals the aged one, but for what softness and a codec make of it.
        presets: Weight of every preset that is used; None uses all alike.
        simulation: Settings to age with instead of presets.
        undamaged: Whether samples have `undamaged`, too: what the target "film" would be.
        reel: Frames at the start of a reel among which the clips begin. A reel loses at most 48 frames at its splices
            and gaps, so they are seen near its start only.
    """

    frames: int = 7
    height: int = 256
    width: int = 256
    film: tuple[int, int] | None = None
    windows: int = 1
    target: CleanTarget = "scene"
    presets: Mapping[str, float] | None = None
    simulation: SimulationSettings | None = None
    undamaged: bool = False
    reel: int = 240

    def __post_init__(self) -> None:
        for name, least in (("frames", 1), ("height", 16), ("width", 16), ("windows", 1), ("reel", 1)):
            if getattr(self, name) < least:
                raise SettingsError(f"pairs {name} is {getattr(self, name)}; use {least} or more")
        if self.film is not None and (self.film[0] < self.height or self.film[1] < self.width):
            raise SettingsError(
                f"pairs film is {self.film} (height, width), smaller than a sample of {(self.height, self.width)}; "
                "use a film of at least that size, or None"
            )
        if self.windows > 1 and self.film is None:
            raise SettingsError(f"pairs windows is {self.windows}, but the film is no larger than one; set film")
        if self.target not in get_args(CleanTarget):
            raise SettingsError(f"pairs target is {self.target!r}; choose one of {', '.join(get_args(CleanTarget))}")
        if self.presets is not None:
            if self.simulation is not None:
                raise SettingsError("pairs presets and simulation are both set; set one of them")
            unknown = sorted(set(self.presets) - set(PRESETS))
            if unknown:
                raise SettingsError(f"pairs presets names {unknown[0]!r}; choose from {', '.join(PRESETS)}")
            if any(weight < 0 for weight in self.presets.values()) or not sum(self.presets.values()) > 0:
                raise SettingsError("pairs presets has a negative weight or none above 0; use weights from 0")


# The material draws from [seed, number]; these keep what is drawn here apart from it.
_FILM_STREAM, _WINDOW_STREAM = 1, 2


class DegradedClips(NumberedSamples[Pair]):
    """Clean and aged clips as a data set; see `NumberedSamples` for the order of samples.

    Args:
        material: The clean shots.
        seed: Another seed gives other samples.
        settings: What a sample is like.
        length: See `NumberedSamples`; likewise the others.
        start: Number of the first sample.
        batch: Samples in a block.
        rank: Number of this process among those that train together.
        world_size: How many these are.

    Raises:
        SettingsError: A number is out of range.
    """

    def __init__(
        self,
        material: TrainingMaterial,
        *,
        seed: int,
        settings: PairSettings | None = None,
        length: int | None = None,
        start: int = 0,
        batch: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(seed=seed, batch=batch, length=length, start=start, rank=rank, world_size=world_size)
        self.material, self.settings = material, settings or PairSettings()
        self._films: dict[int, Pair] = {}

    def sample(self, index: int) -> Pair:
        """Return one sample.

        Raises:
            FilmFileError: Its file cannot be read.
        """
        settings = self.settings
        number, window = divmod(index, settings.windows)
        if number not in self._films:
            self._films = {number: self._age(number)}
        film = self._films[number]
        stream = np.random.default_rng([self.seed, number, _WINDOW_STREAM, window])
        top = int(stream.integers(film["aged"].shape[2] - settings.height + 1))
        left = int(stream.integers(film["aged"].shape[3] - settings.width + 1))
        rows, columns = slice(top, top + settings.height), slice(left, left + settings.width)
        if settings.windows == 1:
            self._films = {}
        sample = Pair(
            clean=film["clean"][..., rows, columns].contiguous(),
            aged=film["aged"][..., rows, columns].contiguous(),
            masks={kind: mask[..., rows, columns].contiguous() for kind, mask in film["masks"].items()},
            source=film["source"],
            preset=film["preset"],
            index=index,
        )
        if "undamaged" in film:
            sample["undamaged"] = film["undamaged"][..., rows, columns].contiguous()
        return sample

    def _age(self, number: int) -> Pair:
        """Simulate a film and return the whole of it."""
        settings = self.settings
        stream = np.random.default_rng([self.seed, number, _FILM_STREAM])
        preset, model = _draw_simulation(stream, settings)
        height, width = settings.film or (settings.height, settings.width)
        seed = int(stream.integers(1 << 63))
        simulator = Simulator(model, seed, height, width)
        first = int(stream.integers(settings.reel))
        if simulator.codec is not None and simulator.codec.needs_groups:
            # Frames before the clip would have to be coded with it.
            first -= first % GROUP
        last = first + settings.frames
        needed = _sources(simulator, first, last)
        clean = self.material.shot(number, frames=len(needed), height=height, width=width, seed=self.seed)
        reel = _Reel(clean, needed)
        aged = list(age_span(simulator, reel, first, last))

        def without_damage(model: SimulationSettings) -> Tensor:
            simulator = Simulator(model, seed, height, width, damage=False)
            return torch.stack([frame.frame for frame in age_span(simulator, reel, first, last)])

        if settings.target == "scene":
            target = torch.stack([frame.clean for frame in aged])
        elif settings.target == "film":
            target = without_damage(model)
        else:
            smooth = replace(model, flicker=None, grain=None, mixing=None, codec=None)
            target = without_damage(replace(smooth, lens=None, softness=None) if settings.target == "sharp" else smooth)
        film = Pair(
            clean=target,
            aged=torch.stack([frame.frame for frame in aged]),
            masks={kind: torch.stack([frame.masks[kind] for frame in aged]) for kind in MASK_KINDS},
            source=self.material.source(number, seed=self.seed).stem,
            preset=preset,
            index=number,
        )
        if settings.undamaged:
            film["undamaged"] = target if settings.target == "film" else without_damage(model)
        return film


class _Reel(Sequence[Tensor]):
    """A shot that stands at its place on a reel; what comes before it cannot be had."""

    def __init__(self, shot: Tensor, numbers: range) -> None:
        self._shot, self._numbers = shot, numbers

    def __len__(self) -> int:
        return self._numbers.stop

    def __getitem__(self, number: int) -> Tensor:  # type: ignore[override]
        return self._shot[self._numbers.index(number)]


def _sources(simulator: Simulator, first: int, last: int) -> range:
    """Return the numbers of the clean frames that are needed to age the frames first … last - 1."""
    timeline = simulator.timeline
    shown = [timeline.film_frame(number) for number in range(first, last)]
    if simulator.mixing is not None:
        shown += [timeline.next_film_frame(number) for number in range(first, last)]
    sources = [timeline.source(film_frame) for film_frame in shown]
    # age_span requires that the film reaches beyond the span.
    return range(min(sources), max(*sources, last - 1) + 1)


def _draw_simulation(stream: np.random.Generator, settings: PairSettings) -> tuple[str, SimulationSettings]:
    if settings.simulation is not None:
        return "settings", settings.simulation
    weights = settings.presets or dict.fromkeys(PRESETS, 1.0)
    names = list(weights)
    shares = np.array(list(weights.values()), dtype=np.float64)
    preset = names[int(stream.choice(len(names), p=shares / shares.sum()))]
    return preset, PRESETS[preset]
