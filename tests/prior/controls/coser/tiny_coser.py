"""A tiny CoSeR checkpoint in the published layout, with random weights."""

from typing import Any

import torch
from torch import Tensor

from vldm_core.prior.controls.coser.all_in_attention import AllInAttention, AllInAttentionConfig
from vldm_core.prior.controls.coser.cognition import CognitiveEncoder
from vldm_core.prior.controls.coser.presr import PreSR, PreSRConfig
from vldm_core.prior.controls.coser.qformer import QFormer, QFormerConfig, published_name

CLIP_WIDTH = 40
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


def attention_file(places: dict[str, tuple[int, int]], seed: int = 1) -> dict[str, Tensor]:
    """All-in-Attention of several transformers.

    Args:
        places: The original's name of a transformer -> (its channels, channels of its features).
        seed: Of the weights.
    """
    file: dict[str, Tensor] = {}
    for number, (place, (channels, features)) in enumerate(places.items()):
        config = AllInAttentionConfig(channels=channels, features=features)
        layers = random_weights(AllInAttention(config), seed + number)
        file |= {f"model.diffusion_model.{place}.{key}": value for key, value in layers.state_dict().items()}
    return file
