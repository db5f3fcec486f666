"""LoRA files are recognised by their header and do in diffusers' UNet what their formula says."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vldm_core.errors import SettingsError
from vldm_core.prior import lora
from vldm_core.prior.lora import LoraInfo, UNetLoras, inspect_lora
from vldm_core.prior.weight_files import WeightFileError

from .tiny_models import CONTEXT, tiny_unet

BLOCK = "down_blocks.0.attentions.1.transformer_blocks.0."
LAYERS = (
    "down_blocks.0.attentions.0.proj_in",
    "down_blocks.1.resnets.0.conv1",
    f"{BLOCK}attn1.to_q",
    f"{BLOCK}attn2.to_k",
    f"{BLOCK}attn2.to_out.0",
    f"{BLOCK}ff.net.0.proj",
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_k",
    "up_blocks.3.attentions.2.transformer_blocks.0.attn1.to_v",
    "up_blocks.3.resnets.1.time_emb_proj",
)


def small_unet() -> nn.Module:
    return tiny_unet(block_out_channels=(32, 32, 32, 32))


@pytest.fixture(scope="module")
def shapes() -> dict[str, torch.Size]:
    return {name: module.weight.shape for name, module in small_unet().named_modules() if name in LAYERS}


def deltas(shapes, *, seed: int = 0, ranks: tuple[int, ...] = (2,)) -> dict[str, tuple[Tensor, Tensor]]:
    """Up and down per layer, as large as the weights they change."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for index, (name, shape) in enumerate(shapes.items()):
        rank = ranks[index % len(ranks)]
        down = torch.randn((rank, *shape[1:]), generator=generator) * shape[1:].numel() ** -0.5
        up = torch.randn((shape[0], rank, *([1] * (len(shape) - 2))), generator=generator) * rank**-0.5
        found[name] = (up, down)
    return found


def kohya(pairs, *, alpha: float | None = None) -> dict[str, Tensor]:
    state = {}
    for name, (up, down) in pairs.items():
        stem = "lora_unet_" + name.replace(".", "_")
        state |= {f"{stem}.lora_up.weight": up, f"{stem}.lora_down.weight": down}
        if alpha is not None:
            state[f"{stem}.alpha"] = torch.tensor(alpha)
    return state


def peft(pairs, *, scale: float = 1.0) -> dict[str, Tensor]:
    state = {}
    for name, (up, down) in pairs.items():
        state |= {f"unet.{name}.lora_B.weight": scale * up, f"unet.{name}.lora_A.weight": down}
    return state


def older(pairs) -> dict[str, Tensor]:
    """The first naming of diffusers, which knew attention layers only."""
    state = {}
    for name, (up, down) in pairs.items():
        stem = name.replace("to_out.0", "to_out").replace(".to_", ".processor.to_")
        state |= {f"unet.{stem}_lora.up.weight": up, f"unet.{stem}_lora.down.weight": down}
    return state


def merged(pairs, scale: float) -> nn.Module:
    """The same change made by hand: W + scale · up·down."""
    unet = small_unet()
    with torch.no_grad():
        for name, (up, down) in pairs.items():
            unet.get_submodule(name).weight.add_(scale * torch.einsum("or...,ri...->oi...", up, down))
    return unet


def run(unet: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 4, 8, 16, generator=generator)
    context = torch.randn(1, 7, CONTEXT, generator=generator)
    with torch.no_grad():
        return unet(x, torch.tensor([500]), context).sample


def write(path, state, metadata=None):
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, path, metadata=metadata)
    return path


