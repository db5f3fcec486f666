"""A table comes back as it was written, and a table edited by hand is read or refused with the place named."""

import csv
import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vldm_core.errors import SettingsError
from vldm_core.semantics.table.description import UNKNOWN, ShotDescription
from vldm_core.semantics.table.table import ShotTable
from vldm_core.semantics.table.table_edit import edited_table
from vldm_core.semantics.table.table_files import read_table, write_table
from vldm_core.video.shots import Shot

TABLE = ShotTable(
    descriptions=(
        ShotDescription(
            first=0,
            last=14,
            key_frames=(3, 9),
            caption='a tram, and "a dog"\nin the rain; naïve 電車',
            tags=("street", "electric tram"),
            era="1910s",
            era_confidence=0.1 + 0.2,
            medium="newsreel",
            medium_confidence=1 / 3,
            prompt="a tram\r\n",
            negative="blurry, scratched",
        ),
        ShotDescription(first=14, last=15),
    )
)

# What tables stumble over; any further letter is like these.
letters = st.text("ab ,;\"'\n\r\t\\é電\u2028\x00\ufeff=+-@|", max_size=8)
words = st.text("abé電 -\"'", max_size=6).map(lambda text: text.strip() or "tram")
shares = st.floats(0, 1)
kinds = letters.map(lambda text: text if text.strip() else f"era{text}")


@st.composite
def tables(draw) -> ShotTable:
    first, rows = 0, []
    for length in draw(st.lists(st.integers(1, 50), min_size=1, max_size=4)):
        frames = draw(st.sets(st.integers(first, first + length - 1), max_size=3))
        rows.append(
            ShotDescription(
                first=first,
                last=first + length,
                key_frames=tuple(sorted(frames)),
                tags=tuple(draw(st.lists(words, max_size=3))),
                **{name: draw(letters) for name in ("caption", "prompt", "negative")},
                **{name: draw(kinds) for name in ("era", "medium", "sound", "colour")},
                **{f"{name}_confidence": draw(shares) for name in ("era", "medium", "sound", "colour")},
            )
        )
        first += length
    return ShotTable(descriptions=tuple(rows))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(table=tables())
def test_a_table_comes_back(table: ShotTable) -> None:
    assert ShotTable.from_json(table.to_json()) == table
    assert ShotTable.from_csv(table.to_csv()) == table


@pytest.mark.parametrize("name", ["table.json", "table.csv", "TABLE.CSV"])
def test_files(tmp_path, name):
    write_table(TABLE, tmp_path / name)
    assert read_table(tmp_path / name) == TABLE
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_table_is_a_sequence_of_its_shots():
    assert len(TABLE) == 2 and TABLE.frames == 15 and TABLE.shots == (Shot(0, 14), Shot(14, 15))
    assert TABLE.prompts == ("a tram\r\n", "") and TABLE.negatives == ("blurry, scratched", "")
    assert TABLE[1] is list(TABLE)[1] and TABLE.at(13) is TABLE[0] and TABLE.at(14) is TABLE[1]
    with pytest.raises(SettingsError, match="frame 15"):
        TABLE.at(15)


def test_the_last_frame_of_a_file_is_the_shots_own():
    """As `python -m vldm_core shots` prints it."""
    assert [(row["first"], row["last"]) for row in json.loads(TABLE.to_json())["shots"]] == [(0, 13), (14, 14)]


def test_a_table_of_other_frames_is_refused():
    TABLE.check((Shot(0, 14), Shot(14, 15)), 15)
    TABLE.check(None, 15)
    with pytest.raises(SettingsError, match="15 frames, but there are 16"):
        TABLE.check(None, 16)
    with pytest.raises(SettingsError, match="shot 1 differs"):
        TABLE.check((Shot(0, 15),), 15)
    with pytest.raises(SettingsError, match="shot 2 differs"):
        ShotTable(descriptions=(ShotDescription(first=0, last=5), ShotDescription(first=5, last=15))).check(
            (Shot(0, 5), Shot(5, 9), Shot(9, 15)), 15
        )


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_what_a_spreadsheet_saves(separator):
    """A mark at the start, another separator, other line ends, decimal commas, empty cells and rows at the end."""
    sheet = io.StringIO()
    writer = csv.writer(sheet, delimiter=separator, lineterminator="\r\n")
    writer.writerow(["first", "last", "key_frames", "tags", "era", "era_confidence", "prompt"])
    writer.writerow([0, 9, "2, 5", "street; tram", "", "0,5", "a street, a tram"])
    writer.writerow([10, 12, "", "", "1920s", "", ""])
    writer.writerow([""] * 7)
    first, second = ShotTable.from_csv("\ufeff" + sheet.getvalue())
    assert first == ShotDescription(
        first=0, last=10, key_frames=(2, 5), tags=("street", "tram"), era_confidence=0.5, prompt="a street, a tram"
    )
    assert first.era == UNKNOWN and second.era == "1920s" and second.last == 13


