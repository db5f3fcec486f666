"""A process of the sampler benchmark: the host as a library, one group of variants, time and memory of every run.

Started by `benchmarks.sampler.worker`, never by hand:

    python benchmarks/sampler/inside_host/host_worker.py COMFYUI_FOLDER

It answers one JSON request per line of standard input with one JSON line on standard output; the requests are the
methods of `_Worker`. Peak memory is how far resident memory rose during a run above its level before it, so weights do
not count; Linux alone tells.
"""

import ctypes
import gc
import importlib
import importlib.util
import json
import os
import platform
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from host_models import Plan, UnavailableError, build
from host_networks import Run
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "scripts"))
_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


class _Worker:
    """Holds the variants of one group and the last result of each."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._results: dict[str, Tensor] = {}

    def load(self, *, group: str, plans: dict[str, Plan], settings: dict[str, Any]) -> dict[str, Any]:
        """Make the variants; `left_out` says why they cannot run here."""
        torch.set_num_threads(settings["threads"])
        self._runs.clear()
        self._results.clear()
        try:
            self._runs = build(group, plans, settings)
        except UnavailableError as reason:
            return {"left_out": str(reason)}
        _trim()
        version = importlib.import_module("comfyui_version").__version__
        return {
            "left_out": None,
            "loaded_mb": _memory("VmRSS"),
            "versions": {"torch": torch.__version__, "comfyui": version, "python": platform.python_version()},
        }

    def warm_up(self, *, name: str) -> dict[str, Any]:
        """Run a variant once, untimed, and count its floating-point operations."""
        counter = FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION)
        with torch.inference_mode(), counter:
            self._results[name] = self._runs[name]()
        return {"flops": counter.get_total_flops()}

    def run(self, *, name: str) -> dict[str, Any]:
        """Run a variant and measure it."""
        self._results.pop(name, None)
        _trim()
        before = _memory("VmRSS")
        watched = before is not None and _reset_peak()
        start, cpu_start = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            result = self._runs[name]()
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        peak = _memory("VmHWM") if watched else None
        self._results[name] = result
        rise = None if peak is None or before is None else max(0.0, peak - before)
        return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": rise}

    def compare(self, *, name: str, reference: str | None) -> dict[str, Any]:
        """Compare a variant's last result with a reference's: largest difference over the largest value."""
        result = self._results[name]
        finite = bool(result.isfinite().all())
        if reference is None or not finite:
            return {"finite": finite, "difference": None}
        wanted = self._results[reference]
        if result.shape != wanted.shape:
            raise ValueError(f"{name} made {tuple(result.shape)}, {reference} {tuple(wanted.shape)}")
        difference = float((result - wanted).abs().max() / wanted.abs().max())
        return {"finite": finite, "difference": difference}


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


# torch counts the attention kernels of CUDA only.
_CPU_ATTENTION = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}


def _memory(field: str) -> float | None:
    """Return a field of this process's status in MB of 10^6 bytes, or None where the system does not tell."""
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    return None


def _reset_peak() -> bool:
    """Set the high-water mark of resident memory to its present level; False where that is not allowed."""
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    return True


def _trim() -> None:
    """Give back what earlier runs left behind, so that every run starts at the same level."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _become_host(folder: Path) -> None:
    """Make this process a host without a server, and load the pack as the host would, under the name `pack`."""
    from host_main import declare_missing_operators

    declare_missing_operators()
    sys.path.insert(0, str(folder))
    sys.argv = [str(folder / "main.py"), "--cpu"]
    os.chdir(folder)
    import comfy.options

    comfy.options.enable_args_parsing()
    spec = importlib.util.spec_from_file_location("pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec is not None and spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules["pack"] = module
    spec.loader.exec_module(module)


def main() -> None:
    """Answer requests from standard input until it ends."""
    # Libraries that greet on standard output would break the protocol; they get standard error instead.
    answers, sys.stdout = sys.stdout, sys.stderr
    _become_host(Path(sys.argv[1]))
    worker = _Worker()
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(worker, request.pop("task"))(**request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
