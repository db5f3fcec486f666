"""Every published system through the two nodes: from its files to a controlled sampling."""

import json
from pathlib import Path

import comfy.clip_vision
import pytest
import torch
from inside.models import VISION_CONFIG, filled, image_vae, tiny_pair
from inside.prior.controls.published import write_diffbir
from inside.sampling import assert_same, conditioning, random, sample
from pack.nodes.host.models import register_folders
from pack.nodes.host.prior.control_net import LatentHintControl
from pack.nodes.host.prior.regions import with_regions
from pack.nodes.prior.controls.apply_restoration_control import ApplyRestorationControl
from pack.nodes.prior.controls.load_restoration_control import LoadRestorationControl
from pack.vldm_core.errors import SettingsError
from pack.vldm_core.prior.controls.reading import FORMATS
from pack.vldm_core.sampling.regions.windows import WindowSettings
from pack.vldm_core.video.shots import Shot
from safetensors.torch import save_file

from nodes import ControlNetApplyAdvanced  # type: ignore[attr-defined]  # the host's, not the pack's

from .....prior.controls.coser.tiny_coser import Q_FORMER, control_file, encoder_file
from .....prior.controls.pasd.tiny_pasd import pasd_files
from .....prior.controls.seesr.tiny_seesr import TOKENS, seesr_files
from .....prior.controls.stablesr.tiny_stablesr import stablesr_file

