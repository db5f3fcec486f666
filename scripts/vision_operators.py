"""Let PyPI's torchvision be imported beside a CPU build of torch."""

import importlib.util
from pathlib import Path

import torch

# An operator stays registered only as long as its library object lives.
_LIBRARIES: list[torch.library.Library] = []


def register_missing_vision_operators() -> None:
    """Declare the two operators whose absence ends torchvision's import on a CPU build of torch.

    PyPI's torchvision carries operators compiled against CUDA. Where they cannot be loaded, torchvision's import fails
    at ``torchvision::nms``, and with it that of transformers, diffusers and the host, although nothing there calls it.
    """
    vision = importlib.util.find_spec("torchvision")
    if vision is None or not vision.submodule_search_locations or _LIBRARIES:
        return
    folder = Path(next(iter(vision.submodule_search_locations)))
    for compiled in (*folder.glob("_C*.so"), *folder.glob("_C*.pyd")):
        try:
            torch.ops.load_library(str(compiled))
            return
        except OSError:
            continue
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _LIBRARIES.append(library)
