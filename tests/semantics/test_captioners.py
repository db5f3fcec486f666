"""Captioners of the real classes at tiny sizes; and folders that are incomplete, of another kind, or hostile."""

import json
import pickle
import shutil
import socket
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from vldm_core.errors import VLDMError
from vldm_core.semantics.captioners.captioner import pictures, sentence
from vldm_core.semantics.captioners.registry import KINDS, captioner_kind, open_captioner
from vldm_core.semantics.recognition.clip import open_clip, prepare_pictures
from vldm_core.semantics.recognition.local_models import ModelFolderError, transformers_class

from .tiny_models import save_blip, save_clip, save_florence

FRAMES = torch.rand(3, 3, 40, 56, generator=torch.Generator().manual_seed(5))
MAKERS = {"BLIP": save_blip, "Florence-2": save_florence}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    root = tmp_path_factory.mktemp("captioners")
    return {name: make(root / name) for name, make in MAKERS.items()}


@pytest.fixture(params=list(MAKERS))
def folder(request, saved, tmp_path) -> Path:
    """A copy to be spoilt."""
    return Path(shutil.copytree(saved[request.param], tmp_path / "model"))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("name", list(MAKERS))
def test_the_folder_decides_which_captioner_it_is(saved, name):
    assert captioner_kind(saved[name]).source.name == name


@pytest.mark.parametrize("name", list(MAKERS))
def test_captions_are_the_same_every_time(saved, name):
    """Also with other frames beside, and after loading the model again."""
    captions = open_captioner(saved[name])(FRAMES)
    assert len(captions) == 3 and all(text and text == sentence(text) for text in captions)
    assert len(set(captions)) > 1
    again = open_captioner(saved[name])
    assert [again(frame[None])[0] for frame in FRAMES] == captions
    assert again(FRAMES[:0]) == []


def test_pictures_and_sentences():
    picture = next(pictures(torch.tensor([0.0, 0.5, 1.5]).view(1, 3, 1, 1).expand(1, 3, 4, 6)))
    assert picture.size == (6, 4) and picture.getpixel((0, 0)) == (0, 128, 255)
    assert sentence(" a\n man\x00  walks ") == "a man walks"


def named(folder: Path, what: str) -> str:
    """A pattern for messages that say what is wrong, with model, source and folder."""
    kind = captioner_kind(folder) if (folder / "config.json").exists() else KINDS[0]
    return f"(?s){kind.source.name}.*{folder}.*{what}.*huggingface.co/{kind.source.repository}"


def test_pickles_are_refused_and_not_opened(folder, tmp_path):
    trap = tmp_path / "opened"
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(_booby_trap(trap))
    with pytest.raises(ModelFolderError, match=named(folder, "pickles only .pytorch_model.bin")):
        open_captioner(folder)
    assert not trap.exists()
    # The trap works where it is sprung.
    pickle.loads(_booby_trap(trap))
    assert trap.exists()


def test_a_pickle_by_another_name_is_not_opened(folder, tmp_path):
    trap = tmp_path / "opened"
    (folder / "model.safetensors").write_bytes(_booby_trap(trap))
    with pytest.raises(ModelFolderError, match=named(folder, "model.safetensors is damaged")):
        open_captioner(folder)
    assert not trap.exists()


def test_a_pickle_beside_the_weights_is_not_opened(folder, tmp_path):
    trap = tmp_path / "opened"
    for name in ("pytorch_model.bin", "training_args.bin", "tokenizer.pkl"):
        (folder / name).write_bytes(_booby_trap(trap))
    assert len(open_captioner(folder)(FRAMES[:1])) == 1
    assert not trap.exists()


