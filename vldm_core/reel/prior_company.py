"""What goes through the prior beside the frames: damage masks, control hints, the source with its grain, LoRAs.

Pictures that belong to frames travel with them as further channels, because parts of a shot overlap.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..errors import SettingsError
from ..prior.lora.eras import EraLoras, find_lora, plan_loras
from ..prior.lora.per_frame import LowRank, ShotLora, read_lora
from ..prior.unet import UNetView
from ..semantics.recognition.era import lora_eras
from ..semantics.table.table import ShotTable
from ..video.info import FilmInfo
from ..video.reading.reader import open_film
from ..video.shots import Shot
from ..video.stream import FilmReader

PICTURE_CHANNELS = 3


@dataclass(frozen=True, kw_only=True)
class ReelControl:
    """What the pipeline's ControlNet looks at in a reel.

    Attributes:
        hint: Film or picture of hints, as many frames as the film or a single one; None is the film that goes into the
            prior, for networks that look at the picture itself. It is brought to the film's size.
        strength: Multiplies what the network adds.
        start: Share of the schedule at which it begins, 0 … 1.
        end: Share of the schedule at which it ends, from `start` on.
    """

    hint: Path | None = None
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 10:
            raise SettingsError(f"control strength is {self.strength}; use 0 … 10")
        if not 0 <= self.start <= self.end <= 1:
            raise SettingsError(
                f"control acts from {self.start} to {self.end}; use shares of the schedule, 0 … 1, the end not before "
                "the start"
            )


@dataclass(frozen=True, kw_only=True)
class ReelLoras:
    """LoRAs by era in a reel.

    Attributes:
        loras: Which era uses which file, and how strongly.
        folders: Where the files lie.
        eras: Eras of the whole film; empty takes those of every shot from the table of shots.
        strength: Factor on the strengths of the map.
    """

    loras: EraLoras
    folders: tuple[Path, ...]
    eras: tuple[str, ...] = ()
    strength: float = 1.0

    def of_shots(self, shots: Sequence[Shot], table: ShotTable | None) -> tuple[dict[str, float], ...]:
        """Return file → strength for every shot.

        Raises:
            SettingsError: Neither the settings nor a table say which eras the film has, or the map does not know one.
        """
        if self.eras:
            eras: Sequence[Sequence[str]] = [self.eras] * len(shots)
        elif table is not None:
            eras = lora_eras(table, self.loras)
        else:
            raise SettingsError("LoRAs by era need the eras of the film, or a table of shots that names them")
        plan = plan_loras(shots, eras, self.loras, strengths=[self.strength] * len(shots))
        return tuple({choice.file: choice.strength for choice in entry.loras} for entry in plan)


class LoraShelf:
    """The LoRAs of a reel, read once, put on a pipeline for a shot at a time.

    Args:
        settings: Which LoRAs.
        table: The film's shots; None where the settings name its eras.
        pipeline: A `VideoRestorationPipeline`.

    Raises:
        SettingsError: A file is missing, or does not fit the pipeline's UNet, or the eras are not known.
        WeightFileError: A file cannot be read.
    """

    def __init__(self, settings: ReelLoras, table: ShotTable | None, pipeline: Any) -> None:
        self._settings, self._table, self._pipeline = settings, table, pipeline
        shots = (Shot(0, 1),) if table is None else table.shots
        files = {file for chosen in settings.of_shots(shots, table) for file in chosen}
        self._updates: dict[str, Mapping[str, LowRank]] = {}
        for file in sorted(files):
            self._updates[file] = read_lora(find_lora(file, settings.folders))
            list(ShotLora(self._updates[file], 1.0).changes(UNetView(pipeline.unet)))
        self._of_shot: dict[int, dict[str, float]] = {}

    def meet(self, shots: Sequence[Shot]) -> None:
        """Learn the shots of the film."""
        chosen = self._settings.of_shots(shots, self._table)
        self._of_shot = {shot.first: files for shot, files in zip(shots, chosen, strict=True)}

    @contextmanager
    def on(self, shot: Shot) -> Iterator[None]:
        """Let the shot's LoRAs act inside this block."""
        with ExitStack() as stack:
            for number, (file, strength) in enumerate(self._of_shot[shot.first].items()):
                name = f"reel-lora-{number}"
                self._pipeline.attach(ShotLora(self._updates[file], strength), name)
                stack.callback(self._pipeline.detach, name)
            yield


