"""Results pages as Markdown, each with the command that makes it."""

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from .table import ReportTable, markdown_table


def command_line(benchmark: str, options: Mapping[str, object], defaults: Mapping[str, object] | None = None) -> str:
    """Write the command that makes a page.

    Args:
        benchmark: Name of the benchmark.
        options: Name of an option → its value: True is a switch; a list is given several times; None, False, and what
            is the default is left out.
        defaults: Name of an option → its default.
    """
    parts = ["python -m benchmarks", benchmark]
    for name, value in options.items():
        if value is None or value is False or (defaults is not None and name in defaults and value == defaults[name]):
            continue
        given = value if isinstance(value, list) else [value]
        parts += [f"--{name}" if each is True else f"--{name} {shlex.quote(str(each))}" for each in given]
    return " ".join(parts)


def relative(target: Path, page: Path) -> str:
    """Write the way from a page to a file beside or below it, else the whole path."""
    folder = page.resolve().parent
    shown = target.resolve()
    return shown.relative_to(folder).as_posix() if shown.is_relative_to(folder) else shown.as_posix()


def picture(title: str, target: Path, page: Path) -> str:
    """Show a picture on a page."""
    return f"![{title}]({relative(target, page)})\n"


def sections(
    tables: Iterable[ReportTable],
    *,
    above: Mapping[str, Iterable[str]] | None = None,
    below: Mapping[str, Iterable[str]] | None = None,
) -> list[str]:
    """Write tables under the headings of their sections.

    Args:
        tables: Those of one section follow each other.
        above: Name of a section → paragraphs before its first table.
        below: Name of a section → paragraphs after its last table.
    """
    parts: list[str] = []
    current: str | None = None

    def end() -> None:
        if current is not None:
            parts.extend(f"{sentence.rstrip()}\n" for sentence in (below or {}).get(current, ()))

    for table in tables:
        if table.section != current:
            end()
            current = table.section
            parts.append(f"## {current}\n")
            parts.extend((above or {}).get(current, ()))
        parts.append(markdown_table(table))
    end()
    return parts


def write_markdown(path: Path, parts: Iterable[str]) -> None:
    """Write the paragraphs and tables of a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts), encoding="utf-8")
