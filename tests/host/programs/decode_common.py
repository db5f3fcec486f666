"""What the programs about decoding share: the host's VAE classes with random weights."""

import torch
from comfy.sd import VAE
from pack.vldm_core.errors import SettingsError


def randomise(vae, std=0.02):
    generator = torch.Generator().manual_seed(0)
    for name, value in vae.first_stage_model.named_parameters():
        if name.endswith("mix_factor"):
            value.fill_(0.5)
        elif value.ndim >= 2:
            value.normal_(std=std, generator=generator)
        else:
            value.fill_(1.0 if name.endswith("weight") else 0.0)
    return vae


def count_calls(vae):
    calls, real = [], vae.first_stage_model.decode

    def counted(latents, **options):
        calls.append(tuple(latents.shape))
        return real(latents, **options)

    vae.first_stage_model.decode = counted
    return calls


def image_vae():
    plan = {
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
    }
    return randomise(VAE(sd={}, config={"params": {"ddconfig": plan, "embed_dim": 4}}), std=0.1)


def refusal(call, *arguments):
    try:
        call(*arguments)
    except SettingsError as error:
        return str(error)
    raise AssertionError("accepted")
