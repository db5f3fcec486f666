"""A pipeline's attachments are written with their settings and read again; damaged folders say so."""

import json

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.files.weights import WeightFileError
from vldm_core.prior.attachment import Attachment
from vldm_core.prior.attachment_files import load_attachments, read_attachment, save_attachments
from vldm_core.prior.temporal.animatediff import MotionConfig, MotionModules, MotionModuleSettings
from vldm_core.prior.temporal.attention import AttentionWindows
from vldm_core.prior.temporal.layers import TemporalConfig, TemporalLayers


def layers() -> TemporalLayers:
    config = TemporalConfig(convolutions=(("down.0.0.res", 32),), attentions=(("down.0.0.attn", 32),), max_distance=8)
    return TemporalLayers(config, windows=AttentionWindows(length=12, stride=5), strength=0.25)


def modules() -> MotionModules:
    settings = MotionModuleSettings(
        strength=0.5, frame_strengths=(1.0, 0.5), windows=AttentionWindows(length=8, stride=2)
    )
    return MotionModules(MotionConfig(version="v3", channels=(("down.0.0", 32),), positions=32), settings)


def test_settings_and_weights_come_back(tmp_path) -> None:
    written = {"temporal": layers(), "motion": modules()}
    save_attachments(written, tmp_path / "new" / "folder")
    read = load_attachments(tmp_path / "new" / "folder")
    assert list(read) == ["temporal", "motion"]
    for name, attachment in written.items():
        found = read[name]
        assert type(found) is type(attachment) and found.config == attachment.config
        state = found.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in attachment.state_dict().items())
    assert (read["temporal"].windows, read["temporal"].strength) == (AttentionWindows(length=12, stride=5), 0.25)
    assert read["motion"].settings == written["motion"].settings
    kinds = [read_attachment(tmp_path / "new" / "folder" / f"{name}.safetensors") for name in written]
    assert [type(kind) for kind in kinds] == [TemporalLayers, MotionModules]


def test_nothing_is_written_for_nothing(tmp_path) -> None:
    save_attachments({}, tmp_path / "folder")
    assert not (tmp_path / "folder").exists() and load_attachments(tmp_path / "folder") == {}


def test_what_cannot_be_written_or_read_is_refused(tmp_path) -> None:
    with pytest.raises(SettingsError, match="Attachment cannot be saved"):
        save_attachments({"other": Attachment()}, tmp_path)
    save_attachments({"temporal": layers()}, tmp_path)
    path = tmp_path / "attachments.json"
    index = json.loads(path.read_text())
    for changed, match in (
        ({"temporal": {**index["temporal"], "kind": "reference"}}, "not known"),
        ({"temporal": {**index["temporal"], "strength": 99}}, "makes no sense"),
        ({"temporal": {}}, "makes no sense"),
        ([1], "makes no sense"),
        ({"temporal": {**index["temporal"], "file": "../temporal.safetensors"}}, None),
        ({"temporal": {**index["temporal"], "file": "gone.safetensors"}}, "gone.safetensors"),
    ):
        path.write_text(json.dumps(changed))
        if match is None:
            # A path that leads out of the folder is taken for a name inside it.
            assert list(load_attachments(tmp_path)) == ["temporal"]
            continue
        with pytest.raises(WeightFileError, match=match):
            load_attachments(tmp_path)
    path.write_text("{")
    with pytest.raises(WeightFileError, match="makes no sense"):
        load_attachments(tmp_path)
