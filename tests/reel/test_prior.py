"""A reel goes through the repair and then through the prior, with its frames, times and sound, at bounded memory."""

import json
import logging
import sys
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from typer.testing import CliRunner

from vldm_core.cli.app import app
from vldm_core.decode.fusion import FusionSettings
from vldm_core.decode.regrain import RegrainSettings, regrain
from vldm_core.errors import SettingsError, StageError, VLDMError
from vldm_core.prerestore.network import KIND
from vldm_core.prerestore.shipped import PreRestoration
from vldm_core.prior.checkpoints.opening import open_prior
from vldm_core.prior.checkpoints.original_names import original_checkpoint
from vldm_core.prior.finish import FinishSettings
from vldm_core.reel.prior import restore_film_with_prior
from vldm_core.reel.prior_parts import crossfade, over_parts, plan_parts
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.reel.resumable.run import RunSettings
from vldm_core.reel.resumable.work_folder import WorkFolder
from vldm_core.reel.with_prior.settings import PriorReelSettings
from vldm_core.sampling.regions.windows import WindowSettings
from vldm_core.semantics.prompts.prompt_text import written_prompts
from vldm_core.semantics.table.description import ShotDescription
from vldm_core.semantics.table.table import ShotTable
from vldm_core.semantics.table.table_files import write_table
from vldm_core.video.geometry import FitSettings
from vldm_core.video.reading.reader import open_film
from vldm_core.video.shots import Shot
from vldm_core.video.writing.encoding import WriteSettings

from ..prerestore.test_network import trained
from ..prior.tiny_pipeline import tiny_pipeline
from .conftest import CUT, damaged_frame

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FRAMES = 12
QUICK = ReelSettings(dirt=None, lines=None, splices=None, flicker=None, average=None)
SMALL = PriorReelSettings(reel=QUICK, fitting=FitSettings(short_side=48, multiple=16), steps=2, strength=0.5)
runner = CliRunner()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_pipeline().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


def write(path, *, pix_fmt: str = "yuv420p", codec: str = "ffv1"):
    """12 frames of 64×48 in two shots, timestamps of uneven length, and a tone."""
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=Fraction(24))
        video.width, video.height, video.pix_fmt = 64, 48, pix_fmt
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        time = 0
        for index in range(FRAMES):
            picture = damaged_frame(index if index < 7 else CUT + index, damaged=False)[0][20:68, 20:84]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            time += 40 if index % 3 else 47
            container.mux(video.encode(frame))
        container.mux(video.encode())
        block = av.AudioFrame.from_ndarray(
            (8000 * np.sin(np.arange(4000) / 9)).astype(np.int16)[None], format="s16", layout="mono"
        )
        block.sample_rate, block.pts = 8000, 0
        container.mux(sound.encode(block))
        container.mux(sound.encode())
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write(tmp_path_factory.mktemp("film") / "film.mkv")


def pictures(path) -> np.ndarray:
    with open_film(path) as reader:
        return np.stack([frame.image for frame in reader])


def packets(path, kind: str) -> list:
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        found = [p for p in container.demux(stream) if p.pts is not None]
        return [(p.pts * p.time_base, bytes(p) if kind == "audio" else b"") for p in found]


@given(length=st.integers(1, 700), first=st.integers(0, 50), overlap=st.integers(0, 16), more=st.integers(1, 120))
def test_parts_cover_a_shot(length: int, first: int, overlap: int, more: int) -> None:
    shot, most = Shot(first, first + length), 3 * overlap + more - (overlap > 0)
    parts = plan_parts(shot, most, overlap)
    assert parts[0].first == shot.first and parts[-1].last == shot.last
    assert all(len(part) <= most for part in parts) and max(map(len, parts)) - min(map(len, parts)) <= 1
    assert all(after.first == before.last - overlap for before, after in pairwise(parts))
    # No frame is in three parts.
    assert all(third.first >= first.last for first, third in zip(parts[:-2], parts[2:], strict=True))


