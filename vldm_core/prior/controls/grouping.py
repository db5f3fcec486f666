"""Several controls from one list of files, and controls without weights, to be asked before anything large is read."""

from collections.abc import Sequence
from pathlib import Path

import torch

from ...files.weights import WeightFileError, read_shapes
from .control import ControlSystem
from .reading import FoundControl, find_control


def find_controls(paths: Sequence[Path]) -> tuple[FoundControl, ...]:
    """Tell which systems files belong to, and which files belong together.

    A file joins the system before it that lacks the part it holds; otherwise it begins another one.

    Args:
        paths: Files, or folders as diffusers saves them; those of one system in any order.

    Returns:
        The systems, in the order in which their first files came.

    Raises:
        WeightFileError: A file is unreadable or no part of a known system, or a part that a system needs is missing.
    """
    groups: list[tuple[list[Path], FoundControl]] = []
    for path in paths:
        found = find_control([path])
        for number, (files, known) in enumerate(groups):
            joined = _joined([*files, path], known)
            if joined is not None:
                groups[number] = ([*files, path], joined)
                break
        else:
            groups.append(([path], found))
    systems = tuple(found for _, found in groups)
    for found in systems:
        refusal = found.refusal()
        if refusal is not None:
            raise WeightFileError(refusal)
    return systems


def outline_of(found: FoundControl) -> ControlSystem:
    """Build a system without its weights, on the meta device: what it takes and where it goes can be asked of it.

    Raises:
        WeightFileError: A file does not fit; the message lists why.
    """
    parts = {}
    for part in found.format.parts:
        if part.name in found.parts:
            shapes = read_shapes(found.parts[part.name])
            parts[part.name] = {
                key: torch.empty(shape, device="meta") for key, shape in shapes.items() if part.takes(key)
            }
    return found.format.build(parts, None)


def _joined(files: Sequence[Path], known: FoundControl) -> FoundControl | None:
    """Return what files are together, where one more of them adds a part; else None."""
    try:
        found = find_control(files)
    except WeightFileError:
        return None
    return found if len(found.parts) > len(known.parts) else None
