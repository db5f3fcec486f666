"""The prompts that a table's shots are given in the end: by hand, or from captions and tags with a template."""

import re

from ...files.text import is_blank
from ..table.automatic import made_prompts
from ..table.table import ShotTable
from .prompts import ShotPrompt, find_template


def written_prompts(
    table: ShotTable, template: str = "plain", *, before: str = "", after: str = "", negative: str = ""
) -> tuple[ShotPrompt, ...]:
    """Write the prompts of every shot.

    Args:
        table: A prompt or negative prompt that it has is taken as it is; where it is blank, it is made of the caption
            and the tags with the template. A caption that was written by hand comes before tags that were not.
        template: Name in :data:`.prompts.TEMPLATES`.
        before: Written before the prompt of every shot.
        after: Written after it.
        negative: Written after every negative prompt, without what stands there already.

    Returns:
        One for each shot, in order.

    Raises:
        SettingsError: There is no such template.
    """
    form = find_template(template)
    found = []
    for described in table:
        made = made_prompts(described, form)
        shown = _listed(before, made.prompt if is_blank(described.prompt) else described.prompt, after)
        hidden = made.negative if is_blank(described.negative) else described.negative
        found.append(ShotPrompt(prompt=shown, negative=_listed(hidden, _missing(negative, hidden))))
    return tuple(found)


def _listed(*parts: str) -> str:
    return ", ".join(text for text in (" ".join(part.split()).strip(" ,") for part in parts) if text)


def _missing(words: str, present: str) -> str:
    """Return what a list of words has and another has not."""
    # Brackets give weights to whole lists, which must not be taken apart.
    if "(" in words:
        return words
    there = set(_entries(present))
    return ", ".join(entry for entry in _entries(words) if entry not in there)


def _entries(text: str) -> list[str]:
    """Return the entries of a list of words, each once."""
    return list(dict.fromkeys(entry for entry in (part.strip() for part in re.split(r"[,\n]", text)) if entry))