def test_a_stream_keeps_its_frames_and_fades_between_parts() -> None:
    frames = [torch.full((3, 2, 2), float(index)) for index in range(30)]
    shots, seen = (Shot(0, 22), Shot(22, 30)), []

    def shifted(clip, part, shot, number):
        seen.append((part.first, part.last, shot, number))
        return clip + 100 * number

    assert torch.equal(
        torch.stack(list(over_parts(iter(frames), shots, 10, 3, lambda clip, *_: clip.clone()))), torch.stack(frames)
    )
    made = torch.stack(list(over_parts(iter(frames), shots, 10, 3, shifted)))[:, 0, 0, 0]
    assert seen == [(0, 9, shots[0], 0), (6, 15, shots[0], 1), (12, 22, shots[0], 2), (22, 30, shots[1], 3)]
    above = made - torch.arange(30.0)
    assert above[5] == 0 and above[9] == 100 and above[22] == 300
    assert torch.allclose(above[6:9], torch.tensor([25.0, 50.0, 75.0]))
    with pytest.raises(VLDMError, match="ended in frame 28"):
        list(over_parts(iter(frames[:28]), shots, 10, 3, shifted))


def test_the_crossfade_is_even() -> None:
    assert torch.allclose(crossfade(torch.zeros(3, 1), torch.ones(3, 1))[:, 0], torch.tensor([0.25, 0.5, 0.75]))


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "gray"])
def test_without_a_share_of_the_prior_the_repair_comes_out_exactly(pipeline, tmp_path, pix_fmt) -> None:
    """Nothing is lost on the way through the temporary film, the fitting and the parts."""
    source = write(tmp_path / "source.mkv", pix_fmt=pix_fmt)
    reel = ReelSettings(lines=None)
    finish = FinishSettings(fusion=FusionSettings(mode="weight", weight=0.0))
    windows = replace(SMALL.restoration, windows=WindowSettings(length=4, overlap=2))
    fitting = FitSettings(short_side=80, multiple=16)
    settings = replace(SMALL, reel=reel, finish=finish, restoration=windows, most_frames=6, fitting=fitting)
    restore_film(source, tmp_path / "repaired.mkv", reel)
    report = restore_film_with_prior(source, tmp_path / "restored.mkv", pipeline, settings)
    assert report.frames == FRAMES and report.seconds > 0
    assert np.array_equal(pictures(tmp_path / "restored.mkv"), pictures(tmp_path / "repaired.mkv"))
    with open_film(source) as before, open_film(tmp_path / "restored.mkv") as after:
        assert after.info.pix_fmt == before.info.pix_fmt


@pytest.mark.parametrize(
    "sampling",
    [
        ["--sampler", "spaced_ddpm"],
        # As DiffBIR 2.1 samples.
        ["--sampler", "edm_dpm++_3m_sde", "--prediction", "v", "--noise-schedule", "zero_snr", "--start", "noise"],
    ],
)
def test_the_command_line_restores_a_film(model, film, tmp_path, sampling) -> None:
    command = ["restore", str(film), str(tmp_path / "out.mkv"), "--prior", str(model), "--prompt", "a street"]
    command += ["--steps", "2", "--strength", "0.5", "--short-side", "64", "--window", "4", "--tile", "64", "--grain"]
    result = runner.invoke(app, [*command, "--negative", "blur", "--max-frames", "6", "--device", "cpu", *sampling])
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == ["out.mkv"]
    assert packets(tmp_path / "out.mkv", "video") == packets(film, "video")
    assert packets(tmp_path / "out.mkv", "audio") == packets(film, "audio")
    before, after = pictures(film).astype(int), pictures(tmp_path / "out.mkv").astype(int)
    assert after.shape == before.shape and np.abs(after - before).mean() > 1
    assert f"{FRAMES} frames" in " ".join(result.stderr.split())


