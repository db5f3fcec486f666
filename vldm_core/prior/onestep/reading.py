"""Reading published one-step restorers: which system a file is, what is wrong with it, and the system itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ...files.weights import WeightFileError, read_contents, some
from .dloral.system import DLORAL
from .format import Contents, OneStepFormat
from .hypir.system import HYPIR
from .osediff.system import OSEDIFF
from .pisasr.system import PISASR
from .s3diff.system import ESTIMATOR, S3DIFF
from .system import OneStepSystem

ONE_STEP_FORMATS: tuple[OneStepFormat, ...] = (OSEDIFF, PISASR, S3DIFF, HYPIR, DLORAL)
"""Every system that is known."""

_ALLOWED = {
    True: "commercial use is allowed",
    False: "not for commercial use",
    None: "nothing certain is published on commercial use",
}
_ESTIMATES = ("conv_first.0.weight", "fc_degree.1.2.bias")
"""Keys by which S3Diff's second file is told."""


def find_one_step(contents: Contents) -> OneStepFormat | None:
    """Tell which system the contents of a file are; None where they are none."""
    tables = {name: value for name, value in contents.items() if isinstance(value, Mapping)}
    for known in ONE_STEP_FORMATS:
        if set(known.tables) <= tables.keys() and bool(known.tables) == bool(tables):
            held = [tables[name] for name in known.tables] or [contents]
            if any(known.mark in str(key) for table in held for key in table):
                return known
    return None


def read_one_step(paths: Path | Sequence[Path]) -> OneStepSystem:
    """Read a system.

    Args:
        paths: Its published file, and for S3Diff the one of its estimator too, in any order.

    Raises:
        WeightFileError: A file is unreadable, no file is one of a known system, or a part is missing, left over, of
            another rank or of another shape. The message lists what.
    """
    given = [paths] if isinstance(paths, Path) else list(paths)
    found: list[tuple[Path, OneStepFormat, Contents]] = []
    estimators: list[tuple[Path, Contents]] = []
    for path in given:
        contents = read_contents(path, mapped=True)
        known = find_one_step(contents)
        if known is not None:
            found.append((path, known, contents))
        elif all(key in contents for key in _ESTIMATES):
            estimators.append((path, contents))
        else:
            raise WeightFileError(
                f"{path} is not a file of a one-step restorer ({', '.join(f.system for f in ONE_STEP_FORMATS)}); give "
                "the published file of one of them"
            )
    if len(found) != 1 or len(estimators) > 1:
        raise WeightFileError(_miscounted(found, estimators))
    path, known, held = found[0]
    if estimators and known is not S3DIFF:
        raise WeightFileError(f"{estimators[0][0]} belongs to S3Diff, and {path} is {known.system}; leave it out")
    _check_entries(path, known, held)
    whole = {**held, **({ESTIMATOR: estimators[0][1]} if estimators else {})}
    try:
        return known.build(whole)
    except WeightFileError as error:
        raise WeightFileError(f"{path}: {error}") from error


def report(known: OneStepFormat) -> str:
    """Return what a system is, in lines: base model, licence, text, dial, source."""
    lines = [
        f"system: {known.system}, one step at {known.step.timestep}",
        f"for: {known.base}",
        f"licence of the weights: {known.licence} ({_ALLOWED[known.commercial]})",
        f"prompt: {known.text}",
    ]
    if known.dial is not None:
        lines.append(f"invention: 0 is {known.dial[0]}, 1 {known.dial[1]}")
    return "\n".join([*lines, f"source: {known.source}"])


def _miscounted(
    found: Sequence[tuple[Path, OneStepFormat, Contents]], estimators: Sequence[tuple[Path, Contents]]
) -> str:
    if len(found) > 1:
        (one, first, _), (other, second, _) = found[:2]
        return f"{one} is {first.system} and {other} is {second.system}; give the file of one system"
    if len(estimators) > 1:
        return f"{estimators[0][0]} and {estimators[1][0]} are both S3Diff's estimator; give one of them"
    if estimators:
        return f"{estimators[0][0]} is S3Diff's estimator of the damage; give s3diff.pkl too"
    return "no file was given; give the file of a one-step restorer"


def _check_entries(path: Path, known: OneStepFormat, contents: Contents) -> None:
    """Refuse entries that nobody knows, and ranks that are not the published ones."""
    if not known.tables:
        return
    unknown = [name for name in contents if name not in known.tables and name not in known.notes]
    ranks = [
        f"{name} is {contents[name]!r} instead of {rank}"
        for name, rank in known.ranks.items()
        if name in contents and not _is(contents[name], rank)
    ]
    complaints = [f"unexpected: {some(unknown)}"] if unknown else []
    if ranks:
        complaints.append(f"of a rank whose scale is not known: {some(ranks)}")
    if complaints:
        raise WeightFileError(
            f"{path} looks like {known.system} and does not fit: {'; '.join(complaints)}; take the published file"
        )


def _is(value: Any, rank: int) -> bool:
    return value.numel() == 1 and int(value) == rank if isinstance(value, Tensor) else value == rank
