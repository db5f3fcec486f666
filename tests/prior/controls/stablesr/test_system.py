"""StableSR on a UNet: the published numbers, and what every control promises."""

from typing import Any

import pytest
import torch
from torch import nn

from vldm_core.errors import SettingsError
from vldm_core.prior.call import CONDITIONED, UNCONDITIONED
from vldm_core.prior.controls.control import RestorationControl
from vldm_core.prior.controls.material import ControlMaterial
from vldm_core.prior.controls.settings import ControlSettings
from vldm_core.prior.controls.stablesr.files import STABLESR
from vldm_core.prior.controls.stablesr.network import SpatialModulation, StructureEncoder
from vldm_core.prior.controls.stablesr.system import StableSrControl, residual_blocks
from vldm_core.prior.denoiser import ClipDenoiser, DenoiserSettings
from vldm_core.prior.unet import UNetView
from vldm_core.sampling.cfg import CfgSettings
from vldm_core.sampling.regions.tiles import TileSettings
from vldm_core.sampling.regions.windows import WindowSettings
from vldm_core.sampling.schedule import NoiseSchedule

from ....manifests import manifest
from ....oracles import load_oracle
from ...tiny_models import CONTEXT, tiny_unet
from ..oracle_unets import run, unet_of
from ..test_regions import local
from .tiny_stablesr import SHALLOW, GivenFeatures, oracle_modulation, stablesr_control, stablesr_file

F, SIDES = 3, (16, 24)
GENERATOR = torch.Generator().manual_seed(11)


def random(*shape):
    return torch.randn(*shape, generator=GENERATOR)


X, HINT = random(F, 4, *SIDES), random(F, 4, *SIDES)
TEXT, NEGATIVE = random(F, 7, CONTEXT), random(F, 7, CONTEXT)
TIME = torch.full((F,), 321.0)
BOTH: dict[str, Any] = {"chunks": (CONDITIONED, UNCONDITIONED), "frames": tuple(range(F)), "segments": ((0, F),)}


@pytest.fixture(scope="module")
def unet():
    return tiny_unet().requires_grad_(False)


@pytest.fixture(scope="module")
def control(unet):
    return stablesr_control(unet)


def applied(control, settings=None, **more):
    return RestorationControl(control, ControlMaterial(**{"hint": HINT, **more}), settings)


def passed(unet, control=None, **call):
    return run(unet, X, TIME, TEXT, *([] if control is None else [control]), call=call)


def both_chunks(unet, control=None):
    x, time, text = X.repeat(2, 1, 1, 1), TIME.repeat(2), torch.cat([TEXT, NEGATIVE])
    return run(unet, x, time, text, *([] if control is None else [control]), call=BOTH)


class TestPublishedNumbers:
    def test_the_whole_unet(self):
        oracle = load_oracle("stablesr_unet")
        weights = oracle.weights("unet")
        unet = unet_of(oracle.about["config"]["unet"], weights)
        features = [oracle.input(f"structure.{level}") for level in range(4)]
        system = StableSrControl(GivenFeatures(features), oracle_modulation(weights))
        assert len(system.modulation) == 22
        control = RestorationControl(system, ControlMaterial(hint=torch.zeros_like(oracle.input("x_t"))))
        found = run(unet, oracle.input("x_t"), oracle.input("t"), oracle.input("context"), control)
        oracle.check("out", found)

    def test_one_block(self):
        from diffusers.models.resnet import ResnetBlock2D

        oracle = load_oracle("stablesr_resblock")
        weights = oracle.weights("resblock")
        names = {
            "norm1": "in_layers.0",
            "conv1": "in_layers.2",
            "time_emb_proj": "emb_layers.1",
            "norm2": "out_layers.0",
            "conv2": "out_layers.3",
            "conv_shortcut": "skip_connection",
        }
        block = ResnetBlock2D(in_channels=64, out_channels=96, temb_channels=128, eps=1e-5).eval()
        block.load_state_dict(
            {f"{a}.{kind}": weights[f"{b}.{kind}"] for a, b in names.items() for kind in ("weight", "bias")}
        )
        layer = SpatialModulation.from_published(
            {key.removeprefix("spade."): value for key, value in weights.items() if key.startswith("spade.")}
        )
        gamma, beta = layer.look(oracle.input("structure"))
        block.conv2.register_forward_hook(lambda _module, _given, hidden: layer(hidden, gamma, beta))
        oracle.check("out", block(oracle.input("x"), oracle.input("emb")))

    def test_the_published_control_fits_the_published_unet(self):
        from diffusers import UNet2DConditionModel

        parts: dict[str, dict[str, torch.Tensor]] = {"control": {}}
        with torch.device("meta"):
            for name in ("stablesr_structcond", "stablesr_spade"):
                parts["control"] |= {key: torch.empty(shape) for key, shape in manifest(name).items()}
            control = STABLESR.build(parts, None)
            unet = UNet2DConditionModel(
                cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True
            )
        assert len(list(control.places(UNetView(unet)))) == 22
        assert sum(parameter.numel() for parameter in control.parameters()) == 52_494_080 + 53_020_160


