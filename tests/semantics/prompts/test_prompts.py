"""Prompts of a shot, after the templates of the published systems."""

import pytest

from vldm_core.errors import SettingsError
from vldm_core.semantics.prompts.prompts import TEMPLATES, find_template, merge_captions, shot_prompt


def test_the_published_texts():
    assert TEMPLATES["PASD"].added == TEMPLATES["SeeSR"].added == "clean, high-resolution, 8k"
    assert TEMPLATES["SeeSR"].negative == "dotted, noise, blur, lowres, smooth"
    assert TEMPLATES["PASD"].negative == "blurry, dotted, noise, raster lines, unclear, lowres, over-smoothed"
    assert TEMPLATES["DiffBIR v2"].negative == ("low quality, blurry, low-resolution, noisy, unsharp, weird textures")
    assert TEMPLATES["DiffBIR v2.1"].added.endswith("perfect without deformations.")


@pytest.mark.parametrize(
    ("name", "prompt", "negative"),
    [
        ("plain", "a man on a tram", "black and white"),
        (
            "PASD",
            "a man on a tram, clean, high-resolution, 8k",
            "blurry, dotted, noise, raster lines, unclear, lowres, over-smoothed, black and white",
        ),
        (
            "SeeSR",
            "man, tram, clean, high-resolution, 8k",
            "dotted, noise, blur, lowres, smooth, black and white",
        ),
    ],
)
def test_templates(name, prompt, negative):
    made = shot_prompt("a black and white photo of a man on a tram", ("man", "tram"), TEMPLATES[name])
    assert (made.prompt, made.negative) == (prompt, negative)


def test_a_full_stop_ends_nothing_that_goes_on():
    assert shot_prompt("A man.", template=TEMPLATES["PASD"]).prompt == "A man, clean, high-resolution, 8k"
    assert shot_prompt("A man.").prompt == "A man."


def test_captions_and_tags_stand_in_for_each_other():
    assert shot_prompt("", ("street", "tram")).prompt == "street, tram"
    assert shot_prompt("a street", (), TEMPLATES["SeeSR"]).prompt == "a street, clean, high-resolution, 8k"
    assert shot_prompt("blurry", ("street", "scratched")) == shot_prompt("", ("street", "blurry", "scratched"))


def test_nothing_seen_leaves_the_template_alone():
    made = shot_prompt(template=TEMPLATES["DiffBIR v2"])
    assert (made.prompt, made.negative) == ("", TEMPLATES["DiffBIR v2"].negative)
    assert shot_prompt().prompt == shot_prompt().negative == ""


def test_words_for_damage_are_offered_once_and_only_when_wanted():
    template = TEMPLATES["PASD"]
    assert shot_prompt("a blurry man", ("blurry", "man"), template).negative == template.negative
    assert shot_prompt("a scratched man", (), template).negative == f"{template.negative}, scratched"
    assert shot_prompt("a scratched man", (), template, damage_in_negative=False).negative == template.negative


def test_pasd_turns_two_words_of_captions_into_their_opposites():
    """As its authors do; what else says damage goes into the negative prompt."""
    made = shot_prompt("a blurry, noisy photo of a scratched dog.", ("blurry", "dog"), TEMPLATES["PASD"])
    assert made.prompt == "a clear, clean photo of a dog, clean, high-resolution, 8k"
    assert made.negative == f"{TEMPLATES['PASD'].negative}, scratched"
    assert shot_prompt("a blurry photo of a dog").prompt == "a dog"


def test_an_unknown_template_is_named():
    with pytest.raises(SettingsError, match="'SUPIR'; choose one of plain, DiffBIR v2"):
        find_template("SUPIR")


def test_captions_of_key_frames_become_one():
    captions = ["a man walking down a street.", "a man walking down the street", "", "a tram on a bridge"]
    assert merge_captions(captions) == "a man walking down a street, a tram on a bridge"
    assert merge_captions([]) == merge_captions(["", " "]) == ""
    assert merge_captions(["a dog", "a cat", "a bird"], most_words=4) == "a dog, a cat"
    assert merge_captions(["one very long caption", "a cat"], most_words=2) == "one very long caption"
    assert merge_captions(["the", "the", "of"]) == "the"


def test_half_a_letter_of_a_captioner_is_left_out():
    assert merge_captions(["a tram \ufffd", "\ufffd", "two dogs\ufffd."]) == "a tram, two dogs"
