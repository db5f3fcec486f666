"""What of a shot's words models wrote, and what a person has changed since.

A table keeps, beside its words, a short record of those that were written automatically. Whoever edits the table need
not know of it: a word that differs from its record was changed by hand, one without a record was written by hand. So a
caption that was corrected changes the prompt that was made of it, and a prompt that was written by hand stays.
"""

import zlib
from dataclasses import replace

from ...files.text import is_blank
from ..prompts.prompts import PromptTemplate, ShotPrompt, find_template, shot_prompt
from .description import ShotDescription
from .record import TEMPLATE, WORDS, read_record
from .table import ShotTable

_BLANK = "00000000"


def marked(described: ShotDescription, *names: str, template: str | None = None) -> ShotDescription:
    """Record words as they are now as written automatically.

    Args:
        described: The shot.
        names: Of "caption", "tags", "prompt" and "negative"; the records of others stay.
        template: Name of the template that the prompt was made with; None keeps what is recorded.
    """
    sums, before = read_record(described.automatic)
    sums = {**sums, **{name: _sum(described, name) for name in names}}
    # What is blank needs no record: nothing was written.
    text = " ".join(f"{name}:{sums[name]}" for name in WORDS if sums.get(name, _BLANK) != _BLANK)
    template = before if template is None else template
    return replace(described, automatic=f"{text} {TEMPLATE}:{template}" if template and "prompt:" in text else text)


def by_hand(described: ShotDescription, name: str) -> bool:
    """Tell whether a word was written or changed by hand; blank ones say nothing."""
    return not is_blank(_text(described, name)) and read_record(described.automatic)[0].get(name) != _sum(
        described, name
    )


def made_prompts(described: ShotDescription, template: PromptTemplate) -> ShotPrompt:
    """Make the prompts of a shot from its caption and tags; a caption by hand comes before tags that are not."""
    if by_hand(described, "caption") and not by_hand(described, "tags"):
        template = replace(template, prefers="caption")
    return shot_prompt(described.caption, described.tags, template)


def refreshed(table: ShotTable) -> ShotTable:
    """Make prompts again that were made automatically of a caption or tags which have been changed since.

    Raises:
        SettingsError: A prompt was made with a template that is not known.
    """
    return replace(table, descriptions=tuple(map(refreshed_shot, table)))


def refreshed_shot(described: ShotDescription) -> ShotDescription:
    """Do for one shot what `refreshed` does for a table."""
    sums, template = read_record(described.automatic)
    stale = any(sums.get(name, _BLANK) != _sum(described, name) for name in ("caption", "tags"))
    if not stale or "prompt" not in sums or sums["prompt"] != _sum(described, "prompt"):
        return described
    made = made_prompts(described, find_template(template or "plain"))
    own_negative = sums.get("negative", _BLANK) != _sum(described, "negative")
    names = ("prompt",) if own_negative else ("prompt", "negative")
    new = replace(described, prompt=made.prompt, negative=described.negative if own_negative else made.negative)
    return marked(new, *names)


def with_records(table: ShotTable, known: ShotTable) -> ShotTable:
    """Give shots that have lost their record, as tables with columns left out do, that of a table of the same shots."""
    return replace(
        table,
        descriptions=tuple(
            described if described.automatic else replace(described, automatic=other.automatic)
            for described, other in zip(table, known, strict=True)
        ),
    )


def _text(described: ShotDescription, name: str) -> str:
    value = getattr(described, name)
    # Spreadsheets and editors change line breaks and outer blanks.
    return " ".join((value if isinstance(value, str) else ", ".join(value)).split())


def _sum(described: ShotDescription, name: str) -> str:
    return f"{zlib.crc32(_text(described, name).encode()):08x}"