class TestChunks:
    @torch.no_grad()
    def test_both_chunks_are_what_each_alone_is(self, unet, control):
        found = both_chunks(unet, applied(control)).unflatten(0, (2, F))
        for number, (chunk, text) in enumerate(((CONDITIONED, TEXT), (UNCONDITIONED, NEGATIVE))):
            alone = run(unet, X, TIME, text, applied(control), call={**BOTH, "chunks": (chunk,)})
            torch.testing.assert_close(found[number], alone, rtol=0, atol=1e-5)
        plain = both_chunks(unet).unflatten(0, (2, F))
        assert (found - plain).abs().amax(dim=(1, 2, 3, 4)).min() > 0.1

    @torch.no_grad()
    def test_what_it_sees_is_computed_once_for_a_frame(self, unet, control):
        seen = []
        places = [control.encoder.input_blocks[0][0], *(layers.mlp_shared[0] for layers in control.modulation.values())]
        handles = [place.register_forward_hook(lambda _m, given, _out: seen.append(len(given[0]))) for place in places]
        both_chunks(unet, applied(control))
        for handle in handles:
            handle.remove()
        assert seen == [F] * 23


class TestRules:
    @torch.no_grad()
    def test_strength_zero_is_bit_equal_to_no_control(self, unet, control):
        assert torch.equal(passed(unet, applied(control, ControlSettings(strength=0))), passed(unet))
        assert torch.equal(both_chunks(unet, applied(control, ControlSettings(strength=0))), both_chunks(unet))

    @torch.no_grad()
    def test_strength_weighs_all_that_it_changes(self, unet, control):
        plain, whole = passed(unet), passed(unet, applied(control))
        half = passed(unet, applied(control, ControlSettings(strength=0.5)))
        assert 0 < (half - plain).norm() < (whole - plain).norm()

    @torch.no_grad()
    def test_taken_off_it_leaves_the_unet_bit_equal(self, unet, control):
        before = passed(unet)
        passed(unet, applied(control))
        assert torch.equal(passed(unet), before)
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in unet.modules())

    @torch.no_grad()
    def test_a_change_in_one_shot_leaves_the_other_bit_equal(self, unet, control):
        segments = {"segments": ((0, 1), (1, F))}
        changed = HINT.clone()
        changed[1:] += 1
        found = passed(unet, applied(control), **segments)
        other = passed(unet, applied(control, hint=changed), **segments)
        assert torch.equal(found[0], other[0])
        assert not torch.equal(found[1:], other[1:])

    @torch.no_grad()
    def test_windows_see_their_own_frames(self, unet, control):
        whole = passed(unet, applied(control))
        part = {"frames": (1, 2), "segments": ((0, 2),)}
        found = run(unet, X[1:], TIME[1:], TEXT[1:], applied(control), call=part)
        torch.testing.assert_close(found, whole[1:], rtol=0, atol=1e-5)

    @torch.no_grad()
    def test_tiles_see_their_own_part(self, unet, control):
        part = (..., slice(0, 16), slice(8, 24))
        wanted = run(unet, X[part], TIME, TEXT, applied(control, hint=HINT[part]))
        call = {"corner": (0, 8), "size": SIDES}
        assert torch.equal(run(unet, X[part], TIME, TEXT, applied(control), call=call), wanted)

    @torch.no_grad()
    def test_odd_sides_fit_the_unet(self, unet, control):
        x, hint = random(1, 4, 11, 13), random(1, 4, 11, 13)
        found = run(unet, x, TIME[:1], TEXT[:1], applied(control, hint=hint))
        assert found.shape == x.shape
        assert not torch.equal(found, run(unet, x, TIME[:1], TEXT[:1]))

    @torch.no_grad()
    def test_damage_weakens_it_where_it_lies(self, unet, control):
        whole, plain = passed(unet, applied(control)), passed(unet)
        everywhere = applied(control, ControlSettings(in_damage=0.0), damage=torch.ones(F, *SIDES))
        torch.testing.assert_close(passed(unet, everywhere), plain, rtol=0, atol=1e-5)
        one = torch.zeros(F, *SIDES)
        one[1] = 1
        found = passed(unet, applied(control, ControlSettings(in_damage=0.0), damage=one))
        torch.testing.assert_close(found[[0, 2]], whole[[0, 2]], rtol=0, atol=1e-5)
        torch.testing.assert_close(found[1], plain[1], rtol=0, atol=1e-5)
        half = one.clone()
        half[1, :, :12] = 0
        partly = passed(unet, applied(control, ControlSettings(in_damage=0.0), damage=half))
        assert not torch.equal(partly[1], found[1])
        kept = applied(control, ControlSettings(in_damage=1.0), damage=half)
        assert torch.equal(passed(unet, kept), whole)

    @torch.no_grad()
    def test_one_look_serves_several_steps(self, unet, control):
        reused, seen = applied(control, ControlSettings(reuse=2)), []
        handle = control.encoder.input_blocks[0][0].register_forward_hook(lambda *_: seen.append(1))
        first = passed(unet, reused, sigma=5.0)
        assert torch.equal(first, passed(unet, applied(control), sigma=5.0))
        later = run(unet, X, TIME - 100, TEXT, reused, call={"sigma": 4.0})
        handle.remove()
        assert len(seen) == 2
        assert later.isfinite().all()

    @torch.no_grad()
    def test_the_time_step_matters(self, control):
        early, late = (control.encoder(HINT, torch.full((F,), step)) for step in (900.0, 100.0))
        assert all((a - b).abs().max() > 1e-2 for a, b in zip(early, late, strict=True))

    @torch.no_grad()
    def test_half_precision_runs(self):
        unet = tiny_unet().to(torch.bfloat16)
        control = applied(stablesr_control(unet).to(torch.bfloat16))
        found = run(unet, X.bfloat16(), TIME, TEXT.bfloat16(), control)
        assert found.dtype == torch.bfloat16
        assert found.isfinite().all()


