"""CoSeR on diffusers' UNet: a reference composed of diffusers' ControlNet and written-out formulas, and its rules."""

from typing import Any

import pytest
import torch
from torch.nn import functional

from tests.manifests import manifest
from vldm_core.errors import SettingsError
from vldm_core.prior.call import CONDITIONED, UNCONDITIONED
from vldm_core.prior.controls.control import RestorationControl
from vldm_core.prior.controls.coser.files import COSER
from vldm_core.prior.controls.material import ControlMaterial
from vldm_core.prior.controls.network.names import original_names
from vldm_core.prior.controls.settings import ControlSettings
from vldm_core.prior.unet import UNetView

from ...tiny_models import tiny_unet
from ..oracle_unets import run
from .tiny_coser import CONTEXT, HEADS, control_file, coser_control, sd2_unet

F, L, SIDES = 2, 7, (8, 12)
GENERATOR = torch.Generator().manual_seed(11)
BRANCH, UNET = "structcond_stage_model.", "model.diffusion_model."


def random(*shape):
    return torch.randn(*shape, generator=GENERATOR)


X, HINT, REFERENCE = random(F, 4, *SIDES), random(F, 4, *SIDES), random(F, 4, *SIDES)
TEXT, NEGATIVE, TOKENS = random(F, L, CONTEXT), random(F, L, CONTEXT), random(F, 6, CONTEXT)
TIME = torch.full((F,), 321.0)
BOTH = {"chunks": (CONDITIONED, UNCONDITIONED), "frames": tuple(range(F)), "segments": ((0, F),)}


@pytest.fixture(scope="module")
def unet():
    return sd2_unet()


@pytest.fixture(scope="module")
def control():
    return coser_control()


def material(**more):
    return ControlMaterial(**{"hint": HINT, "tokens": TOKENS, "reference": REFERENCE, **more})


def both_chunks(unet, control, **settings):
    """One pass of both chunks, as hosts batch them; (2, F, 4, h, w)."""
    x, time, text = X.repeat(2, 1, 1, 1), TIME.repeat(2), torch.cat([TEXT, NEGATIVE])
    applied = [] if control is None else [control]
    return run(unet, x, time, text, *applied, call={**BOTH, **settings}).unflatten(0, (2, F))


def applied(control, settings=None, **more):
    return RestorationControl(control, material(**more), settings)


def theirs(file):
    """diffusers' ControlNet with the branch's weights and a convolution for the latent."""
    from diffusers import ControlNetModel

    net = ControlNetModel(
        block_out_channels=(32, 64, 128, 128),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        layers_per_block=2,
        cross_attention_dim=CONTEXT,
        attention_head_dim=HEADS,
        use_linear_projection=True,
    )
    net.controlnet_cond_embedding = torch.nn.Identity()
    names = original_names({key: key for key in net.state_dict()})
    net.load_state_dict({own: file[f"{BRANCH}{name}"] for name, own in names.items()})
    hint = torch.nn.Conv2d(4, 32, 3, padding=1)
    hint.load_state_dict({kind: file[f"{BRANCH}hint_zero_conv.{kind}"] for kind in ("weight", "bias")})
    net.controlnet_cond_embedding = hint
    return net.eval()


def features(file, latent, text):
    down, middle = theirs(file)(X, TIME, text, latent, return_dict=False)
    return [*down, middle]


