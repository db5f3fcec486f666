"""What the reports of all benchmarks have in common: their JSON form, and facts about the machine."""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import cv2
import torch


class BenchmarkReport:
    """Base of a dataclass with all figures of a run."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists, numbers, strings and None, ready for JSON."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]

    def write_json(self, path: Path) -> None:
        """Write the report as JSON; every number is finite."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def plain(value: Any) -> Any:
    """Turn figures into what JSON can hold; an object says itself what it is worth with `as_dict`."""
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def machine_facts() -> dict[str, Any]:
    """Return what figures of time depend on: processors, threads, system and versions."""
    return {
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "opencv": cv2.__version__,
    }
