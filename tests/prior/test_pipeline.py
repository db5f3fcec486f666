"""The diffusers pipeline restores clips with the shared transforms, on diffusers' and transformers' real classes."""

import json
import shutil
import subprocess
import sys
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from vldm_core import VideoRestorationPipeline
from vldm_core.decode.fusion import FusionSettings
from vldm_core.decode.regrain import RegrainSettings
from vldm_core.errors import SettingsError
from vldm_core.prior.checkpoints.original_names import original_checkpoint
from vldm_core.prior.clip_sampling import smaller
from vldm_core.prior.finish import FinishSettings
from vldm_core.prior.lora.per_frame import LowRank, ShotLora
from vldm_core.prior.pipeline import ControlHint
from vldm_core.prior.temporal.animatediff import MotionConfig, MotionModules, MotionModuleSettings
from vldm_core.prior.temporal.attention import AttentionWindows
from vldm_core.prior.temporal.layers import TemporalConfig, TemporalLayers
from vldm_core.prior.unet import UNetView
from vldm_core.sampling.cfg import CfgSettings
from vldm_core.sampling.consistency import ConsistencySettings
from vldm_core.sampling.guidance import GuidanceSettings
from vldm_core.sampling.noise.clip_noise import VideoNoiseSettings
from vldm_core.sampling.noise.freeinit import FreeInitSettings
from vldm_core.sampling.regions.tiles import TileSettings
from vldm_core.sampling.regions.windows import WindowSettings
from vldm_core.sampling.restoration import RestorationSettings
from vldm_core.sampling.schedule import NoiseSchedule
from vldm_core.video.geometry import FitSettings
from vldm_core.video.shots import Shot

from .tiny_pipeline import tiny_pipeline, tiny_text_encoder, tiny_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PLAIN = RestorationSettings(
    windows=None, noise=VideoNoiseSettings(), propagation=None, consistency=None, cfg=CfgSettings(scale=2.0)
)
SMALL: dict[str, Any] = {"fitting": None, "num_inference_steps": 4, "strength": 0.5}


