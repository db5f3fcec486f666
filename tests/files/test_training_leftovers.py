"""Checkpoints as PyTorch Lightning writes them are read; others that hold code still are not."""

import sys
import types

import numpy as np
import pytest
import torch

from vldm_core.files.weights import WeightFileError, read_contents, tensors_of


@pytest.fixture
def lightning(monkeypatch):
    """A module of Lightning's name, as it is there where a checkpoint is written."""
    name = "pytorch_lightning.callbacks.model_checkpoint"
    module = types.ModuleType(name)
    for part in ("ModelCheckpoint", "Other"):
        kind = type(part, (), {"__module__": name})
        setattr(module, part, kind)
    for parent in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
    monkeypatch.setitem(sys.modules, name, module)
    return module


def written(path, callback, monkeypatch):
    contents = {
        "pytorch-lightning_version": "1.4.2",
        "callbacks": {callback: {"best_model_score": np.float64(0.5), "monitor": np.float32(1), "step": np.int64(3)}},
        "state_dict": {"weight": torch.arange(3.0)},
    }
    torch.save(contents, path)
    for name in [name for name in sys.modules if name.startswith("pytorch_lightning")]:
        monkeypatch.delitem(sys.modules, name)
    return path


@pytest.mark.parametrize("mapped", [False, True])
def test_a_checkpoint_of_lightning_is_read(tmp_path, lightning, monkeypatch, mapped):
    path = written(tmp_path / "model.ckpt", lightning.ModelCheckpoint, monkeypatch)
    found = tensors_of(read_contents(path, mapped=mapped))
    assert torch.equal(found["weight"], torch.arange(3.0))
    assert not any(name.startswith("pytorch_lightning") for name in sys.modules)


def test_another_class_is_refused(tmp_path, lightning, monkeypatch):
    path = written(tmp_path / "model.ckpt", lightning.Other, monkeypatch)
    with pytest.raises(WeightFileError, match="may run code"):
        read_contents(path)


def test_nothing_stays_allowed(tmp_path, lightning, monkeypatch):
    path = written(tmp_path / "model.ckpt", lightning.ModelCheckpoint, monkeypatch)
    before = set(torch.serialization.get_safe_globals())
    read_contents(path)
    assert set(torch.serialization.get_safe_globals()) == before
