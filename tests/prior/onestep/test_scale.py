"""The scale of adapters, which no file stores: what is merged is what peft's layers computed in training."""

import pytest
import torch
from torch.nn import functional

from tests.oracles import load_oracle
from vldm_core.prior.onestep.changes import delta

from .oracle_systems import NAMES, system_of

STRIDED = "down_blocks.0.downsamplers.0.conv"
LINEAR = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
FULL = {"osediff": 2.0, "pisasr": 2.0, "s3diff": 0.25, "hypir": 1.0, "dloral": 2.0}


@pytest.mark.parametrize("name", NAMES)
def test_the_scale_in_force(name, tmp_path):
    oracle = load_oracle(f"onestep_{name}")
    config = oracle.about["config"]
    wanted = config.get("lora_scale", config.get("lora_scale_unet"))
    assert wanted == FULL[name]
    for change in system_of(name, oracle, tmp_path).unet_changes():
        for group in change.updates:
            factors = {update.scale for update in group.values()}
            # The dial between DLoRAL's adapters stands in the middle here.
            assert factors <= {wanted, wanted / 2} and (name == "dloral" or factors == {wanted})


@pytest.mark.parametrize("name", ["osediff", "s3diff"])
def test_the_scale_in_the_vae(name, tmp_path):
    oracle = load_oracle(f"onestep_{name}")
    encoder = system_of(name, oracle, tmp_path).vae_change_unsteered()
    assert {update.scale for update in encoder.updates[0].values()} == {oracle.about["config"]["lora_scale_vae"]}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("layer", [STRIDED, LINEAR])
def test_what_is_merged_is_what_the_layers_of_the_training_add(name, layer, tmp_path):
    """peft runs A with the layer's own stride and padding, then B, and multiplies by 8 / r (HYPIR: by 1)."""
    oracle = load_oracle(f"onestep_{name}")
    table = oracle.weights("state_dict" if name == "hypir" else "state_dict_unet")
    group = system_of(name, oracle, tmp_path).unet_changes()[0].updates[0][layer]
    adapter = next(
        key.split(".lora_A.")[1]
        for key, value in table.items()
        if key.startswith(f"{layer}.lora_A.") and torch.equal(value, group.down)
    )
    down, up = table[f"{layer}.lora_A.{adapter}"], table[f"{layer}.lora_B.{adapter}"]
    generator = torch.Generator().manual_seed(0)
    if down.ndim == 4:
        x = torch.randn(1, down.shape[1], 8, 8, generator=generator)
        wanted = functional.conv2d(functional.conv2d(x, down, stride=2, padding=1), up)
        merged = delta(group, torch.empty(up.shape[0], *down.shape[1:]))
        found = functional.conv2d(x, merged, stride=2, padding=1)
    else:
        x = torch.randn(3, down.shape[1], generator=generator)
        wanted = functional.linear(functional.linear(x, down), up)
        found = functional.linear(x, delta(group, torch.empty(up.shape[0], down.shape[1])))
    assert torch.allclose(found, FULL[name] * wanted, atol=1e-5)
    if FULL[name] != 1:
        assert not torch.allclose(found, wanted, atol=1e-2)