def film(frames: int = 6, height: int = 48, width: int = 64, seed: int = 0) -> torch.Tensor:
    """A smooth scene that moves two pixels a frame, with grain."""
    generator = torch.Generator().manual_seed(seed)
    scene = torch.rand(1, 3, height // 8, width // 8, generator=generator)
    scene = torch.nn.functional.interpolate(scene, size=(height, width), mode="bicubic").clamp(0, 1)
    clip = torch.cat([scene.roll(2 * t, dims=3) for t in range(frames)])
    return (clip + 0.02 * torch.randn(clip.shape, generator=generator)).clamp(0, 1)


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


@pytest.fixture
def fresh():
    return tiny_pipeline()


def refused(pipeline, match: str, **arguments) -> None:
    """Check that a call fails before any model has run."""

    def run(*_: object) -> None:
        raise AssertionError("a model ran")

    models = (pipeline.vae.encoder, pipeline.text_encoder, pipeline.unet)
    hooks = [model.register_forward_pre_hook(run) for model in models]
    try:
        with pytest.raises(SettingsError, match=match):
            pipeline(**{"frames": film(), **SMALL, **arguments})
    finally:
        for hook in hooks:
            hook.remove()


def test_a_clip_goes_through_with_everything_on(pipeline) -> None:
    settings = RestorationSettings(
        windows=WindowSettings(length=4, overlap=2),
        tiles=TileSettings(size=8, overlap=4),
        cfg=CfgSettings(scale=3.0, rescale=0.5, schedule="diffbir"),
        guidance=GuidanceSettings(weighting="edges"),
        freeinit=FreeInitSettings(iterations=2),
    )
    finish = FinishSettings(fusion=FusionSettings(mode="frequency"), grain=RegrainSettings())
    frames, masks = film(height=56, width=72), torch.zeros(6, 56, 72)
    masks[:, 8:20, 8:20] = 1
    told: dict[str, list[tuple[int, int | None]]] = {}
    found = pipeline(
        frames,
        prompt=["a street", "a horse"],
        negative_prompt="blur",
        settings=settings,
        shots=(Shot(0, 2), Shot(2, 6)),
        masks=masks,
        finish=finish,
        fitting=FitSettings(short_side=64, multiple=32),
        num_inference_steps=4,
        strength=0.5,
        progress=lambda phase, done, total, preview=None: told.setdefault(phase, []).append((done, total)),
    )
    assert found.frames.shape == frames.shape and found.latents.shape == (6, 4, 8, 12)
    assert found.frames.min() >= 0 and found.frames.max() <= 1 and found.frames.std() > 0.05
    assert told["sample"][-1] == (4, 4) and told["encode"][-1] == (6, 6)
    assert {"measure motion", "decode", "match colour", "fuse", "add grain"} <= set(told)


@pytest.mark.parametrize("sampler", ["scheduler", "spaced_ddpm"])
def test_the_same_seed_gives_the_same_result(pipeline, sampler) -> None:
    runs = [pipeline(film(3), seed=seed, settings=PLAIN, sampler=sampler, **SMALL) for seed in (5, 5, 6)]
    assert torch.equal(runs[0].latents, runs[1].latents) and torch.equal(runs[0].frames, runs[1].frames)
    assert (runs[0].latents - runs[2].latents).abs().max() > 1e-2


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_schedulers_of_all_kinds_run(prediction) -> None:
    for name in ("DDIMScheduler", "DPMSolverMultistepScheduler", "EulerAncestralDiscreteScheduler", "DDPMScheduler"):
        found = tiny_pipeline(name, prediction)(film(2), settings=PLAIN, output="latents", **SMALL)
        assert found.frames is None and found.latents.isfinite().all() and found.latents.std() < 5


def test_less_strength_stays_nearer_to_the_clip(pipeline) -> None:
    frames = film(2)
    call: dict[str, Any] = {"settings": PLAIN, "output": "latents", "fitting": None, "num_inference_steps": 20}
    begun = pipeline(frames, strength=0.0, **call).latents
    with torch.no_grad():
        encoded = pipeline.vae.encode(frames * 2 - 1).latent_dist.mode() * pipeline.vae.config.scaling_factor
    assert (begun - encoded).abs().max() < 1e-5
    away = [(pipeline(frames, strength=s, **call).latents - begun).square().mean().sqrt() for s in (0.05, 0.3, 0.9)]
    assert 0 < away[0] < away[1] < away[2] and away[0] < 0.15 * begun.std()


def test_a_strength_of_no_step_is_told(pipeline, caplog) -> None:
    pipeline(film(1), settings=PLAIN, output="latents", fitting=None, num_inference_steps=20, strength=0.04)
    assert "no step of 20" in caplog.text


def test_shots_are_kept_apart(pipeline) -> None:
    """Apart from the decision whether a film is monochrome, nothing of a shot depends on another one."""
    frames, shots = film(7), (Shot(0, 3), Shot(3, 7))
    other = frames.clone()
    other[3:] = film(4, seed=9)
    settings = RestorationSettings(windows=WindowSettings(length=3, overlap=1), guidance=GuidanceSettings())
    made = [pipeline(clip, settings=settings, shots=shots, **SMALL) for clip in (frames, other)]
    assert torch.equal(made[0].frames[:3], made[1].frames[:3])
    assert torch.equal(made[0].latents[:3], made[1].latents[:3])
    assert (made[0].frames[3:] - made[1].frames[3:]).abs().max() > 1e-2


def test_every_shot_has_its_own_prompt_and_texts_are_read_once(pipeline) -> None:
    read = []
    hook = pipeline.text_encoder.register_forward_pre_hook(lambda _, arguments: read.append(arguments[0].shape[0]))
    call: dict[str, Any] = {"settings": PLAIN, "shots": (Shot(0, 2), Shot(2, 4)), "output": "latents", **SMALL}
    both = pipeline(film(4), prompt=["a cat", "a dog"], negative_prompt="a cat", **call).latents
    hook.remove()
    assert read == [2]
    cat, dog = (pipeline(film(4), prompt=text, negative_prompt="a cat", **call).latents for text in ("a cat", "a dog"))
    assert torch.allclose(both[:2], cat[:2], atol=1e-5) and torch.allclose(both[2:], dog[2:], atol=1e-5)
    assert (cat - dog).abs().max() > 1e-3


def test_windows_and_tiles_hold_one_clip_together(pipeline) -> None:
    """Without temporal layers frames do not see each other, so windows change nothing; tiles change a little."""
    windows = RestorationSettings(**{**vars(PLAIN), "windows": WindowSettings(length=3, overlap=1)})
    call: dict[str, Any] = {"output": "latents", **SMALL}
    whole, parted = (pipeline(film(8), settings=how, **call).latents for how in (PLAIN, windows))
    assert torch.allclose(whole, parted, atol=1e-4)
    tiles = RestorationSettings(**{**vars(PLAIN), "tiles": TileSettings(size=8, overlap=4)})
    wide = film(1, 64, 128)
    whole, parted = (pipeline(wide, settings=how, **call).latents for how in (PLAIN, tiles))
    assert 0 < (whole - parted).abs().max() < 0.5 * whole.abs().max()


def test_masks_keep_the_undamaged_picture(pipeline) -> None:
    frames, masks = film(3), torch.zeros(3, 48, 64)
    masks[:, 16:24, 24:40] = 1
    settings = RestorationSettings(**{**vars(PLAIN), "consistency": ConsistencySettings(end=1.0)})
    finish = FinishSettings(fusion=FusionSettings(mode="mask", grow=2, feather=2))
    kept = pipeline(frames, masks=masks, settings=settings, finish=finish, **SMALL)
    near = torch.nn.functional.max_pool2d(masks[:, None], 9, 1, 4)[:, 0] > 0
    outside = ~near[:, None].expand_as(frames)
    assert torch.equal(kept.frames[outside], frames[outside])
    assert (kept.frames - frames).abs()[masks[:, None].expand_as(frames) > 0].mean() > 1e-2
    start = pipeline(frames, strength=0, output="latents", fitting=None).latents
    free = pipeline(frames, settings=PLAIN, output="latents", **SMALL)
    corner = (..., slice(5, 6), slice(0, 2))
    assert (kept.latents - start)[corner].abs().max() < 0.1 * (free.latents - start)[corner].abs().max()


def test_guidance_in_picture_space_works_without_gradients_of_the_caller(pipeline) -> None:
    how = GuidanceSettings(space="rgb", weighting="mse", scale=0.1)
    guided = RestorationSettings(**{**vars(PLAIN), "guidance": how})
    plain, pulled = (pipeline(film(2), settings=s, output="latents", **SMALL).latents for s in (PLAIN, guided))
    assert (plain - pulled).abs().max() > 1e-3 and not pulled.requires_grad


def temporal_layers(pipeline, seed: int = 3) -> TemporalLayers:
    torch.manual_seed(seed)
    layers = TemporalLayers(
        TemporalConfig.for_unet(UNetView(pipeline.unet)), windows=AttentionWindows(length=6, stride=3), strength=0.5
    )
    for parameter in layers.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return layers


def motion_modules(seed: int = 4) -> MotionModules:
    torch.manual_seed(seed)
    modules = MotionModules(
        MotionConfig.published("v3", (32, 64)), MotionModuleSettings(strength=0.7, windows=AttentionWindows(length=8))
    )
    for parameter in modules.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return modules


def test_a_saved_pipeline_comes_back_with_its_attachments(fresh, tmp_path) -> None:
    call: dict[str, Any] = {"settings": PLAIN, "prompt": "a horse", **SMALL}
    without = fresh(film(4), **call).latents
    fresh.attach(temporal_layers(fresh))
    fresh.attach(motion_modules(), "motion")
    wanted = fresh(film(4), **call)
    assert (wanted.latents - without).abs().max() > 1e-3
    fresh.save_pretrained(tmp_path / "model")
    again = VideoRestorationPipeline.from_pretrained(tmp_path / "model")
    assert list(again.attachments) == ["temporallayers", "motion"]
    found = again(film(4), **call)
    for name, attachment in fresh.attachments.items():
        other = again.attachments[name].state_dict()
        assert all(torch.equal(value, other[key]) for key, value in attachment.state_dict().items())
    # Tensors of a file begin anywhere in memory, and some products are rounded differently there.
    assert torch.allclose(found.latents, wanted.latents, atol=1e-5)
    assert torch.allclose(found.frames, wanted.frames, atol=1e-5)
    again.detach("motion")
    again.detach("temporallayers")
    assert torch.equal(again(film(4), **call).latents, without)
    with pytest.raises(SettingsError, match="no attachment 'motion'"):
        again.detach("motion")


def test_motion_modules_bring_their_own_noise_schedule(fresh) -> None:
    """They were trained on betas that rise linearly; temporal layers of this project on the model's own."""
    linear, own = (NoiseSchedule.stable_diffusion(kind).sigmas for kind in ("linear", "scaled_linear"))
    call: dict[str, Any] = {"num_inference_steps": 4, "strength": 1.0}

    def levels(**more) -> tuple[torch.Tensor, float]:
        drive = fresh.drive(**call, **more)
        return drive.schedule.sigmas, drive.sigmas[0]

    fresh.attach(temporal_layers(fresh))
    assert torch.allclose(levels()[0], own, rtol=1e-4)
    assert torch.allclose(levels(noise_schedule="linear")[0], linear, rtol=1e-4)
    fresh.attach(motion_modules())
    table, first = levels()
    assert torch.allclose(table, linear, rtol=1e-4) and abs(first - float(linear[-1])) < 1e-3 * first
    assert torch.allclose(levels(noise_schedule="model")[0], own, rtol=1e-4)
    run: dict[str, Any] = {"settings": PLAIN, "output": "latents", **SMALL}
    auto, model = (fresh(film(2), noise_schedule=which, **run).latents for which in ("auto", "model"))
    assert (auto - model).abs().max() > 1e-3
    refused(fresh, "noise schedule is 'cosine'", noise_schedule="cosine")
    fresh.detach("motionmodules")
    assert torch.allclose(levels()[0], own, rtol=1e-4)


def test_nothing_stays_on_the_unet_after_an_error(fresh) -> None:
    fresh.attach(motion_modules())

    def stop(phase: str, done: int, total: int | None, preview=None) -> None:
        if phase == "sample" and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fresh(film(2), settings=PLAIN, progress=stop, **SMALL)
    assert not any(module._forward_hooks for module in fresh.unet.modules())


def test_a_lora_per_shot_acts_on_its_shot_and_is_not_saved(fresh, tmp_path, caplog) -> None:
    name = "mid_block_attentions_0_transformer_blocks_0_attn2_to_q"
    update = LowRank(down=torch.randn(4, 64), up=torch.randn(64, 4), scale=1.0)
    call: dict[str, Any] = {"settings": PLAIN, "prompt": "a horse", "output": "latents", **SMALL}
    before = fresh(film(4), **call).latents
    fresh.attach(ShotLora({name: update}, [0, 0, 1, 1]), "era")
    after = fresh(film(4), **call).latents
    assert torch.equal(after[:2], before[:2]) and (after[2:] - before[2:]).abs().max() > 1e-4
    fresh.save_pretrained(tmp_path)
    assert not (tmp_path / "attachments").exists() and "era is not saved" in caplog.text


def test_loras_and_embeddings_of_diffusers_work_beside_attachments(fresh, tmp_path) -> None:
    call: dict[str, Any] = {"settings": PLAIN, "prompt": "a horse", "output": "latents", **SMALL}
    plain = fresh(film(2), **call).latents
    layer = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_q"
    fresh.load_lora_weights(
        {f"{layer}.lora_A.weight": torch.randn(4, 64), f"{layer}.lora_B.weight": torch.randn(64, 4)}
    )
    changed = fresh(film(2), **call).latents
    assert (changed - plain).abs().max() > 1e-3
    fresh.attach(motion_modules())
    assert (fresh(film(2), **call).latents - changed).abs().max() > 1e-3
    fresh.detach("motionmodules")
    fresh.unload_lora_weights()
    assert torch.equal(fresh(film(2), **call).latents, plain)
    save_file({"<era>": torch.randn(2, 64)}, tmp_path / "era.safetensors")
    fresh.load_textual_inversion(tmp_path, weight_name="era.safetensors", token="<era>", local_files_only=True)
    assert (fresh(film(2), **{**call, "prompt": "a horse <era>"}).latents - plain).abs().max() > 1e-3


def test_attachments_for_another_model_are_refused(fresh) -> None:
    with pytest.raises(SettingsError, match="channels"):
        fresh.attach(MotionModules(MotionConfig.published("v2", (64, 64))))
    with pytest.raises(SettingsError, match="named"):
        fresh.attach(motion_modules(), "../elsewhere")
    assert fresh.attachments == {}


def test_folders_of_stable_diffusion_are_read(fresh, tmp_path) -> None:
    """Safety checker and PNDM are in most of them."""
    import diffusers

    fresh.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    index.update(
        _class_name="StableDiffusionPipeline",
        safety_checker=[None, None],
        feature_extractor=[None, None],
        requires_safety_checker=False,
        scheduler=["diffusers", "PNDMScheduler"],
    )
    index.pop("controlnet")
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    shutil.rmtree(tmp_path / "scheduler")
    diffusers.PNDMScheduler.from_config(fresh.scheduler.config).save_pretrained(tmp_path / "scheduler")
    read = VideoRestorationPipeline.from_pretrained(tmp_path)
    assert type(read.scheduler).__name__ == "EulerDiscreteScheduler"
    assert read(film(2), settings=PLAIN, output="latents", **SMALL).latents.isfinite().all()


def test_single_checkpoints_in_the_original_layout_are_read(pipeline, tmp_path) -> None:
    pipeline.save_pretrained(tmp_path / "folder")
    for weights in (tmp_path / "folder").rglob("*.safetensors"):
        weights.unlink()
    save_file(original_checkpoint(pipeline), tmp_path / "model.safetensors")
    read = VideoRestorationPipeline.from_single_file(
        str(tmp_path / "model.safetensors"), config=str(tmp_path / "folder"), local_files_only=True
    )
    call: dict[str, Any] = {"settings": PLAIN, "prompt": "a horse", **SMALL}
    wanted, found = pipeline(film(2), **call), read(film(2), **call)
    assert torch.allclose(found.latents, wanted.latents, atol=1e-5)
    assert torch.allclose(found.frames, wanted.frames, atol=1e-5)


def test_a_control_is_followed(fresh) -> None:
    from diffusers import ControlNetModel

    net = ControlNetModel.from_unet(fresh.unet)
    for block in (*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out):
        torch.nn.init.normal_(block.weight, std=0.1)
    hint = torch.zeros(3, 3, 48, 64)
    hint[1] = 1
    call: dict[str, Any] = {"settings": PLAIN, "output": "latents", **SMALL}
    refused(fresh, "no controlnet", control=ControlHint(hint=hint))
    controlled = VideoRestorationPipeline(**{**fresh.components, "controlnet": net.eval()})
    plain = controlled(film(3), control=ControlHint(hint=torch.zeros(1, 3, 48, 64)), **call).latents
    found = controlled(film(3), control=ControlHint(hint=hint), **call).latents
    assert torch.allclose(plain[[0, 2]], found[[0, 2]], atol=1e-5) and (plain[1] - found[1]).abs().max() > 1e-4
    refused(controlled, "control hint is", control=ControlHint(hint=hint[:2]))


def test_when_memory_runs_out_smaller_parts_are_taken(fresh, caplog) -> None:
    wanted = fresh(film(12), settings=PLAIN, output="latents", **SMALL).latents
    seen = []

    def short_of_memory(_, arguments) -> None:
        seen.append(len(arguments[0]))
        if len(arguments[0]) > 16:
            raise torch.OutOfMemoryError("no memory left")

    hook = fresh.unet.register_forward_pre_hook(short_of_memory)
    found = fresh(film(12), settings=PLAIN, output="latents", **SMALL).latents
    hook.remove()
    assert seen[0] == 24 and seen[1] == 16 and "windows of 8 frames" in caplog.text
    assert torch.allclose(found, wanted, atol=1e-4)
    hook = fresh.unet.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError()))
    with pytest.raises(SettingsError, match="smaller pictures"):
        fresh(film(12), settings=PLAIN, output="latents", **SMALL)
    hook.remove()


