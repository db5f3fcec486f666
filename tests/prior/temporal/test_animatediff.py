"""The motion modules compute what the published AnimateDiff computes, and obey strength, cuts and windows."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vldm_core.errors import SettingsError
from vldm_core.prior.attachment import calling
from vldm_core.prior.call import UNetCall
from vldm_core.prior.temporal.animatediff import MotionConfig, MotionModule, MotionModules, MotionModuleSettings
from vldm_core.prior.temporal.animatediff_files import motion_modules_from
from vldm_core.prior.temporal.attention import AttentionWindows
from vldm_core.prior.unet import UNetView

from ...oracles import load_oracle
from ..tiny_models import CONTEXT, tiny_unet, whole_clip

VERSIONS = ("v1", "v2", "v3")
WIDTHS = (32, 64, 128, 128)


def awake(module: Any, seed: int = 0) -> Any:
    """Give every weight, zero-initialised ones too, a value that lets a signal through."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim >= 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * parameter[0].numel() ** -0.5)
    return module.eval()


@pytest.fixture(scope="module")
def unet() -> nn.Module:
    return tiny_unet()


def inputs(frames: int, *, chunks: int = 1, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(chunks * frames, 4, 8, 16, generator=generator)
    return x, torch.randn(chunks, 1, 7, CONTEXT, generator=generator).expand(-1, frames, -1, -1).flatten(0, 1)


def run(unet: nn.Module, modules: MotionModules | None, call: UNetCall, x: Tensor, context: Tensor) -> Tensor:
    with torch.inference_mode():
        if modules is None:
            return unet(x, torch.tensor([500]), context).sample
        with modules.attached(UNetView(unet)), calling([modules], call):
            return unet(x, torch.tensor([500]), context).sample


@pytest.mark.parametrize("version", VERSIONS)
def test_a_module_meets_the_published_implementation(version) -> None:
    oracle = load_oracle(f"animatediff_{version}_module")
    length = oracle.about["config"]["module"]["temporal_position_encoding_max_len"]
    prefix = oracle.about["weights"]["module"]["hash_prefix"]
    state = {prefix + key: weight for key, weight in oracle.weights("module").items()}
    pe = oracle.tensors["mid.pe"]
    assert pe.shape[1] == length
    for index in range(2):
        key = f"{prefix}temporal_transformer.transformer_blocks.0.attention_blocks.{index}.pos_encoder.pe"
        state[key] = pe
    modules = motion_modules_from(state, MotionModuleSettings(windows=None))
    module = modules.layers["down_0_0"]
    assert isinstance(module, MotionModule) and module.positions == length
    with torch.inference_mode():
        out = torch.stack([module(clip) for clip in oracle.input("x").transpose(1, 2)]).transpose(1, 2)
    oracle.check("out", out)


@pytest.mark.parametrize("version", VERSIONS)
def test_positions_are_the_published_ones(version) -> None:
    oracle = load_oracle(f"animatediff_{version}_module")
    wanted = oracle.tensors["mid.pe"][0]
    config = MotionConfig(version=version, channels=(("down.0.0", wanted.shape[1]),), positions=wanted.shape[0])
    layer: Any = MotionModules(config).layers["down_0_0"]
    torch.testing.assert_close(layer.attentions[0].positions, wanted, atol=2e-5, rtol=0)


def oracle_unet(version: str):
    """The oracle, its weights as an image UNet, and its weights as motion modules."""
    from diffusers import UNet2DConditionModel

    oracle = load_oracle(f"animatediff_{version}_unet")
    config = oracle.about["config"]["unet"]
    kept = {key: value for key, value in config.items() if "motion" not in key and key != "use_inflated_groupnorm"}
    for key in ("down_block_types", "up_block_types"):
        kept[key] = tuple(name.replace("3D", "2D") for name in kept[key])
    unet = UNet2DConditionModel(**kept).eval()
    weights = oracle.weights("unet")
    weights |= {key.removeprefix("buffer.unet."): t for key, t in oracle.tensors.items() if "pos_encoder" in key}
    motion = {key: weight for key, weight in weights.items() if "motion_modules" in key}
    unet.load_state_dict({key: weight for key, weight in weights.items() if key not in motion})
    if not any(key.endswith(".pe") for key in motion):
        kwargs = config["motion_module_kwargs"]
        motion |= positions_of(motion, kwargs["temporal_position_encoding_max_len"])
    return oracle, unet, motion_modules_from(motion)


def positions_of(motion: dict[str, Tensor], length: int) -> dict[str, Tensor]:
    """The tables of positions, which are buffers in the original and so not among an oracle's weights."""
    tables = {}
    for key, weight in motion.items():
        if key.endswith(".to_q.weight"):
            module: Any = MotionModule(weight.shape[0], positions=length)
            table = module.attentions[0].positions
            tables[key.replace("to_q.weight", "pos_encoder.pe")] = table[None]
    return tables


@pytest.mark.parametrize("version", VERSIONS)
def test_the_unet_meets_the_published_implementation(version) -> None:
    oracle, unet, modules = oracle_unet(version)
    assert modules.config.version == version
    sample = oracle.input("sample")
    frames = sample.shape[2]
    context = oracle.input("encoder_hidden_states").expand(frames, -1, -1)
    with torch.inference_mode(), modules.attached(UNetView(unet)), calling([modules], whole_clip(frames)):
        out = unet(sample[0].transpose(0, 1), oracle.input("timestep"), context).sample
    oracle.check("out", out.transpose(0, 1)[None])


def test_version_one_normalises_over_frames() -> None:
    # Guards the oracle test of version 1: with the per-frame norms of the image model it must fail.
    oracle, unet, modules = oracle_unet("v1")
    per_frame = MotionModules(MotionConfig(version="v3", channels=modules.config.channels, positions=24))
    per_frame.load_state_dict(modules.state_dict())
    frames = oracle.input("sample").shape[2]
    context = oracle.input("encoder_hidden_states").expand(frames, -1, -1)
    with torch.inference_mode(), per_frame.attached(UNetView(unet)), calling([per_frame], whole_clip(frames)):
        out = unet(oracle.input("sample")[0].transpose(0, 1), oracle.input("timestep"), context).sample
    assert (out.transpose(0, 1)[None] - oracle.output("out")).abs().max() > 100 * oracle.about["outputs"]["out"]["atol"]


def test_layout_and_numbers_of_diffusers() -> None:
    """diffusers' motion UNet computes the same once its modules' norms, which see all frames, see one at a time."""
    from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel

    source = tiny_unet()
    assert isinstance(source, UNet2DConditionModel)
    adapter = awake(
        MotionAdapter(
            block_out_channels=WIDTHS,
            use_motion_mid_block=True,
            motion_max_seq_length=32,
            motion_num_attention_heads=8,
            motion_norm_num_groups=32,
        )
    )
    modules = motion_modules_from(adapter.state_dict())
    assert modules.config.version == "v2"
    x, context = inputs(5)
    found = run(source, modules, whole_clip(5), x, context)
    joint = UNetMotionModel.from_unet2d(source, adapter).eval()
    volume = x.transpose(0, 1)[None]
    with torch.inference_mode():
        flickering = joint(volume, 500, context).sample[0].transpose(0, 1)
        for module in joint.modules():
            if isinstance(module, nn.GroupNorm):
                module.register_forward_hook(per_frame)
        wanted = joint(volume, 500, context).sample[0].transpose(0, 1)
    assert (found - wanted).abs().max() < 2e-5 * wanted.abs().max()
    assert (found - flickering).abs().max() > 1e-3 * wanted.abs().max()


def per_frame(norm: nn.GroupNorm, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
    volume = arguments[0]
    if volume.ndim < 5:
        return output
    frames = [
        nn.functional.group_norm(frame, norm.num_groups, norm.weight, norm.bias, norm.eps) for frame in volume.unbind(2)
    ]
    return torch.stack(frames, 2)


def tiny_modules(version: Any = "v2", settings: MotionModuleSettings | None = None) -> MotionModules:
    modules = MotionModules(MotionConfig.published(version, WIDTHS), settings)
    return awake(modules)


def test_new_modules_change_nothing(unet) -> None:
    x, context = inputs(3)
    fresh = MotionModules(MotionConfig.published("v3", WIDTHS))
    before = run(unet, None, whole_clip(3), x, context)
    assert (run(unet, fresh, whole_clip(3), x, context) - before).abs().max() < 1e-5


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_strength_zero_is_off(unet, version) -> None:
    x, context = inputs(3)
    before = run(unet, None, whole_clip(3), x, context)
    modules = tiny_modules(version)
    assert (run(unet, modules, whole_clip(3), x, context) - before).abs().max() > 1e-3
    for settings in (MotionModuleSettings(strength=0.0), MotionModuleSettings(frame_strengths=(0.0, 0.0, 0.0))):
        assert torch.equal(run(unet, modules.configured(settings), whole_clip(3), x, context), before)
    assert torch.equal(run(unet, None, whole_clip(3), x, context), before)
    assert not any(module._forward_hooks for module in unet.modules())


def test_strength_scales_what_is_added() -> None:
    module = awake(MotionModule(32))
    clip = torch.randn(4, 32, 3, 5)
    with torch.inference_mode():
        whole = module(clip) - clip
        torch.testing.assert_close(module(clip, strength=0.25) - clip, 0.25 * whole, atol=1e-5, rtol=0)
        factors = torch.tensor([0.0, 1.0, 0.5, 2.0])
        wanted = factors[:, None, None, None] * whole
        torch.testing.assert_close(module(clip, strength=factors) - clip, wanted, atol=1e-5, rtol=0)


def test_strengths_belong_to_frames_of_the_clip(unet) -> None:
    # A context window over frames 2 to 4 takes the strengths of those frames, whatever their place in the batch.
    x, context = inputs(3)
    settings = MotionModuleSettings(frame_strengths=(0.0, 0.0, 1.0, 1.0, 1.0))
    modules = tiny_modules()
    window = UNetCall(frames=(2, 3, 4), chunks=(0,), segments=((0, 3),))
    whole = run(unet, modules, whole_clip(3), x, context)
    torch.testing.assert_close(run(unet, modules.configured(settings), window, x, context), whole, atol=1e-5, rtol=0)
    beyond = UNetCall(frames=(3, 4, 5), chunks=(0,), segments=((0, 3),))
    with pytest.raises(SettingsError, match="frame 5"):
        run(unet, modules.configured(settings), beyond, x, context)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_nothing_crosses_a_cut(unet, version) -> None:
    modules = tiny_modules(version)
    x, context = inputs(5)
    other = x.clone()
    other[2:] = torch.randn(3, 4, 8, 16, generator=torch.Generator().manual_seed(9))
    call = whole_clip(5, cut=2)
    first, second = (run(unet, modules, call, batch, context) for batch in (x, other))
    assert torch.equal(first[:2], second[:2]) and not torch.equal(first[2:], second[2:])
    uncut = [run(unet, modules, whole_clip(5), batch, context) for batch in (x, other)]
    assert (uncut[0][:2] - uncut[1][:2]).abs().max() > 1e-4


@pytest.mark.parametrize("version", ["v1", "v3"])
def test_chunks_do_not_mix(unet, version) -> None:
    modules = tiny_modules(version)
    x, context = inputs(3, chunks=2)
    both = run(unet, modules, whole_clip(3, chunks=(0, 1)), x, context)
    alone = torch.cat([run(unet, modules, whole_clip(3), x[s], context[s]) for s in (slice(3), slice(3, 6))])
    torch.testing.assert_close(both, alone, atol=1e-5, rtol=0)


def test_long_clips_go_through_windows(unet) -> None:
    modules = tiny_modules("v1")
    x, context = inputs(26)
    assert torch.isfinite(run(unet, modules, whole_clip(26), x, context)).all()
    with pytest.raises(SettingsError, match="24 positions"):
        run(unet, modules.configured(MotionModuleSettings(windows=None)), whole_clip(26), x, context)
    cut = whole_clip(26, cut=13)
    assert torch.isfinite(run(unet, modules.configured(MotionModuleSettings(windows=None)), cut, x, context)).all()
    with pytest.raises(SettingsError, match="windows of 32"):
        modules.configured(MotionModuleSettings(windows=AttentionWindows(length=32)))


def test_a_module_for_another_unet_is_refused(unet) -> None:
    for widths, message in (((64, 64, 128, 128), r"down\.0\.0.*32 channels"), (WIDTHS[:3], r"up\.1\.0.*64 channels")):
        modules = MotionModules(MotionConfig.published("v3", widths))
        with pytest.raises(SettingsError, match=message):
            modules.changes(UNetView(unet))
        with pytest.raises(SettingsError, match=message):
            modules.attach(UNetView(unet))
    assert not any(module._forward_hooks for module in unet.modules())


def test_settings_are_checked() -> None:
    with pytest.raises(SettingsError, match="-1"):
        MotionModuleSettings(strength=-1)
    with pytest.raises(SettingsError, match="v4"):
        MotionConfig(version="v4", channels=(("mid", 32),), positions=32)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near(dtype) -> None:
    module = awake(MotionModule(64))
    clip = 30 * torch.randn(6, 64, 4, 4) + 200
    with torch.inference_mode():
        wanted = module(clip) - clip
        found = module.to(dtype)(clip.to(dtype)).float() - clip.to(dtype).float()
    scale = clip.abs().max() * torch.finfo(dtype).eps
    assert (found - wanted).abs().max() < 2 * scale + 0.05 * wanted.abs().max()


def test_modules_can_be_trained() -> None:
    # Chunked inference and recorded training take different ways through the same formulas.
    module = MotionModule(32)
    clip = torch.randn(5, 32, 17, 19)
    module(clip).square().mean().backward()
    asleep = {key for key, p in module.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert asleep == {"proj_out.weight", "proj_out.bias"}
    awake(module).train()
    module.zero_grad()
    recorded = module(clip, windows=AttentionWindows(length=4, stride=2))
    recorded.square().mean().backward()
    still = [key for key, p in module.named_parameters() if not p.grad.abs().max() > 0]
    assert not still
    with torch.inference_mode():
        silent = module(clip, windows=AttentionWindows(length=4, stride=2))
    torch.testing.assert_close(recorded, silent, atol=1e-5, rtol=1e-5)
