"""A complete DiffBIR v1 checkpoint is parted into files that the loaders take: all of them, or none."""

import pickle
import stat
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from tests.hostile import Hostile
from tests.manifests import manifest
from tests.oracles import load_oracle
from vldm_core.cli.app import app
from vldm_core.errors import FilmFileError, SettingsError, VLDMError
from vldm_core.files.weights import WeightFileError
from vldm_core.prerestore.published import read_stage1
from vldm_core.prior.controls.diffbir import unpacking
from vldm_core.prior.controls.diffbir.branch import DiffBirControl
from vldm_core.prior.controls.diffbir.unpacking import unpack_diffbir
from vldm_core.prior.controls.reading import read_control

from ....prerestore.stage1_nets import published

SUFFIXES = ("control", "stage1", "vae", "base")


def below(prefix, tensors):
    return {f"{prefix}{key}": value for key, value in tensors.items()}


def parts():
    """Tensors of a tiny checkpoint by prefix; branch and restorer are real networks, the rest has real names."""
    generator = torch.Generator().manual_seed(0)

    def tensors(*names):
        return {name: torch.randn(4, 3, generator=generator) for name in names}

    vae = tensors("encoder.conv_in.weight", "quant_conv.bias", "decoder.conv_in.weight", "decoder.conv_out.bias")
    return {
        "control_model.": load_oracle("diffbir_control").weights("control"),
        "preprocess_model.": published("swinir"),
        "first_stage_model.": vae,
        "model.diffusion_model.": tensors("input_blocks.0.0.weight", "out.2.weight"),
        "cond_stage_model.": tensors("model.ln_final.weight"),
        "cond_encoder.": {
            "encoder.conv_in.weight": vae["encoder.conv_in.weight"].clone(),
            "quant_conv.bias": vae["quant_conv.bias"].clone(),
        },
    }


def flat(found):
    rest = {"betas": torch.zeros(3), "model_ema.decay": torch.zeros(())}
    return {key: value for prefix, own in found.items() for key, value in below(prefix, own).items()} | rest


def checkpoint(folder, found=None, name="general_full_v1.ckpt"):
    path = folder / name
    torch.save({"state_dict": flat(found or parts()), "global_step": 5}, path)
    return path


def test_the_parts_are_those_of_the_checkpoint_and_the_loaders_take_them(tmp_path):
    found = parts()
    written = unpack_diffbir(checkpoint(tmp_path), tmp_path / "new" / "parts")
    assert [part.path.name for part in written] == [f"general_full_v1_{name}.safetensors" for name in SUFFIXES]
    assert [part.folder for part in written] == ["vldm_control", "upscale_models", "vae", "checkpoints"]
    control, stage1, vae, base = (load_file(part.path) for part in written)
    assert [part.tensors for part in written] == [len(each) for each in (control, stage1, vae, base)]
    kept = ("model.diffusion_model.", "first_stage_model.", "cond_stage_model.")
    whole = {key: value for key, value in flat(found).items() if key.startswith(kept)}
    for there, wanted in (
        (control, found["control_model."]),
        (stage1, found["preprocess_model."]),
        (vae, found["first_stage_model."]),
        (base, whole),
    ):
        assert there.keys() == wanted.keys()
        assert all(torch.equal(there[key], wanted[key]) and there[key].dtype == wanted[key].dtype for key in wanted)
    assert isinstance(read_control([written[0].path], heads=(2, 4, 8, 8)), DiffBirControl)
    assert read_stage1(written[1].path).scale == 1
    plain = tmp_path / "plain"
    plain.touch()
    assert {stat.S_IMODE(part.path.stat().st_mode) for part in written} == {stat.S_IMODE(plain.stat().st_mode)}


def test_an_encoder_of_the_hint_that_differs_is_kept(tmp_path):
    found = parts()
    found["cond_encoder."]["quant_conv.bias"] += 1
    written = unpack_diffbir(checkpoint(tmp_path, found), tmp_path / "parts")
    assert written[-1].path.name == "general_full_v1_hint_vae.safetensors" and "differs" in written[-1].name
    vae = load_file(written[-1].path)
    assert vae.keys() == found["first_stage_model."].keys()
    assert torch.equal(vae["quant_conv.bias"], found["cond_encoder."]["quant_conv.bias"])
    assert torch.equal(vae["decoder.conv_out.bias"], found["first_stage_model."]["decoder.conv_out.bias"])


def test_a_checkpoint_without_a_text_encoder_is_parted_too(tmp_path):
    found = parts()
    del found["cond_stage_model."]
    assert unpack_diffbir(checkpoint(tmp_path, found), tmp_path / "parts")[3].name.endswith("without a text encoder")