def test_when_memory_runs_out_in_the_vae_tiles_are_taken(fresh, caplog) -> None:
    def short_of_memory(_, arguments) -> None:
        if arguments[0].shape[-1] > 64:
            raise torch.OutOfMemoryError("no memory left")

    wide = film(2, 96, 128)
    call: dict[str, Any] = {"settings": PLAIN, "output": "latents", "fitting": None, "strength": 0.0}
    whole = fresh(wide, **call).latents
    fresh.vae.encoder.register_forward_pre_hook(short_of_memory)
    tiled = fresh(wide, **call).latents
    assert "encode: memory ran out" in caplog.text and not fresh.vae.use_tiling
    assert tiled.shape == whole.shape and (tiled - whole).abs().mean() < 0.5 * whole.std()


def test_the_way_down_when_memory_runs_out() -> None:
    plan: Any = (None, TileSettings(size=96, overlap=32))
    steps = []
    while plan is not None:
        steps.append((plan[0] and plan[0].length, plan[1] and plan[1].size))
        plan = smaller(plan[0], plan[1], 40, 128, 96)
    assert steps == [(None, 96), (20, 96), (10, 96), (8, 96), (8, 48), (8, 32)]
    assert smaller(WindowSettings(length=4, overlap=1), None, 40, 24, 24) is None


