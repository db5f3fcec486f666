"""The kind of a checkpoint is read from its header; the shipped configurations are those of the published models."""

import json
from pathlib import Path

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.files.weights import WeightFileError, WeightHeader
from vldm_core.prior.checkpoints.families import FAMILIES, SD1, SD2, SPREAD_OF_V, family_of, prediction_of
from vldm_core.prior.checkpoints.family_files import clip_merges, clip_tokens, write_configuration

PATH = Path("model.safetensors")
UNET = "model.diffusion_model."


def header(context: int = 768, channels: int = 4, metadata: dict[str, str] | None = None, **more) -> WeightHeader:
    text = "cond_stage_model.transformer.text_model." if context == 768 else "cond_stage_model.model."
    shapes = {
        f"{UNET}input_blocks.0.0.weight": (320, channels, 3, 3),
        f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, context),
        f"{text}x": (1,),
        "first_stage_model.x": (1,),
        SPREAD_OF_V: (320,),
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    return WeightHeader(shapes=shapes, metadata=metadata or {})


def untouched(key: str) -> torch.Tensor:
    raise AssertionError(f"{key} was read")


def test_the_family_is_read_from_the_width_of_the_text():
    assert family_of(header(768), PATH) is SD1 and family_of(header(1024), PATH) is SD2


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({f"{UNET}joint_blocks.0.x": (1,)}, "is a Stable Diffusion 3 model; choose"),
        ({f"{UNET}double_blocks.0.x": (1,)}, "is a Flux model, or one like it; choose"),
        ({"double_blocks.0.x": (1,)}, "is a Flux model"),
        (header(2048, conditioner__embedders__0__x=(1,)).shapes, "is a Stable Diffusion XL model; choose"),
        ({**header(2048).shapes, f"{UNET}label_emb.0.0.weight": (1280, 2816)}, "is a Stable Diffusion XL model"),
        ({**header(1024).shapes, f"{UNET}label_emb.0.0.weight": (1280, 2048)}, "unCLIP"),
        (header(768, channels=9).shapes, "inpainting or editing model, whose UNet takes 9 channels; choose"),
        (header(512).shapes, "takes text of 512 channels"),
        ({"lora_unet_x.alpha": ()}, "not a complete Stable Diffusion checkpoint; it holds lora_unet_x.alpha"),
        ({}, "it holds nothing"),
    ],
    ids=["SD3", "Flux", "Flux UNet", "SDXL", "SDXL UNet", "unCLIP", "inpainting", "unknown", "LoRA", "empty"],
)
def test_other_models_get_one_clear_sentence(shapes, message):
    with pytest.raises(WeightFileError, match=message):
        family_of(WeightHeader(shapes=shapes), PATH)


@pytest.mark.parametrize(("part", "what"), [("cond_stage_model.", "text encoder"), ("first_stage_model.", "VAE")])
def test_half_a_checkpoint_is_refused(part, what):
    shapes = {key: shape for key, shape in header().shapes.items() if not key.startswith(part)}
    with pytest.raises(WeightFileError, match=f"without its {what}"):
        family_of(WeightHeader(shapes=shapes), PATH)


def test_what_the_network_predicts():
    spread = {SPREAD_OF_V: torch.linspace(-0.3, 0.3, 320)}.__getitem__
    narrow = {SPREAD_OF_V: torch.linspace(-0.1, 0.1, 320)}.__getitem__
    said = {"modelspec.prediction_type": "v"}
    assert prediction_of(SD1, header(), untouched) == "eps"
    assert prediction_of(SD2, header(1024), spread) == "v" and prediction_of(SD2, header(1024), narrow) == "eps"
    assert prediction_of(SD2, header(1024, metadata={"modelspec.prediction_type": "epsilon"}), untouched) == "eps"
    assert prediction_of(SD1, header(metadata=said), untouched) == "v"
    assert prediction_of(SD1, header(metadata=said), untouched, "eps") == "eps"
    with pytest.raises(SettingsError, match="prediction is 'x0'; use eps or v"):
        prediction_of(SD1, header(), untouched, "x0")  # type: ignore[arg-type]


def test_the_vocabulary_is_that_of_clip():
    tokens = clip_tokens()
    assert len(clip_merges()) == 48894 and len(tokens) == len(set(tokens)) == 49408
    # Numbers of the published vocabulary.
    known = {"!": 0, "a</w>": 320, "of</w>": 539, "photo</w>": 1125, "cat</w>": 2368, "<|endoftext|>": 49407}
    assert {token: tokens.index(token) for token in known} == known


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_prompts_are_read_as_the_published_tokenizer_reads_them(family, tmp_path):
    from transformers import CLIPTokenizer

    write_configuration(family, "eps", tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer", local_files_only=True)
    filled = tokenizer("a photo of a cat", padding="max_length", max_length=8).input_ids
    assert filled == [49406, 320, 1125, 539, 320, 2368, 49407, 49407 if family is SD1 else 0]
    assert tokenizer.model_max_length == 77 and len(tokenizer) == 49408


@pytest.mark.parametrize(
    ("family", "unet", "text"),
    [(SD1, 859_520_964, 123_060_480), (SD2, 865_910_724, 340_387_840)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_configurations_make_models_of_the_published_sizes(family, unet, text, tmp_path):
    """Without their weights: all parameters lie on no device."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    write_configuration(family, "v", tmp_path)
    with torch.device("meta"):
        made = (
            UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(tmp_path / "unet")),
            CLIPTextModel(CLIPTextConfig.from_pretrained(tmp_path / "text_encoder")),
            AutoencoderKL.from_config(AutoencoderKL.load_config(tmp_path / "vae")),
        )
    counts = [sum(parameter.numel() for parameter in model.parameters()) for model in made]
    assert counts == [unet, text, 83_653_863]
    assert made[2].config.scaling_factor == 0.18215
    scheduler = json.loads((tmp_path / "scheduler" / "scheduler_config.json").read_text())
    assert scheduler["prediction_type"] == "v_prediction"
