"""Tables that a person edited: whole ones, or only the prompts; of the same shots, or refused."""

from dataclasses import replace

import pytest

from vldm_core.errors import SettingsError
from vldm_core.semantics.table.description import ShotDescription
from vldm_core.semantics.table.table import ShotTable
from vldm_core.semantics.table.table_edit import edited_table

TABLE = ShotTable(
    descriptions=(
        ShotDescription(first=0, last=8, key_frames=(3,), caption="a horse", prompt="a horse"),
        ShotDescription(first=8, last=20, key_frames=(9, 15), tags=("street",)),
        ShotDescription(first=20, last=21),
    )
)


def prompts(table):
    return [described.prompt for described in table]


@pytest.mark.parametrize("form", ["to_json", "to_csv"])
@pytest.mark.parametrize("before", ["", "\ufeff"], ids=["plain", "mark"])
def test_whole_tables(form, before):
    changed = ShotTable(descriptions=(TABLE[0], replace(TABLE[1], prompt="first, last, {street}"), TABLE[2]))
    text = before + getattr(changed, form)()
    assert edited_table(text) == edited_table(text, TABLE) == changed


def test_lines_are_prompts():
    assert prompts(edited_table("a  dog\n\na cat\n\n", TABLE)) == ["a dog", "", "a cat"]
    # An empty line leaves the prompt as it is.
    assert prompts(edited_table("\na dog\na cat", TABLE)) == ["a horse", "a dog", "a cat"]
    assert prompts(edited_table("the first and last of it", TABLE)) == ["the first and last of it"] * 3
    assert edited_table("\n\n", TABLE) == TABLE


@pytest.mark.parametrize(
    ("text", "table", "expected"),
    [
        ("a\nb", TABLE, "2 prompts for 3 shots"),
        ("a dog", None, "connect the table"),
        ('{"format": 3}', TABLE, "has not the form"),
        ("first,last\n0,7\n8,18\n19,20\n", TABLE, "shot 2 differs"),
        ("first;last\n0;7\n8;19\n", TABLE, "covers 20 frames, but there are 21"),
        ("first,last\n0,x\n", None, "last is 'x'"),
    ],
)
def test_what_makes_no_sense_is_refused(text, table, expected):
    with pytest.raises(SettingsError) as caught:
        edited_table(text, table)
    assert expected in str(caught.value)
