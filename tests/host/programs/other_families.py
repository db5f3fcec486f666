"""Models of other families: SDXL works, SD 2.x takes no motion modules, models without such a UNet are refused."""

import tempfile
from pathlib import Path

import torch
from in_host import *

import comfy.latent_formats
import comfy.model_base
import comfy.model_patcher
import comfy.sd
import comfy.supported_models_base
import comfy.utils
import safetensors.torch
import nodes as stock
from pack.nodes.host.prior import check_family, view_of, with_attachment
from pack.nodes.host.conditioning import scheduled
from pack.nodes.prior.long_video_windows import LongVideoWindows
from pack.nodes.prior.restoration_guidance import RestorationGuidanceNode
from pack.nodes.prior.restoration_sampler import RestorationSampler
from pack.nodes.prior.shot_loras import ShotLoras
from pack.vldm_core.errors import SettingsError
from pack.vldm_core.prior.temporal.animatediff import MotionConfig, MotionModules
from pack.vldm_core.prior.lora.per_frame import ShotLora, named_layers, read_lora
from pack.vldm_core.video.shots import Shot

FRAMES = 6


def patcher(kind, latent_format, model_type, **unet):
    """A MODEL of one of the host's classes, narrow, with random weights."""
    torch.manual_seed(0)
    settings = comfy.supported_models_base.BASE(dict(unet))
    settings.unet_config, settings.latent_format = unet, latent_format
    model = kind(settings, model_type=model_type, device="cpu").eval()
    with torch.no_grad():
        for parameter in model.diffusion_model.parameters():
            spread = parameter[0].numel() ** -0.5 if parameter.ndim >= 2 else 0.1
            torch.nn.init.normal_(parameter, std=spread)
    return comfy.model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))


COMMON = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 32, "num_heads": 4,
    "num_head_channels": -1,
    "use_spatial_transformer": True, "legacy": False, "use_temporal_attention": False, "use_temporal_resblock": False,
    "dtype": torch.float32,
}  # fmt: skip
FOUR_LEVELS = {
    "channel_mult": [1, 2, 4, 4],
    "num_res_blocks": [1, 1, 1, 1],
    "transformer_depth": [1, 1, 1, 0],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_middle": 1,
}
EPS = comfy.model_base.ModelType.EPS
SDXL = {
    **COMMON, "channel_mult": [1, 2, 4], "num_res_blocks": [2, 2, 2], "transformer_depth": [0, 0, 1, 1, 1, 1],
    "transformer_depth_output": [0, 0, 0, 1, 1, 1, 1, 1, 1], "transformer_depth_middle": 1, "context_dim": 2048,
    "use_linear_in_transformer": True, "num_classes": "sequential", "adm_in_channels": 2816,
}  # fmt: skip
xl = patcher(comfy.model_base.SDXL, comfy.latent_formats.SDXL(), EPS, **SDXL)
with torch.no_grad():
    xl.model.diffusion_model.out[2].weight.mul_(0.3)


def said(seed):
    """The host's CONDITIONING of SDXL: tokens and a pooled embedding, of one shot."""
    options = {"pooled_output": random(1, 1280, seed=seed + 1), "width": 96, "height": 64}
    return [[random(1, 7, 2048, seed=seed), options]]


shots = (Shot(0, 4), Shot(4, FRAMES))
positive, negative = scheduled([said(2), said(4)], shots), said(6)
latent = {"samples": random(FRAMES, 4, 8, 12, seed=8) / 0.13025}


def ksampler(model):
    with torch.inference_mode():
        return stock.common_ksampler(model, 3, 3, 4.0, "euler", "normal", positive, negative, latent, denoise=0.5)[0][
            "samples"
        ]


def close(found, wanted, least=1e-4):
    assert (found - wanted).abs().max() < least * wanted.abs().max(), (found - wanted).abs().max()


# SDXL: windows and tiles give every frame the prompt and the pooled embedding of its shot; nothing else changes.
plain = ksampler(xl)
windowed = LongVideoWindows.execute(xl, 3, 1, "static", 1, "pyramid", False, 0, 0, "gaussian", shots=shots).result[0]
close(ksampler(windowed), plain)
other = scheduled([said(2), said(12)], shots)
with torch.inference_mode():
    moved = stock.common_ksampler(windowed, 3, 3, 4.0, "euler", "normal", other, negative, latent, denoise=0.5)
close(moved[0]["samples"][:4], plain[:4])
assert (moved[0]["samples"][4:] - plain[4:]).abs().max() > 1e-2
tiled = LongVideoWindows.execute(xl, 0, 0, "static", 1, "flat", False, 64, 16, "hann", shots=shots).result[0]
assert ksampler(tiled).isfinite().all()

# SDXL: the sampler with its extras off is the host's; guidance pulls towards the latent.
values = {i.id: i.default for i in RestorationSampler.define_schema().inputs if getattr(i, "default", None) is not None}
values |= {"seed": 3, "steps": 3, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 0.5}
values |= {"guidance": 0.0, "keep_undamaged": 0.0, "noise": "independent", "window": 3, "overlap": 1, "shots": shots}


def restored(**changes):
    with torch.inference_mode():
        return RestorationSampler.execute(xl, positive, negative, latent, **{**values, **changes}).result[0]["samples"]


