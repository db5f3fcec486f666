"""Stock loaders, per-frame LoRA, noise and transforms beside each other."""

from regions_common import *

import comfy.sd
import comfy.lora
import tempfile
import os
import safetensors.torch

names = [
    "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
    "up_blocks_3_attentions_2_proj_out",
    "mid_block_attentions_0_transformer_blocks_0_attn2_to_k",
    "down_blocks_2_resnets_0_conv1",
    "down_blocks_1_downsamplers_0_conv",
    "up_blocks_1_upsamplers_0_conv",
    "time_embedding_linear_1",
]
from pack.vldm_core.prior.lora.per_frame import named_layers
from pack.nodes.host.prior import view_of

layers = named_layers(view_of(model))
tensors = {}
for index, name in enumerate(names):
    weight = layers[name].weight
    key = "lora_unet_" + name
    tensors[key + ".lora_down.weight"] = random(4, *weight.shape[1:], seed=index) / weight[0].numel() ** 0.5
    tensors[key + ".lora_up.weight"] = random(weight.shape[0], 4, *[1] * (weight.ndim - 2), seed=index + 50) * 0.5
    tensors[key + ".alpha"] = torch.tensor(2.0)
path = os.path.join(tempfile.mkdtemp(), "lora.safetensors")
safetensors.torch.save_file(tensors, path)
noise, latent = random(4, 4, 8, 8), torch.zeros(4, 4, 8, 8)
plain = sample(model, conditioning(), negative, noise, latent, steps=2)
stock, _ = comfy.sd.load_lora_for_models(model, None, tensors, 0.6, 0.0)
merged = sample(stock, conditioning(), negative, noise, latent, steps=2)
assert (merged - plain).abs().max() > 0.05
from pathlib import Path

updates = read_lora(Path(path))
per_frame = with_attachment(model, ShotLora(updates, [0.6] * 4), "lora")
equal(sample(per_frame, conditioning(), negative, noise, latent, steps=2), merged)
half = with_regions(
    with_attachment(model, ShotLora(updates, [0.6, 0.6, 0.0, 0.0]), "lora"), WindowSettings(length=3, overlap=1), None
)
found = sample(half, conditioning(), negative, noise, latent, steps=2)
equal(found[:2], merged[:2])
equal(found[2:], plain[2:])
# A stock LoRA loader behind our patch acts as well.
both, _ = comfy.sd.load_lora_for_models(
    with_attachment(model, ShotLora(updates, [0.0] * 4), "lora"), None, tensors, 0.6, 0.0
)
equal(sample(both, conditioning(), negative, noise, latent, steps=2), merged)

# Our noise replaces the sampler's, with the sampler's seed; no noise stays no noise.
asked = []


def make(shape, seed):
    asked.append((shape, seed))
    return torch.ones(shape)


ones = sample(with_noise(model, make), conditioning(), negative, noise, latent, steps=1, seed=11)
equal(ones, sample(model, conditioning(), negative, torch.ones_like(noise), latent, steps=1))
assert asked == [((4, 4, 8, 8), 11)]
sample(with_noise(model, make), conditioning(), negative, torch.zeros_like(noise), latent, steps=1)
assert len(asked) == 1, asked

# Transforms see the whole clip and the place in the schedule.
states = []


def transform(x0, x, state):
    assert x0.shape == x.shape == (4, 4, 8, 8)
    states.append((state.step, state.steps))
    return x0 * 0


result = sample(
    with_transform(with_regions(model, WindowSettings(length=3, overlap=1), None), transform),
    conditioning(),
    negative,
    noise,
    latent,
    steps=3,
)
assert states == [(0, 3), (1, 3), (2, 3)], states
assert result.abs().max() < 1e-6, result.abs().max()