def test_bad_input_is_refused_before_any_model_runs(pipeline) -> None:
    frames = film()
    refused(pipeline, "NaN", frames=frames / 0)
    refused(pipeline, "3, H, W", frames=frames[:, :1])
    refused(pipeline, "divisible by 8", frames=frames[..., :60])
    refused(pipeline, "multiples of 12", fitting=FitSettings(multiple=12))
    refused(pipeline, "shots cover 4", shots=(Shot(0, 4),))
    refused(pipeline, "2 prompts for 1 shot;", prompt=["a", "b"])
    refused(pipeline, "negative prompts", negative_prompt=["a", "b"])
    refused(pipeline, "masks are", masks=torch.zeros(6, 8, 8))
    refused(pipeline, "needs masks", finish=FinishSettings(fusion=FusionSettings(mode="mask")))
    refused(pipeline, "strength 1.5", strength=1.5)
    refused(pipeline, "steps 0", num_inference_steps=0)
    refused(pipeline, "sampler is 'euler'", sampler="euler")
    refused(pipeline, "output is 'pil'", output="pil")


def test_schedulers_that_cannot_follow_x0_are_refused(fresh) -> None:
    import diffusers

    fresh.scheduler = diffusers.DEISMultistepScheduler.from_config(fresh.scheduler.config)
    refused(fresh, "DEISMultistepScheduler is not supported")


