"""Rows of text as CSV that spreadsheets open, edit and save without taking a cell for a formula.

A cell that begins with = + - @, a tab or a line break is run as a formula by spreadsheets, so it is written with an
apostrophe in front, and read without it. Cells that begin with apostrophes before such a letter get one more: what was
written comes back exactly.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence

from ...errors import SettingsError

_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
_ESCAPED = re.compile(r"'+[=+\-@\t\r\n]")
_SEPARATOR_LINE = re.compile(r"\ufeff?\s*\"?sep=(?P<separator>[^\r\n\"])\"?[,;\t]*(?:\r\n|\r|\n|$)", re.IGNORECASE)
_SEPARATORS = ",;\t"


def write_rows(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as CSV, every cell in quotes."""
    sheet = io.StringIO()
    writer = csv.writer(sheet, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for row in rows:
        writer.writerow([f"'{cell}" if _FORMULA.match(cell) else cell for cell in row])
    return sheet.getvalue()


def read_rows(text: str, what: str) -> list[list[str]]:
    """Read CSV as spreadsheets write it, separated by commas, semicolons or tabs, or as a line `sep=…` says.

    Args:
        text: With or without a byte order mark.
        what: Name of the table, for the error.

    Returns:
        The rows, without those that are empty.

    Raises:
        SettingsError: The text is no CSV.
    """
    text, separator = without_separator_line(text)
    separator = separator or max(_SEPARATORS, key=text.partition("\n")[0].count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except (csv.Error, TypeError, ValueError) as error:
        raise SettingsError(f"{what} is not CSV: {error}; check the quotes and the separator") from error
    # Spreadsheets end a sheet with empty rows.
    return [[cell[1:] if _ESCAPED.match(cell) else cell for cell in row] for row in rows if any(row)]


def without_separator_line(text: str) -> tuple[str, str | None]:
    """Return CSV text without its byte order mark and its first line `sep=…`, and the separator that line names."""
    text = text.removeprefix("\ufeff")
    line = _SEPARATOR_LINE.match(text)
    return (text, None) if line is None else (text[line.end() :], line["separator"])