away = (plain - latent["samples"]).abs().mean()
assert (restored() - latent["samples"]).abs().mean() > 0.5 * away
assert (restored(guidance=2.0) - latent["samples"]).abs().mean() < 0.9 * away

# SDXL: LoRAs per shot, under diffusers' names of the layers and under the host's, as the host's own loader merges them.
layers = named_layers(view_of(xl))
for names in (
    ["down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q", "up_blocks_0_attentions_2_proj_out",
     "mid_block_attentions_0_transformer_blocks_0_attn2_to_k", "down_blocks_0_resnets_1_conv1"],
    ["input_blocks_4_1_transformer_blocks_0_attn1_to_q", "middle_block_1_proj_out", "input_blocks_1_0_in_layers_2"],
):  # fmt: skip
    tensors = {}
    for index, name in enumerate(names):
        weight, key = layers[name].weight, f"lora_unet_{name}"
        tensors[f"{key}.lora_down.weight"] = random(4, *weight.shape[1:], seed=index) / weight[0].numel() ** 0.5
        tensors[f"{key}.lora_up.weight"] = random(weight.shape[0], 4, *[1] * (weight.ndim - 2), seed=index + 9)
    path = Path(tempfile.mkdtemp()) / "lora.safetensors"
    safetensors.torch.save_file(tensors, path)
    merged = ksampler(comfy.sd.load_lora_for_models(xl, None, tensors, 0.7, 0.0)[0])
    assert (merged - plain).abs().max() > 1e-2
    half = with_attachment(xl, ShotLora(read_lora(path), [0.7] * 4 + [0.0] * 2), "lora")
    found = ksampler(half)
    close(found[:4], merged[:4], 1e-3)
    close(found[4:], plain[4:])


def refused(parts, work, *arguments, **more):
    try:
        work(*arguments, **more)
    except SettingsError as error:
        assert all(part in str(error) for part in parts), (parts, str(error))
        return
    raise AssertionError(f"{parts} was not refused")


# Motion modules, of layers that the UNet has in the right widths: SD 1.x takes them, 2.x and XL do not.
for width, family in ((768, None), (1024, "Stable Diffusion 2.x (text 1024 wide)")):
    unet = {**COMMON, **FOUR_LEVELS, "context_dim": width, "use_linear_in_transformer": width == 1024}
    unet["adm_in_channels"] = None
    model = patcher(comfy.model_base.BaseModel, comfy.latent_formats.SD15(), EPS, **unet)
    modules = MotionModules(MotionConfig(version="v3", channels=(("down.0.0", 32), ("up.0.0", 128)), positions=32))
    if family is None:
        with_attachment(model, modules, "motion")
    else:
        refused(("made for Stable Diffusion 1.x", family), with_attachment, model, modules, "motion")
modules = MotionModules(MotionConfig(version="v3", channels=(("down.0.0", 32),), positions=32))
refused(("made for Stable Diffusion 1.x", "Stable Diffusion XL"), with_attachment, xl, modules, "motion")

# A LoRA of another family is refused by its layers.
refused(("made for another",), with_attachment, model, ShotLora(read_lora(path), 1.0), "lora")

# Models without such a UNet, and one with time of its own.
flux = patcher(
    comfy.model_base.Flux, comfy.latent_formats.Flux(), comfy.model_base.ModelType.FLUX, image_model="flux",
    in_channels=16, out_channels=16, patch_size=2, vec_in_dim=8, context_in_dim=16, hidden_size=32, mlp_ratio=2.0,
    num_heads=2, depth=1, depth_single_blocks=1, axes_dim=[4, 6, 6], theta=10000, qkv_bias=True, guidance_embed=False,
    dtype=torch.float32,
)  # fmt: skip
video = {**COMMON, **FOUR_LEVELS, "in_channels": 8, "context_dim": 1024, "use_linear_in_transformer": True}
video |= {"num_classes": "sequential", "adm_in_channels": 768}
video |= {"use_temporal_attention": True, "use_temporal_resblock": True}
video |= {"extra_ff_mix_layer": True, "use_spatial_context": True, "video_kernel_size": [3, 1, 1]}
video |= {"merge_strategy": "learned_with_images", "merge_factor": 0.0}
svd = patcher(
    comfy.model_base.SVD_img2vid, comfy.latent_formats.SD15(), comfy.model_base.ModelType.V_PREDICTION_EDM, **video
)
guidance = {"scale": 0.5, "weighting": "mse", "space": "latent", "start": 0.0, "end": 1.0, "keep_undamaged": 1.0}
lora = ("""{"1920s": {"file": "x.safetensors"}}""", "1920s", "1.0")
for model, name in ((flux, "Flux"), (svd, "SVD_img2vid")):
    ours = f"works with models of Stable Diffusion 1.x, 2.x and XL; this one is {name}"
    windows = (model, 4, 1, "static", 1, "flat", False, 0, 0, "hann")
    refused((f"Long Video Windows {ours}",), LongVideoWindows.execute, *windows)
    refused((f"Shot LoRAs {ours}",), ShotLoras.execute, model, *lora)
    refused(
        (f"Restoration Guidance {ours}",), RestorationGuidanceNode.execute, model, latent, propagation=0.5, **guidance
    )
    refused((f"Restoration Sampler {ours}",), RestorationSampler.execute, model, positive, negative, latent, **values)
    refused((f"Apply Temporal Layers {ours}",), check_family, model, "Apply Temporal Layers")
