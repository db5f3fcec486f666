"""Tags in a constructed space of features, where it is known which words fit."""

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.semantics.recognition.tags import Tagger, TagSettings
from vldm_core.semantics.recognition.vocabulary import (
    VOCABULARY,
    VOCABULARY_GROUPS,
    checked_vocabulary,
    parse_vocabulary,
    read_vocabulary,
    tag_of,
)

from ..space import WordSpace, looks_like

WORDS = ("a street", "a tram", "children", "a dog", "the sea", "snow")


def test_the_words_that_are_seen_become_tags_the_likeliest_first():
    tagger = Tagger(WordSpace(WORDS), WORDS)
    assert tagger.tags(looks_like(WORDS, {"a tram": 1.0, "a street": 0.99})) == ("tram", "street")


def test_what_every_key_frame_shows_comes_before_what_one_does():
    frames = torch.cat([looks_like(WORDS, {"a dog": 1.0}), looks_like(WORDS, {"a dog": 1.0, "snow": 1.0})])
    assert Tagger(WordSpace(WORDS), WORDS).tags(frames) == ("dog", "snow")


def test_ties_keep_the_order_of_the_list():
    frames = looks_like(WORDS, {"snow": 1.0, "a tram": 1.0, "children": 1.0})
    assert Tagger(WordSpace(WORDS), WORDS).tags(frames) == ("tram", "children", "snow")
    backwards = WORDS[::-1]
    frames = looks_like(backwards, {"snow": 1.0, "a tram": 1.0, "children": 1.0})
    assert Tagger(WordSpace(backwards), backwards).tags(frames) == ("snow", "children", "tram")
    two = Tagger(WordSpace(WORDS), WORDS, TagSettings(most=2))
    assert two.tags(looks_like(WORDS, {"snow": 1.0, "a tram": 1.0, "children": 1.0})) == ("tram", "children")


def test_where_nothing_fits_there_are_no_tags():
    tagger = Tagger(WordSpace(WORDS), WORDS)
    # Equally like all words, and like none.
    assert tagger.tags(looks_like(WORDS, dict.fromkeys(WORDS, 1.0))) == ()
    assert tagger.tags(looks_like(WORDS, {})) == ()


def test_an_empty_shot_has_no_tags():
    assert Tagger(WordSpace(WORDS), WORDS).tags(torch.zeros(0, 7)) == ()
    assert Tagger(WordSpace(WORDS), WORDS).tags(torch.zeros(0, 0)) == ()


def test_thresholds():
    frames = looks_like(WORDS, {"a tram": 1.0, "a street": 0.97})
    assert Tagger(WordSpace(WORDS), WORDS, TagSettings(least=0.5)).tags(frames) == ("tram",)
    assert Tagger(WordSpace(WORDS), WORDS, TagSettings(margin=0.9)).tags(frames) == ()
    assert Tagger(WordSpace(WORDS), WORDS, TagSettings(most=0)).tags(frames) == ()


def test_the_words_are_encoded_once():
    space = WordSpace(WORDS)
    tagger = Tagger(space, WORDS)
    calls = space.calls
    tagger.tags(looks_like(WORDS, {"a tram": 1.0}))
    assert space.calls == calls


def test_features_of_another_model_are_refused():
    with pytest.raises(SettingsError, match="3 numbers and texts of 7"):
        Tagger(WordSpace(WORDS), WORDS).tags(torch.rand(2, 3))


def test_the_vocabulary():
    assert checked_vocabulary(VOCABULARY) == VOCABULARY and len(VOCABULARY) >= 200
    assert sum(map(len, VOCABULARY_GROUPS.values())) == len(VOCABULARY)
    assert {"street", "tram", "crowd", "living room", "train"} <= {tag_of(word) for word in VOCABULARY}
    # Articles as they are spoken.
    assert not [word for word in VOCABULARY if word.startswith("a ") and word[2] in "aeio"]
    assert not [word for word in VOCABULARY if word.startswith("an ") and word[3] not in "aeiou"]


def test_tags_lose_their_article():
    assert [tag_of(word) for word in ("a tram", "an office", "the sea", "a", "snow", "answer")] == [
        "tram",
        "office",
        "sea",
        "a",
        "snow",
        "answer",
    ]


def test_a_word_list_of_ones_own(tmp_path):
    (tmp_path / "words.txt").write_text("# film club\na loom\n\n  a  spinning  wheel \r\n", encoding="utf-8-sig")
    assert read_vocabulary(tmp_path / "words.txt") == ("a loom", "a spinning wheel")
    for text, message in (
        ("", "at least one"),
        ("a dog, a cat", "without commas"),
        ("a dog\nthe dog", "'dog' twice"),
    ):
        with pytest.raises(SettingsError, match=message):
            parse_vocabulary(text)
    with pytest.raises(SettingsError, match=r"missing.txt cannot be read"):
        read_vocabulary(tmp_path / "missing.txt")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(SettingsError, match="neither UTF-8 nor UTF-16"):
        read_vocabulary(tmp_path / "latin.txt")
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "words.txt").write_bytes("a Straße\r\na 電車\r\n".encode(encoding))
        assert read_vocabulary(tmp_path / "words.txt") == ("a Straße", "a 電車")
    (tmp_path / "lost.txt").write_text("a horse\n????? ??\n")
    with pytest.raises(SettingsError, match=r"lost.txt: letters were lost"):
        read_vocabulary(tmp_path / "lost.txt")