@pytest.mark.parametrize("ranks", [(2,), (2, 3, 5)])
@pytest.mark.parametrize("strength", [1.0, -0.75])
def test_both_formats_do_what_the_formula_says(tmp_path, shapes, ranks, strength) -> None:
    pairs = deltas(shapes, ranks=ranks)
    half = {name: (up * 0.5, down) for name, (up, down) in pairs.items()}
    files = {
        "kohya": kohya({name: (up * down.shape[0], down) for name, (up, down) in half.items()}, alpha=1.0),
        "kohya without alpha": kohya(half),
        "peft": peft(half),
    }
    wanted = run(merged(half, strength))
    before = run(small_unet())
    assert (wanted - before).abs().max() > 1e-2
    for name, state in files.items():
        unet = small_unet()
        path = write(tmp_path / f"{name}.safetensors", state)
        loras = UNetLoras(unet, [path])
        loras.use({path: strength})
        assert (run(unet) - wanted).abs().max() < 2e-5 * wanted.abs().max(), name


def test_strength_zero_is_off_and_removal_leaves_no_trace(tmp_path, shapes) -> None:
    unet = small_unet()
    before = run(unet)
    weights = unet.state_dict()
    path = write(tmp_path / "a.safetensors", peft(deltas(shapes)))
    loras = UNetLoras(unet, [path])
    assert torch.equal(run(unet), before)
    loras.use({path: 1.0})
    assert not torch.equal(run(unet), before)
    loras.use({path: 0.0})
    assert torch.equal(run(unet), before)
    loras.use({path: 1.0})
    loras.remove()
    loras.remove()
    assert torch.equal(run(unet), before)
    after = unet.state_dict()
    assert after.keys() == weights.keys() and all(torch.equal(after[key], weights[key]) for key in weights)
    UNetLoras(unet, [path]).remove()


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")
def test_several_files_in_any_mixture(tmp_path, shapes) -> None:
    first, second = deltas(shapes, seed=1), deltas(dict(list(shapes.items())[2:]), seed=2, ranks=(3,))
    a = write(tmp_path / "a.safetensors", kohya(first, alpha=2.0))
    b = write(tmp_path / "b.safetensors", peft(second))
    unet = small_unet()
    loras = UNetLoras(unet, [a, b, a])
    for mixture in ({a: 0.5, b: 0.25}, {b: 1.0}, {a: 0.0, b: 0.5}, {a: 1.0}, {}, {a: 0.5, b: 0.25}):
        loras.use(mixture)
        reference = small_unet()
        with torch.no_grad():
            for path, pairs in ((a, first), (b, second)):
                for name, (up, down) in pairs.items():
                    change = mixture.get(path, 0.0) * torch.einsum("or...,ri...->oi...", up, down)
                    reference.get_submodule(name).weight.add_(change)
        wanted = run(reference)
        assert (run(unet) - wanted).abs().max() < 2e-5 * wanted.abs().max(), mixture
    with pytest.raises(SettingsError, match=r"c\.safetensors was not loaded"):
        loras.use({tmp_path / "c.safetensors": 1.0})
    with pytest.raises(SettingsError, match="got 11"):
        loras.use({a: 11})
    with pytest.raises(SettingsError, match="already has"):
        UNetLoras(unet, [a])


def test_the_older_naming_of_diffusers(tmp_path, shapes) -> None:
    pairs = {name: pair for name, pair in deltas(shapes).items() if ".attn" in name}
    path = write(tmp_path / "older.safetensors", older(pairs))
    assert inspect_lora(path).format == "diffusers"
    unet = small_unet()
    UNetLoras(unet, [path]).use({path: 1.0})
    wanted = run(merged(pairs, 1.0))
    assert (run(unet) - wanted).abs().max() < 2e-5 * wanted.abs().max()


def test_settings_that_diffusers_writes_are_kept(tmp_path, shapes) -> None:
    pairs = {name: pair for name, pair in deltas(shapes).items() if ".attn" in name}
    settings = {"unet.r": 2, "unet.lora_alpha": 6, "unet.target_modules": list(pairs)}
    path = write(tmp_path / "a.safetensors", peft(pairs), {"lora_adapter_metadata": json.dumps(settings)})
    unet = small_unet()
    UNetLoras(unet, [path]).use({path: 1.0})
    wanted = run(merged(pairs, 3.0))
    assert (run(unet) - wanted).abs().max() < 2e-5 * wanted.abs().max()


