"""Files are sorted into systems, and a system tells what it takes before its weights are read."""

from itertools import permutations

import pytest
import torch
from safetensors.torch import save_file

from tests.manifests import manifest
from vldm_core.files.weights import WeightFileError
from vldm_core.prior.controls.grouping import find_controls, outline_of
from vldm_core.prior.controls.reading import find_control

from ..tiny_models import tiny_diffbir, tiny_unet
from .coser.tiny_coser import control_file
from .seesr.tiny_seesr import seesr_files


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("controls")
    control, unet = seesr_files(tiny_unet())
    held = {
        "diffbir": tiny_diffbir().branch.state_dict(),
        "other_diffbir": tiny_diffbir(seed=5).branch.state_dict(),
        "seesr_control": control,
        "seesr_unet": unet,
        "coser": control_file(),
    }
    for name, tensors in held.items():
        save_file({key: value.contiguous() for key, value in tensors.items()}, folder / f"{name}.safetensors")
    return {name: folder / f"{name}.safetensors" for name in held}


def test_files_of_one_system_find_each_other_in_any_order(files) -> None:
    for order in permutations(["diffbir", "seesr_control", "seesr_unet", "coser"]):
        found = find_controls([files[name] for name in order])
        wanted = list(dict.fromkeys(name.split("_")[0] for name in order))
        assert [each.format.system.lower() for each in found] == wanted
        assert [len(each.parts) for each in found] == [2 if name == "seesr" else 1 for name in wanted]


def test_two_files_of_one_part_are_two_systems(files) -> None:
    found = find_controls([files["diffbir"], files["other_diffbir"]])
    assert [list(each.parts.values()) for each in found] == [[files["diffbir"]], [files["other_diffbir"]]]
    assert find_controls([]) == ()


def test_a_missing_file_is_named(files, tmp_path) -> None:
    with pytest.raises(WeightFileError, match=r"seesr_control.safetensors is there, but its UNet .* is missing"):
        find_controls([files["diffbir"], files["seesr_control"]])
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(WeightFileError, match="not a part of a known restoration control"):
        find_controls([tmp_path / "x.safetensors"])


def test_an_outline_has_shapes_and_no_weights(files) -> None:
    found = [outline_of(each) for each in find_controls([files[name] for name in files if name != "other_diffbir"])]
    assert [(system.name, system.takes_tokens, system.takes_reference) for system in found] == [
        ("DiffBIR", "none", "none"),
        ("SeeSR", "optional", "none"),
        ("CoSeR", "optional", "optional"),
    ]
    assert all(parameter.is_meta for system in found for parameter in system.parameters())


def test_an_outline_has_the_published_size(tmp_path) -> None:
    # A sparse file: shapes are all that is read of it.
    shapes = manifest("diffbir_controlnet_v2")
    torch.save({key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}, tmp_path / "v2.pth")
    outline = outline_of(find_control([tmp_path / "v2.pth"]))
    assert sum(parameter.numel() for parameter in outline.parameters()) > 3e8
    assert all(parameter.is_meta for parameter in outline.parameters())
