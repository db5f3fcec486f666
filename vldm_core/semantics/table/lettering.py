"""Text in any script, drawn with the fonts of the machine: each letter with one that has it.

The built-in font has plain Latin letters. Letters that it lacks are taken from installed fonts; where none has them,
accents are left out, and any other letter is shown by its number in brackets, so that two captions never look alike.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from itertools import groupby

from PIL import ImageDraw, ImageFont, features

from .fonts import code_points, fonts_for, letters_of

_PLAIN = str.maketrans(
    {"–": "-", "—": "-", "‐": "-", "×": "x", "ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "œ": "oe", "ł": "l"}
)
_RIGHT_TO_LEFT = ("R", "AL")


class Lettering:
    """Measures and draws text.

    Args:
        texts: All that will be drawn: fonts are looked for that have its letters.
        size: Height of the letters, px.
    """

    def __init__(self, texts: Iterable[str], size: int) -> None:
        built_in = ImageFont.load_default(size)
        assert isinstance(built_in, ImageFont.FreeTypeFont)
        letters = {letter for text in texts for letter in text if not letter.isspace()}
        plain = _of_built_in(built_in, letters)
        # Without its shaping library Pillow would draw these scripts backwards.
        wanted = {letter for letter in letters - plain if _is_printable(letter)}
        if not features.check("raqm"):
            wanted = {letter for letter in wanted if unicodedata.bidirectional(letter) not in _RIGHT_TO_LEFT}
        self._fonts: list[tuple[ImageFont.FreeTypeFont, frozenset[str]]] = [(built_in, frozenset(plain) | {" "})]
        for path in fonts_for(wanted) if wanted else ():
            try:
                font = ImageFont.truetype(str(path), size)
            except OSError:
                continue
            codes = letters_of(path, frozenset(map(ord, (*letters, " "))))
            self._fonts.append((font, frozenset(map(chr, codes))))
        has = frozenset().union(*(known for _, known in self._fonts))
        missing = {letter for letter in wanted | (letters - plain) if letter not in has and _is_printable(letter)}
        self.missing = tuple(sorted(letter for letter in missing if not _all_in(without_accents(letter), plain)))
        """Letters that no font has and that are shown by their numbers, in order."""
        self._has = has

    def written(self, text: str) -> str:
        """Return a text as it can be drawn: letters that no font has without accents, or by their numbers."""
        parts = []
        for lacking, letters in groupby(text, key=lambda letter: letter in self.missing):
            if lacking:
                parts.append("[" + " ".join(f"{ord(letter):04X}" for letter in letters) + "]")
            else:
                parts += [
                    letter if letter.isspace() or letter in self._has else without_accents(letter)
                    for letter in letters
                    if letter.isspace() or _is_printable(letter)
                ]
        return "".join(parts)

    def length(self, text: str) -> float:
        """Return the width of a text from `written`, px."""
        return sum(font.getlength(part) for font, part in self._runs(text))

    def draw(
        self, draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, fill: tuple[int, int, int]
    ) -> None:
        """Draw a text from `written`; its letters stand on the line on which those of the built-in font would."""
        left, top = place
        ascent = self._fonts[0][0].getmetrics()[0]
        for font, part in self._runs(text):
            draw.text((left, top + ascent), part, font=font, fill=fill, anchor="ls")
            left += font.getlength(part)

    def _runs(self, text: str) -> Sequence[tuple[ImageFont.FreeTypeFont, str]]:
        """Divide a text among the fonts, with as few changes as possible: a script is drawn as a whole."""
        runs: list[tuple[ImageFont.FreeTypeFont, str]] = []
        current = 0
        for letter in text:
            if letter not in self._fonts[current][1]:
                current = next((i for i, (_, known) in enumerate(self._fonts) if letter in known), 0)
            font = self._fonts[current][0]
            if runs and runs[-1][0] is font:
                runs[-1] = (font, runs[-1][1] + letter)
            else:
                runs.append((font, letter))
        return runs


def scripts_of(letters: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the scripts of letters, as Unicode has them, each once: "Cjk" for Chinese."""
    names = (unicodedata.name(letter, "unknown").split()[0].capitalize() for letter in letters)
    return tuple(dict.fromkeys(names))


def without_accents(text: str) -> str:
    """Return text in the letters that the built-in font has: accents are left out, dashes are made plain."""
    apart = unicodedata.normalize("NFKD", text)
    plain = "".join(letter for letter in apart if not unicodedata.combining(letter))
    return plain.translate(_PLAIN)


def _of_built_in(font: ImageFont.FreeTypeFont, letters: set[str]) -> set[str]:
    data = getattr(font, "font_bytes", None)
    if data is None:
        return {letter for letter in letters if letter.isascii()}
    return {chr(code) for code in code_points(data, frozenset(map(ord, letters)))}


def _all_in(text: str, letters: set[str]) -> bool:
    return bool(text) and all(letter in letters or letter.isascii() for letter in text)


def _is_printable(letter: str) -> bool:
    return unicodedata.category(letter) not in ("Cc", "Cf", "Cs")
