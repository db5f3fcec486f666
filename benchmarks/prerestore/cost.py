"""Measures what a stage of the pre-restoration benchmark costs, in a process of its own.

The network runs as a stream over a film that goes back and forth in the clip, so that a film of any length can be had
from few frames, and nothing but the network's own window is held.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from vldm_core.prerestore.run import pre_restore_stream
from vldm_core.stages.batch import remove_flicker

from ..common.own_process import MethodCost, answer, cost_of, peak_memory_mb, timed
from .material import DamagedClip, repair
from .methods import (
    EVEN,
    FULL,
    METHODS,
    NETWORK,
    NLM,
    NLM_STRENGTHS,
    PER_FRAME,
    REPAIR,
    non_local_means,
    per_frame,
    there_and_back,
)
from .tasks import network_of

MEASURED: Mapping[str, str] = {
    REPAIR: "detection and repair",
    EVEN: "flicker removal alone",
    NLM: "the filter alone, at one h",
    PER_FRAME: "the network alone",
    NETWORK: "the network alone, with its optical flow, streamed",
}
"""Name of a method → what of it is measured."""


def measure_cost(method: str, clip: Path, weights: Path, frames: int) -> MethodCost:
    """Measure one of `MEASURED` on so many frames of a clip.

    Args:
        method: Its name.
        clip: File that `DamagedClip.save` wrote.
        weights: File of the network.
        frames: Frames to work on; beyond its end the clip is played backwards, then forwards, and so on.

    Raises:
        VLDMError: The method failed; the message ends with what it logged.
    """
    return cost_of(__name__, method, clip, weights, frames)


def serve(method: str, clip: Path, weights: Path, frames: int) -> MethodCost:
    """Measure a method in this process; see `measure_cost`."""
    film = "repaired" if method == EVEN else METHODS[method].film
    loaded = peak_memory_mb()
    images, masks = DamagedClip.load_only(clip, "damaged" if method == REPAIR else film, "masks")
    return timed(_work(method, images, masks, weights), frames, loaded)


def _work(method: str, images: Tensor, masks: Tensor, weights: Path) -> Callable[[int], None]:
    def first(count: int) -> tuple[Tensor, Tensor]:
        numbers = [there_and_back(number, len(images)) for number in range(count)]
        return images[numbers], masks[numbers]

    if method == REPAIR:
        return lambda count: _drop(repair(first(count)[0]))
    if method == EVEN:
        return lambda count: _drop(remove_flicker(first(count)[0], strict=True))
    if method == NLM:
        return lambda count: _drop(non_local_means(first(count)[0], NLM_STRENGTHS[0]))
    network = network_of(weights)
    if method == PER_FRAME:
        return lambda count: _drop(per_frame(*first(count), network))

    def stream(count: int) -> None:
        numbers = (there_and_back(number, len(images)) for number in range(count))
        pairs = ((images[number], masks[number]) for number in numbers)
        for _ in pre_restore_stream(pairs, network, FULL):
            pass

    return stream


def _drop(_: object) -> None:
    """Leave what was made."""


if __name__ == "__main__":
    answer(serve(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])))
