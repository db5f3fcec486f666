"""What checkpoints are told to be, what is missing in them and what is too much."""

import re

import pytest
import torch

from tests.manifests import manifest
from tests.oracles import load_oracle
from vldm_core.prior.checkpoints.families import SD1 as SD1_FAMILY
from vldm_core.prior.checkpoints.families import SD2 as SD2_FAMILY
from vldm_core.prior.checkpoints.inspection import control_keys
from vldm_core.prior.checkpoints.inspection.expected import EXPECTED
from vldm_core.prior.checkpoints.inspection.identify import identify
from vldm_core.prior.checkpoints.inspection.published_files import PUBLISHED
from vldm_core.prior.checkpoints.inspection.signatures import OURS, SIGNATURES
from vldm_core.prior.checkpoints.inspection.unet_keys import SD1_UNET, SD2_UNET, SDXL_UNET, unet_shapes
from vldm_core.prior.checkpoints.inspection.vae_keys import vae_shapes
from vldm_core.prior.controls.reading import parts_of

from ...controls.coser.tiny_coser import encoder_file
from .layouts import INPAINTING, LORA, SD2, WHOLE, below

CONTROL, ONE_STEP, STAGE1 = "restoration control", "one-step restorer", "stage-1 restorer"
SD15, SD21 = "Stable Diffusion 1.x", "Stable Diffusion 2.x"
# Every manifest: its kind, its part, its family and a word of what it needs.
MANIFESTS = {
    "coser_tianhewu_aia_unet_extra": (CONTROL, "coser_attention", SD21, "control branch"),
    "coser_tianhewu_structcond": (CONTROL, "coser_branch", SD21, "All-in-Attention"),
    "diffbir_bsrnet": (STAGE1, "stage1_bsrnet", None, None),
    "diffbir_controlnet_v2": (CONTROL, "diffbir_control", SD21, "zero terminal SNR"),
    "diffbir_scunet": (STAGE1, "stage1_scunet", None, None),
    "diffbir_swinir_stage1": (STAGE1, "stage1_swinir", None, None),
    "diffbir_v1_full": (CONTROL, "diffbir_hint_encoder", SD21, None),
    "onestep_dloral_cfr": (ONE_STEP, "dloral_frames", SD21, "UNet entry"),
    "onestep_dloral_unet": (ONE_STEP, "dloral_unet", SD21, "retrieval"),
    "onestep_hypir_sd2": (ONE_STEP, "hypir_unet", SD21, "2.1-base"),
    "onestep_osediff_unet": (ONE_STEP, "osediff_unet", SD21, "VAE entry"),
    "onestep_osediff_vae": (ONE_STEP, "osediff_vae", SD21, "UNet entry"),
    "onestep_pisasr_unet": (ONE_STEP, "pisasr_unet", SD21, "2.1-base"),
    "onestep_s3diff_de_net": (ONE_STEP, "s3diff_damage", SD21, "s3diff.pkl"),
    "onestep_s3diff_mlps": (ONE_STEP, "s3diff_steering", SD21, "s3diff.pkl"),
    "onestep_s3diff_unet": (ONE_STEP, "s3diff_unet", SD21, "SD-Turbo"),
    "onestep_s3diff_vae": (ONE_STEP, "s3diff_vae", SD21, "SD-Turbo"),
    "pasd_controlnet": (CONTROL, "pasd_control", SD15, "UNet of the same PASD"),
    "pasd_light_controlnet": (CONTROL, "pasd_control", SD15, "UNet of the same PASD"),
    "pasd_light_unet_extra": (CONTROL, "pasd_light_attention", SD15, "ControlNet"),
    "pasd_unet_extra": (CONTROL, "pasd_attention", SD15, "ControlNet"),
    "sd21_unet_ldm_for_reference": ("base model", "unet_original", SD21, "VAE"),
    "sd_vae_ldm_for_reference": ("VAE", "vae_original", None, None),
    "seesr_controlnet": (CONTROL, "seesr_control", SD21, "SeeSR's UNet"),
    "seesr_unet_extra": (CONTROL, "seesr_attention", SD21, "SeeSR's ControlNet"),
    "stablesr_cfw_fusion": (CONTROL, "stablesr_fusion", SD21, "VAE"),
    "stablesr_spade": (CONTROL, "stablesr_modulation", SD21, "structure encoder"),
    "stablesr_structcond": (CONTROL, "stablesr_structure", SD21, "modulation"),
}
STAGE_1_HALVES = ("stage1_bsrnet", "stage1_scunet", "stage1_swinir")


