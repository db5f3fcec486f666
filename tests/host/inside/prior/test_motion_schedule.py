"""With motion modules both hosts take the same steps: node and pipeline put the same noise schedule in place."""

import comfy.samplers
import diffusers
import folder_paths
import pytest
import torch
from inside.models import tiny_pair
from inside.prior.headless import start
from inside.sampling import SCALE, conditioning, random, sample
from pack.nodes.prior.temporal_layers import ApplyTemporalLayers
from pack.vldm_core.prior.denoiser import ClipDenoiser, DenoiserSettings
from pack.vldm_core.prior.schedulers import DrivenScheduler, with_linear_betas
from pack.vldm_core.prior.temporal.animatediff import MotionConfig, MotionModules, MotionModuleSettings
from pack.vldm_core.prior.temporal.animatediff_files import read_motion_modules, save_motion_modules
from pack.vldm_core.prior.temporal.attention import AttentionWindows
from pack.vldm_core.prior.unet import UNetView
from pack.vldm_core.sampling.cfg import CfgSettings

# Whole timesteps, 333 apart: between two of them the hosts ask the network for different ones.
STEPS = 4
INSIDE = AttentionWindows(length=4, stride=2)
EULER = diffusers.EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")


@pytest.fixture
def motion_file(tmp_path):
    """Motion modules that do something, where the host looks for them."""
    folder_paths.add_model_folder_path("animatediff_models", str(tmp_path))
    torch.manual_seed(5)
    modules = MotionModules(MotionConfig.published("v2", (32, 64, 128, 128)))
    for parameter in modules.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    save_motion_modules(modules, tmp_path / "motion.safetensors")
    return tmp_path / "motion.safetensors"


def test_node_and_pipeline_sample_alike(motion_file):
    model, twin = tiny_pair()
    arguments = motion_file.name, 1.0, INSIDE.length, INSIDE.stride, "auto"
    (patched,) = ApplyTemporalLayers.execute(model, *arguments).result
    sigmas = comfy.samplers.calculate_sigmas(patched.get_model_object("model_sampling"), "normal", STEPS)
    plain = DrivenScheduler(EULER, steps=STEPS)
    assert abs(plain.sigmas[0] / float(sigmas[0]) - 1) > 0.1, "motion modules are sampled from another noise level"
    drive = DrivenScheduler(with_linear_betas(EULER), steps=STEPS)
    torch.testing.assert_close(torch.tensor(drive.sigmas), sigmas, rtol=1e-4, atol=1e-5)

    noise, latent = random(6, 4, 8, 8), random(6, 4, 8, 8, seed=5)
    positive, negative = conditioning(), conditioning(seed=3)
    found = sample(patched, positive, negative, noise, latent, sigmas=sigmas)
    attachment = read_motion_modules(motion_file, MotionModuleSettings(windows=INSIDE))
    with attachment.attached(UNetView(twin)), torch.no_grad():
        denoiser = ClipDenoiser(
            twin,
            timestep=drive.timestep,
            sigmas=drive.sigmas,
            positive=positive[0][0],
            negative=negative[0][0],
            settings=DenoiserSettings(cfg=CfgSettings(scale=3.0)),
            attachments=[attachment],
            schedule=drive.schedule,
        )
        wanted = drive.sample(denoiser, start(noise, latent, drive.sigmas[0]))
    torch.testing.assert_close(found * SCALE, wanted, atol=1e-3, rtol=0)
    other = sample(model, positive, negative, noise, latent, steps=STEPS)
    assert (found - other).abs().max() > 1e-2, "motion modules do nothing"
