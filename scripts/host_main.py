"""Run ComfyUI's main.py in this process, also on a CPU build of torch.

Started by host_server.py as ``python host_main.py PATH/TO/ComfyUI [main.py's arguments]``.
"""

import importlib.util
import os
import runpy
import sys
import threading
from pathlib import Path

import torch

# An operator stays registered only as long as its library object lives.
_LIBRARIES: list[torch.library.Library] = []


def register_missing_vision_operators() -> None:
    """Declare the two operators whose absence ends torchvision's import on a CPU build of torch.

    PyPI's torchvision carries operators compiled against CUDA. Where they cannot be loaded, torchvision's import fails
    at ``torchvision::nms``, although nothing in the host calls it.
    """
    vision = importlib.util.find_spec("torchvision")
    if vision is None or not vision.submodule_search_locations:
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


def end_with_parent() -> None:
    """Wait until standard input ends, which it does when the starting process is gone, then end this process."""
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    """Become ComfyUI: its folder first on the path, its arguments in sys.argv."""
    host = Path(sys.argv[1]).resolve()
    threading.Thread(target=end_with_parent, daemon=True).start()
    register_missing_vision_operators()
    sys.argv = [str(host / "main.py"), *sys.argv[2:]]
    # Python put this script's folder first; the host expects its own there.
    sys.path[0] = str(host)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
