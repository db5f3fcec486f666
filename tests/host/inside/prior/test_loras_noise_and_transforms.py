"""Stock loaders, LoRAs for every frame, noise and transforms beside each other."""

import comfy.sd
import pytest
import safetensors.torch
import torch
from inside.prior.loras import lora_tensors
from inside.sampling import assert_same, conditioning, random, sample
from pack.nodes.host.prior.attachments import view_of, with_attachment, with_noise, with_transform
from pack.nodes.host.prior.regions import with_regions
from pack.vldm_core.prior.lora.per_frame import ShotLora, named_layers, read_lora
from pack.vldm_core.sampling.regions.windows import WindowSettings

STRENGTH = 0.6
NAMES = (
    "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q",
    "up_blocks_3_attentions_2_proj_out",
    "mid_block_attentions_0_transformer_blocks_0_attn2_to_k",
    "down_blocks_2_resnets_0_conv1",
    "down_blocks_1_downsamplers_0_conv",
    "up_blocks_1_upsamplers_0_conv",
    "time_embedding_linear_1",
)
NOISE, LATENT = random(4, 4, 8, 8), torch.zeros(4, 4, 8, 8)
WINDOWS = WindowSettings(length=3, overlap=1)


def run(model, noise=NOISE, **more):
    return sample(model, conditioning(), conditioning(seed=3), noise, LATENT, **{"steps": 2, **more})


@pytest.fixture(scope="module")
def tensors(model):
    """A LoRA of every kind of layer."""
    return lora_tensors(named_layers(view_of(model)), NAMES, alpha=2.0)


@pytest.fixture(scope="module")
def updates(tensors, tmp_path_factory):
    """The same, read by the package."""
    path = tmp_path_factory.mktemp("lora") / "lora.safetensors"
    safetensors.torch.save_file(tensors, path)
    return read_lora(path)


@pytest.fixture(scope="module")
def plain(model):
    return run(model)


@pytest.fixture(scope="module")
def merged(model, tensors, plain):
    """What the host samples with the LoRA merged by its own loader."""
    merged = run(comfy.sd.load_lora_for_models(model, None, tensors, STRENGTH, 0.0)[0])
    assert (merged - plain).abs().max() > 0.05
    return merged


def test_a_lora_at_one_strength_is_the_hosts_own(model, updates, merged):
    assert_same(run(with_attachment(model, ShotLora(updates, [STRENGTH] * 4), "lora")), merged)


def test_every_frame_has_its_strength_in_windows_too(model, updates, merged, plain):
    half = with_attachment(model, ShotLora(updates, [STRENGTH, STRENGTH, 0.0, 0.0]), "lora")
    found = run(with_regions(half, WINDOWS, None))
    assert_same(found[:2], merged[:2])
    assert_same(found[2:], plain[2:])


def test_a_stock_loader_behind_our_patch_acts_as_well(model, updates, tensors, merged):
    off = with_attachment(model, ShotLora(updates, [0.0] * 4), "lora")
    assert_same(run(comfy.sd.load_lora_for_models(off, None, tensors, STRENGTH, 0.0)[0]), merged)


def test_our_noise_replaces_the_samplers_with_its_seed_and_no_noise_stays_none(model):
    asked = []

    def make(shape, seed):
        asked.append((shape, seed))
        return torch.ones(shape)

    ones = run(with_noise(model, make), steps=1, seed=11)
    assert_same(ones, run(model, torch.ones_like(NOISE), steps=1))
    assert asked == [((4, 4, 8, 8), 11)]
    run(with_noise(model, make), torch.zeros_like(NOISE), steps=1)
    assert len(asked) == 1


def test_transforms_see_the_whole_clip_and_the_place_in_the_schedule(model):
    states = []

    def transform(x0, x, state):
        assert x0.shape == x.shape == (4, 4, 8, 8)
        states.append((state.step, state.steps))
        return x0 * 0

    result = run(with_transform(with_regions(model, WINDOWS, None), transform), steps=3)
    assert states == [(0, 3), (1, 3), (2, 3)]
    assert result.abs().max() < 1e-6
