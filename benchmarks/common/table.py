"""Tables of strings: as plain text for the terminal, as Markdown for a page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table

_WIDTH = 200

NONE = "–"


@dataclass(frozen=True, kw_only=True)
class ReportTable:
    """A table of strings.

    Attributes:
        section: Heading under which it stands.
        title: Its own title; may be empty.
        headings: Names of the columns.
        rows: Cells, as many as there are headings.
        essential: Whether it belongs on the results page; the others are for a close look.
    """

    section: str
    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    essential: bool = True


def plain_tables(tables: Iterable[ReportTable], *, notes: Iterable[str] = ()) -> str:
    """Lay tables out as plain text, with sentences below them."""
    text = StringIO()
    console = Console(file=text, width=_WIDTH, no_color=True, highlight=False, soft_wrap=True)
    for made in tables:
        title = ": ".join(part for part in (made.section, made.title) if part)
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for number, heading in enumerate(made.headings):
            table.add_column(heading, no_wrap=True, justify="left" if number == 0 else "right")
        for row in made.rows:
            table.add_row(*row)
        console.print(table)
    for note in notes:
        console.print(note)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def markdown_table(table: ReportTable) -> str:
    """Write a table as Markdown, its title above it."""
    title = f"*{table.title[0].upper()}{table.title[1:]}*\n\n" if table.title else ""
    return title + markdown(table.headings, table.rows)


def markdown(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Write headings and rows as a Markdown table."""
    lines = [headings, ("---",) * len(headings), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def cell(value: float | None, form: str) -> str:
    """Write a number: "percent" of 1, or with as many digits as "whole", "one", "two" or "share" (three) says."""
    if value is None:
        return NONE
    if form == "percent":
        return f"{100 * value:.2f}"
    digits = {"whole": 0, "one": 1, "two": 2, "share": 3}[form]
    return f"{value:.{digits}f}"
