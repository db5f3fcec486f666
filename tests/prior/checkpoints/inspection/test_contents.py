"""Files of every format give their names and shapes, at full size and without being run."""

import json
import pickle
import subprocess
import sys
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from tests.hostile import Hostile
from tests.manifests import manifest
from vldm_core.cli.app import app
from vldm_core.files.weights import WeightFileError
from vldm_core.prior.checkpoints.families import SPREAD_OF_V
from vldm_core.prior.checkpoints.inspection.contents import inspect_checkpoint
from vldm_core.prior.checkpoints.inspection.report import as_data, as_lines

from .layouts import SD1, SD2, WHOLE, stored

runner = CliRunner()


def nested(tensors):
    """The tensors of a one-step restorer as its program writes them: tables, and lists and numbers beside them."""
    table: dict[str, Any] = {"rank_unet": 4, "unet_lora_encoder_modules": ["conv_in", "down_blocks.0"]}
    for key, tensor in tensors.items():
        place = table
        if key.startswith("state_embeddings."):
            _, entry, rest = key.split(".", 2)
            place = table.setdefault("state_embeddings", {}).setdefault(entry, {})
        elif key.startswith("state_dict_"):
            entry, rest = key.split(".", 1)
            place = table.setdefault(entry, {})
        else:
            rest = key
        place[rest] = tensor
    return table


@pytest.mark.parametrize("name", ["osediff", "pisasr", "s3diff", "dloral"])
def test_nested_pickles_of_one_step_restorers(tmp_path, name):
    shapes, said, *_ = WHOLE[name]
    found = inspect_checkpoint(stored(shapes, tmp_path / "model.pkl", nested))
    assert found.name == said and found.complete and found.tensors == len(shapes)


@pytest.mark.parametrize(
    "name", ["diffbir_v1_full", "diffbir_controlnet_v2", "seesr_controlnet", "stablesr_structcond"]
)
@pytest.mark.parametrize("wrap", ["plain", "state_dict", "module"])
def test_full_size_layouts_in_pickles(tmp_path, name, wrap):
    def contents(tensors):
        if wrap == "module":
            tensors = {f"module.{key}": tensor for key, tensor in tensors.items()}
        return tensors if wrap == "plain" else {"state_dict": tensors, "global_step": 7, "epoch": 1}

    path = stored(manifest(name), tmp_path / "model.ckpt", contents)
    assert path.stat().st_size < 2**21
    found = inspect_checkpoint(path)
    assert found.complete and found.kind == "restoration control"


