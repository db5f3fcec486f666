"""Published files are told by their keys; what is incomplete, of another rank or foreign is refused with a list."""

import pytest
import torch

from tests.manifests import manifest
from tests.oracles import load_oracle
from vldm_core.errors import SettingsError
from vldm_core.files.weights import WeightFileError
from vldm_core.prior.checkpoints.inspection.published_files import PUBLISHED
from vldm_core.prior.checkpoints.inspection.unet_keys import SD2_UNET, unet_shapes
from vldm_core.prior.checkpoints.inspection.vae_keys import encoder_shapes
from vldm_core.prior.onestep.networks import shapes_of, unet_layers, vae_layers
from vldm_core.prior.onestep.reading import ONE_STEP_FORMATS, find_one_step, read_one_step, report
from vldm_core.prior.unet import UNetView

from .oracle_files import contents_of, published_files
from .oracle_systems import NAMES, base_unet, base_vae, system_of

SYSTEMS = dict(zip(NAMES, ("OSEDiff", "PiSA-SR", "S3Diff", "HYPIR", "DLoRAL"), strict=True))


@pytest.fixture(scope="module")
def oracles():
    return {name: load_oracle(f"onestep_{name}") for name in NAMES}


@pytest.fixture(scope="module")
def contents(oracles):
    return {name: contents_of(name, oracle) for name, oracle in oracles.items()}


def table_of(name, contents):
    return contents if name == "hypir" else contents["state_dict_unet"]


def with_table(name, contents, table):
    return table if name == "hypir" else {**contents, "state_dict_unet": table}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_told(name, contents):
    assert find_one_step(contents[name]).system == SYSTEMS[name]


@pytest.mark.parametrize("name", NAMES)
def test_it_fits_the_networks_that_it_was_made_for(name, oracles, tmp_path):
    system = system_of(name, oracles[name], tmp_path)
    unet = shapes_of(unet_layers(UNetView(base_unet(oracles[name]))))
    vae = shapes_of(vae_layers(base_vae(oracles[name])))
    system.check(unet, vae)
    lacking = {key: shape for key, shape in unet.items() if not key.startswith("mid_block.resnets.1.")}
    with pytest.raises(SettingsError, match=r"does not fit this model: unexpected: mid_block\.resnets\.1"):
        system.check(lacking, vae)
    wider = {key: (shape[0] + 1, *shape[1:]) if key == "conv_out.weight" else shape for key, shape in unet.items()}
    with pytest.raises(SettingsError, match=r"of another size: conv_out"):
        system.check(wider, vae)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_layer_is_listed(name, contents, oracles, tmp_path):
    layer = "mid_block.attentions.0.proj_in"
    table = {key: value for key, value in table_of(name, contents[name]).items() if f"{layer}.lora" not in key}
    paths = published_files(name, oracles[name], tmp_path, with_table(name, contents[name], table))
    system = read_one_step(paths)
    unet = shapes_of(unet_layers(UNetView(base_unet(oracles[name]))))
    with pytest.raises(SettingsError, match=rf"missing: {layer}"):
        system.check(unet, shapes_of(vae_layers(base_vae(oracles[name]))))


@pytest.mark.parametrize("name", NAMES)
def test_half_an_adapter_is_listed(name, contents, oracles, tmp_path):
    table = dict(table_of(name, contents[name]))
    gone = next(key for key in table if key.startswith("conv_out.lora_B"))
    del table[gone]
    paths = published_files(name, oracles[name], tmp_path, with_table(name, contents[name], table))
    with pytest.raises(WeightFileError, match=rf"missing: {gone}"):
        read_one_step(paths)


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_rank_is_refused(name, contents, oracles, tmp_path):
    """Another rank would have another scale, which no file says."""
    table = {}
    for key, value in table_of(name, contents[name]).items():
        table[key] = value[:2] if ".lora_A." in key else value[:, :2] if ".lora_B." in key else value
    paths = published_files(name, oracles[name], tmp_path, with_table(name, contents[name], table))
    with pytest.raises(WeightFileError, match=r"so that its scale is not known: .+ has 2"):
        read_one_step(paths)


def test_a_rank_that_the_file_says_is_believed_no_more(contents, oracles, tmp_path):
    paths = published_files("osediff", oracles["osediff"], tmp_path, {**contents["osediff"], "rank_unet": 8})
    with pytest.raises(WeightFileError, match=r"rank whose scale is not known: rank_unet is 8 instead of 4"):
        read_one_step(paths)


