"""Taking words for damage out of captions and prompts, so that what is left is still a sentence.

A captioner that sees an old film says so: "a blurry black and white photo of a man". Given to a prior, that asks for a
blurry photo. What the picture shows stays, here "a man"; the words are handed out, to be put into the negative prompt.
Words that also name things in the picture ("old", "dusty", "torn") are taken out only where they are said of a picture,
and looks that things have by nature ("a black and white cow") stay. Texts of other languages are left alone.
"""

import re
from dataclasses import dataclass

from .word_guard import guarded, is_english

# Said of a picture wherever they stand.
_ALWAYS = (
    r"black[\s-]+(?:and|&|n|'n')[\s-]+white",
    r"b\s?&\s?w",
    r"monochrom(?:e|atic)",
    r"gr[ae]y[\s-]?scale",
    r"sepia(?:[\s-](?:toned|tinted|tone|colou?red))?",
    r"(?:blurry|blurred|unsharp|unfocused|pixelated|pixelised|overexposed|underexposed|grainy|lowres|vintage)",
    r"out[\s-]of[\s-]focus",
    r"(?:low|poor|bad|worst)[\s-](?:quality|resolution|res|definition)",
    r"scratch(?:ed|y)",
    r"(?:washed[\s-]out|discolou?red|over-smoothed)",
    r"flickering",
)
# Said of a picture only before a word for a picture.
_OF_PICTURES = (
    r"(?:old|older|old[\s-]fashioned|aged|ancient|antique|early|historic|historical|retro|archival|archive)",
    r"(?:faded|fading|dusty|dirty|damaged|worn|torn|stained|cracked|creased|noisy|yellowed|degraded|distorted)",
)
_DAMAGE = (
    r"(?:visible |heavy |vertical |white |deep )?scratch(?:es| marks)",
    r"(?:some |heavy )?film (?:grain|damage|scratches)",
    r"dust (?:specks|spots|and scratches)",
    r"(?:water|film) (?:damage|stains)",
    r"(?:motion )?blur",
    r"(?:jpeg|compression) artifacts",
    r"light leaks",
    r"(?:film |image )noise",
    r"a (?:sepia|vintage|retro|faded|grainy|blurry|monochrome) (?:tone|look|feel|style|filter|effect|quality)",
)
_PICTURE = (
    r"(?:film|movie|tv|television|video)?\s?(?:photographs?|photos?|pictures?|pics?|images?|snapshots?|stills?|frames?|"
    r"screenshots?|shots?|scans?|prints?|clips?|footage|videos?|movies?|films?|scenes?)"
)
_ALWAYS_ANY, _PICTURES_ANY, _DAMAGE_ANY = ("(?:" + "|".join(group) + ")" for group in (_ALWAYS, _OF_PICTURES, _DAMAGE))
_ANY = f"(?:{_ALWAYS_ANY}|{_PICTURES_ANY})"
# Words in a row that are taken together; what is left over goes in the next round.
_MOST = 6
_DEGREE = r"(?:(?:very|quite|slightly|rather|a bit|a little|somewhat|extremely|heavily|badly|so) )?"
_AND = r"(?:\s*,\s*(?:and\s+)?|\s+and\s+|\s+)"
_WORDS_ALWAYS = f"{_DEGREE}{_ALWAYS_ANY}(?:{_AND}{_DEGREE}{_ALWAYS_ANY}){{0,{_MOST}}}"
_WORDS = f"{_DEGREE}{_ANY}(?:{_AND}{_DEGREE}{_ANY}){{0,{_MOST}}}"
_ONE = r"(?:a|an|the|this|one|some)"
_IS = r"(?:is|are|was|were|looks?|appears?(?: to be)?|seems?(?: to be)?)"
_END = r"(?=\s*(?:[.,;:!?)]|$))"
_SHOWS = r"(?:of|showing|shows|depicting|depicts|captures|features|(?:that|which)\s+(?:shows|depicts))"


def _rule(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-])(?:{pattern})", re.IGNORECASE)


