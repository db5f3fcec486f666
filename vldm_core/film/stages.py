"""The film stages as streams over one shot, in the order in which they undo what happened to the film.

Every stage takes an iterator of :class:`StageFrame` and gives one, holding a bounded window of frames. The batch
functions of :mod:`vldm_core.pipeline` and the streamed reel run these same generators, so both give the same picture.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Generic, TypeVar

import torch
from torch import Tensor

from ..prerestore.network import PreRestorer
from ..prerestore.run import PreRestoreSettings, pre_restore_stream
from ..progress import Progress, silent
from ..video.ahead import ahead
from ..video.windows import windowed
from . import dirt as dirt_detection
from . import dirt_repair, line_repair
from . import stabilise as stabilising
from .active_picture import ActivePicture
from .analysis import ShotAnalysis
from .dirt import DirtSettings, detect_dirt
from .dirt_repair import DirtRepairSettings, repair_dirt
from .flicker import FlickerTrack, apply_flicker
from .line_repair import LineRepairSettings, repair_lines
from .lines import LineMap, line_mask
from .luma import luma_array
from .stabilise import WeaveTrack, apply_stabilise

Origin = TypeVar("Origin")


@dataclass(frozen=True, kw_only=True)
class StageFrame(Generic[Origin]):
    """A frame on its way through the stages.

    Attributes:
        image: (3, H, W), RGB, [0, 1].
        dirt: (H, W), 1 = transient dirt, or None before detection.
        scratch: (H, W), 1 = persistent line scratch, or None before detection.
        origin: Whatever the caller wants to get back with the frame.
    """

    image: Tensor
    origin: Origin
    dirt: Tensor | None = None
    scratch: Tensor | None = None


Frames = Iterator[StageFrame[Origin]]


def images(frames: Sequence[StageFrame[Origin]]) -> Tensor:
    """Stack the images of a window, (T, 3, H, W)."""
    return torch.stack([frame.image for frame in frames])


def _masks(frames: Sequence[StageFrame[Origin]], kind: str) -> Tensor:
    blank = torch.zeros(frames[0].image.shape[-2:])
    found = (getattr(frame, kind) for frame in frames)
    return torch.stack([blank if mask is None else mask for mask in found])


def mark_lines(frames: Frames[Origin], lines: LineMap) -> Frames[Origin]:
    """Set ``scratch`` from the line tracks of the analysis."""
    for index, frame in enumerate(frames):
        height, width = frame.image.shape[-2:]
        yield replace(frame, scratch=line_mask(lines, index, height, width, luma_array(frame.image)))


def _windowed_images(
    frames: Frames[Origin], change: Callable[[Sequence[StageFrame[Origin]], slice], Tensor], *, size: int, radius: int
) -> Frames[Origin]:
    """Run a windowed stage that gives new images for the kept frames."""

    def process(window: Sequence[StageFrame[Origin]], core: slice) -> list[StageFrame[Origin]]:
        kept = window[core]
        return [replace(frame, image=image) for frame, image in zip(kept, change(window, core), strict=True)]

    return windowed(frames, process, size=size, radius=radius)


def mend_lines(
    frames: Frames[Origin], settings: LineRepairSettings, *, size: int, beat: Progress = silent
) -> Frames[Origin]:
    """Undo the persistent scratches that ``scratch`` marks, in a thread of its own beside the stages that follow."""

    def change(window: Sequence[StageFrame[Origin]], core: slice) -> Tensor:
        masks = _masks(window, "scratch")
        return repair_lines(images(window), masks, settings, keep=core)[core]

    return ahead(_windowed_images(frames, change, size=size, radius=line_repair.RADIUS), size)


def mark_dirt(frames: Frames[Origin], settings: DirtSettings, *, size: int, beat: Progress = silent) -> Frames[Origin]:
    """Set ``dirt`` from what a frame shows and its motion-compensated neighbours do not."""

    def process(window: Sequence[StageFrame[Origin]], core: slice) -> list[StageFrame[Origin]]:
        found = detect_dirt(images(window), settings, keep=core, progress=beat)[core]
        return [replace(frame, dirt=mask) for frame, mask in zip(window[core], found, strict=True)]

    return windowed(frames, process, size=size, radius=dirt_detection.RADIUS)


def spare(frames: Frames[Origin], protected: Iterable[Tensor]) -> Frames[Origin]:
    """Take marks off where nothing is to be marked.

    Args:
        frames: A stream whose masks are set as far as they are wanted.
        protected: For each frame (H, W) bool; at least as many as there are frames.
    """
    for frame, where in zip(frames, protected, strict=False):
        yield replace(
            frame,
            dirt=None if frame.dirt is None else frame.dirt.masked_fill(where, 0),
            scratch=None if frame.scratch is None else frame.scratch.masked_fill(where, 0),
        )


def joined_protection(protect: Tensor | None, analysis: ShotAnalysis) -> Tensor | None:
    """Where nothing is to be marked: what the user protects, (H, W) bool, and what lies outside the picture."""
    outside = analysis.picture.outside()
    if protect is None:
        return outside
    return protect if outside is None else protect | outside


def mend_dirt(
    frames: Frames[Origin], settings: DirtRepairSettings, *, size: int, beat: Progress = silent
) -> Frames[Origin]:
    """Fill what ``dirt`` marks from the neighbours in time."""

    def change(window: Sequence[StageFrame[Origin]], core: slice) -> Tensor:
        return repair_dirt(images(window), _masks(window, "dirt"), settings, keep=core, progress=beat)[core]

    return _windowed_images(frames, change, size=size, radius=dirt_repair.RADIUS)


def even_brightness(
    frames: Frames[Origin], track: FlickerTrack, picture: ActivePicture | None = None
) -> Frames[Origin]:
    """Take the flicker out, inside the picture only where one is given."""
    for index, frame in enumerate(frames):
        even = apply_flicker(frame.image[None], track, index)[0]
        yield replace(frame, image=even if picture is None else picture.restricted(even, frame.image))


def pre_restore(
    frames: Frames[Origin],
    network: PreRestorer,
    settings: PreRestoreSettings,
    *,
    picture: ActivePicture | None = None,
    beat: Progress = silent,
) -> Frames[Origin]:
    """Take blur, noise and compression off by a network; what ``dirt`` and ``scratch`` mark is not carried along.

    Where a picture is given, nothing changes outside it.
    """
    waiting: deque[StageFrame[Origin]] = deque()

    def given() -> Iterator[tuple[Tensor, Tensor | None]]:
        for frame in frames:
            waiting.append(frame)
            yield frame.image, damage(frame.dirt, frame.scratch)

    for made in pre_restore_stream(given(), network, settings, beat=beat):
        frame = waiting.popleft()
        yield replace(frame, image=made.image if picture is None else picture.restricted(made.image, frame.image))


def damage(dirt: Tensor | None, scratch: Tensor | None) -> Tensor | None:
    """Join both kinds of masks; None where there is neither."""
    if dirt is None or scratch is None:
        return scratch if dirt is None else dirt
    return torch.maximum(dirt, scratch)


def steady(
    frames: Frames[Origin], track: WeaveTrack, *, size: int, picture: ActivePicture | None = None
) -> Frames[Origin]:
    """Take the gate weave out; where a picture is given, its bars stay where they are and are not moved into it."""
    position = 0
    box = None if picture is None or picture.whole else picture.box

    def change(window: Sequence[StageFrame[Origin]], core: slice) -> Tensor:
        nonlocal position
        came = images(window)
        result = apply_stabilise(came, track, position - core.start, box=box)[core]
        position += core.stop - core.start
        return result if picture is None else picture.restricted(result, came[core])

    return _windowed_images(frames, change, size=size, radius=stabilising.RADIUS)


def restore_shot(
    frames: Frames[Origin],
    analysis: ShotAnalysis,
    *,
    dirt: DirtSettings | None,
    size: int,
    line_repair_settings: LineRepairSettings,
    dirt_repair_settings: DirtRepairSettings,
    protect: Tensor | None = None,
    prerestorer: PreRestorer | None = None,
    prerestore_settings: PreRestoreSettings | None = None,
    beat: Progress = silent,
) -> Frames[Origin]:
    """Run every stage that was asked for over one shot.

    Scratches go first: they persist, so they would otherwise be copied into the fills of the dirt repair. Brightness
    follows the repairs, which compare neighbours with their own gain; pre-restoration follows it, so that it carries
    only what is repaired and of one brightness. The picture is moved last, because scratches and gate are fixed in film
    coordinates. Outside the active picture nothing is marked and nothing changes.

    Args:
        frames: The shot.
        analysis: Its first pass; a measurement that is None leaves its stage out.
        dirt: How to find dirt, or None to leave it.
        size: Frames per window.
        line_repair_settings: How scratches are undone.
        dirt_repair_settings: How dirt is filled.
        protect: (H, W) bool, where nothing is marked, for all frames; None protects nothing.
        prerestorer: The network for pre-restoration, on its device; None leaves it out.
        prerestore_settings: How it is applied.
        beat: Called between two frames of a window; may raise to interrupt.
    """
    picture = analysis.picture
    protect = joined_protection(protect, analysis)
    if analysis.lines is not None:
        frames = mark_lines(frames, analysis.lines)
        if protect is not None:
            frames = spare(frames, repeat(protect))
        frames = mend_lines(frames, line_repair_settings, size=size, beat=beat)
    if dirt is not None:
        # Finding and filling take about the same time: side by side they keep two cores busy. A window's results come
        # at once, so a whole window has to fit in between for the next one to begin.
        marked = mark_dirt(frames, dirt, size=size, beat=beat)
        if protect is not None:
            marked = spare(marked, repeat(protect))
        found = ahead(marked, size)
        frames = mend_dirt(found, dirt_repair_settings, size=size, beat=beat)
    if analysis.flicker is not None:
        frames = even_brightness(frames, analysis.flicker, picture)
    if prerestorer is not None:
        # The repair of the next frames goes on beside the network, most of all where that runs on a GPU.
        how = prerestore_settings or PreRestoreSettings()
        frames = pre_restore(ahead(frames, size), prerestorer, how, picture=picture, beat=beat)
    if analysis.weave is not None:
        frames = steady(frames, analysis.weave, size=size, picture=picture)
    return frames
