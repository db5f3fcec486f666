"""The film stages as streams over one shot, in the order in which they undo what happened to the film.

Every stage takes an iterator of :class:`StageFrame` and gives one, holding a bounded window of frames. The batch
functions of :mod:`vldm_core.stages.batch` and the streamed reel run these same generators, so both give the same
picture.

Frames wait as :mod:`.stage_frame` holds them, and stages make the few that they look at. Stages run side by side as
long as what they work on at a time fits into memory together; with larger frames they take turns.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import repeat

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..containment import Faults, Watch, let_through
from ..film.active_picture import ActivePicture
from ..film.dirt import detection as dirt_detection
from ..film.dirt.detection import DirtSettings, detect_dirt
from ..film.fill import repair as dirt_repair
from ..film.fill.repair import DirtRepairSettings, repair_dirt
from ..film.flicker.removal import FlickerTrack, apply_flicker
from ..film.scratches.detection import LineMap, line_mask
from ..film.scratches.repair import repair as line_repair
from ..film.scratches.repair.repair import LineRepairSettings, repair_lines
from ..film.weave import stabilise as stabilising
from ..film.weave.stabilise import WeaveTrack, apply_stabilise, warp_masks
from ..machine.allocator import give_blocks_back
from ..prerestore.contained import GivenFrame, contained_stream
from ..prerestore.network import PreRestorer
from ..prerestore.run import PreRestoreSettings
from ..progress import Progress, silent
from ..video.buffers.pictures import Clip, Made, Picture, Whole
from ..video.buffers.prefetch import ahead
from ..video.buffers.windows import windowed
from ..video.luma import luma_array
from ..video.shots import ShotDetector
from .analysis import ShotAnalysis
from .stage_frame import Origin, StageFrame

Frames = Iterator[StageFrame[Origin]]

# Share of a pixel by which a moved mask still marks it: a mask of one pixel, moved by parts of a pixel both ways, has a
# quarter or more of itself in one of those that it then lies on.
_LEAST_SHARE = 0.25

# Bytes of a plane of single precision. Finding and filling dirt take up to 170 planes at once, and the network as many
# as both together; frames that wait with their brightness evened are held as numbers only while they are small.
_LARGEST_BESIDE_REPAIR = 9_000_000
_LARGEST_BESIDE_NETWORK = 6_500_000
_LARGEST_HELD = 4_000_000


def look_for_cut(detector: ShotDetector, image: Tensor | NDArray, number: int, faults: Faults) -> None:
    """Give a frame to the search for cuts; one that cannot be looked at counts as like the frame before.

    Args:
        detector: Has seen all frames before.
        image: As `ShotDetector.update` takes it.
        number: The frame, from 0.
        faults: What is done about such a frame.
    """
    try:
        detector.update(image)
    except Exception as error:  # noqa: BLE001 - whatever a frame does to the search stays with the frame
        let_through(error)
        faults.lost("search for cuts", number, error, left="not looked at")
        detector.skip()


def images(frames: Sequence[StageFrame[Origin]]) -> Clip:
    """The images of a window, (T, 3, H, W), made when they are looked at."""
    return Clip([frame.picture for frame in frames])


def _masks(frames: Sequence[StageFrame[Origin]], kind: str) -> Tensor:
    """What is masked in a window, (T, H, W) bool."""
    blank = torch.zeros(frames[0].image.shape[-2:], dtype=torch.bool)
    found = (getattr(frame, kind) for frame in frames)
    return torch.stack([blank if mask is None else mask > 0.5 for mask in found])


def mark_lines(frames: Frames[Origin], lines: LineMap, *, faults: Faults | None = None) -> Frames[Origin]:
    """Set ``scratch`` from the line tracks of the analysis."""
    watch = (faults or Faults()).watch("scratch marking")
    for index, frame in enumerate(frames):
        mask = watch.frame(frame.number, lambda: _line_mask(frame, lines, index))  # noqa: B023 - called at once
        yield frame.having(scratch=mask)


def _line_mask(frame: StageFrame[Origin], lines: LineMap, index: int) -> Tensor:
    height, width = frame.image.shape[-2:]
    return line_mask(lines, index, height, width, luma_array(frame.image))


def _windowed_images(
    frames: Frames[Origin],
    change: Callable[[Sequence[StageFrame[Origin]], slice], Tensor],
    *,
    watch: Watch,
    size: int,
    radius: int,
    sets: str = "image",
) -> Frames[Origin]:
    """Run a windowed stage that gives new images, or masks, for the kept frames."""

    def process(window: Sequence[StageFrame[Origin]], core: slice) -> list[StageFrame[Origin]]:
        def work(seen: slice, part: slice) -> Tensor:
            return change(window[seen], slice(part.start - seen.start, part.stop - seen.start))

        made = watch.window([frame.number for frame in window], core, work, radius=radius)
        result = [
            frame if values is None else frame.having(**{sets: values})
            for frame, values in zip(window[core], made, strict=True)
        ]
        del made
        if _plane_bytes(window[core.start].image) > _LARGEST_BESIDE_NETWORK:
            give_blocks_back()
        return result

    return windowed(frames, process, size=size, radius=radius)


def mend_lines(
    frames: Frames[Origin],
    settings: LineRepairSettings,
    *,
    size: int,
    beat: Progress = silent,
    faults: Faults | None = None,
) -> Frames[Origin]:
    """Undo the persistent scratches that ``scratch`` marks, beside the stages that follow."""
    watch = (faults or Faults()).watch("scratch repair", beat)

    def change(window: Sequence[StageFrame[Origin]], core: slice) -> Tensor:
        masks = _masks(window, "scratch")
        return repair_lines(images(window), masks, settings, keep=core, progress=watch.beat)[core]

    mended = _windowed_images(frames, change, watch=watch, size=size, radius=line_repair.RADIUS)
    return beside(mended, size, _LARGEST_BESIDE_REPAIR)


def mark_dirt(
    frames: Frames[Origin],
    settings: DirtSettings,
    *,
    size: int,
    beat: Progress = silent,
    faults: Faults | None = None,
) -> Frames[Origin]:
    """Set ``dirt`` from what a frame shows and its motion-compensated neighbours do not."""
    faults = faults or Faults()
    watch = faults.watch("dirt marking", beat)

    def find(window: Sequence[StageFrame[Origin]], core: slice) -> Tensor:
        def tell(index: int, reason: str) -> None:
            faults.notices.add("dirt marking", reason, frame=window[index].number)

        return detect_dirt(images(window), settings, keep=core, progress=watch.beat, tell=tell)[core]

    return _windowed_images(frames, find, watch=watch, size=size, radius=dirt_detection.RADIUS, sets="dirt")


def spare(frames: Frames[Origin], protected: Iterable[Tensor]) -> Frames[Origin]:
    """Take marks off where nothing is to be marked.

    Args:
        frames: A stream whose masks are set as far as they are wanted.
        protected: For each frame (H, W) bool; at least as many as there are frames.
    """
    for frame, where in zip(frames, protected, strict=False):
        yield frame.having(
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
    frames: Frames[Origin],
    settings: DirtRepairSettings,
    *,
    size: int,
    beat: Progress = silent,
    faults: Faults | None = None,
) -> Frames[Origin]:
    """Fill what ``dirt`` marks from the neighbours in time."""
    faults = faults or Faults()
    watch = faults.watch("dirt repair", beat)

    def change(window: Sequence[StageFrame[Origin]], core: slice) -> Tensor:
        masks = _masks(window, "dirt")
        for frame, mask in zip(window[core], masks[core], strict=True):
            if float((mask > 0.5).float().mean()) > dirt_repair.LARGE_SHARE:
                faults.notices.add("dirt repair", dirt_repair.MUCH_FILLED, frame=frame.number)
        return repair_dirt(images(window), masks, settings, keep=core, progress=watch.beat)[core]

    return _windowed_images(frames, change, watch=watch, size=size, radius=dirt_repair.RADIUS)


def even_brightness(
    frames: Frames[Origin],
    track: FlickerTrack,
    picture: ActivePicture | None = None,
    *,
    faults: Faults | None = None,
) -> Frames[Origin]:
    """Take the flicker out, inside the picture only where one is given."""
    watch = (faults or Faults()).watch("flicker")
    for index, frame in enumerate(frames):
        came = frame.picture

        def even(came: Picture = came, index: int = index) -> Tensor:
            image = came.tensor()
            made = apply_flicker(image[None], track, index)[0]
            return made if picture is None else picture.restricted(made, image)

        held = Made(even)
        made = watch.frame(frame.number, held.tensor)
        if made is None:
            yield frame
        else:
            yield frame.having(image=held if _plane_bytes(made) > _LARGEST_HELD else Whole(made))


def pre_restore(
    frames: Frames[Origin],
    network: PreRestorer,
    settings: PreRestoreSettings,
    *,
    picture: ActivePicture | None = None,
    beat: Progress = silent,
    faults: Faults | None = None,
) -> Frames[Origin]:
    """Take blur, noise and compression off by a network; what ``dirt`` and ``scratch`` mark is not carried along.

    Where a picture is given, nothing changes outside it.
    """
    waiting: deque[StageFrame[Origin]] = deque()

    def given() -> Iterator[GivenFrame]:
        for frame in frames:
            waiting.append(frame)
            marks = damage(frame.dirt, frame.scratch)
            yield GivenFrame(frame.picture, None if marks is None else marks > 0, frame.number)

    watch = (faults or Faults()).watch("pre-restoration", beat)
    for made in contained_stream(given(), network, settings, watch=watch):
        frame = waiting.popleft()
        if made is None:
            yield frame
        else:
            image = made.image if picture is None else picture.restricted(made.image, frame.image)
            yield frame.having(image=Whole(image))


def damage(dirt: Tensor | None, scratch: Tensor | None) -> Tensor | None:
    """Join both kinds of masks; None where there is neither."""
    if dirt is None or scratch is None:
        return scratch if dirt is None else dirt
    return torch.maximum(dirt, scratch)


def steady(
    frames: Frames[Origin],
    track: WeaveTrack,
    *,
    size: int,
    picture: ActivePicture | None = None,
    beat: Progress = silent,
    faults: Faults | None = None,
) -> Frames[Origin]:
    """Take the gate weave out, of the masks too; where a picture is given, its bars stay and are not moved into it."""
    watch = (faults or Faults()).watch("stabilise", beat)
    box = None if picture is None or picture.whole else picture.box

    def change(window: Sequence[StageFrame[tuple[int, Origin]]], core: slice) -> Tensor:
        watch.beat("stabilise", 0, None)
        came = images(window)
        result = apply_stabilise(came, track, window[0].origin[0], box=box, keep=core)[core]
        if picture is None:
            return result
        return torch.stack([picture.restricted(image, came[core.start + index]) for index, image in enumerate(result)])

    # A part of a window, too, has to know where in the shot it lies.
    placed = (frame.having(origin=(position, frame.origin)) for position, frame in enumerate(frames))
    for frame in _windowed_images(placed, change, watch=watch, size=size, radius=stabilising.RADIUS):
        position, origin = frame.origin
        moved = {
            kind: watch.frame(frame.number, lambda: _moved(mask, track, position))  # noqa: B023 - called at once
            for kind in ("dirt", "scratch")
            if (mask := getattr(frame, kind)) is not None
        }
        yield frame.having(origin=origin, **moved)


def _moved(mask: Tensor, track: WeaveTrack, position: int) -> Tensor:
    return (warp_masks(mask[None], track, position)[0] >= _LEAST_SHARE).to(mask)


def beside(frames: Frames[Origin], depth: int, largest: int) -> Frames[Origin]:
    """Draw frames in a thread of their own, unless they are too large for the stages before and after to run at once.

    Args:
        frames: What the stages before give.
        depth: Frames that may wait.
        largest: Bytes of a plane of single precision up to which there is room for both.
    """
    first = next(frames, None)
    if first is None:
        return
    drawn = _behind(first, frames)
    stream = ahead(drawn, depth) if _plane_bytes(first.image) <= largest else drawn
    del first
    with closing(stream):  # type: ignore[type-var]
        yield from stream


def _behind(first: StageFrame[Origin], frames: Frames[Origin]) -> Frames[Origin]:
    yield first
    del first
    yield from frames


def _plane_bytes(image: Tensor) -> int:
    return 4 * image.shape[-2] * image.shape[-1]


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
    faults: Faults | None = None,
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
        faults: What is done about frames that a stage cannot do; None logs them and hands them on as they came.
    """
    faults = faults or Faults()
    picture = analysis.picture
    protect = joined_protection(protect, analysis)
    if analysis.lines is not None:
        frames = mark_lines(frames, analysis.lines, faults=faults)
        if protect is not None:
            frames = spare(frames, repeat(protect))
        frames = mend_lines(frames, line_repair_settings, size=size, beat=beat, faults=faults)
    if dirt is not None:
        # Finding and filling take about the same time: side by side they keep two cores busy. A window's results come
        # at once, so a whole window has to fit in between for the next one to begin.
        marked = mark_dirt(frames, dirt, size=size, beat=beat, faults=faults)
        if protect is not None:
            marked = spare(marked, repeat(protect))
        found = beside(marked, size, _LARGEST_BESIDE_REPAIR)
        frames = mend_dirt(found, dirt_repair_settings, size=size, beat=beat, faults=faults)
    if analysis.flicker is not None:
        frames = even_brightness(frames, analysis.flicker, picture, faults=faults)
    if prerestorer is not None:
        # The repair of the next frames goes on beside the network, most of all where that runs on a GPU.
        how = prerestore_settings or PreRestoreSettings()
        on_processor = next(prerestorer.parameters()).device.type == "cpu"
        given = beside(frames, size, _LARGEST_BESIDE_NETWORK if on_processor else _LARGEST_BESIDE_REPAIR)
        frames = pre_restore(given, prerestorer, how, picture=picture, beat=beat, faults=faults)
    if analysis.weave is not None:
        frames = steady(frames, analysis.weave, size=size, picture=picture, beat=beat, faults=faults)
    return frames
