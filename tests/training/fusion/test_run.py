"""Training of the fusion by each of its routes: it begins as the pre-restored picture, learns, and goes on exactly."""

from dataclasses import replace

import pytest
import torch

from vldm_core.decode.fusion_decoder import KIND
from vldm_core.training.fusion.run import sample_with, train_fusion
from vldm_core.training.fusion.task import FusionTrainingSettings, new_fusion, prior_of

from ..prerestorer.smooth import photographs
from ..prior_kit import NETWORK, TRAINER, material, tiny_prerestorer, tiny_prior
from ..training_kit import check_resume_is_exact

SOURCES = ("latent", "decoder", "picture")
SETTINGS = FusionTrainingSettings(trainer=TRAINER, side=None)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = photographs(tmp_path_factory.mktemp("photos"))
    (folder / "sea.png").rename(folder / "sean-afnan-244576.png")
    return material(folder, tmp_path_factory.mktemp("cache"))


def train(given, out, settings=SETTINGS, **options):
    prior = tiny_prior()
    sample, said = sample_with(prior.pipeline, strength=0.5, steps=2, cfg=1.0)
    return train_fusion(
        prior, given, out, prerestorer=tiny_prerestorer(), sample=sample, sampled_as=said, settings=settings, **options
    )


@pytest.mark.parametrize("source", SOURCES)
def test_every_route_begins_as_the_picture_and_learns(given, tmp_path, source) -> None:
    prior, network, out = tiny_prior(), tiny_prerestorer(), tmp_path / "fusion.safetensors"
    fusion = new_fusion(source, network, prior)
    picture = torch.rand(1, 3, 32, 32)
    features = tuple(torch.randn(1, width, 32 >> s, 32 >> s) for s, width in enumerate(NETWORK.widths, 1))
    found = prior_of(source, network, prior)(torch.randn(1, 4, 4, 4))
    assert torch.equal(fusion(picture, features, found), picture)
    trained = train(given, out, replace(SETTINGS, source=source))
    read = KIND.load(out)
    assert read.config == trained.config == fusion.config
    changed = read(picture, features, found)
    assert bool(changed.isfinite().all()) and not torch.equal(changed, picture)


def test_a_resumed_run_gives_the_same_file(given, tmp_path) -> None:
    check_resume_is_exact(lambda out, **options: train(given, out, **options), tmp_path, step=7)
