"""Still-image models in the host's hands: its device and its memory, as its own upscale node has them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from comfy import model_management

from ..vldm_core.prerestore.image_model import FrameSettings, bytes_needed, first_tile, working_size

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

OUT_OF_MEMORY: type[BaseException] = model_management.OOM_EXCEPTION


@contextmanager
def image_model_on_device(
    model: "ImageModelDescriptor", height: int, width: int, settings: FrameSettings
) -> Iterator[int | None]:
    """Make room on the device and have an image model there for as long as it is needed.

    Args:
        model: From a loader of upscale models.
        height: Of the frames it is for.
        width: Of the frames it is for.
        settings: Size and tiles.

    Yields:
        Tiles to begin with: their largest side in pixels, or None for whole frames.
    """
    device = model_management.get_torch_device()
    tall, wide = working_size(height, width, model.scale, settings)
    needed = model_management.module_size(model.model) + bytes_needed(tall, wide, model)
    model_management.free_memory(needed, device)
    model.to(device)
    try:
        yield first_tile(height, width, model, float(model_management.get_free_memory(device)), settings)
    finally:
        model.to("cpu")