def test_the_same_seed_gives_the_same_film(pipeline, film, tmp_path) -> None:
    made = []
    for index, seed in enumerate((1, 1, 2)):
        out = tmp_path / f"{index}.mkv"
        restore_film_with_prior(film, out, pipeline, replace(SMALL, seed=seed))
        made.append(pictures(out))
    assert np.array_equal(made[0], made[1]) and not np.array_equal(made[0], made[2])


def test_frames_that_overflow_in_the_prior_stay_as_repaired(pipeline, film, tmp_path, monkeypatch) -> None:
    real = type(pipeline).__call__

    def overflowing(self, frames, **how):
        made = real(self, frames, **how)
        made.frames[3] = torch.nan
        return made

    restore_film_with_prior(film, tmp_path / "clean.mkv", pipeline, SMALL)
    monkeypatch.setattr(type(pipeline), "__call__", overflowing)
    report = restore_film_with_prior(film, tmp_path / "out.mkv", pipeline, SMALL)
    assert report.warnings == ("prior, frame 3: left as it came (it gave values that are not finite)",)
    before, clean, after = pictures(film), pictures(tmp_path / "clean.mkv"), pictures(tmp_path / "out.mkv")
    others = [t for t in range(FRAMES) if t != 3]
    assert np.array_equal(after[3], before[3]) and np.array_equal(after[others], clean[others])
    strict = replace(SMALL, reel=replace(QUICK, strict=True, keep_partial=False))
    with pytest.raises(StageError, match="prior failed in frame 3 "):
        restore_film_with_prior(film, tmp_path / "strict.mkv", pipeline, strict)


def test_temporal_layers_are_attached(model, film, tmp_path) -> None:
    from vldm_core.prior.temporal.animatediff_files import save_motion_modules

    from ..prior.test_pipeline import motion_modules

    save_motion_modules(motion_modules(), tmp_path / "motion.safetensors")
    opened = open_prior(model, temporal=tmp_path / "motion.safetensors", device="cpu")
    assert list(opened.attachments) == ["motionmodules"]
    plain = open_prior(model, device="cpu")
    outs = []
    for name, which in (("with", opened), ("without", plain)):
        restore_film_with_prior(film, tmp_path / f"{name}.mkv", which, SMALL)
        outs.append(pictures(tmp_path / f"{name}.mkv"))
    assert not np.array_equal(outs[0], outs[1])


def test_a_checkpoint_is_opened_with_a_configuration(model, pipeline, tmp_path) -> None:
    save_file(original_checkpoint(pipeline), tmp_path / "model.safetensors")
    opened = open_prior(tmp_path / "model.safetensors", config=model, device="cpu")
    frames = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    call = {"fitting": None, "num_inference_steps": 2, "strength": 0.5, "output": "latents"}
    assert torch.allclose(opened(frames, **call).latents, pipeline(frames, **call).latents, atol=1e-5)


def described(*rows: dict) -> ShotTable:
    return ShotTable(descriptions=tuple(ShotDescription(**row) for row in rows))


def test_a_table_gives_every_shot_its_prompts(pipeline, film, tmp_path, monkeypatch) -> None:
    """Also where its cuts are not those that are found; a blank prompt is made of caption and tags, or the general one.

    The same as Shot Conditioning gives its shots.
    """
    told = []
    real = type(pipeline).__call__

    def listening(self, frames, **given):
        told.append((given["first_frame"], len(frames), given["prompt"], given["negative_prompt"]))
        return real(self, frames, **given)

    monkeypatch.setattr(type(pipeline), "__call__", listening)
    table = described(
        {"first": 0, "last": 4, "prompt": "a tram", "negative": "scratched"},
        {"first": 4, "last": 6, "prompt": " \u200b", "negative": "\t"},
        {"first": 6, "last": FRAMES, "prompt": " ", "caption": "a blurry cow", "tags": ("cow",)},
    )
    settings = replace(SMALL, prompt="old film", negative_prompt="blur", table=table)
    report = restore_film_with_prior(film, tmp_path / "out.mkv", pipeline, settings)
    assert told == [
        (0, 4, "a tram", "scratched, blur"),
        (4, 2, "old film", "blur"),
        (6, FRAMES - 6, "a cow", "blurry, blur"),
    ]
    written = written_prompts(table, negative="blur")
    assert [(said.prompt or "old film", said.negative) for said in written] == [entry[2:] for entry in told]
    assert report.shots == table.shots and len(pictures(tmp_path / "out.mkv")) == FRAMES


