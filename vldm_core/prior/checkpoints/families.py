"""Which kind of model a checkpoint in the original layout is, told from its header.

The kind is in the names and shapes of the tensors. What the network predicts is not: Stable Diffusion 2.x was published
both ways in the same shapes. It is taken, in this order, from what the user says, from the file's metadata
(``modelspec.prediction_type``), and for 2.x from the spread of one bias, which differs between the published weights
and by which ComfyUI tells them too, so that both hosts agree; 1.x predicts the noise.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import SettingsError
from ...files.weights import WeightFileError, WeightHeader, some
from ...sampling.schedule import PREDICTIONS, Prediction

UNET = "model.diffusion_model."
_FIRST = f"{UNET}input_blocks.0.0.weight"
_CONTEXT = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
SPREAD_OF_V = f"{UNET}output_blocks.11.1.transformer_blocks.0.norm1.bias"
"""The bias by which the published weights of Stable Diffusion 2.x that predict v can be told."""

# Standard deviation of that bias above which a 2.x model predicts v.
_LEAST_SPREAD = 0.09
_PREDICTION_WORDS: dict[str, Prediction] = {"epsilon": "eps", "eps": "eps", "v": "v", "v_prediction": "v"}
_WANTED = "choose a checkpoint of Stable Diffusion 1.x or 2.x"


@dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of model that serves as a prior.

    Attributes:
        name: For messages.
        context: Channels of the text conditioning.
        unet: What diffusers' UNet of this kind is made with.
        text_encoder: What transformers' text encoder of this kind is made with.
        text_keys: Beginning of the names of the text encoder's tensors.
        padding: Token that fills prompts up.
        autoencoder: What diffusers' VAE is made with.
    """

    name: str
    context: int
    unet: Mapping[str, Any]
    text_encoder: Mapping[str, Any]
    text_keys: str
    padding: str
    autoencoder: Mapping[str, Any]


# Sizes as published; every model of a kind has them.
_UNET_SIZES = {
    "sample_size": 64,
    "layers_per_block": 2,
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}
_AUTOENCODER = {
    "sample_size": 512,
    "layers_per_block": 2,
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "latent_channels": 4,
}
_TEXT_SIZES = {"vocab_size": 49408, "max_position_embeddings": 77, "bos_token_id": 49406, "eos_token_id": 49407}
SD1 = Family(
    name="Stable Diffusion 1.x",
    context=768,
    unet={**_UNET_SIZES, "cross_attention_dim": 768, "attention_head_dim": 8},
    text_encoder={
        **_TEXT_SIZES,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "projection_dim": 768,
        "hidden_act": "quick_gelu",
        "pad_token_id": 49407,
    },
    text_keys="cond_stage_model.transformer.text_model.",
    padding="<|endoftext|>",
    autoencoder=_AUTOENCODER,
)
SD2 = Family(
    name="Stable Diffusion 2.x",
    context=1024,
    unet={
        **_UNET_SIZES,
        "cross_attention_dim": 1024,
        "attention_head_dim": [5, 10, 20, 20],
        "use_linear_projection": True,
        # In half precision its attention would leave the range of the numbers.
        "upcast_attention": True,
    },
    text_encoder={
        **_TEXT_SIZES,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        # The file has one more, which the model was trained without.
        "num_hidden_layers": 23,
        "num_attention_heads": 16,
        "projection_dim": 512,
        "hidden_act": "gelu",
        "pad_token_id": 0,
    },
    text_keys="cond_stage_model.model.",
    padding="!",
    autoencoder=_AUTOENCODER,
)
FAMILIES = (SD1, SD2)


def check_kind(header: WeightHeader, path: Path) -> None:
    """Check that a checkpoint holds the UNet of a text-to-image model of Stable Diffusion 1.x or 2.x.

    Args:
        header: Names and shapes of its tensors.
        path: For messages.

    Raises:
        WeightFileError: It is another kind of model, or no model.
    """
    shapes = header.shapes
    if other := _another(shapes):
        raise WeightFileError(f"{path} is {other}; {_WANTED}")
    if _FIRST not in shapes or _CONTEXT not in shapes:
        raise WeightFileError(
            f"{path} is not a complete Stable Diffusion checkpoint; it holds {some(sorted(shapes)) or 'nothing'}"
        )


def family_of(header: WeightHeader, path: Path) -> Family:
    """Tell which kind of model a checkpoint is.

    Args:
        header: Names and shapes of its tensors.
        path: For messages.

    Raises:
        WeightFileError: It is another kind of model, no model, or not a whole one.
    """
    check_kind(header, path)
    shapes = header.shapes
    context = shapes[_CONTEXT][-1]
    for family in FAMILIES:
        if family.context == context:
            break
    else:
        raise WeightFileError(f"{path} takes text of {context} channels, which no known model does; {_WANTED}")
    for what, keys in (("text encoder", family.text_keys), ("VAE", "first_stage_model.")):
        if not any(key.startswith(keys) for key in shapes):
            raise WeightFileError(
                f"{path} holds a UNet of {family.name} without its {what}; use the whole checkpoint, or give "
                "a folder in diffusers' layout"
            )
    return family


def prediction_of(
    family: Family, header: WeightHeader, tensor: Callable[[str], Tensor], chosen: Prediction | None = None
) -> Prediction:
    """Tell what a checkpoint's network predicts; see the module for the rule.

    Args:
        family: Its kind.
        header: Its names and metadata.
        tensor: Reads one of its tensors.
        chosen: What the user says; None leaves it to the file.

    Raises:
        SettingsError: `chosen` is unknown.
    """
    check_prediction(chosen)
    if chosen is not None:
        return chosen
    told = _PREDICTION_WORDS.get(header.metadata.get("modelspec.prediction_type", "").casefold())
    if told is not None:
        return told
    if family is SD1 or SPREAD_OF_V not in header.shapes:
        return "eps"
    return "v" if float(tensor(SPREAD_OF_V).float().std(correction=0)) > _LEAST_SPREAD else "eps"


def check_prediction(chosen: str | None) -> None:
    """Check what a user says that a network predicts.

    Raises:
        SettingsError: It is unknown.
    """
    if chosen is not None and chosen not in PREDICTIONS:
        raise SettingsError(f"prediction is {chosen!r}; use {' or '.join(PREDICTIONS)}")


def _another(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Say what a file is that is no text-to-image model of Stable Diffusion 1.x or 2.x."""
    inner = {key.removeprefix(UNET) for key in shapes}

    def has(*beginnings: str) -> bool:
        return any(key.startswith(beginnings) for key in inner)

    if has("joint_blocks."):
        return "a Stable Diffusion 3 model"
    if has("double_blocks.", "single_transformer_blocks."):
        return "a Flux model, or one like it"
    if has("conditioner.embedders.") or f"{UNET}label_emb.0.0.weight" in shapes:
        # 2.1 unCLIP has the label too, at the width of 2.x's text.
        if shapes.get(_CONTEXT, (0,))[-1] == SD2.context:
            return "a Stable Diffusion 2.1 unCLIP model, which wants a picture beside the text"
        return "a Stable Diffusion XL model"
    if _FIRST in shapes and shapes[_FIRST][1] != 4:
        return f"an inpainting or editing model, whose UNet takes {shapes[_FIRST][1]} channels"
    return None