@pytest.mark.parametrize("name", NAMES)
def test_a_foreign_tensor_is_listed(name, contents, oracles, tmp_path):
    foreign = {"conv_in.lora_A.mine.weight": torch.zeros(4, 4, 3, 3), "conv_in.lora_B.mine.weight": torch.zeros(32, 4)}
    table = {**table_of(name, contents[name]), **foreign}
    paths = published_files(name, oracles[name], tmp_path, with_table(name, contents[name], table))
    with pytest.raises(WeightFileError, match=r"conv_in"):
        read_one_step(paths)
    if name != "hypir":
        paths = published_files(name, oracles[name], tmp_path, {**contents[name], "optimizer": {"step": 3}})
        with pytest.raises(WeightFileError, match=r"unexpected: optimizer"):
            read_one_step(paths)


def test_trained_first_convolutions_are_not_left_out(contents, oracles, tmp_path):
    for name, keys in (
        ("osediff", ("conv_in.base_layer.weight", "conv_in.base_layer.bias")),
        ("s3diff", ("conv_in.weight", "conv_in.bias")),
    ):
        system = read_one_step(published_files(name, oracles[name], tmp_path))
        replaced = system.unet_changes()[0].replaced
        table = contents[name]["state_dict_unet"]
        assert torch.equal(replaced["conv_in.weight"], table[keys[0]])
        without = {key: value for key, value in table.items() if key not in keys}
        folder = tmp_path / f"{name}_without"
        folder.mkdir()
        paths = published_files(name, oracles[name], folder, {**contents[name], "state_dict_unet": without})
        with pytest.raises(WeightFileError, match=rf"missing: {keys[0]}, {keys[1]}"):
            read_one_step(paths)


def test_files_of_several_systems_or_of_none(contents, oracles, tmp_path):
    osediff = published_files("osediff", oracles["osediff"], tmp_path)
    s3diff, estimator = published_files("s3diff", oracles["s3diff"], tmp_path)
    with pytest.raises(WeightFileError, match=r"is OSEDiff and .+ is S3Diff; give the file of one system"):
        read_one_step([*osediff, s3diff])
    with pytest.raises(WeightFileError, match=r"estimator of the damage; give s3diff\.pkl too"):
        read_one_step(estimator)
    with pytest.raises(WeightFileError, match=r"belongs to S3Diff, and .+ is OSEDiff"):
        read_one_step([*osediff, estimator])
    alone = read_one_step(s3diff)
    with pytest.raises(SettingsError, match=r"de_net\.pth"):
        alone.measure(torch.rand(1, 3, 16, 16))
    plain = tmp_path / "plain.pth"
    torch.save({"conv_in.weight": torch.zeros(3)}, plain)
    with pytest.raises(WeightFileError, match=r"not a file of a one-step restorer"):
        read_one_step(plain)


def test_a_file_with_code_is_refused(tmp_path):
    import pickle

    path = tmp_path / "osediff.pkl"
    path.write_bytes(pickle.dumps({"state_dict_unet": print, "state_dict_vae": {}}))
    with pytest.raises(WeightFileError):
        read_one_step(path)


def published_size(name):
    """Contents of a published file at its full size, without values."""

    def table(which, alone=False):
        found = {key: torch.empty(shape, device="meta") for key, shape in manifest(f"onestep_{which}").items()}
        return found if alone else {"state_dict_unet": found}

    if name == "hypir":
        return table("hypir_sd2", alone=True)
    if name == "osediff":
        return {**table("osediff_unet"), "state_dict_vae": table("osediff_vae", alone=True)}
    if name == "pisasr":
        return table("pisasr_unet")
    if name == "dloral":
        return {**table("dloral_unet"), "state_dict_bpp": table("dloral_cfr", alone=True)}
    found = {**table("s3diff_unet"), "state_dict_vae": table("s3diff_vae", alone=True)}
    for key, tensor in table("s3diff_mlps", alone=True).items():
        *path, last = key.split(".", 2 if key.startswith("state_embeddings") else 1)
        place = found
        for part in path:
            place = place.setdefault(part, {})
        place[last] = tensor
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_published_size_fits_stable_diffusion_2(name):
    contents = published_size(name)
    known = find_one_step(contents)
    assert known.system == SYSTEMS[name]
    known.build(contents).check(unet_shapes(SD2_UNET, "diffusers"), encoder_shapes("diffusers"))


def test_licences_are_those_that_inspect_shows():
    shown = {each.name: each.licence for each in PUBLISHED if each.kind == "one-step restorer"}
    for known in ONE_STEP_FORMATS:
        name = "HYPIR for Stable Diffusion 2" if known.system == "HYPIR" else known.system
        assert shown[name] == known.licence
        assert known.licence in report(known)
