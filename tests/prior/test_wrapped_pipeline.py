"""The pipeline decodes with feature wrapping: the film that went in steers the decoder."""

import pytest
import torch

from vldm_core.decode.memory_fallback import DecodeSettings
from vldm_core.decode.wrapping.network import FeatureWrapping
from vldm_core.errors import SettingsError
from vldm_core.prior.finish import FinishSettings

from ..decode.wrapping.oracle_vae import vae_of
from ..oracles import load_oracle
from .tiny_pipeline import tiny_pipeline

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FRAMES = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def weights():
    return load_oracle("stablesr_cfw").weights("autoencoder")


@pytest.fixture(scope="module")
def layers(weights):
    return FeatureWrapping.from_published(weights)


@pytest.fixture
def pipeline(weights):
    found = tiny_pipeline()
    found.register_modules(vae=vae_of(weights))
    return found


def restored(pipeline, layers=None, *, fidelity=0.5, tile=None, **more):
    finish = FinishSettings(colour=None, fidelity=fidelity, decode=DecodeSettings(tile=tile))
    return pipeline(FRAMES, feature_wrapping=layers, finish=finish, strength=0.0, fitting=None, **more).frames


def test_the_film_steers_the_decoder_as_far_as_asked(pipeline, layers) -> None:
    plain = restored(pipeline)
    assert torch.equal(restored(pipeline, layers, fidelity=0.0), plain)
    half, full = restored(pipeline, layers), restored(pipeline, layers, fidelity=1.0)
    assert not torch.equal(half, plain)
    assert not torch.equal(full, half)
    assert full.shape == FRAMES.shape
    assert torch.equal(restored(pipeline), plain)


def test_half_precision_and_progress(pipeline, layers) -> None:
    seen = []
    wanted = restored(pipeline, layers)
    found = restored(
        pipeline.to(torch.bfloat16), layers, progress=lambda phase, done, total, *_: seen.append((phase, done, total))
    )
    assert (found - wanted).abs().mean() < 0.05
    assert [entry for entry in seen if entry[0] == "decode"] == [("decode", 1, 2), ("decode", 2, 2)]
    layers.float()


def test_what_stands_in_the_way_is_said_before_a_model_runs(pipeline, layers) -> None:
    def run(*_: object) -> None:
        raise AssertionError("a model ran")

    for model in (pipeline.vae.encoder, pipeline.text_encoder, pipeline.unet):
        model.register_forward_pre_hook(run)
    with pytest.raises(SettingsError, match="or a temporal decoder"):
        restored(pipeline, layers, temporal_decoder=torch.nn.Identity())
    with pytest.raises(SettingsError, match="fidelity weight"):
        restored(pipeline, layers, fidelity=2.0)
    pipeline.vae.enable_tiling()
    with pytest.raises(SettingsError, match="own tiles"):
        restored(pipeline, layers)
    pipeline.register_modules(vae=tiny_pipeline().vae)
    with pytest.raises(SettingsError, match="8 channels wide"):
        restored(pipeline, layers)
