"""Prompts of a shot: what is seen, in the form that a restoration prior was made for.

The templates are the texts that the published systems use by default. What is seen comes first, as all of them have it;
words for damage are taken out of it and put into the negative prompt instead, but for those that a system turns into
their opposite.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ...errors import SettingsError
from ...files.text import is_blank
from ...prior.controls.defaults import DEFAULTS, PublishedDefaults
from .damage_words import clean_damage_words

_WORD = re.compile(r"\w+")
# Said by every second caption, so they do not make two alike.
_COMMON = frozenset(("a", "an", "the", "of", "in", "on", "at", "with", "and", "is", "are", "to", "by", "for", "from"))
_ALIKE = 0.6


@dataclass(frozen=True, kw_only=True)
class PromptTemplate:
    """What a system says beside what is seen.

    Attributes:
        prefers: Whether captions or tags tell what is seen; where there is none of these, the others do.
        added: Text after what is seen.
        negative: Negative prompt.
        replaced: (word, other word) of captions: the other stands in its place before words for damage are taken out.
    """

    prefers: Literal["caption", "tags"] = "caption"
    added: str = ""
    negative: str = ""
    replaced: tuple[tuple[str, str], ...] = ()

    def caption(self, said: str) -> str:
        """Return a caption with its words replaced."""
        for word, other in self.replaced:
            said = re.sub(rf"\b{word}\b", other, said, flags=re.IGNORECASE)
        return said


def _published(defaults: PublishedDefaults, prefers: Literal["caption", "tags"] = "caption") -> PromptTemplate:
    return PromptTemplate(
        prefers=prefers,
        added=defaults.prompt_added,
        negative=defaults.negative,
        replaced=defaults.prompt_replaced,
    )


TEMPLATES = MappingProxyType(
    {
        "plain": PromptTemplate(),
        "DiffBIR v2": _published(DEFAULTS["DiffBIR"][1]),
        "DiffBIR v2.1": _published(DEFAULTS["DiffBIR"][0]),
        "PASD": _published(DEFAULTS["PASD"][0]),
        "SeeSR": _published(DEFAULTS["SeeSR"][0], prefers="tags"),
    }
)
"""Templates by name. "plain" adds nothing; the others are the defaults of DiffBIR, PASD and SeeSR."""


@dataclass(frozen=True, kw_only=True)
class ShotPrompt:
    """What the prior is told about a shot.

    Attributes:
        prompt: What it is to show.
        negative: What it is not to show.
    """

    prompt: str
    negative: str


def find_template(name: str) -> PromptTemplate:
    """Return a template by its name.

    Raises:
        SettingsError: There is none of that name.
    """
    if name not in TEMPLATES:
        raise SettingsError(f"there is no prompt template {name!r}; choose one of {', '.join(TEMPLATES)}")
    return TEMPLATES[name]


def shot_prompt(
    caption: str = "",
    tags: Sequence[str] = (),
    template: PromptTemplate | None = None,
    *,
    damage_in_negative: bool = True,
) -> ShotPrompt:
    """Write the prompts of a shot.

    Args:
        caption: What a captioner said.
        tags: Words for what is seen.
        template: What is said beside that; None is "plain".
        damage_in_negative: Put the words for damage, which are taken out of the caption and tags, into the negative
            prompt.
    """
    template = template or PromptTemplate()
    said, listed = clean_damage_words(template.caption(caption)), clean_damage_words(", ".join(tags))
    first, second = (listed, said) if template.prefers == "tags" else (said, listed)
    seen = "" if is_blank(first.text) else first.text
    seen = seen or ("" if is_blank(second.text) else second.text)
    removed = (*said.removed, *listed.removed) if damage_in_negative else ()
    return ShotPrompt(prompt=_joined(seen, template.added), negative=_listed(template.negative, removed))


def merge_captions(captions: Sequence[str], *, most_words: int = 50) -> str:
    """Make one caption of those of a shot's key frames, in their order.

    A caption that says mostly what an earlier one says is left out. CLIP reads some 75 words; the rest would be lost.

    Args:
        captions: One for each key frame; empty ones do not matter.
        most_words: No caption is added that makes the whole longer; the first one always stays.
    """
    kept: list[str] = []
    count = 0
    for caption in captions:
        # A captioner may end within a letter; a table would be refused for what is left of it.
        text = " ".join(caption.replace("\ufffd", " ").split()).rstrip(".,; ")
        words = len(text.split())
        if not text or (kept and count + words > most_words) or any(_alike(text, other) for other in kept):
            continue
        kept.append(text)
        count += words
    return ", ".join(kept)


def _alike(text: str, other: str) -> bool:
    mine, theirs = _words(text), _words(other)
    # What an earlier caption says already; two of common words only are alike when they are the same.
    return mine == theirs or (bool(mine) and len(mine & theirs) / len(mine) >= _ALIKE)


def _words(text: str) -> frozenset[str]:
    return frozenset(word for word in _WORD.findall(text.lower()) if word not in _COMMON)


def _joined(seen: str, added: str) -> str:
    return ", ".join(part for part in (seen.rstrip(".,; ") if added else seen, added) if part)


def _listed(negative: str, removed: Sequence[str]) -> str:
    """Add words to a list that has not got them yet."""
    present = {entry.strip().lower() for entry in re.split(r"[,.]", negative)}
    more = [word for word in dict.fromkeys(removed) if word not in present]
    return _joined(negative, ", ".join(more)) if more else negative
