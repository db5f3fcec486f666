"""Decode With Feature Wrapping on an image VAE of the host's classes: the published numbers, memory, interrupts."""

import comfy.model_management as management
import comfy.sd
import folder_paths
import pytest
import torch
from inside.models import count_decodes
from pack.nodes.decode.decode_video import DecodeVideo
from pack.nodes.decode.decode_with_feature_wrapping import DecodeWithFeatureWrapping
from pack.nodes.host.models import CONTROL
from pack.nodes.host.prior import vae as host_vae
from pack.vldm_core.errors import SettingsError
from safetensors.torch import save_file

from ....oracles import load_oracle

pytestmark = pytest.mark.usefixtures("without_gradients")

LATENTS = torch.randn(3, 4, 8, 24, generator=torch.Generator().manual_seed(1))
IMAGES = torch.rand(3, 64, 192, 3, generator=torch.Generator().manual_seed(2))
FILE = "cfw.safetensors"


@pytest.fixture(scope="module")
def oracle():
    return load_oracle("stablesr_cfw")


@pytest.fixture(scope="module")
def weights(oracle):
    return oracle.weights("autoencoder")


@pytest.fixture
def vae(oracle, weights):
    config = {"ddconfig": dict(oracle.about["config"]["autoencoder"]), "embed_dim": 4}
    found = comfy.sd.VAE(sd={}, config={"params": config})
    plain = {key: value for key, value in weights.items() if "fusion_layer" not in key}
    found.first_stage_model.load_state_dict(plain)
    return found


@pytest.fixture(autouse=True)
def _folder(tmp_path, weights):
    save_file(weights | {"loss.logvar": torch.zeros(1)}, tmp_path / FILE)
    folder_paths.folder_names_and_paths[CONTROL][0].insert(0, str(tmp_path))


def run(vae, latents=LATENTS, images=IMAGES, *, fidelity=1.0, tile_size=0, file=FILE):
    assert DecodeWithFeatureWrapping.validate_inputs(file=file, tile_size=tile_size) is True
    output = DecodeWithFeatureWrapping.execute(
        samples={"samples": latents}, vae=vae, images=images, file=file, fidelity=fidelity, tile_size=tile_size
    )
    return output.result[0]


def plainly(vae):
    output = DecodeVideo.execute(samples={"samples": LATENTS}, vae=vae, chunk_frames=0, halo=4, tile_size=0)
    return output.result[0]


@pytest.mark.parametrize(("name", "fidelity"), [("w1", 1.0), ("w0.5", 0.5), ("w0", 0.0)])
def test_the_hosts_vae_gives_what_the_original_gives(oracle, vae, name, fidelity):
    # The oracle's picture is not clamped.
    vae.process_output = lambda image: (image + 1) / 2
    images = (oracle.input("image").movedim(1, -1) + 1) / 2
    found = run(vae, oracle.input("latent"), images, fidelity=fidelity)
    oracle.check(f"image.{name}", found.movedim(-1, 1) * 2 - 1)


def test_the_hosts_encoder_gives_what_the_original_gives(oracle, vae):
    moments = vae.first_stage_model.quant_conv(vae.first_stage_model.encoder(oracle.input("image")))
    oracle.check("moments", moments)


def test_a_fidelity_of_zero_is_decode_video_and_the_vae_stays_as_it_is(vae):
    plain = plainly(vae)
    assert torch.equal(run(vae, fidelity=0.0), plain)
    wrapped = run(vae)
    assert wrapped.shape == plain.shape
    assert wrapped.is_contiguous()
    assert not torch.equal(wrapped, plain)
    assert torch.equal(plainly(vae), plain)


def test_frames_are_decoded_one_at_a_time_and_tiles_are_no_larger_than_asked(vae):
    whole, calls = run(vae), count_decodes(vae)
    tiled = run(vae, tile_size=128)
    assert len(calls) == 6
    assert max(shape[-1] for shape in calls) <= 16
    assert (tiled - whole).mean().abs() < 0.02


def test_memory_that_runs_out_makes_tiles(vae):
    real, done = vae.first_stage_model.decode, []

    def short_of_memory(part, **options):
        if part.shape[-1] > 20:
            raise management.OOM_EXCEPTION("short of memory")
        done.append(part.shape[-1])
        return real(part, **options)

    vae.first_stage_model.decode = short_of_memory
    wide = torch.randn(1, 4, 8, 40), torch.rand(1, 64, 320, 3)
    assert run(vae, *wide).isfinite().all()
    assert max(done) <= 20


def test_the_host_manages_the_layers(vae, monkeypatch):
    asked = []
    real = management.load_models_gpu
    monkeypatch.setattr(
        host_vae.model_management,
        "load_models_gpu",
        lambda models, **more: (asked.append(list(models)), real(models, **more)),
    )
    run(vae)
    assert asked
    assert all(models[0] is vae.patcher and len(models) == 2 for models in asked)
    assert len({id(models[1]) for models in asked}) == 1


def test_half_precision_runs(vae):
    # Half precision takes many times longer here.
    small = LATENTS[:1, :, :4, :4], IMAGES[:1, :32, :32]
    wanted = run(vae, *small)
    vae.first_stage_model.to(torch.bfloat16)
    vae.vae_dtype = torch.bfloat16
    assert (run(vae, *small) - wanted).abs().mean() < 0.05


def test_an_interrupt_comes_out_and_leaves_the_vae_alone(vae):
    plain = plainly(vae)
    management.interrupt_current_processing(True)
    with pytest.raises(management.InterruptProcessingException):
        run(vae)
    management.interrupt_current_processing(False)
    assert torch.equal(plainly(vae), plain)


def test_pictures_are_cropped_as_the_hosts_encoding_crops_them(vae):
    wider = torch.rand(3, 67, 198, 3)
    wider[:, 1:65, 3:195] = IMAGES
    assert torch.equal(run(vae, images=wider), run(vae))


def test_what_does_not_fit_is_refused(vae, tmp_path):
    with pytest.raises(SettingsError, match="degraded frames"):
        run(vae, images=IMAGES[:2])
    with pytest.raises(SettingsError, match=r"ha(ve|s) 16 channels"):
        run(vae, torch.zeros(3, 16, 8, 24))
    assert "models/vldm_control" in DecodeWithFeatureWrapping.validate_inputs(file="none.ckpt")
    assert "128" in DecodeWithFeatureWrapping.validate_inputs(tile_size=64)
    before = DecodeWithFeatureWrapping.fingerprint_inputs(file=FILE, samples=None)
    save_file({"x": torch.zeros(3)}, tmp_path / FILE)
    assert DecodeWithFeatureWrapping.fingerprint_inputs(file=FILE, samples=None) != before
