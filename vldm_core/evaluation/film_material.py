"""Test material of the film benchmark: clean clips, aged by the simulation with known truth.

A data folder holds `clips/` (clean films), `photos/` (stills, panned over to give a moving camera) and `film/` (real
old films, used elsewhere). Every source becomes a short shot of one size, scaled to cover it and cropped at the centre,
and is aged from its own fixed seed. The simulation draws each defect from its own counter, so ageing once more without
dirt and lines gives the same film, same grain, same flicker, same weave, without the local damage: that film is what a
repair is compared with. Aged films are rounded to 8 bits, as scans are.
"""

import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from ..errors import FilmFileError
from ..film.degradation import (
    BlotchModel,
    DirtModel,
    FlickerModel,
    GrainModel,
    HairModel,
    LineModel,
    ScratchLine,
    SimulationSettings,
    Simulator,
    WeaveModel,
    binary_truth,
    simulate,
)
from ..video.flow import consistency, estimate_flow
from ..video.reader import open_film
from .film_settings import FilmBenchmarkSettings

Stratum = Literal["fixed", "drifting", "weave", "flicker"]

EXTRA_STRATA: tuple[Stratum, ...] = ("drifting", "weave", "flicker")

FILM_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi")

LINE_DEPTHS = (6.0, 10.0, 20.0)
"""Grey levels of the lines in every aged clip: one line of each depth, dark or bright."""

_RIM = 0.05
"""Value of a soft mask from which a pixel counts as touched: 0.8 grey levels of dirt, 5 % of the depth of a line."""

_SKIPPED_FRAMES = 40
"""Frames passed over at the start of a clip, where cameras are often still at rest."""


@dataclass(frozen=True, kw_only=True)
class CleanClip:
    """A clean shot.

    Attributes:
        name: Name of the source, without suffix.
        frames: (T, 3, H, W) in [0, 1].
    """

    name: str
    frames: Tensor


@dataclass(frozen=True, kw_only=True)
class AgedClip:
    """An aged shot and everything known about it.

    Attributes:
        name: Source and stratum.
        stratum: What the lines do, or which other defect is there besides.
        aged: (T, 3, H, W) in [0, 1], what a method gets to see.
        undamaged: The same film without dirt, hair, blotches and lines.
        steady: The same film without those and without flicker.
        dirt: (T, H, W) bool: transient damage (dirt, blotches, hair) that changed a pixel by 8 grey levels or more.
        lines: (T, H, W) uint8: 0, or k + 1 where the line of depth `LINE_DEPTHS[k]` has at least half its depth.
        faint: (T, H, W) bool: changed by local damage, but by less than counts as damage: rims, faint blotches.
        courses: (T, H, W) bool: the lines without their gaps, with their faint rims.
        flow: (T-1, 2, H, W) backward flow of the undamaged film.
        visible: (T-1, H, W) bool: where that flow is consistent with its opposite.
    """

    name: str
    stratum: Stratum
    aged: Tensor
    undamaged: Tensor
    steady: Tensor
    dirt: Tensor
    lines: Tensor
    faint: Tensor
    courses: Tensor
    flow: Tensor
    visible: Tensor

    def save(self, path: Path) -> None:
        """Write the clip to a file; frames as 8 bits, which is exact, flow in half precision."""
        eight_bits = {
            name: (getattr(self, name) * 255).round().to(torch.uint8).numpy()
            for name in ("aged", "undamaged", "steady")
        }
        np.savez(
            path,
            name=self.name,
            stratum=self.stratum,
            dirt=self.dirt.numpy(),
            lines=self.lines.numpy(),
            faint=self.faint.numpy(),
            courses=self.courses.numpy(),
            flow=self.flow.half().numpy(),
            visible=self.visible.numpy(),
            **eight_bits,
        )

    @classmethod
    def load(cls, path: Path) -> "AgedClip":
        """Read a clip that `save` wrote."""
        with np.load(path) as stored:
            frames = {name: torch.from_numpy(stored[name]).float() / 255 for name in ("aged", "undamaged", "steady")}
            return cls(
                name=str(stored["name"]),
                stratum=str(stored["stratum"]),  # type: ignore[arg-type]
                dirt=torch.from_numpy(stored["dirt"]),
                lines=torch.from_numpy(stored["lines"]),
                faint=torch.from_numpy(stored["faint"]),
                courses=torch.from_numpy(stored["courses"]),
                flow=torch.from_numpy(stored["flow"]).float(),
                visible=torch.from_numpy(stored["visible"]),
                **frames,
            )