def test_text_encoder_layers_are_counted_and_left_out(tmp_path, shapes) -> None:
    pairs = deltas(shapes)
    text = {
        "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": torch.zeros(4, 32),
        "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": torch.zeros(64, 4),
    }
    path = write(tmp_path / "a.safetensors", kohya(pairs) | text)
    assert inspect_lora(path) == LoraInfo(
        format="kohya", unet_layers=len(LAYERS), text_layers=1, ranks=(2, 4), context_dim=CONTEXT
    )
    unet = small_unet()
    UNetLoras(unet, [path]).use({path: 1.0})
    wanted = run(merged(pairs, 1.0))
    assert (run(unet) - wanted).abs().max() < 2e-5 * wanted.abs().max()
    with pytest.raises(WeightFileError, match="text encoder only"):
        UNetLoras(small_unet(), [write(tmp_path / "text.safetensors", text)])


@pytest.mark.parametrize(("width", "base"), [(768, "SD 1.x"), (1024, "SD 2.x"), (2048, "SDXL"), (555, None)])
@pytest.mark.parametrize("naming", [kohya, peft])
def test_the_base_shows_in_the_header(tmp_path, monkeypatch, naming, width, base) -> None:
    pairs = {f"{BLOCK}attn2.to_k": (torch.zeros(320, 8), torch.zeros(8, width))}
    path = write(tmp_path / "a.safetensors", naming(pairs))
    monkeypatch.setattr(lora, "read_contents", lambda path: pytest.fail("tensors were read"))
    info = inspect_lora(path)
    assert info.base == base and info.context_dim == width and info.ranks == (8,)
    assert info.format == ("kohya" if naming is kohya else "diffusers")
    no_context = {f"{BLOCK}attn1.to_k": (torch.zeros(320, 8), torch.zeros(8, 320))}
    assert inspect_lora(write(tmp_path / "b.safetensors", naming(no_context))).base is None


STEM = "lora_unet_down_blocks_0_attentions_0_proj_in"
GOOD = {f"{STEM}.lora_down.weight": torch.zeros(2, 32, 1, 1), f"{STEM}.lora_up.weight": torch.zeros(32, 2, 1, 1)}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"conv_in.weight": torch.zeros(1)}, "no LoRA file"),
        ({f"{STEM}.hada_w1_a": torch.zeros(2, 2)}, "no LoRA file"),
        (GOOD | {f"{STEM}.dora_scale": torch.zeros(2)}, "dora_scale"),
        (GOOD | {"unet.a.lora_A.weight": torch.zeros(2, 2)}, "mixes"),
    ],
)
def test_other_files_are_refused(tmp_path, state, message) -> None:
    path = write(tmp_path / "file.safetensors", state)
    with pytest.raises(WeightFileError, match=message):
        inspect_lora(path)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({key.replace("down_blocks_0", "input_blocks_1"): t for key, t in GOOD.items()}, "does not have"),
        (GOOD | {f"{STEM}.lora_down.weight": torch.zeros(2, 64, 1, 1)}, "another model"),
        (GOOD | {f"{STEM}.lora_up.weight": torch.zeros(32, 3, 1, 1)}, "another model"),
        ({f"{STEM}.lora_down.weight": torch.zeros(2, 32, 1, 1)}, "half"),
    ],
)
def test_files_for_another_unet_are_refused_before_tensors_are_read(tmp_path, monkeypatch, state, message) -> None:
    good, bad = write(tmp_path / "good.safetensors", GOOD), write(tmp_path / "bad.safetensors", state)
    monkeypatch.setattr(lora, "read_contents", lambda path: pytest.fail("tensors were read"))
    with pytest.raises(WeightFileError, match=f"bad.safetensors.*{message}"):
        UNetLoras(small_unet(), [bad])
    monkeypatch.undo()
    unet = small_unet()
    with pytest.raises(WeightFileError):
        UNetLoras(unet, [good, bad])
    assert not any("lora" in name for name, _ in unet.named_modules())
