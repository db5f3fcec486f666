"""Run ComfyUI's main.py in this process, also on a CPU build of torch.

Started by host_server.py as ``python host_main.py PATH/TO/ComfyUI [main.py's arguments]``.
"""

import os
import runpy
import sys
import threading
from pathlib import Path

from vision_operators import register_missing_vision_operators


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