def find_sources(data: Path, settings: FilmBenchmarkSettings) -> tuple[Path, ...]:
    """List the clips and photographs to use, in a fixed order.

    Raises:
        FilmFileError: The folder has neither.
    """
    clips = sorted(path for path in data.glob("clips/*") if path.suffix.lower() in FILM_SUFFIXES)
    photos = [data / "photos" / name for name in settings.photos]
    found = clips + [path for path in photos if path.is_file()]
    if not found:
        raise FilmFileError(f"{data} holds no clips/*.mp4 and none of the photos; pass the folder with clips/ in it")
    if settings.sources is not None and settings.sources < len(found):
        picks = np.linspace(0, len(found) - 1, settings.sources).round().astype(int)
        found = [found[pick] for pick in picks]
    return tuple(found)


def clean_clips(data: Path, settings: FilmBenchmarkSettings) -> Iterator[CleanClip]:
    """Yield the clean shots one by one.

    Raises:
        FilmFileError: A source cannot be read or is too short.
    """
    for path in find_sources(data, settings):
        frames = _read_clip(path, settings) if path.suffix.lower() in FILM_SUFFIXES else _pan(path, settings)
        yield CleanClip(name=path.stem, frames=frames)


def strata_of(index: int) -> tuple[Stratum, ...]:
    """Return the strata in which the source number `index` is aged: fixed lines, and for three of four another one."""
    turn = index % (len(EXTRA_STRATA) + 1)
    return ("fixed", *EXTRA_STRATA[turn : turn + 1])


def age(clip: CleanClip, stratum: Stratum, settings: FilmBenchmarkSettings) -> AgedClip:
    """Age a clean shot: dirt, hair and blotches, three lines, grain, and what the stratum adds."""
    name = f"{clip.name}/{stratum}"
    seed = (settings.seed << 32) | zlib.crc32(name.encode())
    count, _, height, width = clip.frames.shape
    lines = _pinned_lines(np.random.default_rng([settings.seed, seed & 0xFFFFFFFF]), stratum, count, height, width)
    model = SimulationSettings(
        camera_weave=WeaveModel() if stratum == "weave" else None,
        flicker=FlickerModel() if stratum == "flicker" else None,
        fading=None,
        lines=LineModel(count=0, pinned=lines),
        blotches=BlotchModel(),
        dirt=DirtModel(),
        # A hair caught in the gate stays for many frames: neither transient dirt nor a line, so it is left out.
        hair=HairModel(gate_count=0),
        grain=GrainModel(sigma=settings.grain),
    )
    local = {"lines": None, "blotches": None, "dirt": None, "hair": None}
    aged = simulate(clip.frames, model, seed)
    undamaged = _eight_bit(simulate(clip.frames, replace(model, **local), seed).frames)
    steady = undamaged
    if model.flicker is not None:
        steady = _eight_bit(simulate(clip.frames, replace(model, **local, flicker=None), seed).frames)
    flow = estimate_flow(undamaged)
    labels = torch.zeros(count, height, width, dtype=torch.uint8)
    courses = torch.zeros(count, height, width, dtype=torch.bool)
    for number, line in enumerate(lines):
        alone = _lines_only(seed, height, width, line)
        whole = _lines_only(seed, height, width, replace(line, gaps=0.0))
        for index in range(count):
            labels[index][binary_truth(alone.line_masks(index)[line.kind])] = number + 1
            courses[index] |= whole.line_masks(index)[line.kind] > _RIM
    # Where a bright line crosses white, or a dark one black, nothing can be seen of it.
    labels[~binary_truth(aged.masks["lines"])] = 0
    transient = torch.stack([aged.masks[kind] for kind in ("dirt", "blotches", "hair")]).amax(dim=0)
    damage = binary_truth(transient) | (labels > 0)
    return AgedClip(
        name=name,
        stratum=stratum,
        aged=_eight_bit(aged.frames),
        undamaged=undamaged,
        steady=steady,
        dirt=binary_truth(transient),
        lines=labels,
        faint=(torch.maximum(transient, aged.masks["lines"]) > _RIM) & ~damage,
        courses=courses,
        flow=flow,
        visible=consistency(flow, estimate_flow(undamaged, direction="forward")),
    )


