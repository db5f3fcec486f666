"""A caption that a person corrects changes the prompt; what a person wrote stays as it is."""

from dataclasses import replace

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.semantics.describe import DescribeSettings, ShotDescriber, describe_shots
from vldm_core.semantics.prompts.prompt_text import written_prompts
from vldm_core.semantics.prompts.prompts import TEMPLATES, find_template, shot_prompt
from vldm_core.semantics.stages import caption_shots
from vldm_core.semantics.table.automatic import by_hand, marked, refreshed
from vldm_core.semantics.table.description import ShotDescription
from vldm_core.semantics.table.table import ShotTable
from vldm_core.semantics.table.table_edit import edited_table
from vldm_core.semantics.table.table_files import read_table, write_table
from vldm_core.video.shots import Shot

SHOTS = (Shot(0, 3), Shot(3, 6))


def automatic(template="plain", tags=("horse", "street"), caption="a blurry photo of a horse"):
    """A table as `describe` writes it with a captioner and CLIP."""
    prompt = shot_prompt(caption, tags, find_template(template))
    rows = []
    for shot in SHOTS:
        row = ShotDescription(first=shot.first, last=shot.last, caption=caption, tags=tags)
        row = replace(row, prompt=prompt.prompt, negative=prompt.negative)
        rows.append(marked(row, "caption", "tags", "prompt", "negative", template=template))
    return ShotTable(descriptions=tuple(rows))


def edited_file(table, path, old, new):
    """Change a word of the first shot in the file, as a person does."""
    write_table(table, path)
    text = path.read_text(encoding="utf-8-sig")
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return read_table(path)


def test_describe_records_what_it_writes():
    frames = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    table = describe_shots(frames, SHOTS, captioner=lambda pictures: ["a blurry photo of a horse"] * len(pictures))
    for row in table:
        assert row.prompt == "a horse" and row.negative == "blurry"
        assert not any(by_hand(row, name) for name in ("caption", "tags", "prompt", "negative"))
        assert by_hand(replace(row, caption="a cow"), "caption") and not by_hand(replace(row, caption=" "), "caption")
    assert refreshed(table) == table


@pytest.mark.parametrize("form", ["table.csv", "table.json"])
@pytest.mark.parametrize("template", TEMPLATES)
def test_an_edited_caption_changes_the_prompt_of_the_command_line_and_of_the_node(tmp_path, form, template):
    corrected = "a faded photo of a black cow"
    table = edited_file(automatic(template), tmp_path / form, "a blurry photo of a horse", corrected)
    wanted = shot_prompt(corrected, (), find_template(template))
    assert "a black cow" in wanted.prompt
    # `restore --shots-table` and Shot Conditioning take their prompts from here.
    for prompts in (written_prompts(table), written_prompts(table, "SeeSR")):
        assert (prompts[0].prompt, prompts[0].negative) == (wanted.prompt, wanted.negative)
        assert prompts[1].prompt == automatic(template)[1].prompt
    # And Shot Table shows it; read again, it stays.
    assert table[0].prompt == wanted.prompt
    write_table(table, tmp_path / form)
    assert read_table(tmp_path / form) == table


def test_an_edited_caption_comes_before_automatic_tags():
    """Where no prompt was written yet, as in the graph; with a template that prefers tags."""
    row = ShotDescription(first=0, last=3, caption="a horse", tags=("horse", "street"))
    table = ShotTable(descriptions=(marked(row, "caption", "tags"),))
    added = TEMPLATES["SeeSR"].added
    assert written_prompts(table, "SeeSR")[0].prompt == f"horse, street, {added}"
    edited = edited_table(table.to_csv().replace("a horse", "a black and white cow"), table)
    assert written_prompts(edited, "SeeSR")[0].prompt == f"a black and white cow, {added}"
    both = edited_table(edited.to_csv().replace("horse, street", "cow, meadow"), table)
    assert written_prompts(both, "SeeSR")[0].prompt == f"cow, meadow, {added}"


def test_a_prompt_by_hand_stays(tmp_path):
    table = automatic()
    table = replace(table, descriptions=(replace(table[0], prompt="a pony"), table[1]))
    edited = edited_file(table, tmp_path / "table.csv", "a blurry photo of a horse", "a cow")
    assert edited[0].caption == "a cow" and edited[0].prompt == "a pony"
    # So does a negative one, beside a prompt that is made again.
    table = automatic()
    table = replace(table, descriptions=(replace(table[0], negative="cars"), table[1]))
    edited = edited_file(table, tmp_path / "table.csv", "a blurry photo of a horse", "a scratched photo of a cow")
    assert (edited[0].prompt, edited[0].negative) == ("a cow", "cars")


def test_a_table_without_its_record_has_that_of_the_connected_one():
    table = automatic()
    text = "first,last,caption,prompt\n0,2,a cow,a horse\n3,5,a blurry photo of a horse,a horse\n"
    assert [row.prompt for row in edited_table(text, table)] == ["a cow", "a horse"]
    # Alone it is all by hand.
    assert [row.prompt for row in edited_table(text)] == ["a horse", "a horse"]


def test_a_caption_that_is_emptied_leaves_the_tags(tmp_path):
    edited = edited_file(automatic(), tmp_path / "table.csv", "a blurry photo of a horse", "")
    assert edited[0].prompt == "horse, street"


def test_captions_made_again_change_the_prompt():
    pictures = [torch.zeros(1, 3, 8, 8)] * 2
    table = caption_shots(automatic(), pictures, lambda frames: ["a tram"] * len(frames))
    assert [row.prompt for row in table] == ["a tram", "a tram"]
    assert not any(by_hand(row, "caption") or by_hand(row, "prompt") for row in table)


def test_words_for_damage_stay_out_of_the_negative_prompt_where_they_were_left_out():
    frames = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    settings = DescribeSettings(damage_in_negative=False, template="PASD")
    describer = ShotDescriber(captioner=lambda pictures: ["a scratched photo of a horse"], settings=settings)
    assert describer.settings is settings
    table = describe_shots(frames, SHOTS, captioner=lambda pictures: ["a scratched photo"], settings=settings)
    assert all(row.negative == TEMPLATES["PASD"].negative for row in table)


@pytest.mark.parametrize("text", ["by hand", "caption:12", "caption:12345678 caption:12345678", "era:12345678"])
def test_a_record_that_makes_no_sense_is_refused(text):
    with pytest.raises(SettingsError, match="leave it as it was written, or empty it"):
        ShotDescription(first=0, last=1, automatic=text)


def test_a_template_that_is_not_known_any_more():
    row = marked(ShotDescription(first=0, last=1, caption="a", prompt="a"), "caption", "prompt", template="PASD")
    with pytest.raises(SettingsError, match="no prompt template 'PISD'"):
        edited_table(ShotTable(descriptions=(replace(row, caption="b"),)).to_json().replace("PASD", "PISD"))