def test_a_full_size_checkpoint_is_told_in_little_memory(tmp_path):
    """The process must not grow by the gigabytes that the tensors would take if one were read."""
    path = stored(SD1, tmp_path / "model.ckpt")
    code = (
        "import resource, sys; from pathlib import Path;"
        "from vldm_core.prior.checkpoints.inspection.contents import inspect_checkpoint;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "assert inspect_checkpoint(Path(sys.argv[1])).complete;"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
    assert float(done.stdout) < 500


def test_safetensors_are_told_by_their_header(tmp_path):
    path = tmp_path / "lora.safetensors"
    tensors = {key: torch.zeros(shape) for key, shape in WHOLE["lora"][0].items()}
    save_file(tensors, path)
    assert inspect_checkpoint(path).kind == "LoRA"
    # All of the tensors' bytes may be anything: none is read.
    whole = path.read_bytes()
    path.write_bytes(whole[:-64] + b"\xff" * 64)
    assert inspect_checkpoint(path).kind == "LoRA"


@pytest.mark.parametrize("suffix", [".ckpt", ".pth", ".pkl", ".bin"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_holds_code_is_refused_and_not_run(tmp_path, suffix, zipped):
    witness, path = tmp_path / "ran", tmp_path / f"hostile{suffix}"
    if zipped:
        torch.save({"state_dict": {"conv_in.weight": torch.zeros(1)}, "more": Hostile(witness)}, path)
    else:
        path.write_bytes(pickle.dumps({"state_dict": Hostile(witness)}))
    with pytest.raises(WeightFileError, match="may run code and is refused"):
        inspect_checkpoint(path)
    result = runner.invoke(app, ["inspect", str(path)])
    assert result.exit_code == 1
    assert not witness.exists()


@pytest.mark.parametrize(("spread", "prediction"), [(0.3, "v"), (0.01, "eps")])
def test_what_a_checkpoint_of_2_x_predicts(tmp_path, spread, prediction):
    def contents(tensors):
        return {"state_dict": tensors | {SPREAD_OF_V: spread * torch.randn(320)}}

    assert inspect_checkpoint(stored(SD2, tmp_path / "model.ckpt", contents)).prediction == prediction


def test_what_others_predict(tmp_path):
    assert inspect_checkpoint(stored(SD1, tmp_path / "one.ckpt")).prediction == "eps"
    xl = WHOLE["sdxl"][0]
    assert inspect_checkpoint(stored(xl, tmp_path / "xl.ckpt")).prediction is None
    assert inspect_checkpoint(stored(xl | {"v_pred": ()}, tmp_path / "v.ckpt")).prediction == "v"
    assert inspect_checkpoint(stored(manifest("pasd_controlnet"), tmp_path / "pasd.bin")).prediction is None


def test_a_folder_of_one_file_is_that_file(tmp_path):
    unet = tmp_path / "unet"
    unet.mkdir()
    (unet / "config.json").write_text("{}")
    with pytest.raises(WeightFileError, match="holds none"):
        inspect_checkpoint(unet)
    stored(manifest("pasd_controlnet"), unet / "diffusion_pytorch_model.bin")
    assert inspect_checkpoint(unet).kind == "restoration control"
    save_file({"x": torch.zeros(1)}, unet / "diffusion_pytorch_model.fp16.safetensors")
    assert inspect_checkpoint(unet).kind == "restoration control"
    save_file({"x": torch.zeros(1)}, unet / "other.safetensors")
    (unet / "diffusion_pytorch_model.bin").unlink()
    with pytest.raises(WeightFileError, match=r"other\.safetensors; name the file"):
        inspect_checkpoint(unet)


def test_files_that_cannot_be_read_say_why(tmp_path):
    with pytest.raises(WeightFileError, match="does not exist"):
        inspect_checkpoint(tmp_path / "absent.ckpt")
    (tmp_path / "text.txt").write_text("x")
    with pytest.raises(WeightFileError, match=r"does not end in \.safetensors"):
        inspect_checkpoint(tmp_path / "text.txt")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightFileError, match="holds a list"):
        inspect_checkpoint(tmp_path / "list.pth")


class TestCommand:
    """python -m vldm_core inspect FILE"""

    def test_text(self, tmp_path):
        shapes = dict(manifest("seesr_controlnet"))
        for key in list(shapes)[-9:]:
            del shapes[key]
        result = runner.invoke(app, ["inspect", str(stored(shapes | {"more": (1,)}, tmp_path / "control.pth"))])
        assert result.exit_code == 0, result.output
        lines = result.stdout.splitlines()
        assert lines[0] == "SeeSR's ControlNet"
        assert "  base model   Stable Diffusion 2.x" in lines
        assert "  licence      Apache-2.0" in lines
        assert any("needs" in line and "SeeSR's UNet" in line for line in lines)
        assert any("missing: 9: " in line and line.endswith("and 3 more") for line in lines)
        assert any("belongs to none of these: 1: more" in line for line in lines)

    def test_json(self, tmp_path):
        path = stored(manifest("diffbir_v1_full"), tmp_path / "general_full_v1.ckpt")
        result = runner.invoke(app, ["inspect", str(path), "--json"])
        assert result.exit_code == 0, result.output
        told = json.loads(result.stdout)
        assert told["file"] == str(path) and told["complete"] and told["tensors"] == 2098
        assert {part["part"]: part["tensors"] for part in told["parts"]} == {
            "diffbir_control": 324,
            "diffbir_hint_encoder": 108,
            "stage1_swinir": 732,
            "unet_original": 686,
            "vae_original": 248,
        }

    def test_what_is_unknown_is_said(self, tmp_path):
        found = inspect_checkpoint(stored({"a.b": (1,)}, tmp_path / "x.pt"))
        assert as_data(found)["kind"] == "unknown"
        assert as_lines(found)[0] == "nothing that is known; it holds a.b"
