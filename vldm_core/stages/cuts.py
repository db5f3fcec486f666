"""The search for cuts over the frames of a film."""

from collections.abc import Callable, Iterable

from numpy.typing import NDArray
from torch import Tensor

from ..containment import Faults, let_through
from ..video.shots import Shot, ShotDetector, ShotSettings

_NAME = "search for cuts"


def find_cuts(
    images: Iterable[Tensor | NDArray],
    settings: ShotSettings,
    *,
    faults: Faults | None = None,
    seen: Callable[[int], None] = lambda _: None,
) -> tuple[Shot, ...]:
    """Cut frames into shots; a frame that cannot be looked at counts as like the one before.

    Args:
        images: Frames in order, each as `ShotDetector.update` takes it.
        settings: How a cut is told from flicker, flashes and dirt.
        faults: What is done about frames that cannot be looked at; None logs them.
        seen: Called with the number of frames seen after each; may raise to interrupt.

    Returns:
        The shots; none where there are no frames.

    Raises:
        StageError: A frame cannot be looked at, and the run is strict.
    """
    faults, detector = faults or Faults(), ShotDetector(settings)
    for number, image in enumerate(images):
        try:
            detector.update(image)
        except Exception as error:  # noqa: BLE001 - whatever a frame does to the search stays with the frame
            let_through(error)
            faults.lost(_NAME, number, error, left="not looked at")
            detector.skip()
        seen(number + 1)
    return detector.finish()
