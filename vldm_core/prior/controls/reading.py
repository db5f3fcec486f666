"""Reading published controls: which system files belong to, what is missing, and the system itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from torch import Tensor

from ...files.weights import SUFFIXES, WeightFileError, read_shapes, read_wanted
from .control import ControlSystem
from .coser.files import COSER
from .diffbir.files import DIFFBIR
from .format import ControlFormat, Part, Shapes
from .pasd.files import PASD, PASD_LIGHT
from .seesr.files import SEESR
from .stablesr.files import STABLESR

FORMATS: tuple[ControlFormat, ...] = (DIFFBIR, PASD, PASD_LIGHT, SEESR, STABLESR, COSER)
"""Every system that is known."""

_NETWORKS = ("controlnet", "unet")
"""Folders of networks as diffusers saves them."""

_ALLOWED = {
    True: "commercial use is allowed",
    False: "not for commercial use",
    None: "nothing certain is published on commercial use",
}


@dataclass(frozen=True, kw_only=True)
class FoundControl:
    """What files turned out to be.

    Attributes:
        format: The system.
        parts: File of each part that was found, by the part's name.
        missing: Parts that the system needs and no file holds.
        absent: Parts that would add something and no file holds.
    """

    format: ControlFormat
    parts: Mapping[str, Path]
    missing: tuple[Part, ...]
    absent: tuple[Part, ...]

    def refusal(self) -> str | None:
        """Return what is missing and what would hold it, as a message; None where the system is complete."""
        if not self.missing:
            return None
        wanted = " and ".join(f"its {part.name} ({part.files})" for part in self.missing)
        there = " and ".join(f"the {name} of {self.format.system} in {path}" for name, path in self.parts.items())
        return f"{there} is there, but {wanted} is missing; give it too"

    def report(self) -> str:
        """Return what the files are, in lines: system, base model, licence, parts, source."""
        known = self.format
        lines = [
            f"system: {known.system}",
            f"for: {known.base}",
            f"licence of the weights: {known.licence} ({_ALLOWED[known.commercial]})",
            f"looks at: {known.hint}",
        ]
        lines += [f"{name}: {path.name}" for name, path in self.parts.items()]
        lines += [f"missing: {part.name} ({part.files})" for part in self.missing]
        lines += [f"absent, works without: {part.name} ({part.files})" for part in self.absent]
        return "\n".join([*lines, f"source: {known.source}"])


def parts_of(shapes: Shapes) -> tuple[tuple[ControlFormat, Part], ...]:
    """Return the parts of systems that a file holds, told by its shapes."""
    return tuple((known, part) for known in FORMATS for part in known.parts if part.found(shapes))


def find_control(paths: Sequence[Path]) -> FoundControl:
    """Tell which system files belong to.

    Args:
        paths: Files, or folders as diffusers saves them, with the files of a system below.

    Raises:
        WeightFileError: A file is unreadable or no part of a known system, files belong to several systems, or two hold
            the same part.
    """
    files = [file for path in paths for file in _files(path)]
    if not files:
        raise WeightFileError("no file was given; give the files of one restoration control")
    held: dict[str, dict[str, list[Path]]] = {}
    for file in files:
        found = parts_of(read_shapes(file))
        if not found:
            raise WeightFileError(
                f"{file} is not a part of a known restoration control ({', '.join(f.system for f in FORMATS)}); give "
                "the files of one of them"
            )
        for known, part in found:
            held.setdefault(known.system, {}).setdefault(part.name, []).append(file)
    # Systems share kinds of parts: the one of which most is there is meant.
    most = max(len(found) for found in held.values())
    likely = [known for known in FORMATS if len(held.get(known.system, {})) == most]
    chosen = next((known for known in likely if set(chain(*held[known.system].values())) == set(files)), None)
    if chosen is None:
        raise WeightFileError(
            f"the files belong to different systems: {', '.join(held)}; give the files of one restoration control"
        )
    parts = {name: _only(own, f"the {name} of {chosen.system}") for name, own in held[chosen.system].items()}
    lacking = [part for part in chosen.parts if part.name not in held[chosen.system]]
    return FoundControl(
        format=chosen,
        parts=parts,
        missing=tuple(part for part in lacking if not part.optional),
        absent=tuple(part for part in lacking if part.optional),
    )


def read_control(paths: Sequence[Path], *, heads: tuple[int, ...] | None = None) -> ControlSystem:
    """Read a system.

    Args:
        paths: See :func:`find_control`.
        heads: Attention heads at each level of its networks, which no file says; None is as published.

    Raises:
        WeightFileError: See :func:`find_control`; or a part is missing or does not fit. The message lists what.
    """
    found = find_control(paths)
    refusal = found.refusal()
    if refusal is not None:
        raise WeightFileError(refusal)
    tensors: dict[str, dict[str, Tensor]] = {}
    for part in found.format.parts:
        if part.name in found.parts:
            tensors[part.name] = read_wanted(found.parts[part.name], part.takes)
    return found.format.build(tensors, heads)


def _only(files: Sequence[Path], what: str) -> Path:
    different = list(dict.fromkeys(files))
    if len(different) > 1:
        raise WeightFileError(f"{different[0]} and {different[1]} both hold {what}; give one of them")
    return different[0]


def _files(path: Path) -> list[Path]:
    """Return a file, or the weight files of a folder that hold parts of systems."""
    if not path.is_dir():
        return [path]
    # Training leaves its own state, which may be of any size, beside the folders of the networks.
    below = sorted(each for each in path.rglob("*") if each.name in _NETWORKS and each.is_dir()) or [path]
    found = [file for each in below for file in sorted(each.rglob("*")) if file.is_file()]
    # Disks that were on a Mac hold a hidden twin of every file.
    found = [file for file in found if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")]
    if not found:
        raise WeightFileError(f"{path} holds no weight file ({', '.join(SUFFIXES)})")
    safe = {file.with_suffix("") for file in found if file.suffix.lower() == ".safetensors"}
    # Networks are published in both kinds of file.
    return [file for file in found if file.suffix.lower() == ".safetensors" or file.with_suffix("") not in safe]
