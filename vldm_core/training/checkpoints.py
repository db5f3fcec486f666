"""Checkpoints of a run: the one format that every training is resumed from.

A checkpoint is a folder `step-000200` in the folder of the run. It holds what accelerate's `save_state` writes (weights
and their running average as safetensors; optimiser, learning rate and random numbers as files that are read with
`weights_only=True`) and `run.json`: which run it is of, its step, and where the data set was. It is written beside its
place and renamed when it is whole; then the one before it is removed.
"""

import json
import pickle
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from ..errors import SettingsError

if TYPE_CHECKING:
    from accelerate import Accelerator

_NAME = re.compile(r"step-(\d+)")
_RUN, _UNFINISHED = "run.json", ".unfinished-"


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint of the latest step in the folder of a run, if there is one."""
    found = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)]
    return max(found, key=lambda path: int(path.name.removeprefix("step-")), default=None)


class Checkpoints:
    """Writes and reads the checkpoints of a run.

    Args:
        folder: Of the run.
        description: What makes the run what it is, plain values; a checkpoint with another one is refused.
    """

    def __init__(self, folder: Path, description: Mapping[str, Any]) -> None:
        self._folder = folder
        # As JSON gives it back: lists where there were tuples.
        self._description: dict[str, Any] = json.loads(json.dumps(description))

    def check(self) -> Path | None:
        """Return the newest checkpoint, if there is one.

        Raises:
            SettingsError: It is of another run, or damaged.
        """
        path = newest_checkpoint(self._folder)
        if path is not None:
            stored = self._run(path)["description"]
            if stored != self._description:
                keys = stored.keys() | self._description.keys()
                differing = sorted(key for key in keys if stored.get(key) != self._description.get(key))
                raise SettingsError(
                    f"{path} is of another run: {', '.join(differing)} differ; train with the settings that it was "
                    "begun with, or name another file"
                )
        return path

    def save(self, accelerator: "Accelerator", step: int, data: Mapping[str, int]) -> None:
        """Write a checkpoint and remove the ones before it; called by every process of a run.

        Args:
            accelerator: With everything that was prepared for the run.
            step: Number of the step after which it is written.
            data: State of the data set.
        """
        place = self._folder / f"step-{step:06d}"
        part = self._folder / f"{_UNFINISHED}{place.name}"
        if accelerator.is_main_process:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._clear_unfinished()
        accelerator.wait_for_everyone()
        accelerator.save_state(str(part))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            run = {"description": self._description, "step": step, "data": dict(data)}
            (part / _RUN).write_text(json.dumps(run, indent=1), encoding="utf-8")
            if place.is_dir():
                shutil.rmtree(place)
            part.rename(place)
            self.clear(but=place)

    def load(self, accelerator: "Accelerator", *, strict: bool) -> tuple[int, dict[str, int]] | None:
        """Go on from the newest checkpoint.

        Args:
            accelerator: With everything that was prepared for the run.
            strict: Whether all weights of the network are in the checkpoint.

        Returns:
            The step after which it was written and the state of the data set; None where there is no checkpoint.

        Raises:
            SettingsError: It is of another run, or damaged.
        """
        path = self.check()
        if path is None:
            return None
        run = self._run(path)
        try:
            accelerator.load_state(str(path), strict=strict)
        except (
            OSError,
            RuntimeError,
            KeyError,
            TypeError,
            ValueError,
            pickle.UnpicklingError,
            SafetensorError,
        ) as error:
            raise _damaged(path, error) from error
        return int(run["step"]), run["data"]

    def clear(self, *, but: Path | None = None) -> None:
        """Remove all checkpoints but one, and what an interrupted run has left of one."""
        self._clear_unfinished()
        for path in self._folder.glob("step-*"):
            if path != but and _NAME.fullmatch(path.name):
                shutil.rmtree(path)

    def _clear_unfinished(self) -> None:
        for path in self._folder.glob(f"{_UNFINISHED}step-*"):
            shutil.rmtree(path)

    @staticmethod
    def _run(path: Path) -> dict[str, Any]:
        try:
            run = json.loads((path / _RUN).read_text(encoding="utf-8"))
            return {name: run[name] for name in ("description", "step", "data")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> SettingsError:
    return SettingsError(f"{path} is not a checkpoint of this training ({error}); delete it to begin anew")
