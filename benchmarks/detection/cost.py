"""Measures what one method costs on a clip: detection and repair, or what of the two it does."""

import sys
from pathlib import Path

from torch import Tensor

from ..common.own_process import MethodCost, answer, cost_of, peak_memory_mb, timed
from .methods import METHODS, FilmMethod, Masks
from .sources.aged import AgedClip


def measure_cost(method: str, clip: Path, frames: int) -> MethodCost:
    """Measure one of `METHODS` on the first frames of a clip, in a process of its own.

    Args:
        method: Its name.
        clip: File that `AgedClip.save` wrote.
        frames: Frames to measure on.

    Raises:
        VLDMError: The method failed; the message ends with what it logged.
    """
    return cost_of(__name__, method, clip, frames)


def serve(name: str, path: Path, count: int) -> MethodCost:
    """Measure a method in this process; see `measure_cost`."""
    method = METHODS[name]
    loaded = peak_memory_mb()
    frames = AgedClip.load(path).aged[:count].clone()
    return timed(lambda number: _run(method, frames[:number]), len(frames), loaded)


def _run(method: FilmMethod, frames: Tensor) -> None:
    if method.restore is not None:
        method.restore(frames)
        return
    masks = Masks() if method.detect is None else method.detect(frames)
    if method.repair is not None:
        method.repair(frames, masks)


if __name__ == "__main__":
    answer(serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