class TestRegions:
    """Windows and tiles in the loop of the sampler, both chunks of conditioning at a time."""

    @torch.no_grad()
    def denoised(self, unet, system, hint, **regions):
        control = applied(system, ControlSettings(over_frames=((0, 1), (2, 0.3))), hint=hint)
        schedule = NoiseSchedule.stable_diffusion()
        denoiser = ClipDenoiser(
            unet,
            timestep=schedule.timestep,
            sigmas=(3.0, 1.0, 0.0),
            positive=TEXT,
            negative=NEGATIVE[:1],
            settings=DenoiserSettings(cfg=CfgSettings(scale=2.0), **regions),
            attachments=[control],
        )
        with control.attached(UNetView(unet)):
            return denoiser(3 * X, 3.0)

    @pytest.mark.parametrize("hints", [F, 1])
    def test_windows_equal_the_whole(self, unet, control, hints):
        whole = self.denoised(unet, control, HINT[:hints])
        found = self.denoised(unet, control, HINT[:hints], windows=WindowSettings(length=2, overlap=1))
        torch.testing.assert_close(found, whole, rtol=0, atol=1e-4)

    def test_tiles_equal_the_whole_where_nothing_looks_about(self):
        unet = local(tiny_unet(block_out_channels=(32, 64)))
        system = local(stablesr_control(tiny_unet(block_out_channels=(32, 64)), SHALLOW))
        for name, parameter in system.named_parameters():
            if "proj_out" in name:
                nn.init.zeros_(parameter)
        regions = {"windows": WindowSettings(length=2, overlap=1), "tiles": TileSettings(size=8, overlap=4)}
        whole = self.denoised(unet, system, HINT)
        torch.testing.assert_close(self.denoised(unet, system, HINT, **regions), whole, rtol=0, atol=1e-4)
        assert (self.denoised(unet, system, -HINT) - whole).abs().max() > 1e-2


class TestWrongModels:
    def test_another_width_is_refused(self, control):
        with pytest.raises(SettingsError, match=r"modulation of input_blocks\.4\.0 has 64 channels"):
            applied(control).attach(UNetView(tiny_unet(block_out_channels=(32, 32, 64, 64))))

    def test_another_depth_is_refused(self, control):
        with pytest.raises(SettingsError, match="22 residual blocks and this UNet has 12"):
            applied(control).attach(UNetView(tiny_unet(block_out_channels=(32, 64))))

    def test_a_model_of_the_first_family_is_refused(self, control):
        """Its residual blocks are those of the second, so that nothing else would tell."""
        with pytest.raises(SettingsError, match=r"made for Stable Diffusion 2\.x .* this model is Stable Diffusion 1"):
            list(control.places(UNetView(tiny_unet(context=768))))

    def test_an_encoder_of_fewer_sizes_is_refused(self, unet, control):
        short = StructureEncoder(control.encoder.config.__class__(width=32, widths=(32,), attention=(True,)))
        with pytest.raises(SettingsError, match="features of 1 sizes"):
            list(StableSrControl(short, dict(control._places)).places(UNetView(unet)))

    def test_a_hint_of_another_kind_is_refused(self, control):
        with pytest.raises(SettingsError, match="StableSR needs a hint"):
            applied(control, hint=torch.zeros(F, 3, 128, 192))


def test_blocks_have_the_names_of_the_original(unet):
    published = {key.partition(".spade.")[0] for key in stablesr_file(unet) if ".spade." in key}
    assert {f"model.diffusion_model.{name}" for name in residual_blocks(UNetView(unet))} == published
    names = list(residual_blocks(UNetView(unet)))
    assert names[:3] == ["input_blocks.1.0", "input_blocks.2.0", "input_blocks.4.0"]
    assert names[7:11] == ["input_blocks.11.0", "middle_block.0", "middle_block.2", "output_blocks.0.0"]
    assert isinstance(residual_blocks(UNetView(unet))["output_blocks.11.0"].module, nn.Module)
