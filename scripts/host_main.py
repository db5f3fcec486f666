"""Run ComfyUI's main.py in this process, also on a CPU build of torch.

Started by host_server.py as ``python host_main.py PATH/TO/ComfyUI [main.py's arguments]``.
"""

import importlib.util
import os
import runpy
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def end_with_parent() -> None:
    """Wait until standard input ends, which it does when the starting process is gone, then end this process."""
    sys.stdin.buffer.read()
    os._exit(0)


def declare_missing_operators() -> None:
    """Let torchvision be imported; by path, because the host may run in an environment without the package."""
    file = ROOT / "vldm_core" / "machine" / "vision_operators.py"
    spec = importlib.util.spec_from_file_location("vldm_vision_operators", file)
    assert spec is not None and spec.loader is not None
    # Kept among the modules: a declared operator lives as long as its module.
    module = sys.modules.setdefault(spec.name, importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    module.declare_missing_operators()


def main() -> None:
    """Become ComfyUI: its folder first on the path, its arguments in sys.argv."""
    host = Path(sys.argv[1]).resolve()
    threading.Thread(target=end_with_parent, daemon=True).start()
    declare_missing_operators()
    sys.argv = [str(host / "main.py"), *sys.argv[2:]]
    # Python put this script's folder first; the host expects its own there.
    sys.path[0] = str(host)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
