"""A LoRA per frame equals the merged LoRA where it acts and nothing where it does not."""

import json
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from vldm_core.errors import SettingsError
from vldm_core.files.weights import WeightFileError
from vldm_core.prior.attachment import calling
from vldm_core.prior.lora.per_frame import ShotLora, named_layers, read_lora, strengths_of_shots
from vldm_core.prior.unet import UNetView

from ..tiny_models import CONTEXT, tiny_unet, whole_clip

LAYERS = {
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": None,
    "down_blocks.1.attentions.1.transformer_blocks.0.attn2.to_out.0": None,
    "up_blocks.3.attentions.2.transformer_blocks.0.ff.net.0.proj": None,
    "mid_block.attentions.0.proj_in": None,
    "down_blocks.2.resnets.0.conv1": None,
    "down_blocks.1.downsamplers.0.conv": None,
    "up_blocks.0.resnets.1.time_emb_proj": None,
}
RANK = 4


def halves(unet, path: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weight = unet.get_submodule(path).weight
    down = torch.randn(RANK, *weight.shape[1:], generator=generator) / weight[0].numel() ** 0.5
    up = torch.randn(weight.shape[0], RANK, *[1] * (weight.ndim - 2), generator=generator) * 0.5
    return down, up


def kohya_file(unet, path) -> None:
    tensors = {}
    for seed, name in enumerate(LAYERS):
        down, up = halves(unet, name, seed)
        key = "lora_unet_" + name.replace(".", "_")
        tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(2.0)}
    tensors["lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight"] = torch.zeros(1, 8)
    save_file(tensors, path)


def merged(seed: int, strength: float):
    unet = tiny_unet(seed)
    with torch.no_grad():
        for index, name in enumerate(LAYERS):
            down, up = halves(unet, name, index)
            weight: Any = unet.get_submodule(name).weight
            weight += strength * 2.0 / RANK * (up.flatten(1) @ down.flatten(1)).view_as(weight)
    return unet


def run(unet, frames: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2 * frames, 4, 8, 16, generator=generator)
    context = torch.randn(2 * frames, 7, CONTEXT, generator=generator)
    with torch.no_grad():
        return unet(x, torch.tensor([500]), context).sample


def test_every_frame_has_its_strength(tmp_path) -> None:
    unet = tiny_unet()
    kohya_file(unet, tmp_path / "lora.safetensors")
    lora = ShotLora(read_lora(tmp_path / "lora.safetensors"), strengths_of_shots([1, 2, 1], [0.7, 0.0, -0.3]))
    before = run(unet)
    with lora.attached(UNetView(unet)), calling([lora], whole_clip(4, chunks=(0, 1))):
        found = run(unet)
    for chunk in (0, 4):
        assert torch.allclose(found[chunk], run(merged(0, 0.7))[chunk], atol=2e-5)
        assert torch.equal(found[chunk + 1 : chunk + 3], before[chunk + 1 : chunk + 3])
        assert torch.allclose(found[chunk + 3], run(merged(0, -0.3))[chunk + 3], atol=2e-5)
    assert (found[0] - before[0]).abs().max() > 1e-2
    assert torch.equal(run(unet), before)


def test_the_formats_are_one(tmp_path) -> None:
    unet = tiny_unet()
    kohya_file(unet, tmp_path / "kohya.safetensors")
    peft, old = {}, {}
    for seed, name in enumerate(LAYERS):
        down, up = halves(unet, name, seed)
        peft |= {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}
        peft[f"unet.{name}.alpha"] = torch.tensor(2.0)
    for seed, name in enumerate(LAYERS):
        if ".attn" in name:
            down, up = halves(unet, name, seed)
            place = name.replace(".to_", ".processor.to_").removesuffix(".0")
            old |= {f"unet.{place}_lora.down.weight": down, f"unet.{place}_lora.up.weight": up}
    save_file(peft, tmp_path / "peft.safetensors")
    save_file(old, tmp_path / "old.safetensors")
    kohya = read_lora(tmp_path / "kohya.safetensors")
    assert kohya.keys() == read_lora(tmp_path / "peft.safetensors").keys() and len(kohya) == len(LAYERS)
    for name, update in read_lora(tmp_path / "peft.safetensors").items():
        assert torch.equal(update.up, kohya[name].up) and update.scale == kohya[name].scale == 0.5
    older = read_lora(tmp_path / "old.safetensors")
    assert len(older) == 2 and older.keys() < kohya.keys()


def test_the_alpha_of_newer_files_is_in_the_header(tmp_path) -> None:
    unet, name = tiny_unet(), next(iter(LAYERS))
    down, up = halves(unet, name, 0)
    tensors = {f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}
    metadata = {"lora_adapter_metadata": json.dumps({"unet.r": RANK, "unet.lora_alpha": 12})}
    save_file(tensors, tmp_path / "x.safetensors", metadata=metadata)
    (update,) = read_lora(tmp_path / "x.safetensors").values()
    assert update.scale == 12 / RANK


def test_every_layer_has_a_name() -> None:
    layers = named_layers(UNetView(tiny_unet()))
    assert all(name.replace(".", "_") in layers for name in LAYERS)


def test_bad_files_are_refused(tmp_path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"no")
    with pytest.raises(WeightFileError, match="not a readable"):
        read_lora(path)
    save_file({"lora_unet_mid_block.hada_w1_a": torch.zeros(2)}, path)
    with pytest.raises(WeightFileError, match="not a LoRA"):
        read_lora(path)
    save_file({"lora_unet_conv_in.lora_down.weight": torch.zeros(2, 4, 3, 3)}, path)
    with pytest.raises(SettingsError, match="half"):
        read_lora(path)
    halves = {"lora_te_a.lora_down.weight": torch.zeros(2, 4), "lora_te_a.lora_up.weight": torch.zeros(4, 2)}
    save_file(halves, path)
    with pytest.raises(SettingsError, match="text encoder only"):
        read_lora(path)


def test_another_model_is_refused(tmp_path) -> None:
    kohya_file(tiny_unet(), tmp_path / "lora.safetensors")
    lora = ShotLora(read_lora(tmp_path / "lora.safetensors"), [1.0])
    with pytest.raises(SettingsError, match="another Stable Diffusion version"):
        lora.changes(UNetView(tiny_unet(block_out_channels=(64, 64, 128, 128))))
    with pytest.raises(SettingsError, match="finite"):
        ShotLora({}, [float("nan")])
    unet = tiny_unet()
    call = whole_clip(4, chunks=(0, 1))
    with lora.attached(UNetView(unet)), calling([lora], call), pytest.raises(SettingsError, match="frame 3"):
        run(unet)