def edited(**change) -> str:
    table = json.loads(TABLE.to_json())
    table["shots"][1].update(change)
    return json.dumps(table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first": 13}, "shot 2: first is 13.*give 14"),
        ({"first": "14"}, "shot 2: first is '14'"),
        ({"first": True}, "shot 2: first is True"),
        ({"last": 13}, "shot 2: last is 13, before first, 14"),
        ({"last": 20}, "says 15 frames, but its shots cover 21"),
        ({"key_frames": [13]}, "shot 2: key_frames has 13"),
        ({"key_frames": [14, 14]}, "shot 2: key_frames are 14, 14"),
        ({"key_frames": "14"}, "shot 2: key_frames is '14'"),
        ({"tags": ["a, b"]}, "shot 2: tags has 'a, b'"),
        ({"tags": ["a\nb"]}, "shot 2: tags has"),
        ({"tags": [3]}, "shot 2: tags is 3"),
        ({"era": " "}, 'shot 2: era is empty; write "unknown"'),
        ({"era_confidence": 1.5}, "shot 2: era_confidence is 1.5"),
        ({"medium_confidence": "high"}, "shot 2: medium_confidence is 'high'"),
        ({"sound_confidence": float("nan")}, "shot 2: sound_confidence is nan"),
        ({"caption": None}, "shot 2: caption is None"),
        ({"prompt": "\ud800"}, "shot 2: prompt holds half a character"),
        ({"colour": 7}, "shot 2: colour is 7"),
        ({"mood": "sad"}, "shot 2 has 'mood'"),
    ],
)
def test_an_edited_json_table_is_refused_with_the_place(change, message):
    with pytest.raises(SettingsError, match=message):
        ShotTable.from_json(edited(**change))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1"),
        ("[]", "has not the form"),
        ('{"format": "vldm.shot_table", "version": 2, "shots": []}', "version 2"),
        ('{"format": "vldm.shot_table", "version": 1, "shots": []}', "at least one shot"),
        ('{"format": "vldm.shot_table", "version": 1, "shots": [3]}', "shot 1 is 3"),
        ('{"format": "vldm.shot_table", "version": 1, "shots": [{"first": 0}]}', "shot 1 has no last"),
        ('{"format": "vldm.shot_table", "format": "x"}', "'format' twice"),
        ('{"format": "vldm.shot_table", "version": 1, "shots": [], "more": 1}', "'more'"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_json_of_another_form_is_refused(text, message):
    with pytest.raises(SettingsError, match=message):
        ShotTable.from_json(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("first,last\n", "at least one shot"),
        ("first,mood\n0,1\n", "column 'mood'"),
        ("first,first,last\n0,0,1\n", "'first' twice"),
        ("first,era\n0,1920s\n", "no column 'last'"),
        ("first,last\n0,x\n", "shot 1: last is 'x'"),
        ("first,last,era_confidence\n0,4,high\n", "shot 1: era_confidence is 'high'"),
        ("first,last,key_frames\n0,4,one\n", "shot 1: key_frames is 'one'"),
        ("first,last,prompt\n0,4,a dog, a cat\n", "shot 1: there are 4 cells for 3 columns"),
        ('first,last,prompt\n0,4,"a dog', "not CSV"),
        ("first,last\n0,4\n4,9\n", "shot 2: first is 4.*give 5"),
    ],
)
def test_csv_of_another_form_is_refused(text, message):
    with pytest.raises(SettingsError, match=message):
        ShotTable.from_csv(text)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(SettingsError, match=r"missing.json cannot be read"):
        read_table(tmp_path / "missing.json")
    with pytest.raises(SettingsError, match=r"ends in .json or .csv"):
        read_table(tmp_path / "table.xlsx")
    (tmp_path / "latin.csv").write_bytes(b"first,last,prompt\n0,1,caf\xe9\n")
    with pytest.raises(SettingsError, match=r"latin.csv is neither UTF-8"):
        read_table(tmp_path / "latin.csv")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(SettingsError, match=r"bad.json: "):
        read_table(tmp_path / "bad.json")
    with pytest.raises(SettingsError, match="cannot be written"):
        write_table(TABLE, tmp_path / "nowhere" / "table.json")


