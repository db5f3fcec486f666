"""Encoders of one space are told from encoders of two."""

import pytest
import torch
from torch.nn.functional import normalize

from vldm_core.errors import SettingsError
from vldm_core.semantics.recognition.shared_space import (
    COLOURS,
    check_shared_space,
    colour_cards,
    colour_names,
    named_rightly,
)

WIDTH = 32


def frame_encoder(seed=0, width=WIDTH, common=0.0):
    """Features from a fixed random map of mean colour; `common` is what all have in common."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(6, width, generator=generator)
    shift = torch.randn(width, generator=generator) * common

    def encode(frames):
        colour = frames.mean((2, 3))
        return torch.cat([colour, colour.square()], 1) @ mixing + shift

    return encode


def text_encoder(seed=0, width=WIDTH, common=0.0, shift_seed=7):
    """Features of the same map for the colour that a text names, and another common part."""
    encode = frame_encoder(seed, width)
    shift = torch.randn(width, generator=torch.Generator().manual_seed(shift_seed)) * common

    def encode_texts(texts):
        named = [next(value for name, value in COLOURS.items() if name in text) for text in texts]
        return normalize(encode(torch.tensor(named)[:, :, None, None]) + shift, dim=1)

    return encode_texts


def test_cards_and_names_go_together():
    assert colour_cards().shape == (8, 3, 224, 224)
    for card, name, text in zip(colour_cards(), COLOURS, colour_names(), strict=True):
        assert name in text
        assert torch.equal(card[:, 0, 0], torch.tensor(COLOURS[name])) and (card == card[:, :1, :1]).all()


@pytest.mark.parametrize("common", [0.0, 5.0])
def test_one_space_is_accepted(common):
    # CLIP's pictures and texts lie in two narrow cones: what they have in common must not count.
    check_shared_space(frame_encoder(common=common), text_encoder(common=common))


@pytest.mark.parametrize("seed", range(1, 30))
def test_two_spaces_are_refused(seed):
    rotation = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(seed)))[0]
    texts = text_encoder()
    with pytest.raises(SettingsError) as caught:
        check_shared_space(frame_encoder(), lambda words: texts(words) @ rotation)
    assert "of 8 plain colours" in str(caught.value) and "CLIP folder" in str(caught.value)


@pytest.mark.parametrize(
    ("frames", "texts", "expected"),
    [
        (frame_encoder(), text_encoder(width=16), "32 numbers and the texts' 16"),
        (frame_encoder(), lambda words: torch.zeros(len(words), WIDTH), "named 0 of 8"),
        (frame_encoder(), lambda words: torch.full((len(words), WIDTH), float("nan")), "NaN"),
        (lambda frames: torch.ones(len(frames), WIDTH), text_encoder(), "named 0 of 8"),
    ],
    ids=["sizes", "no projection", "nan", "blind"],
)
def test_encoders_that_say_nothing_are_refused(frames, texts, expected):
    with pytest.raises(SettingsError) as caught:
        check_shared_space(frames, texts)
    assert expected in str(caught.value)


def test_named_rightly_counts():
    eye = torch.eye(4)
    assert named_rightly(eye, eye) == 4
    assert named_rightly(eye, eye[[1, 0, 2, 3]]) == 2
    assert named_rightly(eye, torch.ones(4, 4)) == 0
