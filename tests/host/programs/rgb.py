"""Guidance in picture space through a VAE that was loaded in inference mode."""

from sampler_common import *

import comfy.ldm.models.autoencoder as autoencoder
import comfy.model_patcher

torch.manual_seed(0)
with torch.inference_mode():
    first = autoencoder.AutoencoderKL(
        ddconfig={
            "double_z": True,
            "z_channels": 4,
            "resolution": 64,
            "in_channels": 3,
            "out_ch": 3,
            "ch": 32,
            "ch_mult": [1, 1, 1, 1],
            "num_res_blocks": 1,
            "attn_resolutions": [],
            "dropout": 0.0,
        },
        embed_dim=4,
    ).eval()
    # The host's layers come without initial values.
    for parameter in first.parameters():
        if parameter.ndim >= 2:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        else:
            parameter.zero_()
    for module in first.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.weight.fill_(1.0)


class Vae:
    first_stage_model = first
    device = torch.device("cpu")
    vae_dtype = torch.float32
    patcher = comfy.model_patcher.ModelPatcher(first, torch.device("cpu"), torch.device("cpu"))


assert next(first.parameters()).is_inference()
patched = guided(space="rgb", images=images, vae=Vae(), scale=1.0, keep_undamaged=0.0, propagation=0.0)
found, plain = stock_sample(patched), stock_sample(model)


def picture(z):
    with torch.inference_mode():
        return (first.decode(z) + 1) / 2


target = images.movedim(-1, 1)
before, after = ((picture(x) - target).square().mean() for x in (plain, found))
assert after < 0.98 * before, (before, after)