def written_out(x, feature, reference, file, place, heads):
    """All-in-Attention of one transformer as its formulas say: whole matrices, a head and a row at a time."""

    def weights(name):
        at = f"{UNET}{place}.{name}"
        return file[f"{at}.weight"], file.get(f"{at}.bias")

    def normed(picture, side, norm):
        if f"{UNET}{place}.{side}.weight" in file:
            weight, bias = weights(side)
            picture = functional.conv2d(picture, weight, bias, padding=1)
        weight, bias = weights(norm)
        return functional.group_norm(picture, 32, weight, bias, 1e-6).flatten(2).mT

    def attention(query, context, name, hard):
        q, k, v = (
            torch.stack((side @ weights(f"{name}.to_{part}")[0].T).chunk(heads, dim=-1))
            for side, part in ((query, "q"), (context, "k"), (context, "v"))
        )
        scores = q @ k.mT / q.shape[-1] ** 0.5
        if hard:
            best = scores.argmax(dim=-1)
            found = torch.stack([v[head][rows] * scores[head].amax(-1)[:, None] for head, rows in enumerate(best)])
        else:
            found = scores.softmax(dim=-1) @ v
        weight, bias = weights(f"{name}.to_out.0")
        return torch.cat(list(found), dim=-1) @ weight.T + bias

    def zero(tokens, name):
        weight, bias = weights(name)
        return tokens @ weight[..., 0, 0].T + bias

    block = "transformer_blocks.0"
    weight, bias = weights("proj_in_clr_lna")
    hint = normed(feature, "dubconv_lna", "norm_clr_lna") @ weight.T + bias
    out = []
    for frame in range(len(x)):
        tokens = x[frame]
        if reference is not None:
            looked = normed(reference, "dubconv_r_lna", "norm_cref_lna")[frame]
            found = attention(hint[frame], looked, f"{block}.attn4_ref_lna", True)
            tokens = tokens + zero(found, f"{block}.zero_conv_r_lna")
        normal = functional.layer_norm(tokens, tokens.shape[-1:], *weights(f"{block}.norm4_lna"))
        found = attention(normal, hint[frame], f"{block}.attn3_lr_lna", False)
        out.append(tokens + zero(found, f"{block}.zero_conv_lna"))
    return torch.stack(out)


def composed(unet, file, text, *, reference=REFERENCE, conditioned=TEXT, tokens=TOKENS):
    """The whole of CoSeR for one chunk: `text` is what the UNet reads, the branch reads `conditioned` and tokens."""
    branch_text = torch.cat([conditioned, tokens], dim=1)
    hint = features(file, HINT, branch_text)
    looked = None if reference is None else features(file, reference, branch_text)
    view, handles = UNetView(unet), []
    layers = [site.layer for site in view.of_kind("res") if site.name.startswith("up.")]
    places = {"middle_block.1": ("mid.attn", 12)}
    places |= {f"output_blocks.{n}.1": (f"{layer}.attn", 11 - n) for n, layer in enumerate(layers) if n >= 3}
    for place, (site, number) in places.items():
        block: Any = view[site].module.transformer_blocks[0]  # type: ignore[index]

        def before(_module, given, place=place, number=number, heads=block.attn1.heads):
            theirs = None if looked is None else looked[number]
            return (written_out(given[0], hint[number], theirs, file, place, heads), *given[1:])

        handles.append(block.register_forward_pre_hook(before))
    found = unet(X, TIME, text).sample
    for handle in handles:
        handle.remove()
    return found