@pytest.mark.parametrize("name", MANIFESTS)
def test_every_published_layout_is_told_and_compared_tensor_by_tensor(name):
    kind, part, family, need = MANIFESTS[name]
    shapes = manifest(name)
    found = identify(shapes)
    assert (found.kind, found.family, found.tensors) == (kind, family, len(shapes))
    assert part in {each.part for each in found.parts}
    assert all(each.checked for each in found.parts) and sum(each.tensors for each in found.parts) == len(shapes)
    assert found.complete and not found.missing and not found.unexpected
    assert need is None or any(need in each for each in found.needs)


@pytest.mark.parametrize("name", MANIFESTS)
def test_one_tensor_less_one_more_and_one_of_another_shape_are_named(name):
    shapes = manifest(name)
    part = MANIFESTS[name][1]
    told = next(each for each in SIGNATURES if each.part == part)
    prefix = next(each.prefix for each in identify(shapes).parts if each.part == part)
    marks = {f"{prefix}{mark}" for mark in told.marks}
    keys = [key for key in shapes if key.startswith(prefix) and key not in marks]
    lost, bent = keys[-1], keys[len(keys) // 2]
    changed = {key: shape for key, shape in shapes.items() if key != lost}
    changed |= {bent: (*shapes[bent][:-1], shapes[bent][-1] + 1), "never.heard.of": (3,)}
    found = identify(changed)
    assert found.kind == MANIFESTS[name][0] and not found.complete
    assert found.missing == (lost,)
    assert found.unexpected == ("never.heard.of",)
    assert [each for part in found.parts for each in part.other_shape] == [
        f"{bent} {changed[bent]} instead of {shapes[bent]}"
    ]


@pytest.mark.parametrize("name", WHOLE)
def test_whole_files_of_every_kind_are_told(name):
    shapes, said, kind, family = WHOLE[name]
    found = identify(shapes)
    assert (found.name, found.kind, found.family) == (said, kind, family)
    assert not found.missing and not found.unexpected and found.complete


def test_systems_that_lie_in_a_checkpoint_are_told_before_their_base():
    modulation = below("model.diffusion_model.", control_keys.stablesr_modulation())
    structure = manifest("stablesr_structcond")
    whole = manifest("diffbir_v1_full") | {"betas": (1000,), "cond_stage_model.model.ln_final.weight": (1024,)}
    for shapes, said in (
        (SD2 | modulation | structure, "StableSR, complete"),
        (modulation | structure, "StableSR's extract"),
        (SD2 | manifest("coser_tianhewu_aia_unet_extra") | manifest("coser_tianhewu_structcond"), "CoSeR, complete"),
        (whole, "DiffBIR v1, complete"),
    ):
        found = identify(shapes)
        assert found.name.startswith(said) and found.kind == CONTROL and not found.missing
    assert "non-commercial" in identify(SD2 | modulation | structure).licence


def test_nothing_is_needed_that_the_file_holds():
    attention, branch = manifest("coser_tianhewu_aia_unet_extra"), manifest("coser_tianhewu_structcond")
    encoder = {key: tuple(value.shape) for key, value in encoder_file(projection=False).items()}
    both = identify(attention | branch)
    assert both.name == "CoSeR's additions, without the UNet" and both.complete
    assert [need for need in both.needs if "CoSeR" in need] == ["CoSeR's cognitive encoder"]
    all_three = identify(attention | branch | encoder)
    assert all_three.name == "CoSeR's additions with its cognitive encoder, without the UNet"
    assert not [need for need in all_three.needs if "CoSeR" in need]


def test_extracts_of_stablesr_in_other_names():
    modulation, structure = manifest("stablesr_spade"), manifest("stablesr_structcond")
    plain = {key.removeprefix("model.diffusion_model."): shape for key, shape in modulation.items()}
    bare = {re.sub(r"(_blocks\.\d+)\.0\.spade|\.spade", r"\1", key): shape for key, shape in plain.items()}
    encoder = {key.removeprefix("structcond_stage_model."): shape for key, shape in structure.items()}
    for shapes in (plain | structure, bare | structure, plain | encoder, bare | encoder):
        found = identify(shapes)
        assert found.name.startswith("StableSR's extract") and found.complete
        assert {part.part: part.tensors for part in found.parts} == {
            "stablesr_modulation": 176,
            "stablesr_structure": 200,
        }


@pytest.mark.parametrize("name", [name for name, (kind, *_) in MANIFESTS.items() if kind == CONTROL])
def test_it_agrees_with_the_loader_of_controls(name):
    """What the loader takes for a part of a system is told as a part of that system, with its licence."""
    shapes = manifest(name)
    systems = {known.system: known for known, _ in parts_of(shapes)}
    found = identify(shapes)
    if systems:
        assert any(system.split()[0] in found.name for system in systems)
        assert (found.licence, found.source) in {(each.licence, each.source) for each in systems.values()}
    # Halves of what is one file to the loader are not parts there.
    assert systems or name.split("_")[0] in ("stablesr", "coser")


def test_networks_of_other_sizes_are_compared_with_what_their_modules_hold():
    weights = load_oracle("diffbir_control").weights("control")
    shapes = {key: tuple(tensor.shape) for key, tensor in weights.items()}
    found = identify(shapes)
    assert found.parts[0].checked and found.complete
    del shapes["zero_convs.3.0.bias"]
    assert identify(shapes).missing == ("zero_convs.3.0.bias",)


def test_a_whole_block_that_is_absent_is_missed():
    shapes = manifest("coser_tianhewu_aia_unet_extra")
    left = {key: shape for key, shape in shapes.items() if "output_blocks.7." not in key}
    assert set(identify(left).missing) == shapes.keys() - left.keys()
    found = identify({key: shape for key, shape in SD2.items() if ".output_blocks.4." not in key})
    assert len(found.missing) == 12 + 26 and all(".output_blocks.4." in key for key in found.missing)


@pytest.mark.parametrize(
    "name", ["pasd_light_unet_extra", "pasd_controlnet", "onestep_osediff_unet", "seesr_unet_extra"]
)
def test_nets_of_another_size_are_told_and_not_compared(name):
    shapes = {
        key: tuple(-(-side // 10) if side >= 320 else side for side in shape) for key, shape in manifest(name).items()
    }
    found = identify(shapes)
    assert found.kind == MANIFESTS[name][0] and not found.missing
    assert not any(part.checked for part in found.parts)


def test_an_inpainting_model_is_told_and_is_complete():
    found = identify(INPAINTING)
    assert found.kind == "base model" and "9 channels" in found.note and found.complete


def test_image_models_are_asked_of_spandrel():
    names = ("conv_first", "body.0.rdb1.conv1", "conv_body", "conv_last")
    found = identify({f"{name}.weight": (64, 3, 3, 3) for name in names})
    assert (found.kind, found.parts[0].name) == ("image model", "ESRGAN")


def test_our_own_files_say_it_themselves():
    for key, (part, name) in OURS.items():
        found = identify({"x.weight": (3, 4)}, {"format": "pt", key: "{}"})
        assert (found.name, found.parts[0].part) == (name, part) and found.kind != "unknown"


def test_what_nothing_tells_is_unknown():
    found = identify({"x": (1,), "y": (2,)})
    assert (found.kind, found.unknown, found.complete) == ("unknown", ("x", "y"), False)
    assert identify({}).kind == "unknown" and "no tensors" in identify({}).name
    assert identify(LORA | {"hada_w1": (3,)}).unexpected == ("hada_w1",)


def test_the_tables_fit_together():
    parts = {each.part for each in SIGNATURES} | {part for part, _ in OURS.values()}
    assert len([each.part for each in SIGNATURES]) == len({each.part for each in SIGNATURES})
    assert set(EXPECTED) <= parts
    assert all(file.parts <= parts for file in PUBLISHED)
    # Every part alone is something, but for what is never alone.
    alone = {part for file in PUBLISHED for part in file.parts if len(file.parts) == 1}
    assert parts - alone == {"diffbir_hint_encoder", "coser_pre_sr", "tables", "average", "losses"}


@pytest.mark.parametrize(("config", "sizes"), [(SD1_FAMILY, SD1_UNET), (SD2_FAMILY, SD2_UNET)], ids=["1.x", "2.x"])
def test_names_and_shapes_are_those_of_diffusers(config, sizes):
    diffusers = pytest.importorskip("diffusers")
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(**config.unet)
        control = diffusers.ControlNetModel.from_unet(unet, load_weights_from_unet=False)
        vae = diffusers.AutoencoderKL(**config.autoencoder)
    assert unet_shapes(sizes, "diffusers") == shapes_of(unet)
    assert control_keys.diffusers_control_shapes(sizes) == shapes_of(control)
    assert vae_shapes("diffusers") == shapes_of(vae)


def test_names_and_shapes_of_xl_are_those_of_diffusers():
    diffusers = pytest.importorskip("diffusers")
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )
    assert unet_shapes(SDXL_UNET, "diffusers") == shapes_of(unet)


def shapes_of(network):
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
