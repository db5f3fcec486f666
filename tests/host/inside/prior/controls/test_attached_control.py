"""A restoration control in the host's sampling: as headlessly, beside other patches, and gone without a trace."""

import pytest
import torch
from inside.models import tiny_pair
from inside.prior.controls.published import tiny_diffbir
from inside.prior.headless import headless
from inside.prior.loras import lora_tensors
from inside.prior.test_parity import moved
from inside.sampling import SCALE, assert_same, conditioning, random, sample
from pack.nodes.host.prior.attachments import with_attachment, with_shots
from pack.nodes.host.prior.controls import with_control
from pack.nodes.host.prior.regions import with_regions
from pack.vldm_core.errors import SettingsError
from pack.vldm_core.prior.controls.control import RestorationControl
from pack.vldm_core.prior.controls.material import ControlMaterial
from pack.vldm_core.prior.controls.settings import ControlSettings
from pack.vldm_core.prior.temporal.layers import TemporalConfig, TemporalLayers
from pack.vldm_core.prior.unet import UNetView
from pack.vldm_core.sampling.regions.tiles import TileSettings
from pack.vldm_core.sampling.regions.windows import WindowSettings
from pack.vldm_core.video.shots import Shot

FRAMES, STEPS = 6, 3
SHOTS = (Shot(0, 4), Shot(4, FRAMES))
WINDOWS = WindowSettings(length=3, overlap=1)
TILES = TileSettings(size=8, overlap=4)
NOISE, LATENT = random(FRAMES, 4, 8, 12), random(FRAMES, 4, 8, 12, seed=5)
HINT, DAMAGE = random(FRAMES, 4, 8, 12, seed=6), (random(FRAMES, 8, 12, seed=7) > 1).float()
POSITIVE, NEGATIVE = conditioning(frames=FRAMES), conditioning(seed=3)
MATERIAL = ControlMaterial(hint=HINT, damage=DAMAGE)
SETTINGS = ControlSettings(
    strength=0.8, end=0.9, over_steps=((0.0, 1.0), (1.0, 0.5)), over_frames=((0, 1.0), (5, 0.4)), in_damage=0.3
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("controls")


@pytest.fixture(scope="module")
def control(folder):
    return tiny_diffbir(folder)


def run(model, **more):
    return sample(model, POSITIVE, NEGATIVE, NOISE, LATENT, steps=STEPS, **more)


@pytest.fixture(scope="module")
def plain(model):
    return run(model)


@pytest.mark.parametrize(
    ("prediction", "windows", "tiles", "settings"),
    [
        ("eps", None, None, SETTINGS),
        ("v", WINDOWS, TILES, SETTINGS),
        ("eps", WINDOWS, TILES, ControlSettings(reuse=2)),
    ],
)
def test_the_host_samples_as_the_package_does(control, prediction, windows, tiles, settings):
    model, twin = tiny_pair(prediction)
    patched = with_shots(with_control(model, control, MATERIAL, settings), SHOTS)
    if windows is not None:
        patched = with_regions(patched, windows, tiles)
    found = run(patched)
    there = RestorationControl(control.system, MATERIAL, settings)
    more = {"windows": windows, "tiles": tiles, "attachments": [there], "shots": SHOTS}
    with there.attached(UNetView(twin)):
        wanted = headless(model, twin, prediction, POSITIVE, NEGATIVE, NOISE, LATENT, steps=STEPS, **more)
    torch.testing.assert_close(found * SCALE, wanted * SCALE, atol=1e-4, rtol=0)
    assert (run(model) - found).abs().max() > 1e-2, "the control does nothing"


def test_strength_0_is_bit_equal_to_no_control(model, control, plain):
    assert torch.equal(run(with_control(model, control, MATERIAL, ControlSettings(strength=0.0))), plain)


def test_what_lies_outside_the_steps_is_bit_equal_to_no_control(model, control, plain):
    late = ControlSettings(start=1.0, end=1.0)
    assert torch.equal(run(with_control(model, control, MATERIAL, late)), plain)


def test_after_detaching_nothing_is_left(model, control, plain):
    patched = with_control(model, control, MATERIAL, SETTINGS)
    changed = run(patched)
    assert torch.equal(run(model), plain)
    assert torch.equal(run(patched), changed)
    patched.detach()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.model.modules())
    assert torch.equal(run(model), plain)


def test_windows_and_another_shot_change_nothing_in_this_one(model, control):
    whole = run(with_control(model, control, MATERIAL, SETTINGS))
    windowed = with_regions(with_shots(with_control(model, control, MATERIAL, SETTINGS), SHOTS), WINDOWS, None)
    assert_same(run(windowed), whole)
    other = ControlMaterial(hint=torch.cat([HINT[:4], HINT[4:].flip(0)]), damage=DAMAGE)
    changed = run(with_regions(with_shots(with_control(model, control, other, SETTINGS), SHOTS), WINDOWS, None))
    before = run(windowed)
    assert torch.equal(changed[:4], before[:4]) and not torch.equal(changed[4:], before[4:])