def _booby_trap(path: Path) -> bytes:
    class Trap:
        def __reduce__(self):
            return (Path.touch, (path,))

    return pickle.dumps(Trap())


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "processor_config.json", "extra.json"])
def test_code_of_a_folder_is_never_run(folder, tmp_path, file):
    trap = tmp_path / "run"
    (folder / "evil.py").write_text(f"open({str(trap)!r}, 'w')\nclass Evil:\n    pass\n")
    with pytest.raises(ModelFolderError, match=r"comes with code .evil.py.*never run"):
        open_captioner(folder)
    # Also where the code is somewhere else.
    (folder / "evil.py").unlink()
    _edit(folder / file, auto_map={"AutoConfig": "somebody/model--evil.Evil", "AutoProcessor": "evil.Evil"})
    with pytest.raises(ModelFolderError, match=f"{file} asks for code from elsewhere .auto_map.*never run"):
        open_captioner(folder)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantization_config"),
        ({"_attn_implementation": "somebody/kernel"}, "somebody/kernel"),
        ({"vision_config": {"attn_implementation": "somebody/kernel"}}, "somebody/kernel"),
        ({"tokenizer_class": "TransfoXLTokenizer"}, "TransfoXLTokenizer"),
    ],
)
def test_settings_that_load_from_elsewhere_are_refused(folder, change, message):
    _edit(folder / "config.json", **change)
    with pytest.raises(ModelFolderError, match=named(folder, message)):
        open_captioner(folder)


def test_a_folder_of_another_class_is_refused(folder, tmp_path):
    _edit(folder / "config.json", architectures=["BlipForQuestionAnswering"])
    with pytest.raises(
        ModelFolderError, match=r"BlipForQuestionAnswering, which is not a captioner.*BLIP .*Florence-2 "
    ):
        open_captioner(folder)
    _edit(folder / "config.json", architectures="BlipForConditionalGeneration")
    with pytest.raises(ModelFolderError, match="no known class"):
        open_captioner(folder)


def test_weights_of_another_model_are_refused(saved, tmp_path):
    """The configuration says one thing, the weights another."""
    folder = Path(shutil.copytree(saved["BLIP"], tmp_path / "mixed"))
    shutil.copy(saved["Florence-2"] / "model.safetensors", folder)
    with pytest.raises(ModelFolderError, match=named(folder, "its weights lack")):
        open_captioner(folder)


def test_weights_that_lack_a_tensor_or_have_another_shape_are_refused(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = next(key for key in sorted(tensors) if tensors[key].ndim == 2)
    save_file({key: value for key, value in tensors.items() if key != name}, path, metadata={"format": "pt"})
    with pytest.raises(ModelFolderError, match="its weights lack"):
        open_captioner(folder)
    save_file({**tensors, name: torch.zeros(3, 3)}, path, metadata={"format": "pt"})
    with pytest.raises(ModelFolderError, match=named(folder, "transformers cannot read it")):
        open_captioner(folder)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_truncated_weights_are_refused(folder, share):
    path = folder / "model.safetensors"
    contents = path.read_bytes()
    path.write_bytes(contents[: int(share * len(contents))])
    with pytest.raises(ModelFolderError, match=named(folder, "model.safetensors is damaged or cut short")):
        open_captioner(folder)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("config.json", "config.json is missing"),
        ("model.safetensors", "its weights are missing"),
        ("tokenizer.json", "tokenizer is missing"),
        ("processor_config.json", "preprocessor_config.json is missing"),
    ],
)
def test_a_folder_that_lacks_a_file_is_refused(folder, file, message):
    (folder / file).unlink()
    with pytest.raises(ModelFolderError, match=f"(?s){folder}.*{message}.*huggingface.co/"):
        open_captioner(folder)


def test_a_missing_folder_tells_what_could_be_there(tmp_path):
    with pytest.raises(ModelFolderError, match=r"(?s)nowhere.*BLIP .*Salesforce.*Florence-2 .*florence-community"):
        open_captioner(tmp_path / "nowhere")


@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("text", ["{", "[]", "\udcff"])
def test_a_damaged_settings_file_is_named(folder, file, text):
    (folder / file).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelFolderError, match=f"{file} is damaged"):
        open_captioner(folder)