def read_film(path: Path) -> Tensor:
    """Read a whole short film as (T, 3, H, W) in [0, 1].

    Raises:
        FilmFileError: It cannot be read.
    """
    with open_film(path) as film:
        return torch.stack([frame.tensor() for frame in film])


def _pinned_lines(
    stream: np.random.Generator, stratum: Stratum, count: int, height: int, width: int
) -> tuple[ScratchLine, ...]:
    """One line of each depth, apart from each other and from the border, with tilt, gaps and uneven depth."""
    places = (np.arange(len(LINE_DEPTHS)) + stream.uniform(0.25, 0.75, len(LINE_DEPTHS))) / len(LINE_DEPTHS)
    order = stream.permutation(len(LINE_DEPTHS))
    lines = []
    for number, depth in enumerate(LINE_DEPTHS):
        drifting = stratum == "drifting"
        lines.append(
            ScratchLine(
                key=int(stream.integers(1 << 32)),
                kind="drifting" if drifting else "fixed",
                x=float(places[order[number]] * width),
                depth=depth * float(stream.choice([-1, 1])),
                width=max(1.0, float(stream.uniform(1.5, 3.5)) * height / 480),
                tilt=float(stream.uniform(-1, 1)),
                first=0,
                last=count,
                drift=float(stream.uniform(0.1, 0.6) * stream.choice([-1, 1])) if drifting else 0.0,
                jitter=0.5 * height / 480,
                gaps=float(stream.uniform(0, 0.3)),
            )
        )
    return tuple(lines)


def _lines_only(seed: int, height: int, width: int, line: ScratchLine) -> Simulator:
    settings = replace(SimulationSettings().only("lines"), lines=LineModel(count=0, pinned=(line,)))
    return Simulator(settings, seed, height, width)


def _read_clip(path: Path, settings: FilmBenchmarkSettings) -> Tensor:
    """Read `settings.frames` frames: those after the skipped ones, or the last ones of a shorter clip."""
    kept: deque[np.ndarray] = deque(maxlen=settings.frames)
    with open_film(path) as film:
        for number, frame in enumerate(film):
            kept.append(_cover(frame.image, settings.height, settings.width))
            if number + 1 == _SKIPPED_FRAMES + settings.frames:
                break
    if len(kept) < settings.frames:
        raise FilmFileError(f"{path} has {len(kept)} frames; the benchmark needs {settings.frames}")
    return torch.from_numpy(np.stack(kept))


def _cover(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale an RGB image (H, W, 3) to cover the size, crop its centre; returns (3, height, width) in [0, 1]."""
    scale = max(height / image.shape[0], width / image.shape[1])
    size = (max(width, round(image.shape[1] * scale)), max(height, round(image.shape[0] * scale)))
    levels = np.float32(np.iinfo(image.dtype).max)
    scaled = cv2.resize(
        image.astype(np.float32) / levels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    return np.ascontiguousarray(scaled[top : top + height, left : left + width].transpose(2, 0, 1))


def _pan(path: Path, settings: FilmBenchmarkSettings) -> Tensor:
    """Move a camera over a photograph: about 2 px a frame sideways and a quarter of that up, easing in."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise FilmFileError(f"{path} cannot be read as a picture; replace it or leave it out")
    rgb = np.ascontiguousarray(picture[..., ::-1])
    time = np.arange(settings.frames, dtype=np.float64)
    path_x = 2.1 * settings.width / 480 * (time + 0.02 * time**2)
    path_y = 0.25 * path_x
    reach_x, reach_y = int(np.ceil(path_x[-1])) + 4, int(np.ceil(path_y[-1])) + 4
    wide = _cover(rgb, settings.height + reach_y, settings.width + reach_x).transpose(1, 2, 0)
    frames = []
    for x, y in zip(path_x, path_y, strict=True):
        shift = np.array([[1, 0, x + 2], [0, 1, y + 2]], dtype=np.float64)
        moved = cv2.warpAffine(
            wide,
            shift,
            (settings.width, settings.height),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )
        frames.append(np.clip(moved, 0, 1).transpose(2, 0, 1))
    return torch.from_numpy(np.ascontiguousarray(np.stack(frames), dtype=np.float32))


def _eight_bit(frames: Tensor) -> Tensor:
    return (frames * 255).round().clamp(0, 255) / 255
