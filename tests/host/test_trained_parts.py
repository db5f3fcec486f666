"""Parts that the training commands write act alike in ComfyUI and in diffusers."""

import shutil
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from vldm_core.cli.app import app
from vldm_core.video.writing.clip import write_clip

from ..training.prior_kit import prerestorer_file, tiny_prior
from ..training.training_kit import photographs

pytestmark = pytest.mark.host

# A rate of which a few steps of the warm-up leave something to be seen.
SHORT = ("--steps", "4", "--batch", "1", "--accumulation", "1", "--rate", "0.2", "--precision", "no", "--side", "64")
FILMS = ("--films", "1", "--validation-films", "1")


def train(task: str, place: Path, data: str, *more: str) -> None:
    words = ["train", task, str(place / "model"), "--data", str(place / data), "--cache", str(place / f"{task} cache")]
    result = CliRunner().invoke(app, [*words, *SHORT, *more])
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A model, and the files of the three commands beside it."""
    place = tmp_path_factory.mktemp("trained")
    tiny_prior().pipeline.save_pretrained(place / "model")
    photographs(place / "photos")
    (place / "eras" / "1900s").mkdir(parents=True)
    for number in range(2):
        torch.manual_seed(number)
        write_clip(place / "eras" / "1900s" / f"{number}.mkv", torch.rand(2, 3, 64, 64), Fraction(18))
    train("temporal", place, "photos", *FILMS, "--frames", "4", "--out", str(place / "temporal.safetensors"))
    network = ("--prerestorer", str(prerestorer_file(place)))
    train("control", place, "photos", *FILMS, *network, "--out", str(place / "control.safetensors"))
    pictures = ("--pictures", "2", "--validation-pictures", "1", "--rank", "2")
    train("lora", place, "eras", *pictures, "--out", str(place / "loras"))
    shutil.copy(place / "loras" / "1900s.safetensors", place / "lora.safetensors")
    return place


@pytest.mark.parametrize("parts", ["temporal", "control", "lora", "temporal,control,lora"])
def test_both_hosts_sample_alike_with_what_was_trained(inside, trained, parts) -> None:
    inside.call("prior.trained_parts", "compare", str(trained), parts)
