"""Examples for the scratch network: what candidates of aged shots look like, and which of them are scratches.

The candidate search of the detector runs over shots whose scratches are known; its candidates are kept with a label.
Describing them costs more than learning from them, so they are made once and kept as files, one per few shots; see
`example_files`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...ageing import LineModel, ScratchLine, simulate
from ...ageing.defects.scratches import LineLayer
from ...ageing.validation import require_ranges, require_span, require_within
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
from ..example_files import claim, make_missing, read
from .ageing import ScratchAgeing, draw_ageing, draw_scratches
from .scenes import SceneSettings, draw_scene


@dataclass(frozen=True, kw_only=True)
class LabelSettings:
    """Which candidate counts as a scratch.

    Attributes:
        hit: Median distance from a true scratch of its polarity up to which a candidate is one, px.
        doubtful: Distance beyond `hit` up to which it is hard to say, px: the rim of a broad scratch.
        far: Distance beyond which a true scratch has nothing to do with it, px.
        overlap: Least share of the candidate's frames in which the scratch is there.
        faintest: Depth of a scratch below which it is hard to say whether anybody sees it, grey levels.
    """

    hit: float = 2.0
    doubtful: float = 2.0
    far: float = 10.0
    overlap: float = 0.6
    faintest: float = 2.5

    def __post_init__(self) -> None:
        require_ranges("labels'", self, 255)
        require_within("labels' overlap", self.overlap, 0, 1)


@dataclass(frozen=True, kw_only=True)
class ScratchExampleSettings:
    """How examples are made.

    Attributes:
        shots: Number of shots.
        shots_a_file: Shots that are kept together; one has a dozen examples.
        frames: Lengths of shots, frames, one of which is drawn: most are as long as the shortest stretch that the
            detector judges by its looks.
        height: Smallest and largest height of frames, px.
        aspect: Smallest and largest width of frames by their height.
        scene_share: Share of shots that are made of a still picture, with uprights in it.
        turned_share: Share of these whose picture is turned by 90°: what lies flat in a photograph stands upright then.
        other_side: Height and width of the picture from which the things are cut that cross such a shot, px.
        measured_share: Share of shots in which the motion of the scene is measured as the detector does. In the others
            a phase correlation, which takes a tenth of the time, stands for it; it is only a start, which
            `explain_scene` makes exact.
        least_score: Evidence from which a candidate is looked at, below what the detector asks for: what is refused has
            to be seen, too.
        least_frames: Shortest candidate, frames.
        largest_tilt: Of a candidate, degrees from upright.
        stills: How still pictures are drawn.
        material: How moving shots are drawn.
        ageing: How shots are aged.
        scene: How a still picture is filmed.
        labels: Which candidate counts as a scratch.
        seed: Another seed gives other shots.
    """

    shots: int = 1200
    shots_a_file: int = 8
    frames: tuple[int, ...] = (16, 16, 16, 16, 24, 32)
    height: tuple[int, int] = (208, 352)
    aspect: tuple[float, float] = (1.25, 1.4)
    scene_share: float = 0.75
    turned_share: float = 0.4
    other_side: tuple[int, int] = (240, 320)
    measured_share: float = 0.25
    least_score: float = 20.0
    least_frames: int = 8
    largest_tilt: float = 5.0
    stills: MaterialSettings = MaterialSettings(
        clip_share=0.0, locked_share=1.0, object_share=0.0, upright_share=0.0, reduction=3.0
    )
    material: MaterialSettings = MaterialSettings(clip_share=0.6, upright_share=0.1)
    ageing: ScratchAgeing = ScratchAgeing()
    scene: SceneSettings = SceneSettings()
    labels: LabelSettings = LabelSettings()
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("shots", "shots_a_file", "least_frames"):
            if getattr(self, name) < 1:
                raise SettingsError(f"scratch examples' {name} is {getattr(self, name)}; use 1 or more")
        for name in ("scene_share", "turned_share", "measured_share"):
            require_within(f"scratch examples' {name}", getattr(self, name), 0, 1)
        require_within("scratch examples' least_score", self.least_score, 0, 1000)
        require_within("scratch examples' seed", self.seed, 0, 1 << 31)
        require_within("scratch examples' largest_tilt", self.largest_tilt, 0, 45)
        require_span("scratch examples' height", self.height, 64, 2000)
        require_span("scratch examples' aspect", self.aspect, 0.5, 3)
        for side in self.other_side:
            require_within("scratch examples' other_side", side, 64, 2000)
        if not self.frames or min(self.frames) < self.least_frames:
            raise SettingsError(
                f"scratch examples' frames is {self.frames}; use lengths of {self.least_frames} frames or more"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class ScratchExamples:
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

    def only(self, which: NDArray[np.bool_]) -> "ScratchExamples":
        """Return some of the examples, chosen by (n,) bool."""
        return ScratchExamples(**{field.name: getattr(self, field.name)[which] for field in fields(self)})


def make_examples(
    data: Path | Sequence[Path], folder: Path, settings: ScratchExampleSettings, *, progress: Progress = silent
) -> tuple[Path, ...]:
    """Make all examples that are not in a folder yet.

    Args:
        data: Folders with clips and photographs; validation files are left out.
        folder: Where the files go; 0.2 MB per shot.
        settings: How they are made; a folder holds those of one setting.
        progress: Called once per file.

    Returns:
        The files, in order.

    Raises:
        SettingsError: The folder holds examples of other settings.
        FilmFileError: There is nothing to use in the data, or the folder holds examples of other files.
    """
    stills = TrainingMaterial(data, settings=settings.stills)
    shots = TrainingMaterial(data, settings=settings.material)
    claim(folder, repr(replace(settings, shots=1)), (*shots.clips, *shots.photos))
    each = settings.shots_a_file
    files = tuple(folder / f"shots-{first:05d}.npz" for first in range(0, settings.shots, each))

    def make(number: int) -> dict[str, NDArray]:
        indices = range(number * each, min((number + 1) * each, settings.shots))
        return _joined([shot_examples(stills, shots, index, settings) for index in indices])

    make_missing(files, make, compressed=True, progress=progress)
    return files


def load_examples(paths: Sequence[Path]) -> ScratchExamples:
    """Read examples.

    Raises:
        FilmFileError: A file is missing or damaged, or there is nothing in any.
    """
    names = [field.name for field in fields(ScratchExamples)]
    parts = [ScratchExamples(**read(path, names)) for path in paths]
    if not sum(len(part) for part in parts):
        raise FilmFileError("there are no examples to train on; make more shots")
    return ScratchExamples(**_joined(parts))


def shot_examples(
    stills: TrainingMaterial, shots: TrainingMaterial, index: int, settings: ScratchExampleSettings
) -> ScratchExamples:
    """Age a shot, look for scratches in it, and label what is found."""
    stream = np.random.default_rng([settings.seed, index, 0x11])
    frames = int(stream.choice(settings.frames))
    height = int(stream.integers(settings.height[0], settings.height[1] + 1))
    width = int(height * stream.uniform(*settings.aspect))
    if stream.random() < settings.scene_share or not shots.clips:
        clean = _scene(stream, stills, index, settings, frames, height, width)
        source = stills.source(index, seed=settings.seed).stem
    else:
        clean = shots.shot(index, frames=frames, height=height, width=width, seed=settings.seed)
        source = shots.source(index, seed=settings.seed).stem
    scratches = draw_scratches(stream, settings.ageing, frames, height, width, least_frames=settings.least_frames)
    seed = settings.seed << 32 | index
    aged = simulate(clean, draw_ageing(stream, settings.ageing, scratches), seed).frames
    window, layout, tilts = _window(
        aged, measured=stream.random() < settings.measured_share, largest_tilt=settings.largest_tilt
    )
    candidates = find_candidates(
        window, tilts, layout, min_score=settings.least_score, min_frames=settings.least_frames
    )
    layer = LineLayer(LineModel(count=0, pinned=scratches), seed, height, width)
    labels = [label(candidate, layer, scratches, settings.labels) for candidate in candidates]
    return _examples(appearance(window, candidates), np.array(labels, np.int64), index, source)


def label(candidate: Candidate, layer: LineLayer, scratches: Sequence[ScratchLine], settings: LabelSettings) -> int:
    """Return 1 for a scratch, 0 for none, −1 where it is hard to say.

    Args:
        candidate: To label, from frames as large as those of the layer.
        layer: The scratches of the shot.
        scratches: The same.
        settings: Which candidate counts as a scratch.
    """
    path = candidate.path
    result = 0
    for scratch in scratches:
        first, last = max(path.first, scratch.first), min(path.frames.stop, scratch.last)
        if last <= first:
            continue
        true = np.array([layer.position(scratch, t) for t in range(first, last)])
        apart = np.abs(path.x[first - path.first : last - path.first] - true)
        distance = float(np.median(apart))
        if distance > settings.far:
            continue
        alike = np.sign(scratch.depth) == path.polarity
        overlap = (last - first) / len(path.x)
        if alike and distance <= settings.hit:
            return 1 if overlap > settings.overlap and abs(scratch.depth) >= settings.faintest else -1
        if alike and distance <= settings.hit + settings.doubtful:
            result = -1
    return result


def _scene(
    stream: np.random.Generator,
    stills: TrainingMaterial,
    index: int,
    settings: ScratchExampleSettings,
    frames: int,
    height: int,
    width: int,
) -> Tensor:
    margin = settings.scene.margin
    tall, wide = height + 2 * margin, width + 2 * margin
    turned = stream.random() < settings.turned_share
    size = (wide, tall) if turned else (tall, wide)
    picture = _grey(stills.shot(index, frames=1, height=size[0], width=size[1], seed=settings.seed))
    picture = np.ascontiguousarray(picture.T) if turned else picture
    high, broad = settings.other_side
    other = _grey(stills.shot(index, frames=1, height=high, width=broad, seed=settings.seed + 1))
    return draw_scene(stream, picture, other, frames, height, width, settings.scene)


def _grey(shot: Tensor) -> FloatArray:
    return np.asarray(luma_array(shot[0]) / 255, np.float32)


def _window(frames: Tensor, *, measured: bool, largest_tilt: float) -> tuple[Window, BandLayout, FloatArray]:
    """Reduce a shot to the profiles that the detector sees; see `ScratchExampleSettings.measured_share`."""
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
    return Window.of(ridge, mean, explained), layout, tilt_steps(layout.bands, layout.band_rows, largest_tilt)


def _examples(seen: Appearance, labels: NDArray[np.int64], index: int, source: str) -> ScratchExamples:
    kept = labels >= 0
    count = int(kept.sum())
    return ScratchExamples(
        near=seen.near[kept].astype(np.float16),
        far=seen.far[kept].astype(np.float16),
        times=seen.times[kept].astype(np.float16),
        numbers=seen.numbers[kept],
        labels=labels[kept].astype(np.uint8),
        shots=np.full(count, index, np.int64),
        sources=np.full(count, source, dtype="U64"),
    )


def _joined(parts: Sequence[ScratchExamples]) -> dict[str, NDArray]:
    return {
        field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(ScratchExamples)
    }
