"""In which frames and bands a line is there, and where exactly, once its section is known.

The search tells lines by what is usual in their surroundings, and pools frames, so that a faint one is found at all.
How deep a line of a known section is in one band of one frame can be read off the picture itself, and beside the line
it can be read how far the scene misleads such a reading. From both follows when the line was born and when it died,
where its gaps are, and where it lies in each frame by itself: what cuts a scratch jumps from frame to frame.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ....arrays import BoolArray, FloatArray
from ...robust import MAD_TO_SIGMA
from ..sampling import sampled_around
from .courses import likeliest
from .line_shape import LineShape, line_shape, reading_of, section, shape_alone
from .paths import Path


@dataclass(frozen=True, kw_only=True)
class PresenceRules:
    """When a line of a known section is there. Words are log odds.

    Attributes:
        controls: Places beside the line in which readings tell how far the scene misleads, in working pixels beyond
            its skirt.
        share: Share of its usual depth from which on a line counts as there.
        varying: Deviation of the depth of a line along it, as a share of its usual depth.
        least_error: Grey levels: a reading errs by as much at least.
        scene: Share of such an error that does not average out over time where the scene stands still.
        sure: How many times the error of its mean strength a line has to show to run through a band surely.
        sure_word: What that adds to each of its frames.
        gaps: Deviation of the readings of a line by its gaps at most, as a share of its usual depth.
        lasting: Frames for which what passes under a line shows there.
        untold: Errors of the mean strength by which a band has to be short of the line to be without it.
        untold_word: What is added where that cannot be told: a line goes on rather than that it ends.
        whole: Share of the bands in which the line surely runs for that, and of these in which a frame shows it.
        modulation: Deviation of the strength of a line down the frame, as a share of its usual depth.
        weakest: Strength down the frame at least, where the line surely runs.
        doubtful: The same where the scene may pass for a weak line.
        strongest: The same at most.
        largest_word: The most that a band of a frame may say: dirt and crossing edges are short.
        turn: What a beginning or an end of a gap costs down a frame.
        frame_word: The most that a frame may say about whether the line lives.
        birth: What a beginning or an end of its life costs.
        alive: Share of the frames in which a band has to show the line at first to be asked whether it lives.
        blurred: Separability of line and scene below which what the scene shows under the line does not average out.
        told_apart: Separability from which on something of the line has to stay while the scene moves.
        staying: Share of its depth that has to stay.
        least_staying: The same where they are not told apart so well, for what stays to tell how wide the line is.
        jump: Pixels, deviation of the place of a line in one frame from its place over some.
        most_jump: Pixels that it is moved by in a frame at most.
    """

    controls: tuple[float, ...] = (3.0, 5.5, 8.0)
    share: float = 0.4
    varying: float = 0.3
    least_error: float = 0.5
    scene: float = 0.5
    sure: float = 3.0
    sure_word: float = 1.0
    gaps: float = 0.5
    lasting: float = 6.0
    untold: float = 2.5
    untold_word: float = 3.0
    whole: float = 0.6
    modulation: float = 0.5
    weakest: float = 0.25
    doubtful: float = 0.7
    strongest: float = 1.8
    largest_word: float = 3.0
    turn: float = 3.0
    frame_word: float = 8.0
    birth: float = 8.0
    alive: float = 0.2
    blurred: float = 0.6
    told_apart: float = 0.5
    staying: float = 0.42
    least_staying: float = 0.2
    jump: float = 0.3
    most_jump: float = 0.8


_RULES = PresenceRules()


@dataclass(frozen=True, kw_only=True, eq=False)
class Readings:
    """How deep a line is in every band of every frame.

    Attributes:
        depth: (n, bands) grey levels, positive where it has the polarity of the line.
        error: (n, bands) standard deviation of what the scene alone reads like.
    """

    depth: FloatArray
    error: FloatArray


def read_line(mean: FloatArray, path: Path, shape: LineShape) -> Readings:
    """Read the depth of a line along its path.

    Args:
        mean: (T, bands, W) mean luma, grey levels.
        path: The line.
        shape: Its section.
    """
    reading = reading_of(shape)
    reach = len(reading) // 2
    far = int(np.ceil(shape.extent + _RULES.controls[-1]))
    window = mean[path.frames]
    samples = sampled_around(window, path.positions(window.shape[1]), reach + far)
    samples *= np.float32(path.polarity)
    width = 2 * reach + 1
    beside = [round(sign * (shape.extent + at)) for at in _RULES.controls for sign in (-1, 1)]
    readings = [samples[..., far + at : far + at + width] @ reading for at in (0, *beside)]
    wrong = np.square(np.stack(readings[1:]))
    # One mark beside the line is not the scene.
    wrong = np.minimum(wrong, 9 * np.median(wrong) + _RULES.least_error**2).mean(axis=0)
    wrong = cv2.blur(wrong, (3, 5), borderType=cv2.BORDER_REFLECT)
    return Readings(depth=readings[0], error=np.sqrt(wrong + _RULES.least_error**2).astype(np.float32))


@dataclass(frozen=True, kw_only=True, eq=False)
class Along:
    """A line down the frame.

    Attributes:
        strength: (bands,) its depth over the depth of the section.
        sure: (bands,) where it surely runs.
        untold: (bands,) where the scene hides whether it does.
        passing: (bands,) variance of a reading by what passes under the line and not beside it, grey levels².
    """

    strength: FloatArray
    sure: BoolArray
    untold: BoolArray
    passing: FloatArray


def strength_along(readings: Readings, shape: LineShape, seen: BoolArray, apart: float) -> Along:
    """Measure how strong a line is down the frame: it fades where the picture is dark, or the film was not touched.

    Args:
        readings: Along its path.
        shape: Its section.
        seen: (n, bands) where it was seen.
        apart: How well the line can be told from the scene by the motion of that, 0 … 1: what moves averages out.
    """
    usual = abs(shape.depth)
    lives = seen.any(axis=1)
    depth, error = readings.depth[lives], readings.error[lives]
    # Dirt is deeper than any line.
    mean = np.clip(depth, -2 * usual, 2 * usual).mean(axis=0)
    wrong = np.square(error).mean(axis=0) / len(depth) + np.square(_RULES.scene * (1.1 - apart) * error.mean(axis=0))
    # Gaps and dirt vary too, so the middle of the deviations is taken, and what gaps explain is left out.
    apart_from = np.median(np.abs(depth - np.median(depth, axis=0)), axis=0) * MAD_TO_SIGMA
    known = np.square(error).mean(axis=0) + np.square(_RULES.gaps * usual)
    passing = np.maximum(np.square(apart_from) - known, 0).astype(np.float32)
    sure = mean > _RULES.sure * np.sqrt(wrong)
    own = (_RULES.modulation * usual) ** 2
    along = 1 + (mean / usual - 1) * own / (own + wrong)
    along = cv2.blur(along[None].astype(np.float32), (3, 1), borderType=cv2.BORDER_REFLECT)[0]
    along = np.clip(along, np.where(sure, _RULES.weakest, _RULES.doubtful), _RULES.strongest)
    wrong += passing * min(1.0, _RULES.lasting / len(depth))
    untold = ~sure & (_RULES.share * usual - mean < _RULES.untold * np.sqrt(wrong))
    return Along(strength=along.astype(np.float32), sure=sure, untold=untold, passing=passing)


def presence_of(readings: Readings, shape: LineShape, seen: BoolArray, apart: float) -> BoolArray:
    """Decide where a line is there, (n, bands).

    Args:
        readings: Along its path.
        shape: Its section.
        seen: (n, bands) where the search saw it.
        apart: As for `strength_along`.
    """
    along = strength_along(readings, shape, seen, apart)
    usual = abs(shape.depth) * along.strength
    spread = np.square(readings.error) + np.square(_RULES.varying * usual)
    told = usual * (readings.depth - _RULES.share * usual)
    words = _clipped(told / spread + _RULES.sure_word * along.sure)
    asked = seen.mean(axis=0) > _RULES.alive
    if asked.any():
        total = words[:, asked].sum(axis=1) / np.sqrt(asked.sum())
        total = np.clip(total, -_RULES.frame_word, _RULES.frame_word)
        lives = likeliest(total[None], _RULES.birth)[0]
    else:
        lives = np.ones(len(words), bool)
    shown = likeliest(words, _RULES.turn) & lives[:, None]
    if not along.untold.any() or along.sure.mean() < _RULES.whole:
        return shown
    # Where most of the line is there, the rest that the scene hides is there as well.
    whole = shown[:, along.sure].mean(axis=1) >= _RULES.whole
    hidden = _clipped(told / (spread + along.passing) + _RULES.untold_word)
    words = np.where(along.untold & whole[:, None], hidden, words)
    return likeliest(words, _RULES.turn) & lives[:, None]


def _clipped(words: NDArray[np.floating]) -> FloatArray:
    return np.clip(words, -_RULES.largest_word, _RULES.largest_word).astype(np.float32)


def placed(mean: FloatArray, path: Path, shape: LineShape, present: BoolArray) -> Path:
    """Move a path to where the line lies in each frame by itself, as far as that can be told.

    Args:
        mean: (T, bands, W) mean luma, grey levels.
        path: The line, its section without offset.
        shape: Its section.
        present: (n, bands) where it is there.
    """
    window = mean[path.frames]
    reading = reading_of(shape)
    reach = len(reading) // 2
    u = np.arange(-reach, reach + 1)
    samples = sampled_around(window, path.positions(window.shape[1]), reach)
    slope = np.gradient(section(u, shape.sigma, shape.rims)).astype(np.float32)
    near = np.abs(u) <= shape.extent + 1.5
    slope = np.where(near, slope, 0) - np.where(near, slope[near].mean(), 0)
    energy = float(slope @ slope) * shape.depth**2 + 1e-9
    # A section that lies to the right reads as the section less its slope.
    rest = samples - shape.depth * section(u, shape.sigma, shape.rims)
    rest = rest - np.median(rest[..., ~near], axis=-1, keepdims=True)
    moved = -(rest @ slope) * shape.depth / energy
    count = present.sum(axis=1)
    mean_moved = np.where(present, moved, 0).sum(axis=1) / np.maximum(count, 1)
    spread = np.sqrt(np.where(present, np.square(moved - mean_moved[:, None]), 0).sum(axis=1) / np.maximum(count, 1))
    error = np.square(spread + 0.05) / np.maximum(count, 1)
    step = mean_moved * _RULES.jump**2 / (_RULES.jump**2 + error)
    step = np.where(count > 1, np.clip(step, -_RULES.most_jump, _RULES.most_jump), 0)
    return replace(path, x=(path.x + step).astype(np.float32))


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredLine:
    """A line with all that is known of it.

    Attributes:
        path: Where it lies in every frame.
        present: (n, bands) where it is there.
        shape: Its section; without offset, the path runs along its centre.
        along: (bands,) its depth down the frame over that of the section.
    """

    path: Path
    present: BoolArray
    shape: LineShape
    along: FloatArray


def measured_line(
    mean: FloatArray,
    path: Path,
    seen: BoolArray,
    beside: list[tuple[Path, LineShape]],
    moved: FloatArray,
    apart: float,
) -> MeasuredLine | None:
    """Measure section, presence and place of a line that the search has found.

    Args:
        mean: (T, bands, W) mean luma, grey levels.
        path: Where the search found it.
        seen: (n, bands) where the search saw it.
        beside: Plainer lines close to it.
        moved: (n,) displacement of the scene under the line, working pixels.
        apart: How well the line can be told from the scene by that motion, 0 … 1.

    Returns:
        None where nothing of it is there, or nothing of it stays while the scene moves.
    """
    shape = line_shape(mean, path, seen, beside)
    path = replace(path, x=path.x + np.float32(shape.offset))
    present = presence_of(read_line(mean, path, shape), shape, seen, apart)
    if not present.any():
        return None
    path = placed(mean, path, shape, present)
    shape = line_shape(mean, path, present, beside)
    alone = shape_alone(mean, path, present, beside, moved)
    if apart >= _RULES.told_apart and alone.depth * path.polarity < _RULES.staying * abs(shape.depth):
        return None
    narrow = replace(shape, sigma=alone.sigma, rims=alone.rims)
    stays = alone.depth * path.polarity >= _RULES.least_staying * abs(shape.depth)
    if apart < _RULES.blurred and stays and narrow.extent < shape.extent:
        # What stands under a line seems to widen it.
        shape = narrow
    path = replace(path, x=path.x + np.float32(shape.offset))
    readings = read_line(mean, path, shape)
    present = presence_of(readings, shape, seen, apart)
    if not present.any():
        return None
    return MeasuredLine(
        path=path, present=present, shape=shape, along=strength_along(readings, shape, present, apart).strength
    )