def test_the_table_of_another_film_is_refused_before_the_repair(pipeline, film, tmp_path) -> None:
    phases = set()
    settings = replace(SMALL, table=described({"first": 0, "last": 9}))
    with pytest.raises(SettingsError, match="covers 9 frames, but there are 12"):
        restore_film_with_prior(film, tmp_path / "out.mkv", pipeline, settings, lambda phase, *_: phases.add(phase))
    assert phases == {"count frames"} and list(tmp_path.iterdir()) == []


def test_the_command_line_takes_a_table(model, film, tmp_path) -> None:
    write_table(described({"first": 0, "last": FRAMES, "prompt": "a tram"}), tmp_path / "table.csv")
    command = ["restore", str(film), str(tmp_path / "out.mkv"), "--shots-table", str(tmp_path / "table.csv")]
    result = runner.invoke(app, command)
    assert result.exit_code == 1 and "--shots-table: give --prior PATH too" in " ".join(result.stderr.split())
    command += ["--prior", str(model), "--steps", "2", "--strength", "0.5", "--short-side", "64", "--device", "cpu"]
    result = runner.invoke(app, [*command, "--no-dirt", "--no-lines", "--no-average"])
    assert result.exit_code == 0, result.output
    assert "1 shot," in " ".join(result.stderr.split())


