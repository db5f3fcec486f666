"""Models of other families: SDXL works, SD 2.x takes no motion modules, models without such a UNet are refused."""

import comfy.latent_formats
import comfy.model_base
import comfy.sd
import comfy.supported_models_base
import pytest
import safetensors.torch
import torch
from inside.models import patcher, shaken
from inside.prior.loras import lora_tensors
from inside.sampling import assert_same, random
from pack.nodes.host.prior.attachments import check_family, view_of, with_attachment
from pack.nodes.host.prior.conditioning import scheduled
from pack.nodes.prior.long_video_windows import LongVideoWindows
from pack.nodes.prior.restoration_guidance import RestorationGuidanceNode
from pack.nodes.prior.restoration_sampler import RestorationSampler
from pack.nodes.prior.shot_loras import ShotLoras
from pack.vldm_core.errors import SettingsError
from pack.vldm_core.prior.lora.per_frame import ShotLora, named_layers, read_lora
from pack.vldm_core.prior.temporal.animatediff import MotionConfig, MotionModules
from pack.vldm_core.video.shots import Shot

import nodes as stock

FRAMES = 6
SHOTS = (Shot(0, 4), Shot(4, FRAMES))
LATENT = {"samples": random(FRAMES, 4, 8, 12, seed=8) / 0.13025}

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
SDXL = {
    **COMMON, "channel_mult": [1, 2, 4], "num_res_blocks": [2, 2, 2], "transformer_depth": [0, 0, 1, 1, 1, 1],
    "transformer_depth_output": [0, 0, 0, 1, 1, 1, 1, 1, 1], "transformer_depth_middle": 1, "context_dim": 2048,
    "use_linear_in_transformer": True, "num_classes": "sequential", "adm_in_channels": 2816,
}  # fmt: skip


def model_of(kind, latent_format, model_type, **unet):
    """Return a MODEL of one of the host's classes, narrow, with random weights."""
    torch.manual_seed(0)
    settings = comfy.supported_models_base.BASE(dict(unet))
    settings.unet_config, settings.latent_format = unet, latent_format
    model = kind(settings, model_type=model_type, device="cpu").eval()
    shaken(model.diffusion_model)
    return patcher(model)


@pytest.fixture(scope="module")
def xl():
    """A MODEL of SDXL."""
    xl = model_of(comfy.model_base.SDXL, comfy.latent_formats.SDXL(), comfy.model_base.ModelType.EPS, **SDXL)
    with torch.no_grad():
        xl.model.diffusion_model.out[2].weight.mul_(0.3)
    return xl


def said(seed):
    """Return the host's CONDITIONING of SDXL for a shot: tokens and a pooled embedding."""
    options = {"pooled_output": random(1, 1280, seed=seed + 1), "width": 96, "height": 64}
    return [[random(1, 7, 2048, seed=seed), options]]


POSITIVE, NEGATIVE = scheduled([said(2), said(4)], SHOTS), said(6)


def ksampler(model, positive=POSITIVE):
    with torch.inference_mode():
        (output,) = stock.common_ksampler(model, 3, 3, 4.0, "euler", "normal", positive, NEGATIVE, LATENT, denoise=0.5)  # type: ignore[attr-defined]
    return output["samples"]


@pytest.fixture(scope="module")
def plain(xl):
    """What the host samples of SDXL."""
    return ksampler(xl)


def windowed(model, length, overlap, fuse="flat", tile=0, tile_overlap=0, weight="gaussian"):
    arguments = length, overlap, "static", 1, fuse, False, tile, tile_overlap, weight
    return LongVideoWindows.execute(model, *arguments, shots=SHOTS).result[0]


def test_windows_of_sdxl_give_every_frame_the_prompt_and_the_embedding_of_its_shot(xl, plain):
    patched = windowed(xl, 3, 1, "pyramid")
    assert_same(ksampler(patched), plain, 1e-4)
    moved = ksampler(patched, scheduled([said(2), said(12)], SHOTS))
    assert_same(moved[:4], plain[:4], 1e-4)
    assert (moved[4:] - plain[4:]).abs().max() > 1e-2


def test_tiles_of_sdxl(xl):
    assert ksampler(windowed(xl, 0, 0, tile=64, tile_overlap=16, weight="hann")).isfinite().all()


def sampler_values(**changes):
    """Return the defaults of Restoration Sampler, cheap and with its extras off."""
    defaults = {i.id: getattr(i, "default", None) for i in RestorationSampler.define_schema().inputs}
    values = {key: value for key, value in defaults.items() if value is not None}
    values |= {"seed": 3, "steps": 3, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 0.5}
    values |= {"guidance": 0.0, "keep_undamaged": 0.0, "noise": "independent", "window": 3, "overlap": 1}
    return {**values, "shots": SHOTS, **changes}


def test_guidance_pulls_the_sample_of_sdxl_towards_the_latent(xl, plain):
    def away(**changes):
        with torch.inference_mode():
            output = RestorationSampler.execute(xl, POSITIVE, NEGATIVE, LATENT, **sampler_values(**changes))
        return (output.result[0]["samples"] - LATENT["samples"]).abs().mean()

    host = (plain - LATENT["samples"]).abs().mean()
    assert away() > 0.5 * host
    assert away(guidance=2.0) < 0.9 * host


