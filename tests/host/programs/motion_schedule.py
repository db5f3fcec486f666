"""With motion modules both hosts take the same steps: node and pipeline put the same noise schedule in place."""

import tempfile
from pathlib import Path

import diffusers
from parity_common import *

import folder_paths
from pack.nodes.prior.temporal_layers import ApplyTemporalLayers
from pack.vldm_core.prior.temporal.animatediff import MotionConfig, MotionModules, MotionSettings
from pack.vldm_core.prior.temporal.animatediff_files import read_motion_modules, save_motion_modules
from pack.vldm_core.prior.schedulers import DrivenScheduler, with_linear_betas
from pack.vldm_core.prior.temporal.attention import AttentionWindows

# Whole timesteps, 333 apart: between two of them the hosts ask the network for different ones.
STEPS = 4
folder = Path(tempfile.mkdtemp())
folder_paths.add_model_folder_path("animatediff_models", str(folder))
torch.manual_seed(5)
modules = MotionModules(MotionConfig.published("v2", (32, 64, 128, 128)))
for parameter in modules.parameters():
    torch.nn.init.normal_(parameter, std=0.05)
save_motion_modules(modules, folder / "motion.safetensors")
inside = AttentionWindows(length=4, stride=2)

noise, latent = random(6, 4, 8, 8), random(6, 4, 8, 8, seed=5)
positive, negative = conditioning(), conditioning(seed=3)
model, twin = tiny_pair()
(patched,) = ApplyTemporalLayers.execute(model, "motion.safetensors", 1.0, inside.length, inside.stride, "auto").result
sampling = patched.get_model_object("model_sampling")
theirs = comfy.samplers.calculate_sigmas(sampling, "normal", STEPS)
euler_scheduler = diffusers.EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
plain = DrivenScheduler(euler_scheduler, steps=STEPS)
assert abs(plain.sigmas[0] / float(theirs[0]) - 1) > 0.1, "motion modules are sampled from another noise level"
drive = DrivenScheduler(with_linear_betas(euler_scheduler), steps=STEPS)
assert torch.allclose(torch.tensor(drive.sigmas), theirs, rtol=1e-4, atol=1e-5), (drive.sigmas, theirs)

found = sample(patched, positive, negative, noise, latent, steps=STEPS, sigmas=theirs)
attachment = read_motion_modules(folder / "motion.safetensors", MotionSettings(windows=inside))
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
    start = noise * (1 + drive.sigmas[0] ** 2) ** 0.5 + latent * 0.18215
    wanted = drive.sample(denoiser, start) / 0.18215
difference = (found - wanted).abs().max() * 0.18215
assert difference < 1e-3, float(difference)
other = sample(model, positive, negative, noise, latent, steps=STEPS)
assert (found - other).abs().max() > 1e-2
