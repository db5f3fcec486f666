"""One-step restorers give the numbers of their own programs in the host's UNet and VAE, through the host's patches."""

import pytest
import torch
from inside.prior.onestep.oracle_models import oracle_model, oracle_vae
from pack.nodes.host.prior.onestep.clips import ComfyHost, check_one_step, load_one_step
from pack.vldm_core.prior.call import UNetCall, UNetInput
from pack.vldm_core.prior.onestep.run.restore import latent_of
from pack.vldm_core.prior.onestep.run.settings import OneStepSettings
from pack.vldm_core.prior.onestep.system import LatentFrame
from pack.vldm_core.video.shots import Shot

from .....oracles import load_oracle
from .....prior.onestep.oracle_files import published_files


def made(name, folder):
    oracle = load_oracle(f"onestep_{name}")
    model = oracle_model(oracle)
    vae = oracle_vae(oracle) if "vae" in oracle.about["config"] else None
    system = load_one_step(published_files(name, oracle, folder)).system
    return oracle, model, vae, system, ComfyHost(model, vae, (Shot(0, 2),))


def predicted(host, system, x, text, negative=None, **how):
    settings = {"invention": 1.0, "guidance": system.format.guidance, "scores": None, **how}
    total = torch.zeros(len(x), 4, *x.shape[-2:])
    for each in system.passes(**settings):
        with host.with_unet(each.change) as predict:
            chosen = (negative if each.negative else text).expand(len(x), -1, -1)
            time = torch.full((len(x),), float(system.format.step.timestep))
            frames = tuple(range(len(x)))
            inputs = UNetInput(x=x, timesteps=time, context=chosen)
            call = UNetCall(frames=frames, chunks=(0,), segments=((0, len(x)),), inputs=inputs)
            total += each.weight * predict(call)
    return total


def test_osediff(tmp_path):
    oracle, model, vae, system, host = made("osediff", tmp_path)
    check_one_step(model, vae, system, OneStepSettings())
    with host.with_vae(system.vae_change(None)) as encode:
        moments = encode(oracle.input("image"))
    oracle.check("moments", moments)
    latent = latent_of(moments, oracle.input("noise"), host.scale)
    eps = predicted(host, system, latent, oracle.input("context"))
    oracle.check("eps", eps, "mid")
    oracle.check("x0", system.format.step.x0(latent, eps))


@pytest.mark.parametrize(("invention", "name"), [(1.0, "x0_default"), (0.0, "x0_dial.2")])
def test_pisasr(tmp_path, invention, name):
    oracle, _, _, system, host = made("pisasr", tmp_path)
    latent = oracle.input("latent")
    oracle.check(name, latent - predicted(host, system, latent, oracle.input("context"), invention=invention))


def test_s3diff(tmp_path):
    oracle, model, vae, system, host = made("s3diff", tmp_path)
    check_one_step(model, vae, system, OneStepSettings())
    moments, found = [], []
    for index, scores in enumerate(oracle.input("scores")):
        with host.with_vae(system.vae_change(scores)) as encode:
            moments.append(encode(oracle.input("image")[index : index + 1]))
    oracle.check("moments", torch.cat(moments))
    latent = latent_of(torch.cat(moments), oracle.input("noise"), host.scale)
    for index, scores in enumerate(oracle.input("scores")):
        one = slice(index, index + 1)
        text, negative = oracle.input("context")[one], oracle.input("negative")[one]
        found.append(predicted(host, system, latent[one], text, negative, scores=scores))
    oracle.check("x0", system.format.step.x0(latent, torch.cat(found)))


def test_hypir(tmp_path):
    oracle, model, _, system, host = made("hypir", tmp_path)
    before = {key: value.clone() for key, value in model.model.state_dict().items()}
    latent = oracle.input("latent")
    eps = predicted(host, system, latent, oracle.input("context"))
    oracle.check("x0", system.format.step.x0(latent, eps))
    # Back to the MODEL as it came: the host unpatches when the next one is loaded.
    import comfy.model_management

    comfy.model_management.load_models_gpu([model])
    assert all(torch.equal(value, before[key]) for key, value in model.model.state_dict().items())


@torch.no_grad()
def test_dloral_brings_its_unet_of_eight_channels(tmp_path):
    oracle, model, _, system, host = made("dloral", tmp_path)
    own = model.model.diffusion_model.input_blocks[0][0].weight.detach().clone()
    latent = oracle.input("latent")
    frame, before = (LatentFrame(latent=latent[i : i + 1], small=oracle.tensors["mid.low"][i : i + 1]) for i in (1, 0))
    x, fused = system.inputs(frame, before)
    eps = predicted(host, system, x, oracle.input("context"))
    oracle.check("x0.stage1.1", system.format.step.x0(fused, eps))
    import comfy.model_management

    comfy.model_management.load_models_gpu([model])
    assert torch.equal(model.model.diffusion_model.input_blocks[0][0].weight, own)
