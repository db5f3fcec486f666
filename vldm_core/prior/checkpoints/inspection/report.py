"""What was found out about a checkpoint, as text to read and as data."""

from typing import Any

from .identify import UNKNOWN, FoundPart, Identity

# Names of tensors that are shown before the rest is only counted.
_SHOWN = 6
_PREDICTIONS = {"eps": "the noise (ε)", "v": "v"}


def as_data(identity: Identity) -> dict[str, Any]:
    """Return everything that was found, with full lists, for JSON."""
    return {
        "what": identity.name,
        "kind": identity.kind,
        "family": identity.family,
        "prediction": identity.prediction,
        "complete": identity.complete,
        "tensors": identity.tensors,
        "needs": list(identity.needs),
        "licence": identity.licence,
        "source": identity.source,
        "note": identity.note,
        "parts": [
            {
                "part": part.part,
                "name": part.name,
                "prefix": part.prefix,
                "tensors": part.tensors,
                "checked": part.checked,
                "missing": list(part.missing),
                "unexpected": list(part.unexpected),
                "other_shape": list(part.other_shape),
            }
            for part in identity.parts
        ],
        "unknown": list(identity.unknown),
    }


def as_lines(identity: Identity) -> list[str]:
    """Return what was found as lines of text; of long lists the first names and a count."""
    lines = [identity.name, f"  kind         {identity.kind}"]
    if identity.family is not None:
        lines.append(f"  base model   {identity.family}")
    if identity.prediction is not None:
        lines.append(f"  predicts     {_PREDICTIONS.get(identity.prediction, identity.prediction)}")
    if identity.licence is not None:
        lines.append(f"  licence      {identity.licence}")
    if identity.source is not None:
        lines.append(f"  from         {identity.source}")
    if identity.note is not None:
        lines.append(f"  note         {identity.note}")
    for number, need in enumerate(identity.needs):
        lines.append(f"  {'needs' if number == 0 else '     '}        {need}")
    lines.append(f"  tensors      {identity.tensors}")
    for part in identity.parts:
        lines += _part(part)
    if identity.unknown and identity.kind != UNKNOWN:
        lines += [f"    belongs to none of these: {_listed(identity.unknown)}"]
    return lines


def _part(part: FoundPart) -> list[str]:
    prefix = f" below {part.prefix}" if part.prefix else ""
    wrong = part.missing or part.unexpected or part.other_shape
    said = "does not fit" if wrong else "complete" if part.checked else "no list to compare with"
    lines = [f"    {part.name}{prefix}: {part.tensors}, {said}"]
    for label, keys in (
        ("missing", part.missing),
        ("unexpected", part.unexpected),
        ("of another shape", part.other_shape),
    ):
        if keys:
            lines.append(f"      {label}: {_listed(keys)}")
    return lines


def _listed(keys: tuple[str, ...]) -> str:
    shown = ", ".join(keys[:_SHOWN])
    return f"{len(keys)}: {shown}" + (f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else "")
