"""Pre-restore one shot as a stream, so that a frame which the network cannot do costs no other frame.

The network carries what it has seen along a shot. After a failure its state is given up: the frames of the segment are
done apart from each other, as far as they can be, and the stream begins anew behind them.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from ..containment import Watch, check_finite
from ..film.motion.shot import ShotMotion
from ..video.buffers.pictures import Picture
from .network import PreRestorer
from .run import PreRestoredFrame, PreRestoreSettings, pre_restore_stream


class GivenFrame(NamedTuple):
    """A frame for the network.

    Attributes:
        image: (3, H, W), RGB, [0, 1], or a picture that is made when it is needed.
        mask: (H, W), 1 = damaged or repaired, or None.
        number: The frame in the film, for notices; None when not known.
    """

    image: Tensor | Picture
    mask: Tensor | None
    number: int | None = None


def contained_stream(
    frames: Iterable[GivenFrame],
    network: PreRestorer,
    settings: PreRestoreSettings | None = None,
    *,
    watch: Watch,
    motion: ShotMotion | None = None,
) -> Iterator[PreRestoredFrame | None]:
    """Pre-restore one shot; see `vldm_core.prerestore.run.pre_restore_stream`.

    Args:
        frames: Of one shot in order.
        network: On the device and in the precision to run in.
        settings: Defaults to `PreRestoreSettings()`.
        watch: Told of frames that cannot be done; its sign of life is called between the steps of a segment.
        motion: Of the shot, which has been shown the frames already; None measures it on them.

    Yields:
        One frame per frame; None for one that has to be handed on as it came.
    """
    settings = settings or PreRestoreSettings()
    source = watch.drawn(frames)
    # Read, but not yet made; after a failure they are given to the network again.
    waiting: deque[GivenFrame] = deque()
    first = 0

    def given() -> Iterator[tuple[Tensor | Picture, Tensor | None]]:
        for frame in tuple(waiting):
            yield frame.image, frame.mask
        for frame in source:
            waiting.append(frame)
            yield frame.image, frame.mask

    while True:
        stream = pre_restore_stream(given(), network, settings, motion=motion, first=first, beat=watch.beat)
        try:
            for made in stream:
                check_finite(made.image)
                yield made
                waiting.popleft()
                first += 1
            return
        except Exception as error:  # whatever a frame does to the network stays with the frame
            watch.settle(error)
            if not waiting:
                raise
        finally:
            stream.close()  # type: ignore[attr-defined]
        count = min(settings.segment, len(waiting))
        yield from _apart([waiting[index] for index in range(count)], network, settings, watch, motion, first)
        for _ in range(count):
            waiting.popleft()
        first += count


def _apart(
    frames: Sequence[GivenFrame],
    network: PreRestorer,
    settings: PreRestoreSettings,
    watch: Watch,
    motion: ShotMotion | None,
    position: int,
) -> list[PreRestoredFrame | None]:
    """Do frames of a shot without its other frames, and as few at once as it takes."""

    def attempt(first: int, last: int) -> list[PreRestoredFrame]:
        part = ((frame.image, frame.mask) for frame in frames[first:last])
        where = position + first
        made = list(pre_restore_stream(part, network, settings, motion=motion, first=where, beat=watch.beat))
        for one in made:
            # What is not finite has spoilt the state that the others were made with.
            check_finite(one.image)
        return made

    return watch.isolated([frame.number for frame in frames], slice(0, len(frames)), attempt)
