"""The prompts that shots are given in the end."""

import pytest

from vldm_core.errors import SettingsError
from vldm_core.semantics.prompts.prompt_text import written_prompts
from vldm_core.semantics.prompts.prompts import TEMPLATES
from vldm_core.semantics.table.description import ShotDescription
from vldm_core.semantics.table.table import ShotTable

ROWS = (
    {},
    {"caption": "a horse on a street"},
    {"tags": ("horse", "street")},
    {"caption": "a horse", "prompt": "a black horse, rain", "negative": "cars"},
)
TABLE = ShotTable(descriptions=tuple(ShotDescription(first=4 * i, last=4 * i + 4, **row) for i, row in enumerate(ROWS)))


def test_plain():
    written = written_prompts(TABLE)
    assert [shot.prompt for shot in written] == ["", "a horse on a street", "horse, street", "a black horse, rain"]
    assert [shot.negative for shot in written] == ["", "", "", "cars"]


def test_words_around_and_a_template():
    written = written_prompts(TABLE, "PASD", before="film still,", after="\n sharp ", negative="blurry, text")
    added, hidden = TEMPLATES["PASD"].added, TEMPLATES["PASD"].negative
    assert [shot.prompt for shot in written] == [
        f"film still, {added}, sharp",
        f"film still, a horse on a street, {added}, sharp",
        f"film still, horse, street, {added}, sharp",
        # Written by hand: taken as it is.
        "film still, a black horse, rain, sharp",
    ]
    assert "blurry" in hidden
    assert [shot.negative for shot in written] == [f"{hidden}, text"] * 3 + ["cars, blurry, text"]


def test_weighted_lists_stay_whole():
    (written, *_) = written_prompts(TABLE, negative="(blurry, noise:1.3), (text)")
    assert written.negative == "(blurry, noise:1.3), (text)"


def test_unknown_template():
    with pytest.raises(SettingsError, match="no prompt template 'SUPIR'"):
        written_prompts(TABLE, "SUPIR")
