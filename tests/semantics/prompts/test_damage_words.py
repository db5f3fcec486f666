"""Words for damage go, sentences stay sentences, and what the picture shows is kept."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vldm_core.semantics.prompts.damage_words import article_for, clean_damage_words


@pytest.mark.parametrize(
    ("text", "cleaned", "removed"),
    [
        ("a black and white photo of a man", "a man", ("black and white",)),
        ("a black-and-white photograph of a man", "a man", ("black and white",)),
        ("an old photograph of a street with people", "a street with people", ("old photo",)),
        ("a blurry image of a train", "a train", ("blurry",)),
        ("a grainy, scratched and faded film still of two children", "two children", None),
        ("This is a black and white photo of a tram. The image is blurry and old.", "A tram.", None),
        ("The image shows a man walking. The photo is black and white.", "A man walking.", ("black and white",)),
        ("The photo is black and white and shows a man", "A man", ("black and white",)),
        ("a man walking, in black and white", "a man walking", ("black and white",)),
        ("a man walking down a street in an old photo", "a man walking down a street", ("old photo",)),
        ("a black and white photo of a woman in a dress", "a woman in a dress", ("black and white",)),
        ("a black and white street with houses", "a street with houses", ("black and white",)),
        ("a black and white photo of a black and white cow", "a black and white cow", ("black and white",)),
        ("a blurry black and white cow", "a black and white cow", ("blurry",)),
        ("Grainy black and white cows, out of focus", "Black and white cows", ("out of focus", "grainy")),
        ("black and white image with dogs", "image with dogs", ("black and white",)),
        ("The image is blurry. The cow is black and white.", "The cow is black and white.", ("blurry",)),
        ("a vintage photo of a vintage car", "a vintage car", ("vintage",)),
        ("a sepia-toned image of an old house", "an old house", ("sepia toned",)),
        ("a vintage photo of a crowd", "a crowd", ("vintage",)),
        ("a vintage street with people", "a street with people", ("vintage",)),
        ("an out of focus elephant", "an elephant", ("out of focus",)),
        ("a blurry umbrella", "an umbrella", ("blurry",)),
        ("a busy and blurry street", "a busy street", ("blurry",)),
        ("a monochrome, grainy and out of focus view of Paris", "a view of Paris", None),
        ("a man on a street and the background is blurry", "a man on a street", ("blurry",)),
        ("the street is blurry and a man walks", "a man walks", ("blurry",)),
        ("a group of people with scratches on the film", "a group of people", ("scratches",)),
        ("a house with a vintage look", "a house", ("vintage look",)),
        ("a photo of a man holding an old photo of a dog", "a man holding a photo of a dog", ("old photo",)),
        ("old photo, street, black and white, tram", "street, tram", ("old photo", "black and white")),
        ("low quality, worst quality, a dog", "a dog", ("low quality", "worst quality")),
        ("photo of a cat, low resolution, film grain", "a cat", ("low resolution", "film grain")),
        ("street, (blurry:1.2), tram", "street, tram", ("blurry",)),
        ("An old photo.", "", ("old photo",)),
        ("blurry", "", ("blurry",)),
        ("the image is in black and white", "", ("black and white",)),
        ("a photo of a man", "a man", ()),
    ],
)
def test_what_is_left(text, cleaned, removed):
    found = clean_damage_words(text)
    assert found.text == cleaned
    if removed is not None:
        assert found.removed == removed
    assert len(set(found.removed)) == len(found.removed)
    assert clean_damage_words(cleaned).text == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "",
        "an old man walks down a dusty road",
        "a dirty boy in torn clothes",
        "an early train, a worn coat and a cracked wall",
        "it is dark in the room",
        "a white horse and a black dog",
        "a noisy crowd; a historic bridge",
        "two  children\nplay",
        "a close up of a man's face",
        "un vieux tramway à Paris, 電車",
        "a black and white cow",
        "black and white cows standing in a field",
        "a cow that is black and white",
        "a black-and-white spotted dairy cow and a b&w cat",
        "a woman in a black and white dress, a man in a black and white striped shirt",
        "a vintage car parked on a street",
        "a flickering candle beside a scratched door",
    ],
)
def test_what_names_things_stays_exactly(text):
    assert clean_damage_words(text).text == text and clean_damage_words(text).removed == ()


_SCENES = ("a man", "an old house", "two children on a street", "a tram in the rain", "the sea", "soldiers marching")
_WORDS = ("blurry", "black and white", "grainy", "vintage", "old", "scratched", "faded", "out of focus", "sepia")
_FRAMES = (
    "{article} {word} photo of {scene}",
    "{scene} in {article} {word} photo",
    "{scene}. The picture is {word}.",
    "{word} photo, {scene}",
    "this is {article} {word}, {other} image of {scene}",
    "{article} {word} and {other} film still showing {scene}",
)


@pytest.mark.parametrize(
    "text",
    [
        "ein altes Schwarzweißfoto einer Straße, vintage",
        "une vieille photo en noir et blanc d'un homme, style vintage",
        "un retrato sepia de una mujer",
        "una mujer, sepia",
        "um filme vintage com grainy",
        "een vintage foto van een tram",
        "черно-белое фото, blurry",
        "白黒の写真, vintage",
    ],
)
def test_other_languages_are_left_alone(text):
    found = clean_damage_words(text)
    assert (found.text, found.removed) == (text, ())


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a blurry photo of the Rue de la Paix in Paris", "the Rue de la Paix in Paris"),
        ("Los Angeles, street, blurry", "Los Angeles, street"),
        ("UN soldiers, blurry", "UN soldiers"),
        ("a blurry photo of a café", "a café"),
    ],
)
def test_names_of_other_languages_in_english(text, cleaned):
    assert clean_damage_words(text).text == cleaned


@given(
    scene=st.sampled_from(_SCENES),
    word=st.sampled_from(_WORDS),
    other=st.sampled_from(_WORDS),
    frame=st.sampled_from(_FRAMES),
)
def test_the_scene_is_what_is_left(scene: str, word: str, other: str, frame: str) -> None:
    text = frame.format(article=article_for(word), word=word, other=other, scene=scene)
    found = clean_damage_words(text)
    assert found.text.rstrip(".").lower() == scene
    assert any(word in removed for removed in found.removed)


@settings(max_examples=50)
@given(st.text("abno ld.,;:()'\n-éA1", max_size=60))
def test_any_text_is_taken(text: str) -> None:
    found = clean_damage_words(text)
    assert clean_damage_words(found.text).text == found.text


@settings(max_examples=50)
@given(st.lists(st.sampled_from(("a", "an", "photo", "of", "old", "blurry", "and", ",", ".", "man", "the", "is"))))
def test_cleaning_what_is_clean_changes_nothing(words: list[str]) -> None:
    found = clean_damage_words(" ".join(words))
    assert clean_damage_words(found.text) == type(found)(text=found.text, removed=())


@pytest.mark.parametrize(
    "part", ["blurry ", "old, ", "very very old and ", "with ", "the the is ", " ", "a ", "in an "]
)
def test_long_texts_take_no_time(part):
    began = time.process_time()
    clean_damage_words(part * 1500)
    assert time.process_time() - began < 5


def test_articles():
    assert [article_for(word) for word in ("man", "old", "hour", "university", "umbrella", "one", "European")] == [
        "a",
        "an",
        "an",
        "a",
        "an",
        "a",
        "a",
    ]
