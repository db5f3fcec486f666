"""Text files as spreadsheets and editors write them: encodings, and letters that were lost on the way."""

import codecs
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from ..errors import SettingsError

# The longer marks first: that of UTF-32 begins like that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ADVICE = "save it as UTF-8 (in Excel: CSV UTF-8)"
_INSIDE_WORD = re.compile(r"[^\W\d_]\?[^\W\d_]")
# A single one may be a slip of the finger.
_LEAST_INSIDE_WORDS = 2
_REPLACEMENT = "\ufffd"


def read_text(path: str | os.PathLike[str], what: str) -> str:
    """Read a text file: UTF-8, or UTF-16 and UTF-32 as programs of Windows write them, with and without a mark.

    Line breaks stay as they are.

    Args:
        path: The file.
        what: Name of what it holds, for the error.

    Raises:
        SettingsError: The file cannot be read, or is in another encoding.
    """
    path = Path(path)
    try:
        return decoded(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{what} {path} cannot be read ({error.strerror})") from error
    except UnicodeError as error:
        raise SettingsError(f"{what} {path} is neither UTF-8 nor UTF-16 text; {_ADVICE}") from error


def decoded(raw: bytes) -> str:
    """Decode text that begins with a mark of its encoding or with a plain letter.

    Raises:
        UnicodeError: It is in another encoding.
    """
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return raw.decode(encoding)
    if len(raw) > 1 and (raw[0] == 0) is not (raw[1] == 0):
        return raw.decode("utf-16-be" if raw[0] == 0 else "utf-16-le")
    return raw.decode("utf-8")


def is_blank(text: str) -> bool:
    """Tell whether a text shows nothing: empty, white space, or marks without width."""
    return all(letter.isspace() or unicodedata.category(letter) in ("Cc", "Cf") for letter in text)


def check_letters(texts: Iterable[str]) -> None:
    """Check that no letters were lost where a program saved text in an encoding that has no place for them.

    Raises:
        SettingsError: Words are question marks, or UTF-8 was read as another encoding and saved so.
    """
    inside: list[str] = []
    for text in texts:
        if lost := _lost_words(text):
            raise SettingsError(f"letters were lost: {lost!r} is left of them. Write it again, and {_ADVICE}")
        inside += [word for word in text.split() if _INSIDE_WORD.search(word) and not {"/", "="} & {*word}]
        if meant := _read_wrongly(text):
            raise SettingsError(
                f"letters were read in a wrong encoding: {text[:40]!r} was {meant[:40]!r}. Open the file as UTF-8, or "
                f"write it again, and {_ADVICE}"
            )
    if len(inside) >= _LEAST_INSIDE_WORDS:
        raise SettingsError(
            f"letters were lost: {inside[0]!r} and {inside[1]!r} are left of words. Write them again, and {_ADVICE}"
        )


def _lost_words(text: str) -> str | None:
    """Return a word of which only question marks are left; a single one after letters may be punctuation."""
    words = text.split()
    lost = [word for word in words if word.count("?") > 1 and not any(letter.isalnum() for letter in word)]
    if lost and (len(lost) > 1 or not any(letter.isalpha() for letter in text)):
        return lost[0]
    return next((word for word in words if _REPLACEMENT in word), None)


def _read_wrongly(text: str) -> str | None:
    """Return what a text meant whose UTF-8 was read as the Windows encoding of western Europe."""
    if text.isascii():
        return None
    try:
        raw = b"".join(bytes([ord(x)]) if 0x80 <= ord(x) < 0xA0 else x.encode("cp1252") for x in text)
        return raw.decode("utf-8")
    except UnicodeError:
        return None
