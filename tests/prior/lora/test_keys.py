"""The keys of LoRA files mean a layer and a role, in one layout a file; strengths are checked."""

from pathlib import Path

import pytest

from vldm_core.errors import SettingsError
from vldm_core.files.weights import WeightFileError
from vldm_core.prior.lora.keys import LoraKey, check_strength, lora_keys

FILE = Path("some.safetensors")
STEM = "lora_unet_down_blocks_0_attentions_0_proj_in"
GOOD = [f"{STEM}.lora_down.weight", f"{STEM}.lora_up.weight", f"{STEM}.alpha"]


def test_every_layout_names_layer_and_role() -> None:
    found = lora_keys([*GOOD, "lora_te_text_model_fc1.lora_down.weight"], FILE)
    layer = "down_blocks_0_attentions_0_proj_in"
    roles = [found[key] for key in GOOD]
    assert roles == [LoraKey(format="kohya", unet=True, layer=layer, role=role) for role in ("down", "up", "alpha")]
    assert not found["lora_te_text_model_fc1.lora_down.weight"].unet
    keys = ["unet.mid.attn.to_out.0.lora_A.weight", "unet.mid.attn.processor.to_out_lora.up.weight"]
    newer, older = lora_keys(keys, FILE).values()
    assert (newer.layer, newer.role) == ("mid.attn.to_out.0", "down")
    assert (older.layer, older.role) == ("mid.attn.to_out.0", "up")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["conv_in.weight"], "not a LoRA file"),
        ([f"{STEM}.hada_w1_a"], "not a LoRA file"),
        ([*GOOD, f"{STEM}.dora_scale"], "dora_scale"),
        ([*GOOD, "unet.a.lora_A.weight"], "mixes"),
    ],
)
def test_other_files_are_refused(names, message) -> None:
    with pytest.raises(WeightFileError, match=message):
        lora_keys(names, FILE)


@pytest.mark.parametrize("strength", [11, -10.5, float("nan"), True, "1"])
def test_strengths_out_of_range_are_refused(strength) -> None:
    check_strength(-10, "a.safetensors")
    with pytest.raises(SettingsError, match=r"a.safetensors"):
        check_strength(strength, "a.safetensors")
