"""Training of the pre-restorer: it learns, goes on bit for bit, and minds its latent head."""

import inspect
import json
import shutil
from dataclasses import replace
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from torch import nn
from typer.testing import CliRunner

from vldm_core.cli.app import app
from vldm_core.cli.train.networks import train_prerestore
from vldm_core.errors import SettingsError
from vldm_core.prerestore.network import KIND, PreRestorer, PreRestorerConfig
from vldm_core.prerestore.run import pre_restore
from vldm_core.training.checkpoints import Checkpoints, newest_checkpoint
from vldm_core.training.prerestorer.examples import RepairedClip, RepairedClips, RepairedFilmSettings
from vldm_core.training.prerestorer.run import train_prerestorer
from vldm_core.training.prerestorer.task import LatentTarget, PreRestoreTask, PreRestoreTrainingSettings
from vldm_core.training.settings import TrainerSettings

from ..training_kit import check_resume_is_exact
from .smooth import photographs

TINY = PreRestorerConfig(
    widths=(8, 8, 12), encoder_blocks=(1, 1), state_blocks=1, bottom_blocks=1, decoder_blocks=(1, 1), heads=2, window=4
)
CONV3D = replace(TINY, mixing="conv3d")
Options = tuple[Any, ...]
SETTINGS = PreRestoreTrainingSettings(
    trainer=TrainerSettings(steps=24, batch=2, rate=1e-3, warmup=3, average=0.8, checkpoint_every=8, validate_every=0),
    films=RepairedFilmSettings(films=2, frames=3, height=64, width=64, presets={"heavy": 1.0}),
    validation_films=1,
    frames=3,
    side=32,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = photographs(tmp_path_factory.mktemp("photos"))
    (folder / "sea.png").rename(folder / "sean-afnan-244576.png")
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def run(data, cache, out, settings=SETTINGS, **options) -> PreRestorer:
    return train_prerestorer(data, out, cache, config=TINY, settings=settings, **options)


def test_it_learns(data, cache, tmp_path) -> None:
    network = run(data, cache, tmp_path / "net.safetensors")
    task = PreRestoreTask(network, SETTINGS, [_film(cache)])
    with torch.no_grad():
        figures = task.validate(network).figures
    assert figures["ssim"] > figures["ssim before"] + 0.004
    assert network.config.latent is False


def test_a_resumed_run_gives_the_same_file(data, cache, tmp_path) -> None:
    check_resume_is_exact(lambda out, **options: run(data, cache, out, **options), tmp_path, step=13)
    assert KIND.load(tmp_path / "parted.safetensors").config == replace(TINY, latent=False)


def _film(cache) -> RepairedClip:
    return RepairedClips.whole(cache / "validation" / "00000.npz")


def test_the_variant_with_3d_convolutions_is_trained_too(data, cache, tmp_path) -> None:
    settings = replace(SETTINGS, trainer=replace(SETTINGS.trainer, steps=2))
    network = train_prerestorer(data, tmp_path / "net.safetensors", cache, config=CONV3D, settings=settings)
    assert network.config.mixing == "conv3d"
    assert all(bool(weights.isfinite().all()) for weights in network.parameters())


class TinyVAE(nn.Module):
    """Stands for diffusers' AutoencoderKL: a distribution with a mode."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, 4, 8, stride=8)
        # The mean colour of a patch, which is quickly learnt.
        self.encoder.weight.data[:] = torch.randn(4, 3, 1, 1) / 64

    def encode(self, pictures):
        mode = self.encoder(pictures)

        class Encoded:
            class latent_dist:  # noqa: N801 - diffusers' name
                @staticmethod
                def mode():
                    return mode

        return Encoded

    def decode(self, latents):
        class Decoded:
            sample = nn.functional.interpolate(latents[:, :3], scale_factor=8)

        return Decoded


def test_the_latent_head_is_trained_against_a_vae(data, cache, tmp_path) -> None:
    torch.manual_seed(0)
    vae = TinyVAE()
    settings = replace(SETTINGS, latent=5.0, trainer=replace(SETTINGS.trainer, steps=100, rate=5e-3))
    network = run(data, cache, tmp_path / "latent.safetensors", settings, vae=vae)
    assert network.config.latent and not any(p.requires_grad for p in vae.parameters())
    film = _film(cache)
    wanted = LatentTarget(vae)(film["target"][None])
    _, latents = pre_restore(film["frames"], network, masks=film["masks"])
    assert latents is not None
    untrained = pre_restore(film["frames"], PreRestorer(TINY).eval(), masks=film["masks"])[1]
    assert (latents - wanted[0]).abs().mean() < 0.8 * (untrained - wanted[0]).abs().mean()


def test_the_head_alone_is_trained_on_a_finished_network(data, cache, tmp_path) -> None:
    torch.manual_seed(0)
    vae, begun = TinyVAE(), tmp_path / "begun.safetensors"
    run(data, cache, begun, replace(SETTINGS, trainer=replace(SETTINGS.trainer, steps=4)))
    settings = replace(SETTINGS, head_only=True, trainer=replace(SETTINGS.trainer, steps=60, rate=5e-3))

    def train(out, settings=settings, **options) -> PreRestorer:
        return train_prerestorer(data, out, cache, settings=settings, vae=vae, start=begun, **options)

    network = train(tmp_path / "head.safetensors")
    before, film = KIND.load(begun), _film(cache)
    assert network.config == replace(before.config, latent=True)
    trained = network.state_dict()
    assert all(torch.equal(trained[name], value) for name, value in before.state_dict().items())
    wanted = LatentTarget(vae)(film["target"][None])[0]
    untrained = train(
        tmp_path / "one.safetensors", replace(settings, trainer=replace(settings.trainer, steps=1, rate=1e-6))
    )
    near, far = (pre_restore(film["frames"], each, masks=film["masks"])[1] for each in (network, untrained))
    assert (near - wanted).abs().mean() < 0.8 * (far - wanted).abs().mean()
    short = replace(settings, trainer=replace(settings.trainer, steps=24))
    check_resume_is_exact(lambda out, **options: train(out, short, **options), tmp_path, step=13)


def test_validation_shows_pictures_and_what_latents_stand_for(data, cache, tmp_path) -> None:
    torch.manual_seed(0)
    run(data, cache, tmp_path / "any.safetensors", replace(SETTINGS, trainer=replace(SETTINGS.trainer, steps=1)))
    film = _film(cache)
    task = PreRestoreTask(PreRestorer(TINY), SETTINGS, [film], LatentTarget(TinyVAE()))
    with torch.no_grad():
        found = task.validate(task.module)
    height, width = film["frames"].shape[-2:]
    assert {name: tuple(picture.shape) for name, picture in found.pictures.items()} == {
        "film 0: before, after, target": (3, height, 3 * width),
        "film 0: latents of the VAE, of the head, of the target": (3, height, 3 * width),
    }
    assert {"latent L1", "latent L1 of the VAE", "psnr", "psnr before"} <= set(found.figures)


def test_the_head_alone_needs_a_network_and_a_vae(data, cache, tmp_path) -> None:
    settings = replace(SETTINGS, head_only=True)
    with pytest.raises(SettingsError, match="give both"):
        run(data, cache, tmp_path / "head.safetensors", settings, vae=TinyVAE())
    with pytest.raises(SettingsError, match="above 0"):
        replace(SETTINGS, head_only=True, latent=0.0)


def test_a_latent_head_needs_a_vae_and_a_vae_a_head() -> None:
    with pytest.raises(SettingsError, match="latent head"):
        PreRestoreTask(PreRestorer(TINY), SETTINGS)
    with pytest.raises(SettingsError, match="latent head"):
        PreRestoreTask(PreRestorer(replace(TINY, latent=False)), SETTINGS, latents=LatentTarget(TinyVAE()))
    with pytest.raises(SettingsError, match="no longer than films"):
        replace(SETTINGS, frames=9)
    with pytest.raises(SettingsError, match="gradient"):
        replace(SETTINGS, gradient=-1.0)


def _command(*options: object):
    return CliRunner().invoke(app, ["train", "prerestore", *(str(option) for option in options)])


@pytest.fixture(scope="module")
def vae_folder(tmp_path_factory):
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=64,
    )
    folder = tmp_path_factory.mktemp("models") / "vae"
    vae.save_pretrained(folder)
    return folder


def test_command(data, cache, vae_folder, tmp_path, monkeypatch) -> None:
    # The films of the other tests, which are small and there already.
    monkeypatch.setattr("vldm_core.training.prerestorer.task.PreRestoreTrainingSettings", lambda: SETTINGS)
    out = tmp_path / "net.safetensors"
    monkeypatch.setattr("vldm_core.prerestore.network.BASE", TINY)
    options: Options = ("--data", data, "--out", out, "--cache", cache, "--films", 2, "--batch", 1, "--vae", vae_folder)
    options += ("--size", "base", "--mixing", "conv3d")
    result = _command(*options, "--steps", 2, "--precision", "no", "--threads", 1)
    assert result.exit_code == 0, result.output
    assert KIND.load(out).config == CONV3D
    result = _command(*options, "--steps", 3, "--precision", "no", "--threads", 1, "--resume")
    assert result.exit_code == 1 and "another run: settings differ" in " ".join(result.output.split()), result.output


def _write_film(path, seed):
    """A film of a moving texture, as anybody has one."""
    noise = np.random.default_rng(seed).random((12, 16, 3), dtype=np.float32)
    scene = cv2.resize(noise, (200, 140), interpolation=cv2.INTER_CUBIC).clip(0, 1) * 255
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for step in range(12):
            picture = np.ascontiguousarray(scene[step : step + 120, 2 * step : 2 * step + 160].astype(np.uint8))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def test_ones_own_folder(tmp_path, monkeypatch) -> None:
    """Films under any names, lying in the folder itself; one of them is kept apart to measure on."""
    monkeypatch.setattr("vldm_core.training.prerestorer.task.PreRestoreTrainingSettings", lambda: SETTINGS)
    monkeypatch.setattr("vldm_core.prerestore.network.SMALL", TINY)
    data, out, cache = tmp_path / "films", tmp_path / "net.safetensors", tmp_path / "cache"
    data.mkdir()
    for seed, name in enumerate(("holiday 1962", "wedding", "garden")):
        _write_film(data / f"{name}.mp4", seed)
    command = ("--data", data, "--out", out, "--cache", cache, "--films", 2, "--steps", 2, "--batch", 1, "--threads", 1)
    result = _command(*command, "--checkpoint-every", 1)
    assert result.exit_code == 0, result.output
    assert KIND.load(out).config.latent is False
    trained, kept = ((cache / part / "sources.txt").read_text().split("\n") for part in ("training", "validation"))
    assert len(trained) == 2 and len(kept) == 1
    assert {*trained, *kept} == {"holiday 1962.mp4", "wedding.mp4", "garden.mp4"}
    # The films that are there are of these files, and of no others.
    _write_film(data / "street.mp4", 9)
    result = _command(*command, "--overwrite")
    assert result.exit_code == 1 and "made of other files" in " ".join(result.output.split())


def test_too_little_is_refused_before_any_film_is_made(tmp_path) -> None:
    data, cache = tmp_path / "films", tmp_path / "cache"
    data.mkdir()
    for message in ("no film or picture for training", "has only.mp4 alone and needs two files or more"):
        result = _command("--data", data, "--out", tmp_path / "net.safetensors", "--cache", cache, "--films", 1)
        assert result.exit_code == 1 and message in " ".join(result.output.split()), result.output
        assert not cache.exists()
        _write_film(data / "only.mp4", 0)


def test_nothing_is_replaced_unasked(data, cache, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("vldm_core.training.prerestorer.task.PreRestoreTrainingSettings", lambda: SETTINGS)
    monkeypatch.setattr("vldm_core.prerestore.network.SMALL", TINY)
    out = tmp_path / "net.safetensors"
    folder = tmp_path / "net.training"
    options: Options = ("--data", data, "--out", out, "--cache", cache, "--films", 2, "--batch", 1, "--threads", 1)
    made = _command(*options, "--steps", 3, "--checkpoint-every", 2)
    assert made.exit_code == 0, made.output
    weights, checkpoint = out.read_bytes(), newest_checkpoint(folder)
    assert checkpoint == folder / "step-000003"

    def refused(message, *more):
        result = _command(*options, *more)
        assert result.exit_code == 1 and message in " ".join(result.output.split()), result.output
        assert out.read_bytes() == weights

    films = tmp_path / "never made"
    options = tuple(films if option is cache else option for option in options)
    refused("give --resume to go on from the checkpoint, or --overwrite to begin anew", "--steps", 3)
    # A checkpoint of another run stops the command before the films are made, too.
    refused("another run: settings differ", "--steps", 4, "--resume")
    assert newest_checkpoint(folder) == checkpoint and not films.exists()
    out.unlink()
    result = _command(*options, "--steps", 3)
    assert result.exit_code == 1 and "would be replaced" in " ".join(result.output.split())
    shutil.rmtree(checkpoint)
    out.write_bytes(weights)
    refused("no checkpoint", "--steps", 3, "--resume")
    result = _command(*options, "--out", tmp_path / "net.pt")
    assert result.exit_code == 1 and "does not end in .safetensors" in " ".join(result.output.split())
    options = tuple(cache if option is films else option for option in options)
    result = _command(*options, "--steps", 3, "--overwrite")
    assert result.exit_code == 0 and out.read_bytes() == weights and newest_checkpoint(folder) == checkpoint


def test_checkpoints_come_as_often_as_asked_for(data, cache, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("vldm_core.training.prerestorer.task.PreRestoreTrainingSettings", lambda: SETTINGS)
    monkeypatch.setattr("vldm_core.prerestore.network.SMALL", TINY)
    saved: list[int] = []
    real = Checkpoints.save
    monkeypatch.setattr(Checkpoints, "save", lambda self, *run: (saved.append(run[1]), real(self, *run)))
    options: Options = (
        "--data",
        data,
        "--out",
        tmp_path / "net.safetensors",
        "--cache",
        cache,
        "--films",
        2,
        "--batch",
        1,
    )
    result = _command(*options, "--steps", 5, "--threads", 1, "--checkpoint-every", 2)
    assert result.exit_code == 0, result.output
    assert saved == [2, 4, 5]


def test_the_command_has_the_defaults_of_the_settings() -> None:
    defaults = {name: each.default for name, each in inspect.signature(train_prerestore).parameters.items()}
    trainer, films = PreRestoreTrainingSettings().trainer, PreRestoreTrainingSettings().films
    assert (defaults["films"], defaults["seed"]) == (films.films, films.seed)
    for name in ("steps", "batch", "precision", "seed", "checkpoint_every"):
        assert defaults[name] == getattr(trainer, name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "has no config.json"),
        ({"_class_name": "UNet2DConditionModel"}, "not an AutoencoderKL"),
        ({"latent_channels": 16}, "holds no readable AutoencoderKL"),
        ("weights", "holds no readable AutoencoderKL"),
    ],
)
def test_the_command_says_what_is_wrong_with_a_vae(change, message, data, cache, vae_folder, tmp_path) -> None:
    folder = tmp_path / "vae"
    folder.mkdir()
    if change is not None:
        config = json.loads((vae_folder / "config.json").read_text())
        weights = (vae_folder / "diffusion_pytorch_model.safetensors").read_bytes()
        config |= change if isinstance(change, dict) else {}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "diffusion_pytorch_model.safetensors").write_bytes(weights[:-9] if change == "weights" else weights)
    options: Options = ("--data", data, "--out", tmp_path / "net.safetensors", "--cache", cache)
    result = _command(*options, "--vae", folder)
    assert result.exit_code == 1
    assert message in " ".join(result.output.split()), result.output
    assert "usually named 'vae'" in " ".join(result.output.split())
