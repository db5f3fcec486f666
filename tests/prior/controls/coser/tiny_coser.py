"""A tiny CoSeR checkpoint in the published layout, with random weights."""

from typing import Any

import torch
from torch import Tensor

from vldm_core.prior.controls.coser.all_in_attention import AllInAttention, AllInAttentionConfig
from vldm_core.prior.controls.coser.branch import CoserBranch
from vldm_core.prior.controls.coser.cognition import CognitiveEncoder
from vldm_core.prior.controls.coser.files import COSER
from vldm_core.prior.controls.coser.presr import PreSR, PreSRConfig
from vldm_core.prior.controls.coser.qformer import QFormer, QFormerConfig, published_name
from vldm_core.prior.controls.coser.system import CoserControl
from vldm_core.prior.controls.network.encoder import EncoderConfig

CLIP_WIDTH = 40
CONTEXT = 64
CHANNELS = (32, 64, 128, 128)
HEADS = (2, 4, 8, 8)
Q_FORMER = QFormerConfig(width=64, vision=24, inner=48, depth=4, crossed=(0, 2), queries=6, heads=16)
PRE_SR = PreSRConfig(features=8, blocks=3)


def random_weights(network: Any, seed: int = 0) -> Any:
    """Fill every parameter, norms and zero convolutions too, so that nothing is switched off."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * parameter[0].numel() ** -0.5)
            else:
                middle = 1.0 if "norm" in name and name.endswith("weight") else 0.0
                parameter.copy_(middle + 0.1 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def q_former_file(config: QFormerConfig = Q_FORMER, seed: int = 0) -> tuple[QFormer, dict[str, Tensor]]:
    """The part below `global_adapter.`, with the tables and layers for text that BERT brings along."""
    network = random_weights(QFormer(config), seed)
    file = {published_name(key): value for key, value in network.state_dict().items()}
    width, inner = config.width, config.inner
    file["Qformer.embeddings.position_ids"] = torch.arange(16)[None]
    file["Qformer.embeddings.word_embeddings.weight"] = torch.zeros(30, width)
    file["Qformer.embeddings.position_embeddings.weight"] = torch.zeros(16, width)
    for layer in range(config.depth):
        at = f"Qformer.encoder.layer.{layer}"
        file |= {f"{at}.intermediate.dense.weight": torch.zeros(inner, width)}
        file |= {f"{at}.intermediate.dense.bias": torch.zeros(inner)}
        file |= {f"{at}.output.dense.weight": torch.zeros(width, inner), f"{at}.output.dense.bias": torch.zeros(width)}
        file |= {f"{at}.output.LayerNorm.{kind}": torch.zeros(width) for kind in ("weight", "bias")}
    return network, file


def encoder_file(config: QFormerConfig = Q_FORMER, *, projection: bool = True) -> dict[str, Tensor]:
    """A checkpoint of the cognitive encoder alone."""
    file = {f"pre_sr_model.{key}": value for key, value in random_weights(PreSR(PRE_SR)).state_dict().items()}
    file |= {f"global_adapter.{key}": value for key, value in q_former_file(config)[1].items()}
    if projection:
        file["cond_stage_model.model.visual.proj"] = torch.randn(CLIP_WIDTH, config.vision)
    return file


def encoder(config: QFormerConfig = Q_FORMER, *, projection: bool = True) -> CognitiveEncoder:
    return CognitiveEncoder.from_published(encoder_file(config, projection=projection), heads=config.heads)


def attention_file(channels: tuple[int, ...] = CHANNELS, seed: int = 1) -> dict[str, Tensor]:
    """All-in-Attention of a UNet of four levels."""
    low, middle, high, _ = channels
    places = {"middle_block.1": (high, high)}
    for number, (width, features) in enumerate(
        [
            (high, high),
            (high, high),
            (high, middle),
            (middle, middle),
            (middle, middle),
            (middle, low),
            *[(low, low)] * 3,
        ]
    ):
        places[f"output_blocks.{number + 3}.1"] = (width, features)
    file: dict[str, Tensor] = {}
    for number, (place, (width, features)) in enumerate(places.items()):
        layers = random_weights(AllInAttention(AllInAttentionConfig(channels=width, features=features)), seed + number)
        file |= {f"model.diffusion_model.{place}.{key}": value for key, value in layers.state_dict().items()}
    return file


def branch_config(channels: tuple[int, ...] = CHANNELS, *, linear: bool = True) -> EncoderConfig:
    """Shape of a control branch: as published, its second level has no transformers."""
    return EncoderConfig(
        channels=channels,
        attended=(True, False, True, False),
        context=CONTEXT,
        heads=HEADS,
        linear=linear,
    )


def control_file(channels: tuple[int, ...] = CHANNELS, *, linear: bool = True, seed: int = 20) -> dict[str, Tensor]:
    """What a complete checkpoint adds to the UNet, without the cognitive encoder."""
    branch = random_weights(CoserBranch(branch_config(channels, linear=linear)), seed)
    state = branch.state_dict()
    return attention_file(channels) | {f"structcond_stage_model.{key}": value for key, value in state.items()}


def coser_control(file: dict[str, Tensor] | None = None) -> CoserControl:
    found = COSER.build({"control": file or control_file()}, HEADS)
    assert isinstance(found, CoserControl)
    return found


def sd2_unet(seed: int = 0, *, channels: tuple[int, ...] = CHANNELS) -> Any:
    """diffusers' UNet of Stable Diffusion 2.x's shape: linear projections, heads by level."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(seed)
    kinds = ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=channels,
        down_block_types=tuple(kinds),
        up_block_types=tuple(kind.replace("Down", "Up") for kind in reversed(kinds)),
        layers_per_block=2,
        cross_attention_dim=CONTEXT,
        attention_head_dim=HEADS,
        use_linear_projection=True,
    )
    return random_weights(unet, seed).requires_grad_(False)


def tiny_clip(seed: int = 6) -> Any:
    """The CLIP that the cognitive encoder looks through, with its own projection."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=CLIP_WIDTH,
        intermediate_size=64,
        projection_dim=Q_FORMER.vision,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
        hidden_act="gelu",
    )
    return random_weights(CLIPVisionModelWithProjection(config), seed)
