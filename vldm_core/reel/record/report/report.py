"""The report on a restoration: one HTML file that needs nothing beside it and opens without a network."""

import base64
import heapq
import json
import os
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import FilmFileError
from ....files.temporary import written_whole
from ....video.stream import number_ranges
from ....wording import counted
from ..example import Example
from ..file import RecordReader
from ..fixes import Fix, fixes_of
from ..repairs import KINDS
from .page import CLOSING, OPENING

_LARGEST = 25
"""Fixes in the table of the largest."""
_MOST_PICTURES = 300
"""Shots that are shown with pictures, those with most repairs; all of a reel of thousands no browser would open."""
_MOST_BOXES = 400
"""Boxes that are drawn over a picture at most, the largest."""

_SAID = {
    "dirt": "dirt",
    "scratch": "scratches",
    "standing": "hairs in the gate, dirt on the lens",
    "seam": "seams of splices",
    "named": "boxes that a person named",
}

_Box = tuple[int, int, int, int, int, str]
"""Changed pixels of a repair, x, y, width and height of its box, and its kind."""


def write_report(
    record: str | os.PathLike[str], destination: str | os.PathLike[str], *, overwrite: bool = False
) -> None:
    """Write the report of a record.

    Args:
        record: The record.
        destination: The HTML file.
        overwrite: Whether it may replace another.

    Raises:
        FilmFileError: The record is damaged, or the report cannot be written.
    """
    path = Path(destination)
    if path.exists() and not overwrite:
        raise FilmFileError(f"{path} exists already; choose another name, or ask for --overwrite")
    try:
        with RecordReader(record) as reader, written_whole(path) as part, part.open("w", encoding="utf-8") as file:
            for text in _page(reader):
                file.write(text)
    except OSError as error:
        raise FilmFileError(f"writing the report {path} failed: {error.strerror or error}") from error


def _page(reader: RecordReader) -> Iterator[str]:
    about = reader.about
    name = Path(about["result"]["files"][0]["name"]).name
    yield OPENING.replace("TITLE", escape(f"Restoration of {name}"))
    yield f"<h1>Restoration of {escape(name)}</h1>"
    yield _film(about)
    yield "<h2>Damage found and repaired</h2>"
    yield _figures(about["figures"])
    yield from _doubts(about)
    yield f"<h2>{counted(len(reader.shots), 'shot').capitalize()}</h2>"
    yield from _shots(reader)
    largest = heapq.nlargest(_LARGEST, fixes_of(reader), key=lambda fix: fix.changed)
    if largest:
        yield "<h2>The largest repairs</h2>"
        yield _fixes(fix for fix in largest if fix.changed)
    yield "<h2>Settings</h2>"
    yield _settings(about)
    yield CLOSING


def _film(about: dict[str, Any]) -> str:
    source, result = about["source"], about["result"]
    rows = [
        ("Source", _files(source)),
        ("Result", _files(result)),
        (
            "Frames",
            f"{about['frames']:,}, {result['width']} × {result['height']}, {escape(result['frame_rate'])} a second",
        ),
        ("Samples", f"{_form(source)} → {_form(result)}{', without loss' if result['lossless'] else ''}"),
        ("Stages", escape(", ".join(about["stages"]))),
        ("Made", f"{escape(about['made'])} by {escape(about['program'])}"),
    ]
    if about["maps"]:
        given = (
            f"{each['name']} ({each['kind']}{', nothing else looked for' if each['alone'] else ''})"
            for each in about["maps"]
        )
        rows.append(("Damage given", escape("; ".join(given))))
    if about["protect"]:
        rows.append(("Protected", escape(about["protect"])))
    if about["fixes"]:
        rows.append(("Boxes named", escape(", ".join(about["fixes"]))))
    for undone in about.get("undone", ()):
        rows.append(("Taken back", f"{counted(undone['fixes'], 'repair')} in {counted(undone['frames'], 'frame')}"))
    rows.append(("Reversible", _reversible(about)))
    return _table((), ((f"<th>{label}</th>", f"<td>{value}</td>") for label, value in rows))