class Company:
    """Streams of pictures that go along with the frames of a film, one after the other as channels.

    Attributes:
        channels: Name → channels that a stream has in what `joined` gives.
    """

    def __init__(self) -> None:
        self.channels: dict[str, slice] = {"frame": slice(0, PICTURE_CHANNELS)}
        self._streams: list[Iterable[Tensor]] = []

    def add(self, name: str, stream: Iterable[Tensor], channels: int = PICTURE_CHANNELS) -> None:
        """Add a stream of (channels, H, W), one per frame of the film."""
        first = max(place.stop for place in self.channels.values())
        self.channels[name] = slice(first, first + channels)
        self._streams.append(stream)

    def joined(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Give every frame (3, H, W) with its company behind it."""
        for parts in zip(frames, *self._streams, strict=True):
            yield torch.cat(parts) if len(parts) > 1 else parts[0]

    def part(self, name: str, joined: Tensor) -> Tensor | None:
        """Return one stream's part (T, C, H, W) of joined frames (T, …); None where there is no such stream."""
        return joined[:, self.channels[name]] if name in self.channels else None


def hint_frames(film: FilmReader, count: int, height: int, width: int) -> Iterator[Tensor]:
    """Give the hints (3, H, W) of all frames, brought to the film's size.

    Args:
        film: The hints; one is for all frames.
        count: Frames of the film.
        height: Of the film.
        width: Of the film.
    """
    hint: Tensor | None = None
    given = iter(film)
    for _ in range(count):
        frame = next(given, None)
        if frame is not None:
            hint = frame.tensor()
            if hint.shape[-2:] != (height, width):
                hint = interpolate(hint[None], (height, width), mode="bilinear", antialias=True)[0].clamp(0, 1)
        assert hint is not None
        yield hint


def mask_films(path: Path) -> tuple[Path, ...]:
    """Return the films of masks that a path stands for: itself, or those that detection wrote into a folder.

    Raises:
        SettingsError: There is none.
    """
    if path.is_dir():
        found = tuple(film for film in (path / "dirt.mkv", path / "scratch.mkv") if film.is_file())
        # A folder of pictures is a film too.
        return found or (path,)
    if not path.is_file():
        raise SettingsError(f"there are no damage masks at {path}; give a film, or the folder that detect wrote")
    return (path,)


def check_masks(films: Sequence[Path], count: int, info: FilmInfo, counted: Callable[[FilmReader], int]) -> None:
    """Check that films of masks fit the film.

    Args:
        films: From `mask_films`.
        count: Frames of the film.
        info: The film.
        counted: Counts the frames of a film.

    Raises:
        SettingsError: They have another size or number of frames.
        FilmFileError: They cannot be read.
    """
    for path in films:
        with open_film(path, deinterlace="off") as masks:
            size = (masks.info.width, masks.info.height)
            found = counted(masks)
        if size != (info.width, info.height) or found != count:
            raise SettingsError(
                f"{path} has {found} masks of {size[0]}×{size[1]} for {count} frames of {info.width}×{info.height}; "
                "make them from this film"
            )


def mask_frames(films: Sequence[FilmReader]) -> Iterator[Tensor]:
    """Give the masks (1, H, W) of films of masks, 1 where one of them says so, else 0."""
    for frames in zip(*films, strict=True):
        marked = [frame.tensor()[:1] > 0.5 for frame in frames]
        yield torch.stack(marked).any(dim=0).float()


def check_hints(hint: str | os.PathLike[str], count: int, counted: Callable[[FilmReader], int]) -> None:
    """Check that there is a hint for every frame, or one for all.

    Args:
        hint: The film of hints.
        count: Frames of the film that is restored.
        counted: Counts the frames of a film.

    Raises:
        SettingsError: There is another number of them.
        FilmFileError: They cannot be read.
    """
    with open_film(hint) as film:
        found = counted(film)
    if found not in (1, count):
        raise SettingsError(f"{hint} has {found} control hints for {count} frames; give as many, or one for all")