def test_a_table_of_settings_is_told_from_one_of_prompts(model, film, tmp_path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("first,last,skip,flicker.strength\n0,3,,0.5\n")
    command = ["restore", str(film), str(tmp_path / "out.mkv"), "--prior", str(model), "--shots-table", str(table)]
    told = " ".join(runner.invoke(app, command).stderr.split())
    assert "settings of single shots; give it to --shot-settings" in told
    table.write_text("first,last,mood\n0,3,gay\n")
    assert "a column 'mood'" in " ".join(runner.invoke(app, command).stderr.split())


def test_after_an_interrupt_what_is_finished_is_kept_and_told(pipeline, film, tmp_path, caplog) -> None:
    done_at_least = 3

    def stop(phase: str, done: int, total: int | None, preview=None) -> None:
        if phase == "restore with prior" and done >= done_at_least:
            raise KeyboardInterrupt

    with caplog.at_level(logging.WARNING), pytest.raises(KeyboardInterrupt):
        restore_film_with_prior(film, tmp_path / "out.mkv", pipeline, SMALL, stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.partial.mkv", "out.repaired.mkv"]
    assert len(pictures(tmp_path / "out.partial.mkv")) == done_at_least
    assert np.array_equal(pictures(tmp_path / "out.repaired.mkv"), pictures(film))
    assert "out.repaired.mkv" in caplog.text and "out.partial.mkv" in caplog.text


def test_an_interrupt_of_the_repair_leaves_nothing(pipeline, film, tmp_path) -> None:
    def stop(phase: str, done: int, total: int | None, preview=None) -> None:
        if phase == "restore" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_film_with_prior(film, tmp_path / "out.mkv", pipeline, SMALL, stop)
    broken = replace(SMALL, reel=replace(QUICK, keep_partial=False))
    with pytest.raises(RuntimeError, match="no more"):
        restore_film_with_prior(film, tmp_path / "out.mkv", pipeline, broken, _fails_in_the_prior)
    assert list(tmp_path.iterdir()) == []


def _fails_in_the_prior(phase: str, done: int, total: int | None, preview=None) -> None:
    if phase == "sample":
        raise RuntimeError("no more")


def test_what_does_not_fit_is_refused_before_the_film_is_read(pipeline, film, tmp_path) -> None:
    def touched(*_: Any, **__: Any) -> Any:
        raise AssertionError("work began")

    with pytest.raises(SettingsError, match="use 1 step"):
        restore_film_with_prior(film, tmp_path / "out.mkv", pipeline, replace(SMALL, strength=2), touched)
    with pytest.raises(SettingsError, match="needs masks"):
        replace(SMALL, finish=FinishSettings(fusion=FusionSettings(mode="mask")))
    with pytest.raises(SettingsError, match="use 12 or more"):
        replace(SMALL, most_frames=8)
    assert list(tmp_path.iterdir()) == []


def failing(film, tmp_path, *options: str) -> str:
    """Run the command line, check that nothing was done, and return what it said in one line."""
    result = runner.invoke(app, ["restore", str(film), str(tmp_path / "out" / "out.mkv"), *options])
    assert result.exit_code == 1 and "Traceback" not in result.output, result.output
    assert list((tmp_path / "out").iterdir()) == []
    return " ".join(result.stderr.split())


def test_errors_come_before_any_work(model, film, tmp_path, monkeypatch) -> None:
    (tmp_path / "out").mkdir()
    assert "there is no model" in failing(film, tmp_path, "--prior", str(tmp_path / "nothing"))
    assert "model_index.json is missing" in failing(film, tmp_path, "--prior", str(tmp_path))
    (tmp_path / "xl").mkdir()
    index = json.loads((model / "model_index.json").read_text())
    index.update(_class_name="StableDiffusionXLPipeline", text_encoder_2=["transformers", "CLIPTextModel"])
    (tmp_path / "xl" / "model_index.json").write_text(json.dumps(index))
    assert "is a StableDiffusionXLPipeline" in failing(film, tmp_path, "--prior", str(tmp_path / "xl"))
    save_file({"lora_unet_x.alpha": torch.ones(1)}, tmp_path / "lora.safetensors")
    assert "not a complete Stable Diffusion checkpoint" in failing(
        film, tmp_path, "--prior", str(tmp_path / "lora.safetensors")
    )
    (tmp_path / "notes.txt").write_text("")
    assert "is not a model" in failing(film, tmp_path, "--prior", str(tmp_path / "notes.txt"))
    assert "not a folder in diffusers' layout" in failing(
        film, tmp_path, "--prior", str(tmp_path / "lora.safetensors"), "--prior-config", str(tmp_path)
    )
    assert "no AnimateDiff motion modules" in failing(
        film, tmp_path, "--prior", str(model), "--temporal", str(tmp_path / "lora.safetensors")
    )
    save_file({"model.diffusion_model.double_blocks.0.x": torch.ones(1)}, tmp_path / "flux.safetensors")
    assert "is a Flux model, or one like it; choose" in failing(
        film, tmp_path, "--prior", str(tmp_path / "flux.safetensors"), "--prediction", "v"
    )
    assert "device 'tpu'" in failing(film, tmp_path, "--prior", str(model), "--device", "tpu")
    assert "--prompt: give --prior PATH too" in failing(film, tmp_path, "--prompt", "a street")
    assert "multiple of 8" in failing(film, tmp_path, "--prior", str(model), "--tile", "60")
    monkeypatch.setitem(sys.modules, "vldm_core.prior.pipeline", None)
    assert "pip install -U 'vldm[headless]'" in failing(film, tmp_path, "--prior", str(model))


class Untouched:
    """Stands for a pipeline that changes nothing."""

    def drive(self, **_: object) -> None:
        self.grain: list[object] = []

    def __call__(self, frames: torch.Tensor, *, finish: FinishSettings, **_: object) -> SimpleNamespace:
        assert frames.shape[1] == 3
        self.grain.append(finish.grain)
        return SimpleNamespace(frames=frames.clone())


def test_what_goes_into_the_prior_is_pre_restored_and_grain_is_that_of_the_source(film, tmp_path) -> None:
    KIND.save(trained(), tmp_path / "tiny.safetensors")
    reel = replace(QUICK, prerestore=PreRestoration(keep_grain=0.0, weights=tmp_path / "tiny.safetensors"))
    settings = replace(SMALL, reel=reel, finish=FinishSettings(grain=RegrainSettings(seed=1, keep_present=False)))
    shots = restore_film(film, tmp_path / "prerestored.mkv", reel).shots
    prior = Untouched()
    restore_film_with_prior(film, tmp_path / "out.mkv", prior, settings)
    assert set(prior.grain) == {None}, "the pipeline sees only the film that lost its grain"
    source, smooth, got = (
        torch.from_numpy(pictures(path)).permute(0, 3, 1, 2) / 255
        for path in (film, tmp_path / "prerestored.mkv", tmp_path / "out.mkv")
    )
    assert not torch.equal(source, smooth)
    wanted = torch.cat(
        [
            regrain(smooth[shot.first : shot.last], source[shot.first : shot.last], settings.finish.grain,
                    first_frame=shot.first)
            for shot in shots
        ]
    )  # fmt: skip
    # The file that was read back here has lost a part of its colour.
    assert (got - wanted).mean(dim=1).abs().mean() < 0.5 * (smooth - wanted).mean(dim=1).abs().mean()

    plain = replace(settings, reel=QUICK)
    restore_film_with_prior(film, tmp_path / "plain.mkv", prior, plain)
    assert set(prior.grain) == {settings.finish.grain}


class EnoughError(Exception):
    """Stands for whatever ends a run."""


def test_a_run_with_a_prior_goes_on_where_it_was_ended(film, tmp_path) -> None:
    """Each shot is sampled once; a table with another prompt samples its shot again, and no other."""
    settings = replace(SMALL, reel=replace(QUICK, write=WriteSettings(codec="ffv1")), seed=3)
    once = tmp_path / "once.mkv"
    restore_film_with_prior(film, once, tiny_pipeline(), settings, run=RunSettings())
    out, sampled = tmp_path / "out.mkv", []

    def progress(phase: str, done: int, total: int | None, preview: Any = None) -> None:
        if phase == "sample":
            sampled.append(done)
        if phase == "restore with prior" and done == 8:
            raise EnoughError

    with pytest.raises(EnoughError):
        restore_film_with_prior(film, out, tiny_pipeline(), settings, progress, run=RunSettings())
    assert sampled and [path.name for path in tmp_path.glob("out*")] == ["out.mkv.vldm"]
    sampled.clear()
    kept = RunSettings(keep=True)
    restore_film_with_prior(film, out, tiny_pipeline(), settings, progress_of(sampled), run=kept)
    assert not sampled, "both shots had been sampled"
    np.testing.assert_array_equal(pictures(out), pictures(once))
    rows = [ShotDescription(first=0, last=7), ShotDescription(first=7, last=FRAMES)]
    first, again = tmp_path / "first.mkv", tmp_path / "again.mkv"
    table = ShotTable(descriptions=tuple(rows))
    folder = WorkFolder.beside(out)
    restore_film_with_prior(film, first, tiny_pipeline(), replace(settings, table=table), run=kept, folder=folder)
    other = ShotTable(descriptions=(rows[0], replace(rows[1], prompt="a street in 1906")))
    sampled.clear()
    restore_film_with_prior(
        film, again, tiny_pipeline(), replace(settings, table=other), progress_of(sampled), run=kept, folder=folder
    )
    assert max(sampled) - min(sampled) < 2 * settings.steps, "one shot was sampled"
    np.testing.assert_array_equal(pictures(first)[:7], pictures(again)[:7])
    assert (pictures(first)[7:] != pictures(again)[7:]).any()


def progress_of(sampled: list[int]) -> Any:
    return lambda phase, done, *_: sampled.append(done) if phase == "sample" else None