@pytest.fixture(
    scope="module",
    params=[
        ("down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q", "up_blocks_0_attentions_2_proj_out",
         "mid_block_attentions_0_transformer_blocks_0_attn2_to_k", "down_blocks_0_resnets_1_conv1"),
        ("input_blocks_4_1_transformer_blocks_0_attn1_to_q", "middle_block_1_proj_out", "input_blocks_1_0_in_layers_2"),
    ],
    ids=["names of diffusers", "names of the host"],
)  # fmt: skip
def lora(request, xl, tmp_path_factory):
    """A LoRA of SDXL: its tensors, and as the package reads it."""
    tensors = lora_tensors(named_layers(view_of(xl)), request.param)
    path = tmp_path_factory.mktemp("lora") / "lora.safetensors"
    safetensors.torch.save_file(tensors, path)
    return tensors, read_lora(path)


def test_a_lora_of_a_shot_of_sdxl_is_as_the_hosts_own_loader_merges_it(xl, plain, lora):
    tensors, updates = lora
    merged = ksampler(comfy.sd.load_lora_for_models(xl, None, tensors, 0.7, 0.0)[0])
    assert (merged - plain).abs().max() > 1e-2
    found = ksampler(with_attachment(xl, ShotLora(updates, [0.7] * 4 + [0.0] * 2), "lora"))
    assert_same(found[:4], merged[:4], 1e-3)
    assert_same(found[4:], plain[4:], 1e-4)


def sd(width):
    """A MODEL of Stable Diffusion 1.x or 2.x, by the width of its text."""
    unet = {**COMMON, **FOUR_LEVELS, "context_dim": width, "use_linear_in_transformer": width == 1024}
    unet["adm_in_channels"] = None
    kind, eps = comfy.model_base.BaseModel, comfy.model_base.ModelType.EPS
    return model_of(kind, comfy.latent_formats.SD15(), eps, **unet)


def motion_modules(*channels):
    """Motion modules of layers that the UNet has, in the right widths."""
    return MotionModules(MotionConfig(version="v3", channels=channels, positions=32))


FOUR_LEVEL_CHANNELS = (("down.0.0", 32), ("up.0.0", 128))


def test_stable_diffusion_1_takes_motion_modules():
    with_attachment(sd(768), motion_modules(*FOUR_LEVEL_CHANNELS), "motion")


def test_stable_diffusion_2_and_xl_do_not(xl):
    for model, channels, family in (
        (sd(1024), FOUR_LEVEL_CHANNELS, "Stable Diffusion 2.x (text 1024 wide)"),
        (xl, FOUR_LEVEL_CHANNELS[:1], "Stable Diffusion XL"),
    ):
        with pytest.raises(SettingsError, match=r"made for Stable Diffusion 1\.x") as refusal:
            with_attachment(model, motion_modules(*channels), "motion")
        assert family in str(refusal.value)


def test_a_lora_of_another_family_is_refused_by_its_layers(lora):
    with pytest.raises(SettingsError, match="made for another"):
        with_attachment(sd(1024), ShotLora(lora[1], 1.0), "lora")


def flux():
    """A MODEL without such a UNet."""
    return model_of(
        comfy.model_base.Flux, comfy.latent_formats.Flux(), comfy.model_base.ModelType.FLUX, image_model="flux",
        in_channels=16, out_channels=16, patch_size=2, vec_in_dim=8, context_in_dim=16, hidden_size=32, mlp_ratio=2.0,
        num_heads=2, depth=1, depth_single_blocks=1, axes_dim=[4, 6, 6], theta=10000, qkv_bias=True,
        guidance_embed=False, dtype=torch.float32,
    )  # fmt: skip


def stable_video_diffusion():
    """A MODEL with a time of its own."""
    video = {**COMMON, **FOUR_LEVELS, "in_channels": 8, "context_dim": 1024, "use_linear_in_transformer": True}
    video |= {"num_classes": "sequential", "adm_in_channels": 768}
    video |= {"use_temporal_attention": True, "use_temporal_resblock": True}
    video |= {"extra_ff_mix_layer": True, "use_spatial_context": True, "video_kernel_size": [3, 1, 1]}
    video |= {"merge_strategy": "learned_with_images", "merge_factor": 0.0}
    kind, prediction = comfy.model_base.SVD_img2vid, comfy.model_base.ModelType.V_PREDICTION_EDM
    return model_of(kind, comfy.latent_formats.SD15(), prediction, **video)


GUIDANCE = {"scale": 0.5, "weighting": "mse", "space": "latent", "start": 0.0, "end": 1.0, "keep_undamaged": 1.0}
ERA_MAP = """{"1920s": {"file": "x.safetensors"}}"""
USES = {
    "Long Video Windows": lambda model: windowed(model, 4, 1, weight="hann"),
    "Shot LoRAs": lambda model: ShotLoras.execute(model, ERA_MAP, "1920s", "1.0"),
    "Restoration Guidance": lambda model: RestorationGuidanceNode.execute(model, LATENT, propagation=0.5, **GUIDANCE),
    "Restoration Sampler": lambda model: RestorationSampler.execute(
        model, POSITIVE, NEGATIVE, LATENT, **sampler_values()
    ),
    "Apply Temporal Layers": lambda model: check_family(model, "Apply Temporal Layers"),
}


@pytest.mark.parametrize(("make", "name"), [(flux, "Flux"), (stable_video_diffusion, "SVD_img2vid")])
def test_other_models_are_refused_by_name(make, name):
    model = make()
    for node, use in USES.items():
        with pytest.raises(SettingsError) as refusal:
            use(model)
        ours = f"{node} works with models of Stable Diffusion 1.x, 2.x and XL; this one is {name}"
        assert ours in str(refusal.value)
