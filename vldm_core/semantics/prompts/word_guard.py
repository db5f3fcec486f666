"""What looks like a word for damage and is none: looks that things have by nature, and texts of other languages.

The rules of :mod:`.damage_words` are English grammar. A cow is black and white in any film, a candle flickers in any
light; and to take "sepia" or "vintage" out of a sentence of another language leaves half a sentence.
"""

import re
import unicodedata
from collections.abc import Callable

_BLACK_AND_WHITE = r"(?:black[\s-]+(?:and|&|n|'n')[\s-]+white|b\s?&\s?w)"
# Things by the words that may be said of themselves, in the singular; and not of the picture that shows them.
_BY_NATURE = {
    _BLACK_AND_WHITE: (
        "cow|calf|bull|ox|cattle|dog|puppy|terrier|dalmatian|collie|cat|kitten|horse|pony|zebra|panda|penguin|badger|"
        "skunk|goat|sheep|lamb|pig|rabbit|bird|magpie|stork|duck|hen|chicken|rooster|goose|lemur|whale|orca|animal|"
        "dress|skirt|shirt|blouse|sweater|jersey|jacket|coat|suit|tuxedo|uniform|costume|habit|hat|cap|scarf|tie|"
        "shoe|sock|apron|fur|feather|stripe|striped|check|checked|checkered|chequered|spot|spotted|dot|dotted|patch|"
        "patched|pattern|patterned|marking|tile|tiled|floor|flag|chessboard|ball|football|soccer ball|piano key|"
        "police car|newspaper|keyboard"
    ),
    r"vintage": (
        "car|automobile|truck|lorry|bus|van|taxi|cab|tram|streetcar|train|locomotive|carriage|wagon|motorcycle|"
        "motorbike|bicycle|bike|airplane|aeroplane|plane|aircraft|biplane|boat|ship|tractor|vehicle|engine|machine|"
        "dress|clothing|clothes|suit|coat|hat|uniform|swimsuit|outfit|camera|radio|telephone|phone|typewriter|lamp|"
        "furniture|chair|sofa|clock|sign|poster|toy|guitar|piano|record|bottle|wine|store|shop"
    ),
    r"flickering": "candle|candlelight|flame|fire|campfire|light|lamp|lantern|torch|bulb|neon|neon sign|screen|shadow",
    r"scratch(?:ed|y)": (
        "door|wall|table|desk|floor|record|car|paint|glass|window|mirror|metal|wood|surface|helmet|face|arm|leg|knee|"
        "hand|beard|blanket|coat|sweater|voice"
    ),
    r"(?:washed[\s-]out|discolou?red)": "road|bridge|track|path|wall|cloth|jeans|tooth|teeth|water|leaf|leaves|skin",
}
_PICTURES = "photo|photograph|picture|image|still|film|movie|footage|video|clip|shot|scene|snapshot|frame|print|scan"
_SMALL_WORDS = "a|an|the|of|in|on|at|with|and|or|is|are|was|were|by|for|from|to|as|that|which|showing|shows|depicting"
# Words between a look and its thing: "a black and white spotted dairy cow".
_BETWEEN = rf"(?:(?!(?:{_PICTURES}|{_SMALL_WORDS})s?\b)[\w'-]+\s+){{0,2}}"
_IS = r"(?:is|are|was|were|looks?|seems?)"
_NATURES = tuple(
    re.compile(
        rf"(?<![\w-])(?P<look>{look})(?=\s+{_BETWEEN}(?:{things})(?:e?s)?(?![\w-]))"
        rf"|(?<![\w-])(?:{things})(?:e?s)?\s+(?:(?:that|which)\s+)?{_IS}\s+(?P<said>{look})(?![\w-])",
        re.IGNORECASE,
    )
    for look, things in _BY_NATURE.items()
)
# Stands for a look while the rules are at work; no word of any language.
_KEPT = re.compile(r"kept(?P<number>\d+)xqz", re.IGNORECASE)

_ENGLISH = frozenset(
    ["a", "an", "the", "of", "in", "on", "at", "with", "and", "is", "are", "was", "to", "by", "for", "from", "this"]
    + ["that", "there", "it", "its", "his", "her", "their", "who", "which", "black", "white", "old", "photo"]
)
# One of these is enough; of those that names of places have too, and of letters, there must be two.
_FOREIGN = frozenset(
    ["ein", "eine", "einer", "einem", "einen", "eines", "und", "mit", "vor", "auf", "zwei", "drei", "ist", "sind"]
    + ["un", "une", "avec", "dans", "sur", "est", "sont", "deux", "aux", "une", "qui"]
    + ["una", "unos", "unas", "uno", "con", "dos", "por", "está", "son", "sobre"]
    + ["il", "gli", "nel", "nella", "della", "dei", "degli", "che", "uno", "due", "sono"]
    + ["um", "uma", "uns", "umas", "com", "em", "dois", "duas", "são", "na", "no"]
    + ["een", "het", "met", "voor", "naar", "twee", "zijn", "och", "på", "med", "ett", "og", "i", "ja", "jest", "na"]
) - {"no", "i", "son", "sur", "met", "com", "due", "dos"}
_FOREIGN_WEAK = frozenset(
    ["der", "das", "dem", "den", "des", "im", "am", "von", "la", "le", "les", "du", "de", "et", "en", "au", "el", "los"]
    + ["las", "y", "del", "al", "lo", "di", "e", "o", "os", "do", "da", "op", "aan", "van", "av", "til", "w", "z"]
)
_ENOUGH = 2
# Share of letters of other scripts that an English sentence may quote, as from a sign.
_QUOTED = 0.25


def is_english(text: str) -> bool:
    """Tell whether the rules may be used on a text: it says nothing for another language, or more for English."""
    letters = [letter for letter in text if letter.isalpha()]
    if sum(not _is_latin(letter) for letter in letters) > _QUOTED * len(letters):
        return False
    words = [word for word in re.findall(r"[^\W\d_]+", text) if len(word) == 1 or not word.isupper()]
    lower = [word.lower() for word in words]
    foreign = sum(_ENOUGH if word in _FOREIGN else word in _FOREIGN_WEAK for word in lower)
    return foreign < _ENOUGH or foreign <= _ENOUGH * sum(word in _ENGLISH for word in lower)


def guarded(text: str, clean: Callable[[str], str]) -> str:
    """Clean a text with the looks of things put out of the way.

    Args:
        text: The text.
        clean: What is done to it; it may take words out and change capitals.
    """
    kept: list[str] = []

    def hide(match: re.Match[str]) -> str:
        group = "look" if match["look"] else "said"
        kept.append(match[group])
        before = match.string[match.start() : match.start(group)]
        return f"{before}kept{len(kept) - 1}xqz"

    for nature in _NATURES:
        text = nature.sub(hide, text)
    return _KEPT.sub(lambda match: _as_before(match[0], kept[int(match["number"])]), clean(text))


def _as_before(token: str, words: str) -> str:
    """Put words in the place of their token, with its capital."""
    return words[:1].upper() + words[1:] if token[0].isupper() else words


def _is_latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith("LATIN")
