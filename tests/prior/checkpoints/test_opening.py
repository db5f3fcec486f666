"""A checkpoint file is opened without a network and without any folder beside it; what cannot serve is refused."""

import json
import shutil
import socket
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vldm_core import VideoRestorationPipeline
from vldm_core.errors import SettingsError, VLDMError
from vldm_core.files.weights import WeightFileError
from vldm_core.prior.checkpoints import families
from vldm_core.prior.checkpoints.families import SD1, SD2, SPREAD_OF_V
from vldm_core.prior.checkpoints.opening import open_prior
from vldm_core.prior.checkpoints.original_names import original_checkpoint

from ..ldm_layout import open_clip_text
from ..tiny_models import CONTEXT
from ..tiny_pipeline import tiny_pipeline, tiny_text_encoder

TEXT = {
    "vocab_size": 49408,
    "hidden_size": CONTEXT,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 77,
}
CALL = {"fitting": None, "num_inference_steps": 2, "strength": 0.5, "output": "latents", "prompt": "a street, 1906"}


@pytest.fixture
def offline(monkeypatch):
    """Fail whoever looks for the network."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was looked for")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)


def big_vocabulary():
    """A tiny pipeline whose text encoder takes CLIP's tokens."""
    from transformers import CLIPTextConfig, CLIPTextModel

    pipeline = tiny_pipeline()
    torch.manual_seed(5)
    config = CLIPTextConfig(**TEXT, hidden_act="gelu", eos_token_id=49407, bos_token_id=49406, pad_token_id=0)
    encoder = CLIPTextModel(config).eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    pipeline.register_modules(text_encoder=encoder)
    return pipeline


@pytest.fixture
def tiny_families(monkeypatch):
    """A pipeline, and what makes it the one family that is known."""
    pipeline = big_vocabulary()

    def small(family):
        sizes = {
            "unet": dict(pipeline.unet.config),
            "autoencoder": dict(pipeline.vae.config),
            "text_encoder": {**family.text_encoder, **TEXT, "hidden_act": "gelu"},
        }
        return replace(family, context=CONTEXT, **sizes)

    return pipeline, lambda family: monkeypatch.setattr(families, "FAMILIES", (small(family),))


def picture() -> torch.Tensor:
    return torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("family", [SD1, SD2], ids=["1.x", "2.x"])
def test_a_checkpoint_is_opened_offline(family, tiny_families, tmp_path, offline):
    pipeline, use = tiny_families
    use(family)
    state = original_checkpoint(pipeline)
    if family is SD2:
        state = {key: value for key, value in state.items() if not key.startswith("cond_stage_model.")}
        state |= open_clip_text(pipeline.text_encoder)
    save_file(state, tmp_path / "model.safetensors")
    opened = open_prior(tmp_path / "model.safetensors", device="cpu")
    assert opened.scheduler.config.prediction_type == "epsilon"
    assert len(opened.tokenizer) == 49408 and opened.tokenizer.pad_token == family.padding
    pipeline.register_modules(tokenizer=opened.tokenizer)
    assert torch.allclose(opened(picture(), **CALL).latents, pipeline(picture(), **CALL).latents, atol=1e-4)
    read = VideoRestorationPipeline.from_single_file(tmp_path / "model.safetensors", prediction="v")
    assert read.scheduler.config.prediction_type == "v_prediction"
    assert not list(tmp_path.glob("vldm-*"))


def test_a_pickled_checkpoint_is_opened_offline(tiny_families, tmp_path, offline):
    pipeline, use = tiny_families
    use(SD1)
    # NumPy numbers are what training leaves in the published checkpoints.
    torch.save({"state_dict": original_checkpoint(pipeline), "best": np.float64(0.5)}, tmp_path / "model.ckpt")
    opened = open_prior(tmp_path / "model.ckpt", device="cpu", prediction="v")
    assert opened.scheduler.config.prediction_type == "v_prediction"


def test_what_a_2x_model_predicts_is_told_by_its_weights(tiny_families, tmp_path, offline):
    pipeline, use = tiny_families
    use(SD2)
    state = original_checkpoint(pipeline)
    state = {key: value for key, value in state.items() if not key.startswith("cond_stage_model.")}
    state |= open_clip_text(pipeline.text_encoder) | {SPREAD_OF_V: torch.linspace(-1, 1, 64)}
    save_file(state, tmp_path / "model.safetensors")
    chosen: Any
    for chosen, wanted in ((None, "v_prediction"), ("eps", "epsilon")):
        opened = open_prior(tmp_path / "model.safetensors", prediction=chosen, device="cpu")
        assert opened.scheduler.config.prediction_type == wanted


def test_another_kind_of_model_is_refused_offline(tmp_path, offline):
    save_file({"model.diffusion_model.joint_blocks.0.x": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightFileError, match="is a Stable Diffusion 3 model; choose a checkpoint of"):
        open_prior(tmp_path / "model.safetensors", device="cpu")
    with pytest.raises(WeightFileError, match="is a Stable Diffusion 3 model"):
        VideoRestorationPipeline.from_single_file(tmp_path / "model.safetensors")
    with pytest.raises(SettingsError, match="prediction is 'x0'"):
        open_prior(tmp_path / "model.safetensors", prediction="x0")  # type: ignore[arg-type]


def test_a_folder_is_never_looked_for_in_the_hub(tmp_path, offline):
    # What it says depends on what the cache of the hub holds.
    with pytest.raises(OSError, match=r"somebody/some-model|local_files_only"):
        VideoRestorationPipeline.from_pretrained("somebody/some-model")


@pytest.mark.parametrize("place", ["pipeline.py", "unet/transformers.py", "unet/diffusers.py", "scheduler/mine.py"])
def test_code_beside_the_weights_is_never_run(place, tmp_path, offline):
    tiny_pipeline().save_pretrained(tmp_path / "model")
    ran = tmp_path / "ran"
    (tmp_path / "model" / place).write_text(f"open({str(ran)!r}, 'w').close()\nclass Mine:\n    pass\n")
    index = tmp_path / "model" / "model_index.json"
    parts = json.loads(index.read_text())
    index.write_text(json.dumps({**parts, "scheduler": ["mine", "Mine"]} if "mine" in place else parts))
    for open_it in (open_prior, VideoRestorationPipeline.from_pretrained):
        with pytest.raises(VLDMError, match=rf"holds code \({place}\), which is never run"):
            open_it(tmp_path / "model")
    assert not ran.exists()


def test_a_tokenizer_that_cannot_serve_is_refused(tmp_path, offline):
    pipeline = tiny_pipeline()
    pipeline.save_pretrained(tmp_path / "model")
    folder = tmp_path / "model" / "tokenizer"
    assert open_prior(tmp_path / "model", device="cpu") is not None

    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": 77}))
    with pytest.raises(SettingsError, match="up to 77 tokens and the text encoder takes 12"):
        open_prior(tmp_path / "model", device="cpu")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))

    shutil.rmtree(tmp_path / "model" / "text_encoder")
    tiny_text_encoder(20).save_pretrained(tmp_path / "model" / "text_encoder")
    with pytest.raises(SettingsError, match="tokens up to number 53 and the text encoder 20 of them"):
        open_prior(tmp_path / "model", device="cpu")

    # What a copy without the large files leaves behind: transformers opens it without a word.
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(VLDMError, match=r"does not know the words|cannot be opened"):
        open_prior(tmp_path / "model", device="cpu")
