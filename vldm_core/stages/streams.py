"""Streams of frames between stages: windows that show a frame's neighbours, and stages side by side.

Frames wait as :mod:`.stage_frame` holds them, and stages make the few that they look at. Stages run side by side as
long as what they work on at a time fits into memory together; with larger frames they take turns.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import torch
from torch import Tensor

from ..containment import Watch
from ..machine.allocator import give_blocks_back
from ..video.buffers.pictures import Clip
from ..video.buffers.prefetch import ahead
from ..video.buffers.windows import windowed
from .stage import Frames
from .stage_frame import Origin, StageFrame

_MANY, _LARGE = 16, 5_000_000
"""Frames of a window, or bytes of one of their planes, from which the window leaves enough behind to be given back."""


def images(frames: Sequence[StageFrame[Origin]]) -> Clip:
    """The images of a window, (T, 3, H, W), made when they are looked at."""
    return Clip([frame.picture for frame in frames])


def masks(frames: Sequence[StageFrame[Origin]], kind: str) -> Tensor:
    """What is marked in a window, (T, H, W) bool.

    Args:
        frames: The window.
        kind: "dirt", "scratch", "forced" or "around".
    """
    blank = torch.zeros(frames[0].image.shape[-2:], dtype=torch.bool)
    found = (getattr(frame, kind) for frame in frames)
    return torch.stack([blank if mask is None else mask > 0.5 for mask in found])


def marks_taken(
    frame: StageFrame[Any], kind: str, spared: Tensor | None, *, probability: bool = False
) -> dict[str, Tensor]:
    """What a frame brings along as marked, as what a stage has found.

    Args:
        frame: The frame.
        kind: "dirt" or "scratch".
        spared: (H, W) bool, where nothing is to be marked, or None.
        probability: Whether to tell how sure it is: wholly.

    Returns:
        The fields of the frame by name, (H, W) each; nothing is marked where it brings no marks.
    """
    mask: Tensor | None = getattr(frame, kind)
    taken = torch.zeros(frame.image.shape[-2:]) if mask is None else (mask > 0.5).to(torch.float32)
    if spared is not None:
        taken = taken.masked_fill(spared, 0)
    return {kind: taken, f"{kind}_probability": taken} if probability else {kind: taken}


def with_image(frame: StageFrame[Origin], values: Tensor) -> StageFrame[Origin]:
    """Give a frame another image."""
    return frame.having(image=values)


def always(_: StageFrame[Any]) -> bool:
    """Every frame is of concern."""
    return True


def over_windows(
    frames: Frames[Origin],
    change: Callable[[Sequence[StageFrame[Origin]], slice], Tensor],
    *,
    watch: Watch,
    size: int,
    radius: int,
    put: Callable[[StageFrame[Origin], Tensor], StageFrame[Origin]] = with_image,
    concerns: Callable[[StageFrame[Origin]], bool] = always,
) -> Frames[Origin]:
    """Run a stage that looks at the neighbours of a frame.

    Args:
        frames: The shot.
        change: Given a window and the slice of the frames to do, gives a tensor for each of these, (T, …). It calls the
            watch's sign of life for every frame.
        watch: Of the stage.
        size: Frames to do in a window.
        radius: Neighbours that are shown beside them.
        put: Gives a frame its values.
        concerns: Whether there may be something to do in a frame; a window without such a frame goes on as it came.
    """

    def process(window: Sequence[StageFrame[Origin]], core: slice) -> list[StageFrame[Origin]]:
        watch.beat()
        if not any(concerns(frame) for frame in window[core]):
            return list(window[core])

        def work(seen: slice, part: slice) -> Tensor:
            return change(window[seen], slice(part.start - seen.start, part.stop - seen.start))

        made = watch.window([frame.number for frame in window], core, work, radius=radius)
        result = [
            frame if values is None else put(frame, values) for frame, values in zip(window[core], made, strict=True)
        ]
        del made
        if len(result) >= _MANY or plane_bytes(window[core.start].image) > _LARGE:
            give_blocks_back()
        return result

    return windowed(frames, process, size=size, radius=radius)


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
    stream = ahead(drawn, depth) if plane_bytes(first.image) <= largest else drawn
    del first
    with closing(stream):  # type: ignore[type-var]
        yield from stream


def _behind(first: StageFrame[Origin], frames: Frames[Origin]) -> Frames[Origin]:
    yield first
    del first
    yield from frames


def plane_bytes(image: Tensor) -> int:
    """Bytes of one plane (H, W) of an image in single precision."""
    return 4 * image.shape[-2] * image.shape[-1]