def test_two_controls_commute_and_share_the_weights_in_the_host(model, control, folder):
    second = tiny_diffbir(folder, seed=12)

    def chained(*controls):
        patched = model
        for each in controls:
            patched = with_control(patched, each, ControlMaterial(hint=HINT), ControlSettings(strength=0.5))
        return patched

    assert_same(run(chained(control, second)), run(chained(second, control)))
    assert len(chained(control, second).get_additional_models()) == 2
    twice = chained(control, control)
    assert len(twice.get_additional_models()) == 1
    once = with_control(model, control, ControlMaterial(hint=HINT), ControlSettings(strength=1.0))
    assert_same(run(twice), run(once))


def test_a_lora_and_temporal_layers_act_beside_it(model, control, plain):
    view = UNetView(model.model.diffusion_model)
    torch.manual_seed(4)
    layers = moved(TemporalLayers(TemporalConfig.for_unet(view)))
    alone = run(with_control(model, control, MATERIAL, SETTINGS))

    def adapted(model):
        import comfy.sd
        from pack.vldm_core.prior.lora.per_frame import named_layers

        names = [name for name in named_layers(view) if name.endswith("attn1_to_q")][:2]
        patched, _ = comfy.sd.load_lora_for_models(model, None, lora_tensors(named_layers(view), names), 1.0, 0.0)
        return patched

    with_layers = run(with_control(with_attachment(model, layers, "temporal"), control, MATERIAL, SETTINGS))
    with_lora = run(with_control(adapted(model), control, MATERIAL, SETTINGS))
    everything = run(with_control(with_attachment(adapted(model), layers, "temporal"), control, MATERIAL, SETTINGS))
    results = [plain, alone, with_layers, with_lora, everything]
    for index, one in enumerate(results):
        for other in results[index + 1 :]:
            assert (one - other).abs().max() > 1e-3


def test_hints_of_another_clip_are_refused(model, control):
    for hint, seen in ((HINT[:5], "5 images of 96×64"), (HINT[..., :8], "6 images of 64×64")):
        patched = with_control(model, control, ControlMaterial(hint=hint), SETTINGS)
        with pytest.raises(SettingsError, match=f"{seen}, the latent stands for 6 of 96×64"):
            run(patched)


def test_references_and_tokens_of_another_clip_are_refused(model, control):
    """With one image for all frames they alone say how long the clip is."""
    for count in (5, 7):
        patched = with_control(
            model, control, ControlMaterial(hint=HINT[:1], reference=random(count, 4, 8, 12)), SETTINGS
        )
        with pytest.raises(SettingsError, match=f"tokens or masks for {count} frames, the latent has 6"):
            run(patched)


def test_hints_that_are_no_numbers_are_refused(model, control):
    broken = HINT.clone()
    broken[2, 0, 0, 0] = torch.nan
    with pytest.raises(SettingsError, match=r"hint of DiffBIR holds values that are not finite .* in frame 2"):
        with_control(model, control, ControlMaterial(hint=broken), SETTINGS)


def test_prompts_for_an_area_are_refused_where_tiles_would_hide_it(model, control):
    areas = conditioning(frames=FRAMES, area=(4, 6, 0, 0), strength=1.0)
    patched = with_regions(with_control(model, control, MATERIAL, SETTINGS), WINDOWS, None)
    with pytest.raises(SettingsError, match="give the prompt a mask instead"):
        sample(patched, areas, NEGATIVE, NOISE, LATENT, steps=1)


def test_what_scales_pictures_inside_the_model_is_told(model, control):
    from comfy_extras.nodes_model_downscale import PatchModelAddDownscale

    patched = with_control(model, control, MATERIAL, SETTINGS)
    (shrunk,) = PatchModelAddDownscale.execute(patched, 3, 2.0, 0.0, 0.35, True, "bicubic", "bicubic").result
    with pytest.raises(SettingsError, match=r"1×1 positions where DiffBIR knows one of 2×1; remove .* Deep Shrink"):
        run(shrunk)


def test_a_model_of_another_family_is_refused(tmp_path, model):
    from inside.prior.controls.published import write_diffbir
    from pack.nodes.host.prior.controls import load_control

    write_diffbir(tmp_path / "wide.safetensors", context=96)
    with pytest.raises(SettingsError, match="text 96 wide, and this model is one with text 64 wide"):
        with_control(model, load_control([tmp_path / "wide.safetensors"]), MATERIAL, SETTINGS)
