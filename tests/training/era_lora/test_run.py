"""Training of LoRAs by era: a file for each era, read by every loader, and a map that names them."""

import json
from dataclasses import replace

import av
import numpy as np
import pytest
import torch

from vldm_core.errors import FilmFileError, SettingsError
from vldm_core.prior.lora.per_frame import ShotLora, read_lora
from vldm_core.prior.unet import UNetView
from vldm_core.training.diffusion.objective import Objective
from vldm_core.training.era_lora.adapter import add_lora, take_lora_off
from vldm_core.training.era_lora.examples import EraPictureSettings
from vldm_core.training.era_lora.reels import era_reels
from vldm_core.training.era_lora.run import MAP, era_latents, train_era_loras
from vldm_core.training.era_lora.task import LoraTask, LoraTrainingSettings

from ..prior_kit import TRAINER, tiny_prior
from ..training_kit import check_resume_is_exact

SETTINGS = LoraTrainingSettings(trainer=replace(TRAINER, rate=5e-3), rank=4, alpha=8.0, levels=4, dropout=0.0)
PICTURES = EraPictureSettings(pictures=4, validation_pictures=2, side=64, reduction=1.5)


def write_film(path, kind, frames=6, size=(96, 112)):
    """A film of one look: dark stripes that lie, or bright ones that stand."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[: size[0], : size[1]]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=16)
        stream.height, stream.width = size
        stream.pix_fmt = "bgr0"
        for t in range(frames):
            wave = np.sin((rows if kind == "lying" else columns) * 0.9 + t)
            grey = 60 + 40 * wave if kind == "lying" else 190 + 40 * wave
            picture = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eras")
    for number in range(2):
        write_film(folder / "1900s" / f"a{number}.mkv", "lying")
        write_film(folder / "8mm amateur" / f"b{number}.mkv", "standing")
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def train(data, cache, out, prior=None, settings=SETTINGS, **options):
    return train_era_loras(prior or tiny_prior(), data, out, cache, pictures=PICTURES, settings=settings, **options)


def test_each_era_is_helped_by_its_file(data, cache, tmp_path) -> None:
    prior, out = tiny_prior(), tmp_path / "loras"
    before = {key: value.clone() for key, value in prior.unet.state_dict().items()}
    found = train(data, cache, out, prior)
    assert {era: choice.file for era, choice in found.eras.items()} == {
        "1900s": "1900s.safetensors",
        "8mm amateur": "8mm_amateur.safetensors",
    }
    after = prior.unet.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[key], before[key]) for key in before)
    reels, objective = era_reels(data), Objective(prior.schedule, prior.prediction)
    for era, choice in found.eras.items():
        pictures = era_latents(prior, reels[era], era, cache, PICTURES, validation=True)
        texts = prior.texts([SETTINGS.prompt.format(era=era), ""])
        task = LoraTask(prior.unet, objective, SETTINGS, texts, pictures)
        without = task.judge(prior.unet, pictures)
        lora = ShotLora(read_lora(out / choice.file), 1.0)
        lora.expect(_call(SETTINGS.levels))
        attached = lora.attach(UNetView(prior.unet))
        assert task.judge(prior.unet, pictures) < without
        attached.remove()


def _call(frames):
    from vldm_core.prior.call import CONDITIONED, UNetCall

    return UNetCall(frames=tuple(range(frames)), chunks=(CONDITIONED,), segments=((0, frames),))


@pytest.mark.parametrize("layout", ["kohya", "peft"])
def test_the_file_is_what_was_trained(data, cache, tmp_path, layout) -> None:
    prior, out = tiny_prior(), tmp_path / "loras"
    few = replace(SETTINGS, trainer=replace(SETTINGS.trainer, steps=3))
    train(data, cache, out, prior, few, eras=["1900s"], layout=layout)
    draw = torch.Generator().manual_seed(0)
    x, context = torch.randn(1, 4, 8, 8, generator=draw), torch.randn(1, 5, 64, generator=draw)
    with torch.no_grad():
        plain = prior.unet(x, torch.tensor([40]), context).sample
        prior.pipeline.load_lora_weights(str(out / "1900s.safetensors"))
        loaded = prior.unet(x, torch.tensor([40]), context).sample
        prior.pipeline.unload_lora_weights()
        lora = ShotLora(read_lora(out / "1900s.safetensors"), 1.0)
        lora.expect(_call(1))
        attached = lora.attach(UNetView(prior.unet))
        beside = prior.unet(x, torch.tensor([40]), context).sample
        attached.remove()
    assert (plain - loaded).abs().max() > 1e-4
    assert torch.allclose(beside, loaded, atol=1e-5)


def test_a_resumed_run_gives_the_same_file(data, cache, tmp_path) -> None:
    def one(out, **options):
        return train(data, cache, out.with_suffix(""), eras=["1900s"], **options)

    def files(out, **options):
        found = one(out, **options)
        out.write_bytes((out.with_suffix("") / "1900s.safetensors").read_bytes())
        return found

    check_resume_is_exact(files, tmp_path, step=7)


def test_finished_eras_are_not_trained_again(data, cache, tmp_path) -> None:
    few = replace(SETTINGS, trainer=replace(SETTINGS.trainer, steps=2))
    train(data, cache, tmp_path, settings=few, eras=["1900s"])
    before = (tmp_path / "1900s.safetensors").stat().st_mtime_ns
    table = json.loads((tmp_path / MAP).read_text())
    table["1900s"]["strength"] = 0.6
    (tmp_path / MAP).write_text(json.dumps(table))
    found = train(data, cache, tmp_path, settings=few, resume=True)
    assert (tmp_path / "1900s.safetensors").stat().st_mtime_ns == before
    assert found["1900s"].strength == 0.6 and set(found.eras) == {"1900s", "8mm amateur"}
    with pytest.raises(SettingsError, match="would be replaced"):
        train(data, cache, tmp_path, settings=few)


def test_shots_tell_eras_by_their_table(tmp_path) -> None:
    write_film(tmp_path / "reel.mkv", "lying", frames=8)
    rows = ["first,last,era,medium", "0,2,1920s,newsreel", "3,4,1920s,", "5,6,unknown,newsreel", "7,7,unknown,"]
    (tmp_path / "reel.csv").write_text("\n".join(rows) + "\n")
    found = era_reels(tmp_path)
    spans = {era: sorted((r.first, r.last) for r in (*e.training, *e.validation)) for era, e in found.items()}
    assert spans == {"1920s": [(0, 3), (3, 5)], "newsreel": [(0, 3), (5, 7)]}
    assert all(len(reels.validation) == 1 for reels in found.values())


def test_bad_folders_are_refused(tmp_path) -> None:
    with pytest.raises(FilmFileError, match="not a folder"):
        era_reels(tmp_path / "nothing")
    with pytest.raises(FilmFileError, match="sort films into folders by era"):
        era_reels(tmp_path)
    write_film(tmp_path / "1930s" / "only.mkv", "lying", frames=2)
    with pytest.raises(FilmFileError, match="leaves nothing to validate on"):
        era_reels(tmp_path)


def test_a_new_lora_changes_nothing() -> None:
    unet = tiny_prior().unet
    x, context = torch.randn(1, 4, 8, 8), torch.randn(1, 5, 64)
    with torch.no_grad():
        plain = unet(x, torch.tensor([40]), context).sample
        add_lora(unet, rank=4, alpha=4.0)
        assert torch.equal(unet(x, torch.tensor([40]), context).sample, plain)
        take_lora_off(unet)
        assert torch.equal(unet(x, torch.tensor([40]), context).sample, plain)