@pytest.mark.parametrize("text", ["=1+1", "+49 30", "-old film", "@SUM(A1)", "\tx", "'=1", "''-", "'quoted'"])
def test_no_cell_is_a_formula_for_a_spreadsheet(text):
    tag = " ".join(text.split())
    table = ShotTable(descriptions=(ShotDescription(first=0, last=1, caption=text, tags=(tag, "b"), prompt=text),))
    written = table.to_csv()
    for row in csv.reader(io.StringIO(written, newline="")):
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row), row
    assert ShotTable.from_csv(written) == table
    # Written without the apostrophe, by hand or by another program, it is the same.
    assert ShotTable.from_csv("first,last,caption\n0,0,=1\n")[0].caption == "=1"


def as_file(path, text, encoding):
    path.write_bytes(text.encode(encoding))
    return read_table(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("form", ["csv", "json"])
def test_the_encodings_of_spreadsheets_and_editors(tmp_path, form, encoding):
    text = getattr(TABLE, f"to_{form}")()
    assert as_file(tmp_path / f"table.{form}", text, encoding) == TABLE


@pytest.mark.parametrize("line", ["sep=;\n", "sep=;\r\n", '"sep=;"\n', "SEP=;\r\n", "sep=;;;\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_line_that_names_the_separator(line, mark):
    """Also where the header alone, with one column more or less, would tell another."""
    text = f'{mark}{line}first;last;prompt\n0;4;"a dog, a cat"\n5;9;two\n'
    table = ShotTable.from_csv(text)
    assert table.prompts == ("a dog, a cat", "two") and edited_table(text) == table
    assert edited_table("sep=|\nfirst|last|prompt\n0|4|a, b; c\n").prompts == ("a, b; c",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("????? ? ????", "letters were lost: '\\?\\?\\?\\?\\?' is left"),
        ("a man in ????? and ????", "letters were lost"),
        ("???", "letters were lost"),
        ("a dog in the Stra?e of M?nchen", "'Stra\\?e' and 'M\\?nchen' are left of words"),
        ("a caf\ufffd", "letters were lost"),
        ("Ð¡Ð¾Ð±Ð°ÐºÐ°", "was 'Собака'"),
        ("a cafÃ©", "was 'a café'"),
    ],
)
def test_a_table_whose_letters_were_lost_is_refused(text, message):
    for change in ({"caption": text}, {"prompt": text}, {"tags": [text]}):
        with pytest.raises(SettingsError, match=message):
            ShotTable.from_json(edited(**change))
    with pytest.raises(SettingsError, match=f"shot 1, caption: .*{message}"):
        ShotTable.from_csv(f"first,last,caption\n0,4,{text}\n")
    with pytest.raises(SettingsError, match=message):
        edited_table(text, TABLE)


@pytest.mark.parametrize(
    "text", ["who is it?", "what?!", "a sign: where to??", "quoi ???", "Straße, 電車, café, naïve", "x?y=1"]
)
def test_questions_and_other_letters_are_no_lost_letters(text):
    assert ShotTable.from_json(edited(caption=text, prompt=text))[1].caption == text


def test_a_csv_with_other_letters_is_marked_for_excel(tmp_path):
    """Without the mark Excel reads other letters, and saves question marks or those."""
    write_table(TABLE, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_bytes().startswith(b'\xef\xbb\xbf"first"')
    plain = ShotTable(descriptions=(ShotDescription(first=0, last=1),))
    write_table(plain, tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_bytes().isascii()
    write_table(TABLE, tmp_path / "table.json")
    assert (tmp_path / "table.json").read_bytes().startswith(b"{")
