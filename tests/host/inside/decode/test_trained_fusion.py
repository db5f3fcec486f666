"""Trained Fusion on the host's own VAE: every route, both masks, and what is refused."""

import folder_paths
import pytest
import torch
from inside.models import image_vae
from pack.nodes.decode.trained_fusion import TrainedFusionNode
from pack.nodes.host.models import FUSION, PRERESTORE, model_path
from pack.nodes.host.prerestore import prerestorer_model
from pack.vldm_core.decode import fusion_decoder
from pack.vldm_core.errors import SettingsError
from pack.vldm_core.prerestore.network import KIND, PreRestorer, PreRestorerConfig
from pack.vldm_core.prerestore.run import PreRestoreSettings, pre_restore

pytestmark = pytest.mark.usefixtures("without_gradients")

WIDTHS = (8, 8, 12)
IMAGES = torch.rand(3, 32, 48, 3, generator=torch.Generator().manual_seed(2))
LATENTS = torch.randn(3, 4, 4, 6, generator=torch.Generator().manual_seed(1))
SOURCES = ("latent", "decoder", "picture")


@pytest.fixture(autouse=True)
def _folder(tmp_path):
    torch.manual_seed(0)
    network = PreRestorer(PreRestorerConfig(widths=WIDTHS, heads=2, window=4, latent=False)).eval()
    for source in SOURCES:
        config = fusion_decoder.FusionDecoderConfig(
            source=source, widths=WIDTHS, decoder_widths=(32, 32, 32), heads=2, window=4
        )
        fusion = fusion_decoder.FusionDecoder(config)
        for parameter in fusion.parameters():
            parameter.data.add_(0.05 * torch.randn(parameter.shape))
        fusion_decoder.KIND.save(fusion, tmp_path / f"{source}.safetensors")
    KIND.save(network, tmp_path / "network.safetensors")
    for name in (FUSION, PRERESTORE):
        folder_paths.folder_names_and_paths[name][0].insert(0, str(tmp_path))
        folder_paths.filename_list_cache.pop(name, None)


def run(source="latent", *, samples=LATENTS, weight=1.0, **more):
    file = f"{source}.safetensors"
    assert TrainedFusionNode.validate_inputs(file=file) is True
    output = TrainedFusionNode.execute(
        samples={"samples": samples},
        vae=image_vae(),
        images=IMAGES,
        file=file,
        weight=weight,
        keep_grain=0.0,
        prerestorer=prerestorer_model(model_path("network.safetensors", PRERESTORE)),
        **more,
    )
    return output.result[0]


@pytest.mark.parametrize("source", SOURCES)
def test_every_route_hears_the_prior_and_weight_0_does_not(source):
    one, other = run(source), run(source, samples=-LATENTS)
    assert one.shape == IMAGES.shape and one.isfinite().all() and not torch.equal(one, other)
    network = KIND.load(model_path("network.safetensors", PRERESTORE))
    alone = pre_restore(IMAGES.movedim(-1, 1), network, PreRestoreSettings(keep_grain=0.0))[0].movedim(1, -1)
    assert torch.equal(run(source, weight=0.0), alone)


def test_masks_of_both_kinds_count():
    mask = torch.zeros(3, 32, 48)
    mask[1, 8:16, 8:16] = 1
    plain = run()
    dirt, scratch = run(dirt=mask), run(scratch=mask)
    assert torch.equal(dirt, scratch) and not torch.equal(dirt, plain)


def test_what_is_no_fusion_and_another_size_are_refused():
    assert "network.safetensors" in str(TrainedFusionNode.validate_inputs(file="network.safetensors"))
    assert "no_such" in str(TrainedFusionNode.validate_inputs(file="no_such.safetensors"))
    with pytest.raises(SettingsError, match="went into the prior"):
        run(samples=LATENTS[..., :5])
