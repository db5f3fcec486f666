"""Examples for the line network: what candidates of aged shots look like, and which of them are scratches.

The candidate search of the detector runs over shots whose scratches are known; its candidates are kept with a label.
Describing them costs more than learning from them, so they are made once and kept as files, one per batch of shots. A
batch depends on its number and the seed alone, so making them can be interrupted and goes on where it stopped.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...ageing import (
    BlotchModel,
    DirtModel,
    FlickerModel,
    GrainModel,
    LineModel,
    ScratchLine,
    SimulationSettings,
    WeaveModel,
    simulate,
)
from ...ageing.defects.scratches import LineLayer
from ...arrays import FloatArray
from ...data.clean_shots import MaterialSettings, TrainingMaterial
from ...errors import FilmFileError, SettingsError
from ...film.motion.scene import measure_motion
from ...film.scratches.search.appearance import Appearance, appearance
from ...film.scratches.search.candidates import Candidate, Window, find_candidates
from ...film.scratches.search.layers import BandLayout, band_profiles, explain_scene
from ...film.scratches.search.paths import tilt_steps
from ...progress import Progress, silent
from ...video.luma import luma_array
from ..output import claim_sources
from .scenes import draw_scene, scene_margin

STILLS = MaterialSettings(clip_share=0.0, locked_share=1.0, object_share=0.0, upright_share=0.0, reduction=3.0)
SHOTS = MaterialSettings(clip_share=0.6, upright_share=0.1)
"""How still pictures and moving shots are drawn."""

SHOTS_A_FILE = 8
_MIN_SCORE = 20.0
_MIN_FRAMES = 8
_LENGTHS = (16, 16, 16, 16, 24, 32)
_MEASURED_SHARE = 0.25
_HIT = 2.0
_NEAR = 10.0
_FAINT = 2.5


@dataclass(frozen=True, kw_only=True)
class LineExampleSettings:
    """How examples are made.

    Attributes:
        shots: Number of shots.
        scene_share: Share of shots that are made of a still picture, with uprights in it.
        scratched_share: Share of shots with scratches.
        most_lines: Largest number of scratches in a shot.
        seed: Another seed gives other shots.
    """

    shots: int = 1200
    scene_share: float = 0.75
    scratched_share: float = 0.75
    most_lines: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("shots", "most_lines"):
            if getattr(self, name) < 1:
                raise SettingsError(f"scratch examples {name} is {getattr(self, name)}; use 1 or more")
        for name in ("scene_share", "scratched_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"scratch examples {name} is {getattr(self, name)}; use a share from 0 to 1")
        if self.seed < 0:
            raise SettingsError(f"scratch examples seed is {self.seed}; use 0 or more")


@dataclass(frozen=True, kw_only=True, eq=False)
class LineExamples:
    """Candidates and what they are.

    Attributes:
        near: (n, 6, 24, 33) float16, see `Appearance`.
        far: (n, 3, 24, 33) float16.
        times: (n, 4, 24, 16) float16.
        numbers: (n, 18) float32.
        labels: (n,) 1 = scratch, 0 = none.
        shots: (n,) number of the shot that an example is from.
        sources: (n,) name of the file that the shot is from.
    """

    near: NDArray[np.float16]
    far: NDArray[np.float16]
    times: NDArray[np.float16]
    numbers: FloatArray
    labels: NDArray[np.uint8]
    shots: NDArray[np.int64]
    sources: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.labels)


def make_line_examples(
    material: Path | Sequence[Path], cache: Path, settings: LineExampleSettings, progress: Progress = silent
) -> list[Path]:
    """Make the examples that are missing in a folder.

    Args:
        material: Folders with clips and photographs; validation files are left out.
        cache: Folder for the files.
        settings: How they are made.
        progress: Called once per file.

    Returns:
        The files, in order.

    Raises:
        FilmFileError: The material cannot be read, or the folder holds examples of other files.
    """
    cache.mkdir(parents=True, exist_ok=True)
    stills = TrainingMaterial(material, settings=STILLS)
    shots = TrainingMaterial(material, settings=SHOTS)
    claim_sources(cache, (*shots.clips, *shots.photos))
    count = -(-settings.shots // SHOTS_A_FILE)
    paths = [cache / f"lines_{settings.seed}_{number:05d}.npz" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.exists():
            numbers = range(number * SHOTS_A_FILE, min((number + 1) * SHOTS_A_FILE, settings.shots))
            parts = [shot_examples(stills, shots, index, settings) for index in numbers]
            partial = path.with_name(f".{path.stem}.{os.getpid()}.npz")
            np.savez_compressed(partial, allow_pickle=False, **_joined(parts))
            os.replace(partial, path)
        progress("examples", number + 1, count)
    return paths


def load_line_examples(paths: Sequence[Path]) -> LineExamples:
    """Read examples.

    Raises:
        FilmFileError: A file is missing, damaged or of another version.
    """
    parts = []
    for path in paths:
        try:
            with np.load(path) as stored:
                parts.append(LineExamples(**{field.name: stored[field.name] for field in fields(LineExamples)}))
        except (OSError, KeyError, ValueError) as error:
            raise FilmFileError(f"{path} cannot be read as examples ({error}); delete it to make it anew") from error
    if not sum(len(part) for part in parts):
        raise FilmFileError("there are no examples of scratches to train on; make more shots")
    return LineExamples(**_joined(parts))


def shot_examples(
    stills: TrainingMaterial, shots: TrainingMaterial, index: int, settings: LineExampleSettings
) -> LineExamples:
    """Age a shot, look for lines in it, and label what is found."""
    stream = np.random.default_rng([settings.seed, index, 0x11])
    frames = int(stream.choice(_LENGTHS))
    height = int(stream.integers(208, 353))
    width = int(height * stream.uniform(1.25, 1.4))
    if stream.random() < settings.scene_share or not shots.clips:
        clean = _scene(stream, stills, index, settings, frames, height, width)
        source = stills.source(index, seed=settings.seed).stem
    else:
        clean = shots.shot(index, frames=frames, height=height, width=width, seed=settings.seed)
        source = shots.source(index, seed=settings.seed).stem
    lines = _draw_lines(stream, settings, frames, height, width)
    seed = settings.seed << 32 | index
    aged = simulate(clean, _draw_ageing(stream, lines), seed).frames
    window, layout, tilts = _window(aged, measured=stream.random() < _MEASURED_SHARE)
    candidates = find_candidates(window, tilts, layout, min_score=_MIN_SCORE, min_frames=_MIN_FRAMES)
    layer = LineLayer(LineModel(count=0, pinned=lines), seed, height, width)
    labels = np.array([label(candidate, layer, lines) for candidate in candidates], np.int64)
    kept = [candidate for candidate, what in zip(candidates, labels, strict=True) if what >= 0]
    seen = appearance(window, candidates)
    return _examples(seen, labels, index, source, len(kept))


def label(candidate: Candidate, layer: LineLayer, lines: Sequence[ScratchLine]) -> int:
    """Return 1 for a scratch, 0 for none, −1 where it is hard to say.

    Args:
        candidate: To label, from frames as large as those of the layer.
        layer: The scratches of the shot.
        lines: The same.
    """
    path = candidate.path
    result = 0
    for line in lines:
        first, last = max(path.first, line.first), min(path.frames.stop, line.last)
        if last <= first:
            continue
        true = np.array([layer.position(line, t) for t in range(first, last)])
        apart = np.abs(path.x[first - path.first : last - path.first] - true)
        distance = float(np.median(apart))
        if distance > _NEAR:
            continue
        alike = np.sign(line.depth) == path.polarity
        overlap = (last - first) / len(path.x)
        if alike and distance <= _HIT:
            return 1 if overlap > 0.6 and abs(line.depth) >= _FAINT else -1
        if alike and distance <= _HIT + 2:
            result = -1
    return result


def _scene(
    stream: np.random.Generator,
    stills: TrainingMaterial,
    index: int,
    settings: LineExampleSettings,
    frames: int,
    height: int,
    width: int,
) -> Tensor:
    tall, wide = height + 2 * scene_margin(), width + 2 * scene_margin()
    turned = stream.random() < 0.4
    size = (wide, tall) if turned else (tall, wide)
    picture = _grey(stills.shot(index, frames=1, height=size[0], width=size[1], seed=settings.seed))
    # What lies flat in a photograph stands upright when it is turned.
    picture = np.ascontiguousarray(picture.T) if turned else picture
    other = _grey(stills.shot(index, frames=1, height=240, width=320, seed=settings.seed + 1))
    return draw_scene(stream, picture, other, frames, height, width)


def _grey(shot: Tensor) -> FloatArray:
    return np.asarray(luma_array(shot[0]) / 255, np.float32)


def _draw_lines(
    stream: np.random.Generator, settings: LineExampleSettings, frames: int, height: int, width: int
) -> tuple[ScratchLine, ...]:
    if stream.random() >= settings.scratched_share:
        return ()
    lines = []
    for _ in range(int(stream.integers(1, settings.most_lines + 1))):
        moving = stream.random() < 0.25
        first, last = 0, frames
        if stream.random() < 0.2:
            first = int(stream.integers(0, max(1, frames - _MIN_FRAMES)))
        if stream.random() < 0.2:
            last = int(stream.integers(min(frames - 1, first + _MIN_FRAMES), frames + 1))
        top, bottom = 0.0, 1.0
        if stream.random() < 0.1:
            length = stream.uniform(0.5, 1.0)
            top = stream.uniform(0, 1 - length)
            bottom = top + length
        depth = float(np.exp(stream.normal(np.log(8.0), 0.7)))
        lines.append(
            ScratchLine(
                key=int(stream.integers(1 << 32)),
                kind="drifting" if moving else "fixed",
                x=float(stream.uniform(0.04, 0.96) * width),
                depth=float(np.clip(depth, 2, 60) * stream.choice([-1, 1])),
                width=max(1.0, float(stream.uniform(1.2, 4.0)) * height / 480),
                tilt=float(np.clip(stream.normal(0, 0.7), -3, 3)),
                first=first,
                last=last,
                profile="double_edge" if stream.random() < 0.2 else "single",
                drift=float(stream.uniform(0.05, 0.8) * stream.choice([-1, 1])) if moving else 0.0,
                jitter=0.5 * height / 480,
                gaps=float(stream.uniform(0, 0.35)),
                top=top,
                bottom=bottom,
            )
        )
    return tuple(lines)


def _draw_ageing(stream: np.random.Generator, lines: tuple[ScratchLine, ...]) -> SimulationSettings:
    weave = WeaveModel(
        horizontal=float(stream.uniform(0.05, 1.5)),
        vertical=float(stream.uniform(0.05, 1.5)),
        rotation=float(stream.uniform(0, 0.05)),
        rho=float(stream.uniform(0, 0.9)),
    )
    return SimulationSettings(
        camera_weave=weave if stream.random() < 0.45 else None,
        flicker=FlickerModel() if stream.random() < 0.4 else None,
        fading=None,
        lines=LineModel(count=0, pinned=lines),
        blotches=BlotchModel() if stream.random() < 0.2 else None,
        dirt=DirtModel() if stream.random() < 0.3 else None,
        hair=None,
        grain=GrainModel(sigma=float(np.exp(stream.uniform(0, np.log(6.0)))) if stream.random() < 0.9 else 0.3),
    )


def _window(frames: Tensor, *, measured: bool) -> tuple[Window, BandLayout, FloatArray]:
    """Reduce a shot to the profiles that the detector sees.

    The motion of the scene is only a start, which `explain_scene` makes exact; where it is not measured as the detector
    does, a phase correlation, which takes a tenth of the time, stands for it.
    """
    lumas = [luma_array(frame) for frame in frames]
    height, width = lumas[0].shape
    layout = BandLayout.of(height, width)
    profiles = [band_profiles(luma, layout) for luma in lumas]
    steps = np.zeros((len(lumas), 2), np.float32)
    frame_window = cv2.createHanningWindow((width // 2, height // 2), cv2.CV_32F)
    small = [cv2.resize(luma, (width // 2, height // 2), interpolation=cv2.INTER_AREA) for luma in lumas]
    for index in range(1, len(lumas)):
        if measured:
            motion = measure_motion(lumas[index - 1], lumas[index])
            dx, dy = motion.dx, motion.dy
        else:
            (dx, dy), _ = cv2.phaseCorrelate(small[index - 1], small[index], frame_window)
            dx, dy = 2 * dx, 2 * dy
        steps[index] = dx / layout.scale, dy * layout.bands / layout.height
    moved = np.cumsum(steps, axis=0, dtype=np.float32)
    ridge = np.stack([profile.ridge for profile in profiles])
    mean = np.stack([profile.mean for profile in profiles])
    explained = explain_scene(ridge, moved[:, 0], moved[:, 1])
    return Window.of(ridge, mean, explained), layout, tilt_steps(layout.bands, layout.band_rows, 5.0)


def _examples(seen: Appearance, labels: NDArray[np.int64], index: int, source: str, count: int) -> LineExamples:
    kept = labels >= 0
    return LineExamples(
        near=seen.near[kept].astype(np.float16),
        far=seen.far[kept].astype(np.float16),
        times=seen.times[kept].astype(np.float16),
        numbers=seen.numbers[kept],
        labels=labels[kept].astype(np.uint8),
        shots=np.full(count, index, np.int64),
        sources=np.full(count, source, dtype="U64"),
    )


def _joined(parts: Sequence[LineExamples]) -> dict[str, NDArray]:
    return {field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(LineExamples)}


def tensors(examples: LineExamples) -> tuple[Tensor, ...]:
    """Return pictures, numbers and labels of examples as float tensors: near, far, times, numbers, labels."""
    parts = (examples.near, examples.far, examples.times, examples.numbers, examples.labels)
    return tuple(torch.from_numpy(np.asarray(part, np.float32)) for part in parts)
