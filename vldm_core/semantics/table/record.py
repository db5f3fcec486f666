"""The record of a shot's words that models wrote: a sum for each, and the template of the prompt."""

import re
from collections.abc import Mapping

from ...errors import SettingsError

WORDS = ("caption", "tags", "prompt", "negative")
"""What a model may have written."""
TEMPLATE = "template"

_ENTRY = re.compile(rf"(?P<name>{'|'.join(WORDS)}):(?P<sum>[0-9a-f]{{8}})")


def read_record(text: str) -> tuple[Mapping[str, str], str | None]:
    """Return the sums by the name of the word, and the name of the template.

    Raises:
        SettingsError: It is not such a record.
    """
    entries, _, template = text.partition(f"{TEMPLATE}:")
    found: dict[str, str] = {}
    for entry in entries.split():
        match = _ENTRY.fullmatch(entry)
        if match is None or match["name"] in found:
            raise SettingsError(f"automatic is {text!r}; leave it as it was written, or empty it")
        found[match["name"]] = match["sum"]
    return found, template.strip() or None