# "This is an old photo of", "a photo showing", at the start of a sentence: says nothing of what is seen.
_CARRIER = re.compile(
    rf"^\s*(?:(?:this|it|here|there)(?:'s|\s+is|\s+was)\s+)?(?:{_ONE}\s+)?(?:{_WORDS}{_AND})?(?:close[\s-]?up\s+)?"
    rf"{_PICTURE}(?:\s+taken)?(?:\s+from\s+an?\s+(?:(?:old|silent|early)\s+)?(?:film|movie))?\s+{_SHOWS}\s+",
    re.IGNORECASE,
)
# "The picture is blurry and old and shows".
_SAID_OF_PICTURE = re.compile(
    rf"^\s*(?:(?:the|this)\s+(?:{_WORDS}{_AND})?{_PICTURE}(?:\s+quality)?\s+{_IS}\s+(?:(?:in|of)\s+)?{_WORDS}"
    rf"|it\s+{_IS}\s+(?:in\s+)?{_WORDS_ALWAYS})"
    rf"(?:(?:\s*,)?\s+and\s+(?:it\s+)?{_SHOWS}\s+|{_END})",
    re.IGNORECASE,
)
# "… and the background is blurry", "… that is out of focus".
_CLAUSE = re.compile(
    rf"(?:^|\s*,)?\s*(?:(?:and|but|while|with|as|where)\s+)?(?<!\w)(?:(?:the|his|her|their|its)\s+\w+(?:\s+\w+)?|that|which)"
    rf"\s+{_IS}\s+{_WORDS_ALWAYS}(?:{_AND}{_ANY}){{0,{_MOST}}}(?:{_END}|\s+and\s+)",
    re.IGNORECASE,
)
# "…, in black and white", "… in an old photo".
_IN_TONES = re.compile(
    rf"\s*,?\s*(?:\b(?:shown|shot|taken|filmed|captured|photographed|rendered)\s+)?\bin\s+(?:{_ONE}\s+)?"
    rf"(?:{_WORDS_ALWAYS}(?:\s+(?:tones?|style|colou?rs?|film|{_PICTURE}))?|{_WORDS}\s+{_PICTURE}){_END}",
    re.IGNORECASE,
)
_WITH_DAMAGE = re.compile(
    rf"\s*,?\s*\b(?:with|and|full of|covered (?:in|with|by)|showing)\s+(?:(?:a lot of|lots of|many|some|much)\s+)?"
    rf"{_DAMAGE_ANY}(?:{_AND}{_DAMAGE_ANY}){{0,{_MOST}}}(?:\s+(?:on|in|across|over)\s+(?:it|them|the\s+{_PICTURE}))?{_END}",
    re.IGNORECASE,
)
# A whole entry of a list.
_ENTRY = re.compile(
    rf"(?:^|(?<=[,;(]))\s*(?:and\s+)?(?:{_ONE}\s+)?(?:{_WORDS}\s+{_PICTURE}|{_WORDS_ALWAYS}|{_DAMAGE_ANY}){_END}",
    re.IGNORECASE,
)
# "a grainy and blurry street"; before lists are looked at, whose entries "a grainy, blurry street" looks like.
_BEFORE_NOUN = _rule(rf"(?P<article>an?\s+){_WORDS_ALWAYS}\s+(?!and\b)(?=\w)")
_BEFORE_PICTURE = _rule(rf"(?P<article>an?\s+)?{_WORDS}{_AND}(?={_PICTURE}\b)")
# "a busy and blurry street": the "and" goes too.
_AFTER_ADJECTIVE = _rule(
    r"(?P<kept>\w+(?:ed|ing|ful|ous|ive)|dark|old|big|small|large|long|wet|empty|quiet|bright|busy|dusty|dirty|cloudy|"
    rf"rainy|snowy|foggy|hazy|misty|sunny|shaky)(?:\s+and|\s*,)\s+{_WORDS_ALWAYS}(?=\s+\w)"
)
_ELSEWHERE = _rule(rf"(?P<article>an?\s+)?{_WORDS_ALWAYS}(?![\w-])(?:\s+and\b|\s*,(?=\s*(?:and\s+)?\w))?\s*")
_RULES = (
    _SAID_OF_PICTURE,
    _CARRIER,
    _CLAUSE,
    _IN_TONES,
    _WITH_DAMAGE,
    _BEFORE_NOUN,
    _ENTRY,
    _BEFORE_PICTURE,
    _AFTER_ADJECTIVE,
    _ELSEWHERE,
)
_NAMES = re.compile(
    rf"(?<![\w-])(?:(?P<always>{_ALWAYS_ANY})|(?P<picture>{_PICTURES_ANY})|(?P<damage>{_DAMAGE_ANY}))(?![\w-])",
    re.IGNORECASE,
)
_SENTENCES = re.compile(r"(?<=[.!?])\s+")
# Rules may uncover what others find; text only gets shorter, so a few rounds are enough.
_ROUNDS = 8


