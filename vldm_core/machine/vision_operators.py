"""Let torchvision be imported beside a build of torch that its compiled operators were not made for.

PyPI's torchvision carries operators compiled against CUDA. Beside a CPU build of torch they cannot be loaded, and
torchvision's import then ends at ``operator torchvision::nms does not exist``, and with it that of spandrel, of
diffusers' models and of transformers' models, although nothing there calls these operators.

The module imports nothing of the package: scripts/setup_environment.py copies it into an environment that needs it.
"""

import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

# What torchvision refers to while it is imported; whoever calls one of them is told by torch that nothing runs it.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# An operator stays declared only as long as its library object lives.
_LIBRARIES: list[Any] = []


def declare_missing_operators() -> bool:
    """Declare the operators without which torchvision's import fails, where its own cannot be loaded.

    Where torchvision works, is already imported or is not installed, nothing is changed.

    Returns:
        Whether anything was declared.
    """
    if "torchvision" in sys.modules or _LIBRARIES:
        return False
    spec = importlib.machinery.PathFinder.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return False
    import torch

    folder = Path(next(iter(spec.submodule_search_locations)))
    for compiled in (*folder.glob("_C*.so"), *folder.glob("_C*.pyd")):
        try:
            torch.ops.load_library(str(compiled))
            return False
        except OSError:
            continue
    if hasattr(torch.ops.torchvision, "nms"):
        return False
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    _LIBRARIES.append(library)
    return True


class _BeforeTorchvision:
    """A finder that finds nothing, and declares the operators when torchvision is looked for."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        """Answer the import system."""
        if name == "torchvision":
            declare_missing_operators()


def watch_for_torchvision() -> None:
    """Let every later import of torchvision in this process begin with `declare_missing_operators`."""
    sys.meta_path.insert(0, _BeforeTorchvision())  # type: ignore[arg-type]
