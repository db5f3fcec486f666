"""The picture's embedding of PASD gives the numbers of the original, with dense blocks and without."""

import pytest
import torch

from tests.oracles import load_oracle
from vldm_core.files.published import fill
from vldm_core.prior.controls.pasd.embedding import DegradationRemoval

PREFIX = "controlnet_cond_embedding."


def embedding(weights):
    with torch.device("meta"):
        found = DegradationRemoval.like(weights)
    fill(found, weights, "the embedding")
    return found


@torch.no_grad()
def test_with_dense_blocks():
    oracle = load_oracle("pasd_embedding_rrdb")
    found = embedding(oracle.weights("embedding"))
    assert len(found.preprocesser) == 2
    oracle.check("embedding", found(oracle.input("image")))
    for index, picture in enumerate(found.pictures(oracle.input("image"))):
        oracle.check(f"rgb.{index}", picture)


@pytest.mark.parametrize("name", ["pasd", "pasd_light"])
@torch.no_grad()
def test_without(name):
    oracle = load_oracle(name)
    weights = oracle.weights("controlnet")
    found = embedding({key.removeprefix(PREFIX): value for key, value in weights.items() if key.startswith(PREFIX)})
    assert len(found.preprocesser) == 0
    pictures = found.pictures(oracle.input("image"))
    assert len(pictures) == 3
    for index, picture in enumerate(pictures):
        oracle.check(f"rgb.{index}", picture)


def test_the_heads_of_training_cost_nothing_in_use():
    found = DegradationRemoval(32, (16, 32, 48, 64))
    ran = []
    for head in found.to_rgbs:
        head.register_forward_hook(lambda *_: ran.append(True))
    picture = torch.rand(1, 3, 16, 16)
    found(picture)
    assert not ran
    assert [tuple(one.shape[-2:]) for one in found.pictures(picture)] == [(8, 8), (4, 4), (2, 2)]
    assert len(ran) == 3
