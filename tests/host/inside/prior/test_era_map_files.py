"""The map of eras as `train lora` writes it, with its files beside it, in a folder below the loras folder."""

import json

import folder_paths
import pytest
from inside.prior.loras import lora_tensors
from inside.sampling import assert_same, conditioning, random, sample
from pack.nodes.host.prior.attachments import view_of, with_attachment
from pack.nodes.prior.shot_loras import ShotLoras, era_map_of
from pack.vldm_core.errors import SettingsError
from pack.vldm_core.prior.lora.per_frame import ShotLora, named_layers, read_lora
from pack.vldm_core.semantics.stages import era_lines
from pack.vldm_core.semantics.table.description import ShotDescription
from pack.vldm_core.semantics.table.table import ShotTable
from safetensors.torch import save_file

MAP = "film/eras.json"
ERAS = ("1900s", "1950s")


@pytest.fixture
def loras(model, tmp_path, monkeypatch):
    """A loras folder with a map and its file in a folder of their own."""
    folder = tmp_path / "loras" / "film"
    folder.mkdir(parents=True)
    names = ("mid_block_attentions_0_transformer_blocks_0_attn1_to_q", "down_blocks_2_resnets_0_conv1")
    save_file(lora_tensors(named_layers(view_of(model)), names), folder / "1900s.safetensors")
    (folder / "eras.json").write_text(json.dumps({"1900s": {"strength": 0.7, "file": "1900s.safetensors"}}))
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", ([str(folder.parent)], {".safetensors"}))
    return folder


def test_files_beside_the_map_are_found(model, loras):
    assert ShotLoras.validate_inputs(era_map=MAP, eras="1900s") is True
    (patched,) = ShotLoras.execute(model, MAP, "1900s", "1.0").result

    def run(patched):
        noise = random(2, 4, 8, 8)
        return sample(patched, conditioning(), conditioning(seed=3), noise, 0 * noise, steps=2)

    wanted = run(with_attachment(model, ShotLora(read_lora(loras / "1900s.safetensors"), 0.7), "lora"))
    assert_same(run(patched), wanted)
    assert (run(model) - wanted).abs().max() > 0.01


def test_a_changed_file_is_read_again_and_a_missing_one_is_told(loras):
    said = {"era_map": MAP, "eras": "1900s", "strengths": "1.0"}
    before = ShotLoras.fingerprint_inputs(**said)
    (loras / "1900s.safetensors").unlink()
    assert ShotLoras.fingerprint_inputs(**said) != before
    with pytest.raises(SettingsError, match=r"no LoRA file '1900s\.safetensors'"):
        ShotLoras.validate_inputs(era_map=MAP, eras="1900s")


def test_the_era_node_picks_what_the_map_knows(loras):
    rows = [ShotDescription(first=4 * number, last=4 * number + 4, era=era) for number, era in enumerate(ERAS)]
    table = ShotTable(descriptions=tuple(rows))
    assert era_lines(table, era_map_of(MAP)).split("\n") == ["1900s", "unknown"]