class TestNumbers:
    @torch.no_grad()
    @pytest.mark.parametrize("reference", [REFERENCE, None], ids=["reference", "none"])
    def test_both_chunks_are_what_its_parts_give(self, unet, control, reference):
        found = both_chunks(unet, applied(control, reference=reference))
        file = control_file()
        longer = torch.cat([TEXT, TOKENS], dim=1)
        wanted = [composed(unet, file, text, reference=reference) for text in (longer, NEGATIVE)]
        torch.testing.assert_close(found, torch.stack(wanted), rtol=0, atol=2e-5)
        plain = both_chunks(unet, None)
        assert (found - plain).abs().amax(dim=(1, 2, 3, 4)).min() > 0.1

    @torch.no_grad()
    def test_a_reference_matters(self, unet, control):
        first = both_chunks(unet, applied(control))
        assert (first - both_chunks(unet, applied(control, reference=HINT))).abs().max() > 1e-2
        assert (first - both_chunks(unet, applied(control, reference=None))).abs().max() > 1e-2

    @torch.no_grad()
    def test_a_stable_diffusion_1_shape_works_too(self):
        file = control_file(linear=False)
        unet = tiny_unet().requires_grad_(False)
        found = both_chunks(unet, applied(coser_control(file)))
        assert found.isfinite().all()
        assert (found - both_chunks(unet, None)).abs().amax(dim=(1, 2, 3, 4)).min() > 1e-2

    @torch.no_grad()
    def test_making_a_reference_is_the_unet_with_a_longer_text(self, unet, control):
        found = both_chunks(unet, applied(control.for_generation()))
        wanted = unet(X, TIME, torch.cat([TEXT, TOKENS], dim=1)).sample
        torch.testing.assert_close(found[0], wanted, rtol=0, atol=1e-5)
        torch.testing.assert_close(found[1], unet(X, TIME, NEGATIVE).sample, rtol=0, atol=1e-5)
        with pytest.raises(SettingsError, match="give the tokens of the frames"):
            both_chunks(unet, applied(control.for_generation(), tokens=None))


class TestChunks:
    @torch.no_grad()
    def test_their_order_does_not_matter(self, unet, control):
        found = both_chunks(unet, applied(control))
        x, time, text = X.repeat(2, 1, 1, 1), TIME.repeat(2), torch.cat([NEGATIVE, TEXT])
        call = {**BOTH, "chunks": (UNCONDITIONED, CONDITIONED)}
        turned = run(unet, x, time, text, applied(control), call=call).unflatten(0, (2, F))
        torch.testing.assert_close(turned.flip(0), found, rtol=0, atol=1e-5)

    @torch.no_grad()
    def test_each_alone_is_the_same_as_both(self, unet, control):
        found = both_chunks(unet, applied(control))
        one = applied(control)
        for number, (chunk, text) in enumerate(((CONDITIONED, TEXT), (UNCONDITIONED, NEGATIVE))):
            call = {**BOTH, "chunks": (chunk,), "conditioned": TEXT}
            alone = run(unet, X, TIME, text, one, call=call)
            torch.testing.assert_close(alone, found[number], rtol=0, atol=1e-5)

    @torch.no_grad()
    def test_the_branch_runs_once_for_both_and_twice_with_a_reference(self, unet, control):
        seen = []
        handle = control.branch.input_blocks[0][0].register_forward_hook(
            lambda _m, given, _out: seen.append(len(given[0]))
        )
        both_chunks(unet, applied(control))
        both_chunks(unet, applied(control, reference=None))
        handle.remove()
        assert seen == [F, F, F]