def _reversible(about: dict[str, Any]) -> str:
    kept = [row for row in about["shots"] if row.get("originals")]
    if kept:
        return (
            f"Beside the repairs, {escape(', '.join(about['whole_picture']))} changed the whole picture. Of "
            f"{counted(len(kept), 'shot')} the record holds the whole frames as they came, and gives them back, bit "
            "for bit; single repairs in them would stand out."
        )
    if about["moved"]:
        return "The picture was steadied, so the original samples in the record lie elsewhere than in the result."
    if about["whole_picture"]:
        return (
            f"Beside the repairs, {escape(', '.join(about['whole_picture']))} changed the whole picture. The record "
            "holds the original samples of all repairs; in the result they would stand out."
        )
    return "Only what is marked was changed; every repair can be taken back, bit for bit, with the record."


def _files(film: dict[str, Any]) -> str:
    lines = []
    for each in film["files"]:
        pictures = f", {each['pictures']} pictures" if "pictures" in each else ""
        lines.append(f"{escape(each['name'])}{pictures}<br><code>SHA-256 {escape(each['sha256'])}</code>")
    return "<br>".join(lines)


def _form(film: dict[str, Any]) -> str:
    return escape(f"{film['codec']} {film['pix_fmt']}")


def _figures(figures: dict[str, Any]) -> str:
    rows = []
    for kind in KINDS:
        own = figures[kind]
        values = (own["fixes"], own["repairs"], own["left_alone"], own["changed_pixels"])
        numbers = "".join(f"<td class=n>{value:,}</td>" for value in values)
        rows.append((f"<th>{_swatch(kind)}{_SAID[kind]}</th>", numbers, f"<td class=n>{own['share']:.3%}</td>"))
    heads = (
        "",
        "repairs",
        "marks repaired, frame by frame",
        "marks left alone",
        "pixels changed",
        "share of all pixels",
    )
    return _table(heads, rows)


def _doubts(about: dict[str, Any]) -> Iterator[str]:
    told = {_line(each) for each in about["notices"]}
    # What the stages had to say is summed up among the warnings too.
    plain = [text for text in about["warnings"] if not any(each["text"] in text for each in about["notices"])]
    if plain:
        yield "<h2>Warnings</h2><ul>" + "".join(f"<li>{escape(text)}</li>" for text in plain) + "</ul>"
    if told:
        yield "<h2>Doubts, and what was left alone</h2><ul>"
        yield from (f"<li>{_line(each)}</li>" for each in about["notices"])
        yield "</ul>"


def _line(notice: dict[str, Any]) -> str:
    frames = notice["frames"]
    where = f" <span class=where>frame{'s' if len(frames) > 1 else ''} {number_ranges(frames)}</span>" if frames else ""
    return f"<b>{escape(notice['stage'])}</b>: {escape(notice['text'])}{where}"


def _fixes(fixes: Iterable[Fix]) -> str:
    heads = ("fix", "kind", "shot", "frames", "box (x, y, width × height)", "pixels", "sure")
    return _table(heads, (_fix(fix) for fix in fixes))


def _fix(fix: Fix) -> tuple[str, ...]:
    frames = str(fix.first) if fix.first == fix.last else f"{fix.first}–{fix.last}"
    return (
        f"<td class=n>{fix.number}</td><td>{_swatch(fix.kind)}{fix.kind}</td>",
        f"<td class=n><a href='#shot{fix.shot}'>{fix.shot}</a></td><td class=n>{frames}</td>",
        f"<td class=n>{fix.x}, {fix.y}, {fix.width} × {fix.height}</td><td class=n>{fix.changed:,}</td>",
        f"<td class=n>{'' if fix.confidence is None else f'{fix.confidence} %'}</td>",
    )


