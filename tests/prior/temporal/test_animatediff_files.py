"""Motion modules in files: both layouts, the three versions, and files that are something else."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vldm_core.files.weights import WeightFileError
from vldm_core.prior.temporal import animatediff_files as motion_files
from vldm_core.prior.temporal.animatediff import MotionConfig, MotionModules
from vldm_core.prior.temporal.animatediff_files import (
    motion_modules_from,
    motion_state,
    read_motion_modules,
    save_motion_modules,
)

from ...testers import survives_its_file

WIDTHS = (32, 64, 128, 128)
ONE = (("down.0.0", 32),)


def random_modules(version: str = "v2", widths: tuple[int, ...] = (32, 32)) -> MotionModules:
    modules = MotionModules(MotionConfig.published(version, widths))  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in modules.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return modules


def same(a: MotionModules, b: MotionModules) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("layout", ["original", "diffusers"])
@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_round_trip(tmp_path, version, layout) -> None:
    modules = random_modules(version)
    again = survives_its_file(
        modules,
        lambda modules, path: save_motion_modules(modules, path, layout),
        read_motion_modules,
        tmp_path / "motion.safetensors",
    )
    assert not any(p.requires_grad for p in again.parameters())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "global_step": 7},
        lambda state: {f"module.{key}": tensor for key, tensor in state.items()},
        lambda state: {"state_dict": {f"module.{key}": tensor for key, tensor in state.items()}, "epoch": 1},
    ],
)
def test_checkpoints_of_training_runs(tmp_path, wrap) -> None:
    modules = random_modules()
    path = tmp_path / "mm.ckpt"
    torch.save(wrap(motion_state(modules)), path)
    assert same(read_motion_modules(path), modules)


@pytest.mark.parametrize(
    ("version", "original", "adapter", "millions"),
    [("v1", 560, 540, 417.1), ("v2", 588, 567, 453.2), ("v3", 560, 540, 417.1)],
)
def test_published_shape(version, original, adapter, millions) -> None:
    with torch.device("meta"):
        modules = MotionModules(MotionConfig.published(version))
    assert sum(p.numel() for p in modules.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    state = motion_state(modules, "original")
    assert len(state) == original
    key = "up_blocks.3.motion_modules.2.temporal_transformer.transformer_blocks.0.ff.net.0.proj.weight"
    assert state[key].shape == (2560, 320)
    tables = [tensor for name, tensor in state.items() if name.endswith(".pos_encoder.pe")]
    assert len(tables) == original // 14
    assert all(tensor.shape[:2] == (1, modules.config.positions) for tensor in tables)
    prefixes = {name.split("temporal_transformer.")[0] for name in state}
    assert ("mid_block.motion_modules.0." in prefixes) == (version == "v2")
    # Tables on the meta device cannot be compared, as diffusers' single table asks for.
    assert sum(len(motion_files._keys(prefix, "diffusers")) for prefix in prefixes) == adapter


@pytest.mark.parametrize("middle", [True, False])
def test_keys_are_those_of_diffusers(middle) -> None:
    from diffusers import MotionAdapter

    adapter = MotionAdapter(
        block_out_channels=WIDTHS, use_motion_mid_block=middle, motion_max_seq_length=32, motion_norm_num_groups=32
    )
    modules = motion_modules_from(adapter.state_dict())
    assert modules.config.version == ("v2" if middle else "v3")
    assert modules.config == MotionConfig.published(modules.config.version, WIDTHS)
    state = motion_state(modules, "diffusers")
    assert state.keys() == adapter.state_dict().keys()
    adapter.load_state_dict(state)


def test_tables_that_differ_need_the_original_layout() -> None:
    modules = random_modules()
    modules.layers["mid"].attentions[1].positions += 1  # type: ignore[index, union-attr]
    assert same(motion_modules_from(motion_state(modules)), modules)
    with pytest.raises(WeightFileError, match="layer mid"):
        motion_state(modules, "diffusers")


def broken(change) -> dict[str, Tensor]:
    state = motion_state(MotionModules(MotionConfig(version="v3", channels=ONE, positions=32)))
    change(state)
    return state


START = "down_blocks.0.motion_modules.0.temporal_transformer."
BLOCK = f"{START}transformer_blocks.0."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.clear(), "no weights"),
        (lambda s: s.pop(f"{BLOCK}ff_norm.bias"), "missing.*ff_norm.bias"),
        (lambda s: s.update({f"{BLOCK}norms.7.weight": torch.ones(1)}), "norms.7"),
        (lambda s: s.update({"conv_in.weight": torch.ones(1)}), "besides.*conv_in.weight"),
        (lambda s: s.update({"down_blocks.0.motion_modules.1.norm.weight": torch.ones(1)}), "AnimateDiff's layout"),
        (lambda s: s.update({f"{START}proj_in.weight": torch.ones(64, 32)}), "published shape.*proj_in"),
        (lambda s: s.update({f"{BLOCK}attention_blocks.0.to_q.weight": torch.ones(64, 32)}), "32 channels"),
        (
            lambda s: s.update({f"{BLOCK}attention_blocks.{i}.pos_encoder.pe": torch.ones(1, 48, 32) for i in (0, 1)}),
            "48 positions",
        ),
        (
            lambda s: s.update({f"{BLOCK}attention_blocks.0.pos_encoder.pe": torch.ones(1, 24, 32)}),
            r"different numbers of positions: \[24, 32\]",
        ),
    ],
)
def test_other_weights_are_refused(change, message) -> None:
    with pytest.raises(WeightFileError, match="(?s)" + message):
        motion_modules_from(broken(change))


def test_an_unpublished_length_needs_a_version() -> None:
    state = broken(
        lambda s: s.update({f"{BLOCK}attention_blocks.{i}.pos_encoder.pe": torch.ones(1, 48, 32) for i in (0, 1)})
    )
    assert motion_modules_from(state, version="v3").config.positions == 48


def test_the_header_is_checked_before_tensors_are_read(tmp_path, monkeypatch) -> None:
    path = tmp_path / "lora.safetensors"
    save_file({"lora_unet_down_blocks_0.lora_down.weight": torch.zeros(4, 4)}, path)
    monkeypatch.setattr(motion_files, "read_contents", lambda path: pytest.fail("tensors were read"))
    with pytest.raises(WeightFileError, match=r"lora.safetensors: no AnimateDiff motion modules"):
        read_motion_modules(path)


class Evil:
    """What a pickle that runs code looks like."""

    def __reduce__(self):
        return (Path.touch, (Path("touched-by-a-pickle"),))


def test_pickles_run_no_code(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "extra": Evil()}, "mm.ckpt")
    with pytest.raises(WeightFileError, match="refused"):
        read_motion_modules(Path("mm.ckpt"))
    Path("plain.pt").write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(WeightFileError, match="refused"):
        read_motion_modules(Path("plain.pt"))
    assert not Path("touched-by-a-pickle").exists()


def test_files_that_are_none(tmp_path) -> None:
    with pytest.raises(WeightFileError, match="does not exist"):
        read_motion_modules(tmp_path / "mm.safetensors")
    for name, message in (("mm.gguf", "does not end"), ("mm.safetensors", "readable"), ("mm.ckpt", "plain weights")):
        path = tmp_path / name
        path.write_bytes(b"<!DOCTYPE html>" * 10)
        with pytest.raises(WeightFileError, match=message):
            read_motion_modules(path)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightFileError, match="list"):
        read_motion_modules(tmp_path / "list.pth")


def test_saved_files_say_their_version(tmp_path) -> None:
    path = tmp_path / "motion.safetensors"
    save_motion_modules(random_modules(), path)
    assert motion_files.read_header(path).metadata["animatediff_version"] == "v2"
    assert all(tensor.is_contiguous() for tensor in load_file(path).values())
