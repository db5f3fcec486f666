"""The benchmark's end of a process that is a ComfyUI host and runs one group of variants.

Nothing here imports a host, so what does is a script, `inside_host/host_worker.py`. Request and answer are one JSON
line each; latents and pictures stay over there.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vldm_core.errors import VLDMError

from ..common.conversation import WarmProcess, warm_process
from .settings import SamplerBenchmarkSettings
from .statistics import Measurement
from .variants import GROUPS, VARIANTS

_SCRIPT = Path(__file__).resolve().parent / "inside_host" / "host_worker.py"


class HostNotFoundError(VLDMError):
    """There is no ComfyUI where one is needed."""


def find_host(named: Path | None = None) -> Path:
    """Return the ComfyUI folder: the named one, else $COMFYUI_PATH, else ~/comfy/ComfyUI.

    Raises:
        HostNotFoundError: No ComfyUI lies there.
    """
    variable = os.environ.get("COMFYUI_PATH")
    folder = (named or Path(variable or Path.home() / "comfy" / "ComfyUI")).expanduser()
    if (folder / "main.py").is_file() and (folder / "comfy").is_dir():
        return folder.resolve()
    raise HostNotFoundError(
        f"no ComfyUI (main.py, comfy/) in {folder}; say where it is with --host or the variable COMFYUI_PATH"
    )


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What a worker says when its variants stand ready.

    Attributes:
        left_out: Why the group cannot run here, or None.
        loaded_mb: Resident memory with all weights of the group, MB of 10^6 bytes, or None.
        versions: Of torch, ComfyUI and Python.
    """

    left_out: str | None
    loaded_mb: float | None = None
    versions: dict[str, str] = field(default_factory=dict)


class SamplerWorker:
    """A process that holds one group of variants; make it with `sampler_worker`."""

    def __init__(self, process: WarmProcess) -> None:
        self._process = process
        self._group = ""

    def load(self, group: str, settings: SamplerBenchmarkSettings) -> Loaded:
        """Make the variants of one of `GROUPS`, in place of those that were there.

        Raises:
            VLDMError: The worker failed; the message ends with what it logged.
        """
        self._group = group
        plans = {
            name: {"control": v.control, "family": v.family, "reuse": v.reuse, "longer": v.longer}
            for name in GROUPS[group]
            for v in (VARIANTS[name],)
        }
        return Loaded(**self._ask("load", group=group, plans=plans, settings=asdict(settings)))

    def warm_up(self, name: str) -> float:
        """Run a variant once, untimed; return its floating-point operations.

        Raises:
            VLDMError: The worker failed.
        """
        return float(self._ask("warm_up", name=name)["flops"])

    def run(self, name: str, number: int) -> Measurement:
        """Run a variant and measure it, as part of round `number`.

        Raises:
            VLDMError: The worker failed.
        """
        return Measurement(group=self._group, round=number, variant=name, **self._ask("run", name=name))

    def check(self, name: str) -> float | None:
        """Return how far the variant's last result is from what it must equal; None where there is no such variant.

        Raises:
            VLDMError: The worker failed, or the result is not finite.
        """
        answer = self._ask("compare", name=name, reference=VARIANTS[name].equal_to)
        if not answer["finite"]:
            raise VLDMError(f"{name} gave values that are not finite; its time means nothing")
        return None if answer["difference"] is None else float(answer["difference"])

    def _ask(self, task: str, **arguments: Any) -> dict[str, Any]:
        return self._process.ask({"task": task, **arguments})


@contextmanager
def sampler_worker(host: Path, threads: int) -> Iterator[SamplerWorker]:
    """Start a worker; it ends with the block, whatever happens in it.

    Args:
        host: The ComfyUI folder. $COMFYUI_PYTHON names its interpreter; by default it is this one.
        threads: Threads of its libraries.

    Raises:
        VLDMError: This is an installation without the repository's scripts.
    """
    if not _SCRIPT.is_file():
        raise VLDMError(f"{_SCRIPT} is missing; run the sampler benchmark from a checkout of the repository")
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    command = [os.environ.get("COMFYUI_PYTHON") or sys.executable, str(_SCRIPT), str(host)]
    with warm_process(command, what="the sampler benchmark's worker", environment=environment) as process:
        yield SamplerWorker(process)