def test_nothing_is_left_where_writing_fails(tmp_path, monkeypatch):
    path, folder = checkpoint(tmp_path), tmp_path / "parts"
    unpack_diffbir(path, folder)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    changed = parts()
    changed["control_model."] = {key: value + 1 for key, value in changed["control_model."].items()}
    path = checkpoint(tmp_path, changed)
    real = unpacking.fill_file

    def failing(tensors, file, **more):
        if "decoder.conv_in.weight" in tensors:
            raise OSError(28, "No space left on device")
        real(tensors, file, **more)

    monkeypatch.setattr(unpacking, "fill_file", failing)
    with pytest.raises(VLDMError, match="No space left on device"):
        unpack_diffbir(path, folder, overwrite=True)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    with pytest.raises(VLDMError, match="No space left on device"):
        unpack_diffbir(path, tmp_path / "fresh")
    assert not list((tmp_path / "fresh").iterdir())

    def interrupting(phase, done, total, preview=None):
        if done == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(unpacking, "fill_file", real)
    with pytest.raises(KeyboardInterrupt):
        unpack_diffbir(path, folder, overwrite=True, progress=interrupting)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_files_that_are_there_are_replaced_only_when_asked(tmp_path):
    path, folder = checkpoint(tmp_path), tmp_path / "parts"
    folder.mkdir()
    mine = folder / "general_full_v1_vae.safetensors"
    mine.write_text("mine")
    with pytest.raises(SettingsError, match=r"general_full_v1_vae\.safetensors exists already.*--overwrite"):
        unpack_diffbir(path, folder)
    assert [file.name for file in folder.iterdir()] == [mine.name] and mine.read_text() == "mine"
    unpack_diffbir(path, folder, overwrite=True)
    assert len(load_file(mine)) == 4


def test_what_is_no_complete_checkpoint_is_refused(tmp_path):
    found = parts()
    del found["preprocess_model."], found["first_stage_model."]["decoder.conv_in.weight"]
    with pytest.raises(WeightFileError, match=r"it lacks the stage-1 restorer, the VAE; python -m vldm_core inspect"):
        unpack_diffbir(checkpoint(tmp_path, found), tmp_path / "parts")
    assert not (tmp_path / "parts").exists()
    (tmp_path / "occupied").touch()
    with pytest.raises((VLDMError, FilmFileError), match="occupied"):
        unpack_diffbir(checkpoint(tmp_path), tmp_path / "occupied")


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000})())
    with pytest.raises(VLDMError, match="has 1,000 free"):
        unpack_diffbir(checkpoint(tmp_path), tmp_path / "parts")
    assert not list((tmp_path / "parts").iterdir())


def test_the_published_layout_is_parted_by_its_prefixes(tmp_path, monkeypatch):
    """Full size: each tensor one number, repeated, and the writing left out, for the files would take 5.8 gigabytes."""
    shapes = manifest("diffbir_v1_full")
    path = tmp_path / "general_full_v1.ckpt"
    torch.save({"state_dict": {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}}, path)
    filled = []
    monkeypatch.setattr(unpacking, "fill_file", lambda tensors, _file: filled.append(set(tensors)))
    monkeypatch.setattr(unpacking, "_check_room", lambda targets, folder: None)
    written = unpack_diffbir(path, tmp_path / "parts")
    assert [part.tensors for part in written] == [324, 732, 248, 686 + 248]
    keys = dict(zip(("control", "stage1", "vae", "base"), filled, strict=True))
    assert keys["control"] == manifest("diffbir_controlnet_v2").keys()
    assert keys["stage1"] == manifest("diffbir_swinir_stage1").keys()
    assert keys["vae"] == manifest("sd_vae_ldm_for_reference").keys()
    unet = below("model.diffusion_model.", manifest("sd21_unet_ldm_for_reference"))
    assert keys["base"] == unet.keys() | below("first_stage_model.", manifest("sd_vae_ldm_for_reference")).keys()


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory of its own a process has")
def test_the_tensors_are_not_held(tmp_path):
    """The process takes no memory of its own for the tensors: the system writes them from the file."""
    found = parts()
    found["first_stage_model."]["decoder.up.weight"] = torch.zeros(40, 1024, 1024)
    path = checkpoint(tmp_path, found)
    code = """
import sys, threading, time
from pathlib import Path
from vldm_core.prior.controls.diffbir.unpacking import unpack_diffbir
def own():
    line = next(line for line in open("/proc/self/status") if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024
most, done = [own()], threading.Event()
def watch():
    while not done.wait(0.002):
        most.append(own())
watcher = threading.Thread(target=watch)
watcher.start()
unpack_diffbir(Path(sys.argv[1]), Path(sys.argv[2]))
done.set()
watcher.join()
print(max(most) - most[0], len(most))
"""
    command = [sys.executable, "-c", code, str(path), str(tmp_path / "parts")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    grown, looks = done.stdout.split()
    assert int(looks) > 5
    # The tensor has 160 megabytes and is written twice.
    assert float(grown) < 80


def test_a_file_that_holds_code_is_refused_and_not_run(tmp_path):
    path, witness = tmp_path / "hostile.ckpt", tmp_path / "ran"
    path.write_bytes(pickle.dumps({"state_dict": Hostile(witness)}, protocol=2))
    with pytest.raises(WeightFileError, match="may run code and is refused"):
        unpack_diffbir(path, tmp_path / "parts")
    assert not witness.exists() and not (tmp_path / "parts").exists()


def test_the_command(tmp_path):
    path, runner = checkpoint(tmp_path), CliRunner()
    result = runner.invoke(app, ["unpack", str(path), str(tmp_path / "parts")])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) == 4
    assert lines[2] == f"{tmp_path / 'parts' / 'general_full_v1_vae.safetensors'}: VAE, 4 tensors, for models/vae"
    assert runner.invoke(app, ["unpack", str(path), str(tmp_path / "parts")]).exit_code == 1
    assert runner.invoke(app, ["unpack", str(path), str(tmp_path / "parts"), "--overwrite"]).exit_code == 0