@dataclass(frozen=True, kw_only=True)
class CleanedPrompt:
    """A text without its words for damage.

    Attributes:
        text: What is left; empty where nothing else was said.
        removed: The words, lower case, in the order in which they came, none twice; fit for a negative prompt.
    """

    text: str
    removed: tuple[str, ...]


def clean_damage_words(text: str) -> CleanedPrompt:
    """Take words for damage, and for the picture being a picture, out of a caption or prompt.

    "A blurry black and white photo of a man" becomes "a man". A text without such words stays exactly as it is, and so
    does one of another language than English.

    >>> clean_damage_words("an old, scratched photo of a street, black and white").text
    'a street'
    """
    if not is_english(text):
        return CleanedPrompt(text=text, removed=())
    removed: list[str] = []
    cleaned = guarded(text, lambda said: _cleaned_text(said, removed))
    return CleanedPrompt(text=cleaned, removed=tuple(dict.fromkeys(removed)))


def _cleaned_text(text: str, removed: list[str]) -> str:
    given, text = text, re.sub(r"\s+", " ", text).strip()
    start = text
    for _ in range(_ROUNDS):
        sentences = [_cleaned(sentence, removed) for sentence in _SENTENCES.split(text)]
        if all(sentence is None for sentence in sentences):
            break
        before = _SENTENCES.split(text)
        text = " ".join(
            part for old, new in zip(before, sentences, strict=True) if (part := old if new is None else new)
        )
    return given if text == start else text


def _cleaned(sentence: str, removed: list[str]) -> str | None:
    """Clean one sentence; None where there is nothing to clean."""
    cleaned = sentence
    for rule in _RULES:
        cleaned = rule.sub(lambda match: _without(match, removed), cleaned)
    if cleaned == sentence:
        return None
    cleaned = _tidied(cleaned)
    return cleaned[:1].upper() + cleaned[1:] if sentence.lstrip()[:1].isupper() else cleaned


def _without(match: re.Match[str], removed: list[str]) -> str:
    """Note the words for damage in a match; return what stands in its place."""
    for found in _NAMES.finditer(match[0]):
        word = re.sub(r"[\s-]+", " ", found[0].lower()).removeprefix("a ")
        removed.append(f"{word} photo" if found.lastgroup == "picture" else word)
    groups = match.groupdict()
    if kept := groups.get("kept"):
        return kept
    rest = match.string[match.end() :]
    if groups.get("article"):
        following = re.match(r"\w+", rest)
        return "" if following is None else f"{article_for(following[0])} "
    # Words on both sides are kept apart.
    return " " if rest[:1].isalnum() else ""


def _tidied(text: str) -> str:
    """Put blanks and punctuation in order after something was taken out."""
    text = re.sub(r"\(\s*(?::\s*[\d.]+)?\s*\)", "", text)
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"\s+([.,;:!?)])", r"\1", text)
    text = re.sub(r"\(\s+", "(", text)
    text = re.sub(r"[,;](?:\s*[,;])+", ",", text)
    text = re.sub(r"[,;:]+(?=[.!?)]|$)", "", text)
    text = re.sub(r"^(?:[\s,;:.!?]+|(?:and|with|but)\s+)+", "", text.strip())
    text = re.sub(r"(?:[\s,;:]+|\s+(?:and|with|but|in|of))+(?=[.!?]?$)", "", text)
    return text.strip()


_SOUNDS_LIKE_CONSONANT = re.compile(r"(?:u(?:ni(?!n)|s(?:e|ua)|ti)|eu|one|once)", re.IGNORECASE)
_SOUNDS_LIKE_VOWEL = re.compile(r"(?:[aeiou]|hour|honest|heir)", re.IGNORECASE)


def article_for(word: str) -> str:
    """Return "a" or "an", whichever goes before a word."""
    return "an" if _SOUNDS_LIKE_VOWEL.match(word) and not _SOUNDS_LIKE_CONSONANT.match(word) else "a"
