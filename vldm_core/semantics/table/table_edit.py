"""A table of shots that was edited by hand as text: a whole table, or only the prompts."""

import re
from dataclasses import replace

from ...errors import SettingsError
from ...files.text import check_letters, is_blank
from ...wording import counted
from .automatic import refreshed, with_records
from .spreadsheet import without_separator_line
from .table import ShotTable


def edited_table(text: str, table: ShotTable | None = None) -> ShotTable:
    """Read what a person wrote.

    Args:
        text: A table as JSON or CSV; or prompts, one line per shot, or one line for all shots. An empty line leaves
            the shot's prompt as it is. Prompts need a table.
        table: What was known before; a table that is written must be of the same shots.

    Returns:
        The table. Prompts that were made automatically of captions or tags which are edited are made again.

    Raises:
        SettingsError: The text makes no sense, or is of other shots than the table.
    """
    if text.lstrip("\ufeff \t\r\n").startswith("{"):
        found = ShotTable.from_json(text)
    elif _is_csv(text):
        found = ShotTable.from_csv(text)
    else:
        return _with_prompts(text, table)
    if table is not None:
        found.check(table.shots, table.frames)
        found = with_records(found, table)
    return refreshed(found)


def _is_csv(text: str) -> bool:
    rows, separator = without_separator_line(text.removeprefix("\ufeff").lstrip())
    apart = re.split(r"[,;\t]" if separator is None else re.escape(separator), rows.partition("\n")[0])
    return {"first", "last"} <= {cell.strip(" \t\r\"'").lower() for cell in apart}


def _with_prompts(text: str, table: ShotTable | None) -> ShotTable:
    if table is None:
        raise SettingsError(
            "the text is not a table (JSON, or CSV with first and last), so its lines are prompts of shots: connect "
            "the table that they are for"
        )
    lines = ["" if is_blank(line) else " ".join(line.split()) for line in text.removeprefix("\ufeff").split("\n")]
    check_letters(lines)
    while len(lines) > 1 and not lines[-1]:
        lines.pop()
    if len(lines) not in (1, len(table)):
        raise SettingsError(
            f"got {counted(len(lines), 'prompt')} for {counted(len(table), 'shot')}; write a line for each, or one"
        )
    prompts = lines * len(table) if len(lines) == 1 else lines
    return ShotTable(
        descriptions=tuple(
            replace(described, prompt=prompt or described.prompt)
            for described, prompt in zip(table, prompts, strict=True)
        )
    )
