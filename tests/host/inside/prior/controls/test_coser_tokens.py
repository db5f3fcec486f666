"""CoSeR's tokens of language by the host's CLIP Vision are those by transformers' CLIP."""

import logging

import pytest
import torch
from inside.models import VISION_CONFIG, tiny_vision
from pack.nodes.host.prior.cognition import language_tokens
from pack.nodes.host.prior.controls import load_control
from pack.vldm_core.errors import SettingsError
from pack.vldm_core.prior.controls.coser.qformer import QFormerConfig
from pack.vldm_core.progress import silent
from pack.vldm_core.video.shots import Shot
from safetensors.torch import save_file

SHOTS = (Shot(0, 3), Shot(3, 4))
FRAMES = torch.rand(4, 3, 16, 24, generator=torch.Generator().manual_seed(2))


def loaded(folder, *, cognition=True):
    from .....prior.controls.coser.tiny_coser import control_file, encoder_file

    config = QFormerConfig(width=64, vision=64, inner=48, depth=2, crossed=(0,), queries=6, heads=16)
    file = control_file() | (encoder_file(config, projection=False) if cognition else {})
    path = folder / "coser.safetensors"
    save_file({key: value.contiguous() for key, value in file.items()}, path)
    return load_control([path])


def tokens(control, clip, **more):
    with torch.no_grad():
        return language_tokens(control, FRAMES, clip, shots=SHOTS, progress=silent, **{"masks": None, **more})


def test_each_shot_has_the_tokens_of_one_of_its_frames(tmp_path):
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    host = tiny_vision(tmp_path)
    clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**VISION_CONFIG)).eval()
    clip.load_state_dict(host.model.state_dict())
    control = loaded(tmp_path)
    found = tokens(control, host)
    with torch.no_grad():
        wanted = control.system.cognition.look(FRAMES[[1, 1, 1, 3]], clip)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    assert (wanted[0] - wanted[3]).abs().max() > 1e-3


def test_the_least_damaged_frame_speaks_for_its_shot(tmp_path):
    host, control = tiny_vision(tmp_path), loaded(tmp_path)
    masks = torch.zeros(4, 16, 24)
    masks[0:2] = 1
    found = tokens(control, host, masks=masks)
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found, tokens(control, host))


def test_what_is_missing_is_said(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert tokens(loaded(tmp_path), None) is None
    assert "connect clip_vision" in caplog.text
    with pytest.raises(SettingsError, match="hold no cognitive encoder"):
        tokens(loaded(tmp_path, cognition=False), tiny_vision(tmp_path))
