"""A family's configuration and tokenizer as a folder in diffusers' layout, so that a single checkpoint can be opened.

diffusers would fetch these files from the network. All sizes are in :mod:`.families`; the tokenizer is made from CLIP's
list of merges, which ships with the package (``vocabulary/``, with its licence): its tokens are the 256 bytes, the same
at the end of a word, what every merge makes, and two marks.
"""

import gzip
import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from ...sampling.schedule import Prediction
from .families import Family

_BEGIN, _END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"
TOKENS = 77
"""Tokens of a prompt, both marks included."""

PREDICTION_TYPES: dict[Prediction, str] = {"eps": "epsilon", "v": "v_prediction"}
"""What a network predicts, in diffusers' words."""


def write_configuration(family: Family, prediction: Prediction, folder: Path) -> None:
    """Write what a checkpoint file does not say.

    Args:
        family: Kind of the model.
        prediction: What its network predicts.
        folder: Exists and is empty.
    """
    parts: dict[str, dict[str, Any]] = {
        "model_index.json": {
            "_class_name": "VideoRestorationPipeline",
            "vae": ["diffusers", "AutoencoderKL"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        },
        "unet/config.json": {"_class_name": "UNet2DConditionModel", **family.unet},
        "vae/config.json": {"_class_name": "AutoencoderKL", **family.autoencoder},
        "text_encoder/config.json": {
            "architectures": ["CLIPTextModel"],
            "model_type": "clip_text_model",
            **family.text_encoder,
        },
        # With the spacing of the host's "normal" schedule, so that graph and command line take the same steps.
        "scheduler/scheduler_config.json": {
            "_class_name": "EulerDiscreteScheduler",
            "num_train_timesteps": 1000,
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "prediction_type": PREDICTION_TYPES[prediction],
            "timestep_spacing": "linspace",
        },
        "tokenizer/tokenizer_config.json": {
            "tokenizer_class": "CLIPTokenizer",
            "bos_token": _BEGIN,
            "eos_token": _END,
            "unk_token": _END,
            "pad_token": family.padding,
            "model_max_length": TOKENS,
            "do_lower_case": True,
        },
        "tokenizer/vocab.json": {token: index for index, token in enumerate(clip_tokens())},
    }
    for name, value in parts.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    merges = "\n".join(("#version: 0.2", *clip_merges()))
    (folder / "tokenizer" / "merges.txt").write_text(merges + "\n", encoding="utf-8")


@cache
def clip_merges() -> tuple[str, ...]:
    """Return CLIP's 48894 merges, two parts each, most frequent first."""
    file = resources.files(__package__) / "vocabulary" / "clip_merges.txt.gz"
    return tuple(gzip.decompress(file.read_bytes()).decode("utf-8").splitlines())


def clip_tokens() -> list[str]:
    """Return CLIP's 49408 tokens in the order of their numbers."""
    letters = _byte_letters()
    merged = ["".join(merge.split(" ")) for merge in clip_merges()]
    return [*letters, *(letter + _WORD_END for letter in letters), *merged, _BEGIN, _END]


def _byte_letters() -> list[str]:
    """Return a visible character for every byte, those that are visible themselves first; the others get new ones."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = 256 - len(visible)
    return [chr(code) for code in (*visible, *range(256, 256 + hidden))]