def test_weights_in_parts(folder):
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    (folder / "model.safetensors").unlink()
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, keys in parts.items():
        save_file({key: tensors[key] for key in keys}, folder / file, metadata={"format": "pt"})
    table = {key: file for file, keys in parts.items() for key in keys}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": table}))
    assert len(open_captioner(folder)(FRAMES[:1])) == 1
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(ModelFolderError, match=r"model-2.safetensors is missing"):
        open_captioner(folder)
    for wrong in ({names[0]: "../model-1.safetensors"}, {names[0]: 3}, {}, []):
        index.write_text(json.dumps({"metadata": {}, "weight_map": wrong}))
        with pytest.raises(ModelFolderError, match=r"index.json is damaged"):
            open_captioner(folder)
    index.write_text(json.dumps({"metadata": {}, "weight_map": {names[0]: "pytorch_model.bin"}}))
    with pytest.raises(ModelFolderError, match=r"pytorch_model.bin, which is not a .safetensors file"):
        open_captioner(folder)


def test_a_transformers_without_the_class_is_named():
    with pytest.raises(VLDMError, match=r"transformers \d.* has no Florence9000.*pip install"):
        transformers_class("Florence9000")


def test_clip(tmp_path):
    clip = open_clip(save_clip(tmp_path / "clip"))
    frames, texts = clip.frames(FRAMES), clip.texts(["a dog", "a cat", "z" * 200])
    assert clip.reads_text and frames.shape == texts.shape == (3, 16)
    assert torch.allclose(frames.norm(dim=1), torch.ones(3)) and torch.allclose(texts.norm(dim=1), torch.ones(3))
    assert torch.allclose(clip.frames(FRAMES[1:2]), frames[1:2], atol=1e-6)
    assert torch.allclose(clip.texts(["a cat"]), texts[1:2], atol=1e-6)


def test_clip_agrees_with_transformers(tmp_path):
    """The projected features that CLIPModel itself compares."""
    from transformers import CLIPModel, CLIPTokenizer

    folder = save_clip(tmp_path / "clip")
    clip, model = open_clip(folder), CLIPModel.from_pretrained(folder).eval()
    words = ["a dog", "the street"]
    tokens = CLIPTokenizer.from_pretrained(folder)(words, padding="max_length", max_length=40, return_tensors="pt")
    with torch.no_grad():
        wanted = model(pixel_values=prepare_pictures(FRAMES, 32), **tokens)
    assert torch.allclose(clip.frames(FRAMES), wanted.image_embeds, atol=1e-5)
    assert torch.allclose(clip.texts(words), wanted.text_embeds, atol=1e-5)


def test_a_clip_without_text_says_so(tmp_path):
    clip = open_clip(save_clip(tmp_path / "vision", vision_only=True))
    assert clip.frames(FRAMES).shape == (3, 16) and not clip.reads_text
    with pytest.raises(VLDMError, match="no text encoder"):
        clip.texts(["a dog"])


def test_a_captioner_is_no_clip(saved, tmp_path):
    with pytest.raises(
        ModelFolderError, match=r"CLIP cannot be used from .*BlipForConditionalGeneration, not CLIPModel"
    ):
        open_clip(saved["BLIP"])
    with pytest.raises(ModelFolderError, match=r"there is no such folder.*openai/clip"):
        open_clip(tmp_path / "nowhere")


def test_pictures_for_clip_are_the_middle_of_the_frame():
    frames = torch.zeros(1, 3, 20, 60)
    frames[..., 20:40] = 1
    made = prepare_pictures(frames, 20)
    assert made.shape == (1, 3, 20, 20) and float(made.min()) > 1.5
    assert prepare_pictures(torch.rand(1, 3, 333, 334), 32).shape == (1, 3, 32, 32)


def _edit(path: Path, **change: object) -> None:
    settings = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**settings, **change}))