FRAMES = 4
SHOTS = (Shot(0, 2), Shot(2, FRAMES))
IMAGES = torch.rand(FRAMES, 64, 64, 3, generator=torch.Generator().manual_seed(4))
NOISE, LATENT = random(FRAMES, 4, 8, 8), torch.zeros(FRAMES, 4, 8, 8)
FILES = {
    "DiffBIR": ("diffbir.safetensors",),
    "PASD": ("pasd/controlnet/net.safetensors", "pasd/unet/net.safetensors"),
    "PASD light": ("light/controlnet/net.safetensors", "light/unet/net.safetensors"),
    "SeeSR": ("seesr/controlnet/net.safetensors", "seesr/unet/net.safetensors"),
    "StableSR": ("stablesr.safetensors",),
    "CoSeR": ("coser.safetensors", "qformer.safetensors"),
}
SYSTEMS = tuple(known.system for known in FORMATS)
LATENT_HINTS = {"DiffBIR", "StableSR", "CoSeR"}
WIDGETS = {
    "strength": 1.0,
    "start_percent": 0.0,
    "end_percent": 1.0,
    "in_damage": 0.5,
    "reuse": 1,
    "over_steps": "",
    "over_frames": "",
    "pixel_window": 96,
}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder with the files of every system, in their published layouts."""
    folder = tmp_path_factory.mktemp("vldm_control")
    twin = tiny_pair()[1]
    contents = dict(zip(FILES["PASD"], pasd_files(twin), strict=True))
    contents |= dict(zip(FILES["PASD light"], pasd_files(twin, light=True), strict=True))
    contents |= dict(zip(FILES["SeeSR"], seesr_files(twin), strict=True))
    contents |= {FILES["StableSR"][0]: stablesr_file(twin)}
    contents |= dict(zip(FILES["CoSeR"], (control_file(), encoder_file(projection=False)), strict=True))
    write_diffbir(folder / FILES["DiffBIR"][0])
    for name, tensors in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        save_file({key: value.contiguous() for key, value in tensors.items()}, folder / name)
    return folder


@pytest.fixture(autouse=True)
def _where_the_host_looks(published, monkeypatch):
    import folder_paths

    register_folders()
    folder_paths.folder_names_and_paths["vldm_control"] = ([str(published)], {".safetensors"})
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})


@pytest.fixture(scope="module")
def vae():
    return image_vae()


def loaded(*files: str):
    """Return the outputs of the loader: control, control_net, report."""
    chosen = dict(zip(("file", "second_file"), (*files, "none"), strict=False))
    assert LoadRestorationControl.validate_inputs(**chosen) is True
    return LoadRestorationControl.execute(**chosen).result


def applied(model, control, vae=None, images=IMAGES, **changes):
    return ApplyRestorationControl.execute(model, control, images, vae=vae, **(WIDGETS | changes)).result[0]


def run(model):
    return sample(model, conditioning(), conditioning(seed=3), NOISE, LATENT, steps=2)


@pytest.fixture(scope="module")
def plain(model):
    return run(model)


def test_there_is_a_file_of_every_known_system():
    assert set(FILES) == set(SYSTEMS)


@pytest.mark.parametrize("name", SYSTEMS)
def test_it_acts_and_goes_without_a_trace(model, plain, vae, name):
    control, _, report, _ = loaded(*FILES[name])
    (known,) = [known for known in FORMATS if known.system == name]
    assert f"system: {name}" in report and known.licence in report and known.source in report
    patched = applied(model, control, vae)
    found = run(patched)
    assert torch.isfinite(found).all() and (found - plain).abs().max() > 1e-2
    windowed = with_regions(applied(model, control, vae, shots=SHOTS), WindowSettings(length=2, overlap=1), None)
    if name != "CoSeR":  # Its references are those of the shots.
        assert_same(run(windowed), found)
    assert torch.equal(run(applied(model, control, vae, strength=0.0)), plain)
    assert torch.equal(run(model), plain)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.model.modules())


@pytest.fixture(scope="module")
def half():
    """A MODEL that computes in half precision."""
    made = tiny_pair()[0]
    made.model.diffusion_model.to(torch.bfloat16).dtype = torch.bfloat16
    return made


@pytest.fixture(scope="module")
def half_plain(half):
    return run(half)


@pytest.mark.parametrize("name", SYSTEMS)
def test_it_takes_the_precision_of_each_model_that_it_is_on(model, plain, half, half_plain, vae, name):
    control = loaded(*FILES[name])[0]
    exact, rough = (applied(each, control, vae, shots=SHOTS) for each in (model, half))
    wanted, found = run(exact), run(rough)
    change, error = (wanted - plain).abs().mean(), (found - wanted).abs().mean()
    assert error < 0.5 * change and not torch.equal(found, half_plain)
    # The weights go back and forth, and have lost their last digits.
    assert (run(exact) - wanted).abs().mean() < 0.1 * change
    assert {parameter.dtype for parameter in control.system.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_looks_at_latents_asks_for_a_vae(model, name):
    control = loaded(*FILES[name])[0]
    if name not in LATENT_HINTS:
        assert applied(model, control) is not model
        return
    with pytest.raises(SettingsError, match="connect the VAE of the model to vae"):
        applied(model, control)


@pytest.mark.parametrize("name", SYSTEMS)
def test_latents_of_ones_own_take_the_place_of_the_vae(model, vae, name):
    control = loaded(*FILES[name])[0]
    given = {"samples": vae.encode(IMAGES)}
    if name not in LATENT_HINTS:
        with pytest.raises(SettingsError, match="leave latent out"):
            applied(model, control, latent=given)
        return
    found = run(applied(model, control, latent=given))
    assert_same(found, run(applied(model, control, vae)))
    other = {"samples": given["samples"].flip(0)}
    assert not torch.equal(run(applied(model, control, latent=other)), found)
    with pytest.raises(SettingsError, match=r"latent is .* connect the latents of the same frames"):
        applied(model, control, latent={"samples": given["samples"][..., :4]})


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_control_net_works_or_says_what_to_use(name):
    net = loaded(*FILES[name])[1]
    if name == "DiffBIR":
        assert isinstance(net, LatentHintControl)
        return
    with pytest.raises(SettingsError, match=f"{name} changes the UNet .* Apply Restoration Control"):
        ControlNetApplyAdvanced().apply_controlnet(conditioning(), conditioning(), net, IMAGES, 1.0, 0.0, 1.0)


@pytest.mark.parametrize("name", SYSTEMS)
def test_embeddings_that_it_does_not_look_at_are_refused(model, vae, name):
    control = loaded(*FILES[name])[0]
    if control.system.takes_tokens == "none":
        with pytest.raises(SettingsError, match="does not look at tokens"):
            applied(model, control, vae, tokens=conditioning())
    if control.system.takes_reference == "none":
        with pytest.raises(SettingsError, match="does not look at a reference"):
            applied(model, control, vae, reference=IMAGES[:1])
    if name != "CoSeR":
        with pytest.raises(SettingsError, match="does not look through CLIP Vision"):
            applied(model, control, vae, clip_vision=object())


def test_folders_and_files_in_any_order(model):
    options = LoadRestorationControl.define_schema().inputs[0].options
    assert options[:3] == ["light/", "pasd/", "seesr/"]
    assert {file for files in FILES.values() for file in files} < set(options)
    wanted = run(applied(model, loaded(*FILES["PASD"])[0]))
    for files in (("pasd/",), FILES["PASD"][::-1]):
        assert torch.equal(run(applied(model, loaded(*files)[0])), wanted)


def test_what_is_missing_is_said_before_anything_is_read():
    for files, said in (
        ((FILES["SeeSR"][0], "none"), "the ControlNet of SeeSR in .* is there, but its UNet .* is missing"),
        ((FILES["SeeSR"][1], "none"), "the UNet of SeeSR in .* is there, but its ControlNet .* is missing"),
        ((FILES["SeeSR"][0], FILES["DiffBIR"][0]), "belong to different systems"),
        (("no.safetensors", "none"), "is in none of the model folders"),
        (("no/", "none"), "is not a folder below models/vldm_control"),
        (("none", "none"), "no file is chosen"),
    ):
        with pytest.raises(SettingsError, match=said):
            LoadRestorationControl.validate_inputs(file=files[0], second_file=files[1])


def test_what_is_absent_is_told():
    report = loaded(FILES["CoSeR"][0])[2]
    assert "absent, works without: cognitive encoder" in report and "control: coser.safetensors" in report


def test_a_file_that_changes_is_loaded_again(published):
    before = LoadRestorationControl.fingerprint_inputs("pasd/", "none")
    path = published / FILES["PASD"][0]
    path.touch()
    assert LoadRestorationControl.fingerprint_inputs("pasd/", "none") != before
    assert LoadRestorationControl.fingerprint_inputs(*FILES["PASD"]) != before


def test_pixel_window_of_pasd(model):
    control = loaded(*FILES["PASD"])[0]
    whole = run(applied(model, control, pixel_window=0))
    assert_same(run(applied(model, control)), whole)
    near = run(applied(model, control, pixel_window=3))
    assert (near - whole).abs().max() > 1e-4
    assert_same(run(applied(model, control)), whole)


def test_tokens_of_seesr_for_all_for_shots_and_for_frames(model):
    control = loaded(*FILES["SeeSR"])[0]
    tokens = random(2, 5, TOKENS, seed=8)
    without = run(applied(model, control))
    shots = run(applied(model, control, tokens=[[tokens, {}]], shots=SHOTS))
    frames = run(applied(model, control, tokens=[[tokens.repeat_interleave(2, 0), {}]]))
    assert_same(shots, frames)
    assert (shots - without).abs().max() > 1e-3
    first = run(applied(model, control, tokens=[[tokens[:1], {}]]))
    assert_same(first[:2], shots[:2])
    assert (first[2:] - shots[2:]).abs().max() > 1e-3
    with pytest.raises(SettingsError, match="the embedding is 64 wide"):
        applied(model, control, tokens=conditioning())


def test_references_of_coser_are_the_least_damaged_frames_of_the_shots(model, vae):
    control = loaded(*FILES["CoSeR"])[0]
    mask = torch.zeros(FRAMES, 64, 64)
    mask[[0, 3], :32] = 1
    chosen = IMAGES[[1, 1, 2, 2]]
    found = run(applied(model, control, vae, mask=mask, shots=SHOTS))
    assert_same(found, run(applied(model, control, vae, mask=mask, shots=SHOTS, reference=chosen)))
    given = run(applied(model, control, vae, mask=mask, shots=SHOTS, reference=IMAGES[:1].flip(1)))
    assert (given - found).abs().max() > 1e-3
    large = IMAGES[:1].flip(1).repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert applied(model, control, vae, reference=large) is not model


def test_cognition_of_coser(model, vae, tmp_path):
    control = loaded(*FILES["CoSeR"])[0]
    without = run(applied(model, control, vae, shots=SHOTS))
    found = run(applied(model, control, vae, shots=SHOTS, clip_vision=vision(tmp_path, Q_FORMER.vision)))
    assert (found - without).abs().max() > 1e-3
    with pytest.raises(SettingsError, match="CLIP's projection is"):
        applied(model, control, vae, clip_vision=vision(tmp_path, Q_FORMER.vision + 1))
    alone = loaded(FILES["CoSeR"][0])[0]
    with pytest.raises(SettingsError, match="hold no cognitive encoder"):
        applied(model, alone, vae, clip_vision=vision(tmp_path, Q_FORMER.vision))


def test_coser_makes_references_that_are_one_for_each_shot(model, vae, plain, tmp_path):
    control, _, _, making = loaded(*FILES["CoSeR"])
    clip_vision = vision(tmp_path, Q_FORMER.vision)
    made = applied(model, making, vae, clip_vision=clip_vision)
    assert (run(made) - plain).abs().max() > 1e-3
    # Each picture is described by itself, and the branch and the attention rest.
    alone = [applied(model, making, vae, IMAGES[[index]], clip_vision=clip_vision) for index in (0, 2)]
    pairs = torch.cat([run(patched)[2 * index : 2 * index + 2] for index, patched in enumerate(alone)])
    both = applied(model, making, vae, IMAGES[[0, 0, 2, 2]], clip_vision=clip_vision)
    assert_same(run(both), pairs)
    assert len(applied(made, control, vae).get_additional_models()) == 1
    with pytest.raises(SettingsError, match="CoSeR needs tokens"):
        applied(model, making, vae)
    with pytest.raises(SettingsError, match="does not look at a reference"):
        applied(model, making, vae, clip_vision=clip_vision, reference=IMAGES[:1])
    shots = run(applied(model, control, vae, reference=IMAGES[:2], shots=SHOTS))
    assert_same(shots, run(applied(model, control, vae, reference=IMAGES[[0, 0, 1, 1]], shots=SHOTS)))
    with pytest.raises(SettingsError, match="3 reference pictures for 4 frames in 2 shots"):
        applied(model, control, vae, reference=IMAGES[:3], shots=SHOTS)
    assert loaded(*FILES["DiffBIR"])[3].message.startswith("DiffBIR makes no reference pictures")


def test_damage_weakens_and_shots_of_another_clip_are_refused(model, vae, plain):
    control = loaded(*FILES["DiffBIR"])[0]
    full = torch.ones(1, 64, 64)
    assert torch.equal(run(applied(model, control, vae, mask=full, in_damage=0.0)), plain)
    found = run(applied(model, control, vae))
    assert_same(run(applied(model, control, vae, mask=full, in_damage=1.0)), found)
    with pytest.raises(SettingsError, match="the shots cover 3 frames, there are 4 images"):
        applied(model, control, vae, shots=(Shot(0, 3),))
    with pytest.raises(SettingsError, match="sides divisible by 8: put Fit For Prior"):
        applied(model, control, vae, images=IMAGES[:, :60])


def vision(folder: Path, projection: int):
    """Return a CLIP_VISION of the host's class with a projection of a width."""
    path = folder / f"vision_{projection}.json"
    path.write_text(json.dumps(VISION_CONFIG | {"projection_dim": projection}))
    found = comfy.clip_vision.ClipVisionModel(str(path))
    found.model.float()
    found.dtype = torch.float32
    filled(found.model, seed=1)
    return found
