"""Guidance in picture space through a VAE that was loaded in inference mode."""

import pytest
import torch
from inside.models import filled, patcher, tiny_autoencoder
from inside.prior.restoring import IMAGES, guided, stock_sample


@pytest.fixture(scope="module")
def autoencoder():
    with torch.inference_mode():
        network = filled(tiny_autoencoder().eval())
    assert next(network.parameters()).is_inference()
    return network


def test_the_result_comes_closer_to_the_picture(model, autoencoder):
    vae = type("Vae", (), {
        "first_stage_model": autoencoder, "device": torch.device("cpu"), "vae_dtype": torch.float32,
        "patcher": patcher(autoencoder),
    })()  # fmt: skip
    patched = guided(model, space="rgb", images=IMAGES, vae=vae, scale=1.0, keep_undamaged=0.0, propagation=0.0)
    target = IMAGES.movedim(-1, 1)

    def error(latents):
        with torch.inference_mode():
            return ((autoencoder.decode(latents) + 1) / 2 - target).square().mean()

    assert error(stock_sample(patched)) < 0.98 * error(stock_sample(model))
