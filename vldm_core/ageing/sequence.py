"""Ages whole films: what takes more than one frame at a time."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, takewhile

import torch
from torch import Tensor

from ..arrays import FloatArray
from ..errors import SettingsError
from .codec import GROUP
from .defects.scratches import ScratchLine
from .settings import SimulationSettings
from .simulator import MASK_KINDS, AgedFrame, FilmPicture, Simulator, frame_tensor

# The clean frame that is shown when a number is asked for, with its own number.
_Fetch = Callable[[int], tuple[int, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """An aged clip.

    Attributes:
        frames: (T, 3, H, W) in [0, 1].
        masks: For each of :data:`MASK_KINDS` a soft mask (T, H, W) in [0, 1]; see ``marks`` for its meaning.
        lines: The line scratches seen in the clip; their frame numbers count from the start of the reel.
        sources: For each frame the number, counted from the start of the reel, of the clean frame it shows.
    """

    frames: Tensor
    masks: Mapping[str, Tensor]
    lines: tuple[ScratchLine, ...]
    sources: tuple[int, ...]


def simulate(frames: Tensor, settings: SimulationSettings | None = None, seed: int = 0, first: int = 0) -> Simulation:
    """Age a clip that fits in memory; :func:`age_stream` ages longer ones.

    Args:
        frames: Clean frames, (T, 3, H, W) in [0, 1].
        settings: Which defects to simulate; the preset ``"worn"`` by default.
        seed: The same seed gives the same film.
        first: Frame number of the first frame on the reel.

    Returns:
        The aged frames, as many as were given, their masks and the line scratches in them.

    Raises:
        SettingsError: When the frames have another shape, or seed or size are out of range.
    """
    if frames.ndim != 4 or frames.shape[1] != 3 or not len(frames):
        raise SettingsError(f"The frames have the shape {tuple(frames.shape)}; give (T, 3, H, W) with T at least 1.")
    simulator = Simulator(settings or SimulationSettings(), seed, frames.shape[2], frames.shape[3])
    aged = list(age_stream(simulator, frames, first))
    return Simulation(
        frames=torch.stack([one.frame for one in aged]),
        masks={kind: torch.stack([one.masks[kind] for one in aged]) for kind in MASK_KINDS},
        lines=simulator.lines(first, first + len(frames)),
        sources=tuple(one.source for one in aged),
    )


def age_stream(simulator: Simulator, frames: Iterable[Tensor], first: int = 0) -> Iterator[AgedFrame]:
    """Age a film frame by frame in bounded memory.

    As many frames come out as go in. Where frames are lost, later clean ones are shown earlier, and the last one stands
    still at the end; ``AgedFrame.source`` tells which one is shown. At most 57 frames are read ahead, and 12 more for a
    video codec.

    Args:
        simulator: What happens to the film.
        frames: Clean frames in order, each (3, H, W) in [0, 1].
        first: Number of the first one on the reel. With repeats, a stream that does not begin at 0 cannot repeat what
            came before; with a video codec, it has to begin at a multiple of ``codec.GROUP`` to come out as in one run.
            :func:`age_span` has no such limits.

    Yields:
        The aged frames.

    Raises:
        SettingsError: When a frame has another size than the simulator.
    """
    window = _Window(iter(frames), first)
    numbers = takewhile(window.reaches, count(first))
    yield from _compressed(simulator, _transferred(simulator, window.fetch, numbers, window.forget))


def age_span(simulator: Simulator, frames: Sequence[Tensor] | Tensor, first: int, last: int) -> Iterator[AgedFrame]:
    """Age some frames of a film whose every frame can be had at once; pieces join without a trace.

    Args:
        simulator: What happens to the film.
        frames: All clean frames of the reel, each (3, H, W) in [0, 1]; anything with a length and an index.
        first: First frame to age.
        last: Frame after the last one to age, at most ``len(frames)``.

    Yields:
        The aged frames first … last - 1.

    Raises:
        SettingsError: When the span does not lie within the film, or a frame has another size than the simulator.
    """
    length = len(frames)
    if not 0 <= first <= last <= length:
        raise SettingsError(f"The span {first} … {last} does not lie within the {length} frames of the film.")

    def fetch(number: int) -> tuple[int, Tensor]:
        number = min(number, length - 1)
        return number, frames[number]

    grouped = simulator.codec is not None and simulator.codec.needs_groups
    start = first - first % GROUP if grouped else first
    aged = _compressed(simulator, _transferred(simulator, fetch, range(start, last)))
    for number, one in enumerate(aged, start):
        if number >= first:
            yield one


class _Window:
    """The stretch of a stream of clean frames that is needed now."""

    def __init__(self, frames: Iterator[Tensor], first: int) -> None:
        self._frames, self._first = frames, first
        self._held: deque[Tensor] = deque()

    def reaches(self, number: int) -> bool:
        """Return whether the film is as long as that; reads as far if need be."""
        while self._first + len(self._held) <= number:
            frame = next(self._frames, None)
            if frame is None:
                return False
            self._held.append(frame)
        return True

    def fetch(self, number: int) -> tuple[int, Tensor]:
        """Return a frame, or the nearest one there is, and its number."""
        self.reaches(number)
        number = min(max(number, self._first), self._first + len(self._held) - 1)
        return number, self._held[number - self._first]

    def forget(self, number: int) -> None:
        """Let go of the frames before a number, but keep one."""
        while self._first < number and len(self._held) > 1:
            self._held.popleft()
            self._first += 1


@dataclass(frozen=True)
class _Shot:
    """One transferred frame before compression."""

    picture: FloatArray
    masks: dict[str, FloatArray]
    source: int
    clean: Tensor
    number: int


def _transferred(
    simulator: Simulator, fetch: _Fetch, numbers: Iterable[int], forget: Callable[[int], None] | None = None
) -> Iterator[_Shot]:
    """Show film frames in their cadence, mix and soften them; ``forget`` is told what will not be fetched again."""
    timeline = simulator.timeline
    made: OrderedDict[int, tuple[FilmPicture, int, Tensor]] = OrderedDict()

    def film(number: int) -> tuple[FilmPicture, int, Tensor]:
        if number not in made:
            source, clean = fetch(timeline.source(number))
            made[number] = simulator.film(number, clean), source, clean
            if len(made) > 2:
                made.popitem(last=False)
        made.move_to_end(number)
        return made[number]

    for number in numbers:
        shown, source, clean = film(timeline.film_frame(number))
        picture, masks = shown
        mixture = simulator.mixing.at(number) if simulator.mixing else None
        if mixture is not None:
            other = film(timeline.next_film_frame(number))[0]
            picture = mixture.of(picture, other.image)
            masks = {kind: mixture.of(masks[kind], other.masks[kind]) for kind in masks}
        if forget is not None:
            forget(source)
        yield _Shot(simulator.soften(picture), masks, source, clean, number)


def _compressed(simulator: Simulator, shots: Iterator[_Shot]) -> Iterator[AgedFrame]:
    """Compress frames, one by one or in the groups of the reel."""
    codec = simulator.codec
    if codec is None:
        yield from (_aged(shot, shot.picture) for shot in shots)
    elif not codec.needs_groups:
        yield from (_aged(shot, codec.still(shot.picture)) for shot in shots)
    else:
        group: list[_Shot] = []
        for shot in shots:
            if shot.number % GROUP == 0 and group:
                yield from map(_aged, group, codec.group([one.picture for one in group]))
                group = []
            group.append(shot)
        if group:
            yield from map(_aged, group, codec.group([one.picture for one in group]))


def _aged(shot: _Shot, picture: FloatArray) -> AgedFrame:
    masks = {kind: torch.from_numpy(mask) for kind, mask in shot.masks.items()}
    return AgedFrame(frame_tensor(picture), masks, shot.source, shot.clean)