class TestRules:
    @torch.no_grad()
    @pytest.mark.parametrize("chunks", [(CONDITIONED,), (CONDITIONED, UNCONDITIONED)])
    def test_strength_zero_is_bit_equal_to_no_control(self, unet, control, chunks):
        off = ControlSettings(strength=0)
        x, time, text = (
            X.repeat(len(chunks), 1, 1, 1),
            TIME.repeat(len(chunks)),
            torch.cat([TEXT, NEGATIVE])[: len(chunks) * F],
        )
        call = {**BOTH, "chunks": chunks}
        assert torch.equal(
            run(unet, x, time, text, applied(control, off), call=call), run(unet, x, time, text, call=call)
        )

    @torch.no_grad()
    def test_a_frame_on_which_it_does_not_act_has_no_tokens_either(self, unet, control):
        first_off = ControlSettings(over_frames=((0, 0.0), (1, 1.0)))
        found, plain = both_chunks(unet, applied(control, first_off)), both_chunks(unet, None)
        whole = both_chunks(unet, applied(control))
        torch.testing.assert_close(found[:, 0], plain[:, 0], rtol=0, atol=1e-5)
        torch.testing.assert_close(found[:, 1], whole[:, 1], rtol=0, atol=1e-5)
        assert (whole[:, 0] - plain[:, 0]).abs().max() > 0.1

    @torch.no_grad()
    def test_taken_off_it_leaves_the_unet_bit_equal(self, unet, control):
        before = both_chunks(unet, None)
        both_chunks(unet, applied(control))
        assert torch.equal(both_chunks(unet, None), before)
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in unet.modules())

    @torch.no_grad()
    def test_a_change_in_one_shot_leaves_the_other_bit_equal(self, unet, control):
        call = {"segments": ((0, 1), (1, 2))}
        found = both_chunks(unet, applied(control), **call)
        hint, reference, tokens = HINT.clone(), REFERENCE.clone(), TOKENS.clone()
        for changed in (hint, reference, tokens):
            changed[1] += 1
        other = both_chunks(unet, applied(control, hint=hint, reference=reference, tokens=tokens), **call)
        assert torch.equal(found[:, 0], other[:, 0])
        assert not torch.equal(found[:, 1], other[:, 1])

    @torch.no_grad()
    def test_a_tile_looks_at_its_own_part(self, unet, control):
        top, left, height, width = 0, 4, 8, 8
        part = (..., slice(top, top + height), slice(left, left + width))
        cut = applied(control, hint=HINT[part], reference=REFERENCE[part])
        wanted = run(unet, X[part], TIME, TEXT, cut)
        call = {"corner": (top, left), "size": SIDES}
        assert torch.equal(run(unet, X[part], TIME, TEXT, applied(control), call=call), wanted)

    @torch.no_grad()
    def test_a_window_looks_at_its_own_frames(self, unet, control):
        hint, reference, tokens = (torch.cat([random(3, *part.shape[1:]), part]) for part in (HINT, REFERENCE, TOKENS))
        longer = applied(control, hint=hint, reference=reference, tokens=tokens)
        wanted = run(unet, X, TIME, TEXT, applied(control))
        assert torch.equal(run(unet, X, TIME, TEXT, longer, call={"frames": (3, 4)}), wanted)

    @torch.no_grad()
    def test_damage_weakens_it_where_it_lies(self, unet, control):
        half = torch.zeros(F, *SIDES)
        half[:, :, 6:] = 1
        whole, free = both_chunks(unet, applied(control)), ControlSettings(in_damage=0.0)
        partly = both_chunks(unet, applied(control, free, damage=half))
        assert (partly - whole).abs().max() > 1e-2
        # Where all is damaged, only the tokens speak.
        nowhere = both_chunks(unet, applied(control, free, damage=torch.ones(F, *SIDES)))
        torch.testing.assert_close(nowhere, both_chunks(unet, applied(control.for_generation())), rtol=0, atol=1e-5)
        kept = both_chunks(unet, applied(control, ControlSettings(in_damage=1.0), damage=half))
        assert torch.equal(kept, whole)


class TestWrongModels:
    def test_another_family_is_refused(self, control):
        unet = sd2_unet(channels=(32, 32, 64, 64))
        with pytest.raises(SettingsError, match=r"All-in-Attention of middle_block\.1 has 128 channels"):
            applied(control).attach(UNetView(unet))

    def test_a_model_with_other_transformers_is_refused(self, control):
        with pytest.raises(SettingsError, match="this UNet has them at"):
            applied(control).attach(UNetView(tiny_unet(block_out_channels=(32, 64))))


def test_the_published_control_fits_the_published_unet():
    from diffusers import UNet2DConditionModel

    parts = {"control": {}}
    with torch.device("meta"):
        for name in ("aia_unet_extra", "structcond"):
            shapes = manifest(f"coser_tianhewu_{name}")
            parts["control"] |= {key: torch.empty(shape) for key, shape in shapes.items()}
        control = COSER.build(parts, None)
        unet = UNet2DConditionModel(
            cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True
        )
    assert len(list(control.places(UNetView(unet)))) == 10