def _shots(reader: RecordReader) -> Iterator[str]:
    rows = reader.about["shots"]
    changed = {row["shot"]: sum(row[kind]["changed_pixels"] for kind in KINDS) for row in rows}
    pictured = set(heapq.nlargest(_MOST_PICTURES, changed, key=lambda shot: (changed[shot], -shot)))
    boxes = _boxes(reader, {row["example"]["frame"] for row in rows if row["example"]})
    if len(pictured) < len(rows):
        yield f"<p>Pictures are shown of the {_MOST_PICTURES} shots with most repairs; the record has the others.</p>"
    for row in rows:
        frames = row["last"] - row["first"] + 1
        counts = (f"{_swatch(kind)}{kind} {row[kind]['fixes']:,}" for kind in KINDS if row[kind]["fixes"])
        yield (
            f"<section id='shot{row['shot']}'><h3>Shot {row['shot']}"
            f"<small>frames {row['first']}–{row['last']}, {counted(frames, 'frame')}</small></h3>"
            f"<p>{', '.join(counts) or 'nothing repaired'}"
            f"; {changed[row['shot']] / max(1, frames * _pixels(reader)):.3%} of the pixels changed</p>"
        )
        example = reader.example(row["shot"]) if row["shot"] in pictured else None
        if example is not None:
            yield _pictures(example, boxes.get(example.frame, []), reader.about["source"])
        yield "</section>"


def _pixels(reader: RecordReader) -> int:
    return int(reader.about["source"]["width"] * reader.about["source"]["height"])


def _boxes(reader: RecordReader, frames: set[int]) -> dict[int, list[_Box]]:
    """The largest repairs of some frames."""
    found: dict[int, list[_Box]] = {}
    for part in reader.parts():
        for place in np.flatnonzero(np.isin(part.frame, list(frames)) & (part.changed > 0)):
            columns = (part.changed, part.x, part.y, part.width, part.height)
            changed, x, y, width, height = (int(column[place]) for column in columns)
            own = found.setdefault(int(part.frame[place]), [])
            own.append((changed, x, y, width, height, KINDS[part.kind[place]]))
    return {frame: heapq.nlargest(_MOST_BOXES, boxes) for frame, boxes in found.items()}


def _pictures(example: Example, boxes: list[_Box], film: dict[str, Any]) -> str:
    drawn = "".join(
        f"<rect class={kind} x={x - 2} y={y - 2} width={width + 4} height={height + 4} />"
        for _, x, y, width, height, kind in boxes
    )
    view = f"0 0 {film['width']} {film['height']}"
    before, after = (
        f"<img alt='frame {example.frame} {when}' src='data:image/jpeg;base64,{base64.b64encode(picture).decode()}'>"
        for when, picture in (("before", example.before), ("after", example.after))
    )
    outlined = f"<svg viewBox='{view}' preserveAspectRatio=none>{drawn}</svg>"
    return (
        f"<div class=pair><figure><div class=marked>{before}{outlined}</div>"
        f"<figcaption>frame {example.frame} before, with what was repaired</figcaption></figure>"
        f"<figure>{after}<figcaption>frame {example.frame} after</figcaption></figure></div>"
    )


def _settings(about: dict[str, Any]) -> str:
    rows = []
    prior = {f"prior: {name}": value for name, value in about.get("prior", {}).items()}
    for name, value in {**about["settings"], **prior}.items():
        if name == "format":
            continue
        shown = (
            ", ".join(f"{key} {_shown(each)}" for key, each in value.items())
            if isinstance(value, dict)
            else _shown(value)
        )
        rows.append((f"<th>{escape(name)}</th>", f"<td>{escape(shown)}</td>"))
    for row in (about["choices"] or {"shots": ()})["shots"]:
        said = {name: value for name, value in row.items() if name not in ("first", "last") and value}
        rows.append((f"<th>frames {row['first']}–{row['last']}</th>", f"<td>{escape(json.dumps(said))}</td>"))
    return _table((), rows)


def _shown(value: Any) -> str:
    if value is None:
        return "off"
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _swatch(kind: str) -> str:
    return f"<i class='swatch {kind}'></i>"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{text}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return (
        f"<div class=wide><table>{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>{body}</tbody></table></div>"
    )