def test_models_of_another_kind_are_refused(fresh) -> None:
    from diffusers import UNet2DConditionModel

    fresh.unet = UNet2DConditionModel.from_config(fresh.unet.config, in_channels=9)
    refused(fresh, "9 channels")


def test_long_prompts_are_cut_with_a_word_about_it(pipeline, caplog) -> None:
    pipeline(film(1), prompt="a very long description of a street", settings=PLAIN, output="latents", **SMALL)
    assert "tokens, 12 are read" in caplog.text


def test_half_precision_runs(fresh) -> None:
    wanted = fresh(film(2), settings=PLAIN, output="latents", **SMALL).latents
    half = fresh.to(torch.bfloat16)
    found = half(film(2), settings=PLAIN, **SMALL)
    assert found.latents.dtype == torch.float32 and found.frames.isfinite().all()
    assert (found.latents - wanted).abs().mean() < 0.1 * wanted.std()
    half.attach(motion_modules())
    assert half(film(2), settings=PLAIN, output="latents", **SMALL).latents.isfinite().all()


def test_the_temporal_decoder_takes_the_place_of_the_vae(fresh) -> None:
    from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import TemporalDecoder

    torch.manual_seed(0)
    decoder = TemporalDecoder(block_out_channels=(32, 32, 32, 32), layers_per_block=1).eval()
    found = fresh(film(3), settings=PLAIN, temporal_decoder=decoder, **SMALL)
    plain = fresh(film(3), settings=PLAIN, **SMALL)
    assert torch.equal(found.latents, plain.latents) and (found.frames - plain.frames).abs().max() > 1e-3


def test_a_broken_diffusers_matters_only_to_who_asks() -> None:
    code = (
        "import sys, types; sys.modules['diffusers'] = types.ModuleType('diffusers')\n"
        "import vldm_core as pipeline\n"
        "from vldm_core.errors import VLDMError\n"
        "pipeline.detect_damage\n"
        "try:\n    pipeline.VideoRestorationPipeline\n"
        "except VLDMError as error:\n    print(error)\n"
        "try:\n    pipeline.nothing\n"
        "except AttributeError as error:\n    print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert "pip install -U 'vldm[headless]'" in result.stdout and "no attribute 'nothing'" in result.stdout


def test_tokens_of_the_tiny_classes_fit() -> None:
    assert tiny_text_encoder(len(tiny_tokenizer())).config.vocab_size == 54
