"""A reel is pre-restored as a stream: the same as in memory, shot by shot, with the weights that are chosen."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from vldm_core.cli.app import app
from vldm_core.errors import SettingsError
from vldm_core.files.weights import WeightFileError
from vldm_core.film.dirt.detection import DirtSettings
from vldm_core.film.weave.stabilise import StabiliseSettings
from vldm_core.prerestore.network import KIND
from vldm_core.prerestore.shipped import PreRestoration
from vldm_core.reel import restore
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.stages import batch as pipeline
from vldm_core.video.reading.reader import open_film

from ..prerestore.test_network import TINY, trained

runner = CliRunner()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    KIND.save(trained(replace(TINY, latent=False)), path)
    return path


def frames_of(path):
    with open_film(path) as film:
        return np.stack([frame.image for frame in film])


def test_the_reel_is_the_same_as_the_batch(small_film, weights, tmp_path) -> None:
    how = PreRestoration(weights=weights, device="cpu", keep_grain=0.0)
    dirt = DirtSettings()
    settings = ReelSettings(dirt=dirt, lines=None, flicker=None, prerestore=how)
    shots = restore_film(small_film, tmp_path / "out.mkv", settings).shots
    assert len(shots) == 2
    with open_film(small_film) as film:
        batch = torch.stack([frame.tensor() for frame in film])
    found = pipeline.detect_damage(batch, shots=shots, dirt=dirt).dirt
    repaired = pipeline.repair_damage(batch, shots=shots, dirt=found)
    result, latents = pipeline.pre_restore_frames(repaired, shots=shots, settings=how, dirt=found)
    assert latents is None
    whole, marked = pipeline.restore_frames(batch, settings, shots=shots)
    assert torch.equal(marked.dirt, found)
    as_bytes = (whole * 255).round().byte().permute(0, 2, 3, 1).numpy()
    assert np.array_equal(as_bytes, frames_of(tmp_path / "out.mkv"))
    # The masks count: without them other frames take what was filled.
    free, _ = pipeline.pre_restore_frames(repaired, shots=shots, settings=how)
    assert not torch.equal(free, result)


def test_the_windows_of_the_other_stages_do_not_show(small_film, weights, tmp_path, monkeypatch) -> None:
    settings = ReelSettings(
        dirt=None, lines=None, stabilise=StabiliseSettings(), prerestore=PreRestoration(weights=weights, device="cpu")
    )
    restore_film(small_film, tmp_path / "out.mkv", settings)
    monkeypatch.setattr("vldm_core.stages.stage.window_size", lambda height, width: 3)
    restore_film(small_film, tmp_path / "other.mkv", settings)
    assert np.array_equal(frames_of(tmp_path / "other.mkv"), frames_of(tmp_path / "out.mkv"))


def test_a_network_in_hand_takes_the_place_of_the_weights(small_film, weights, tmp_path) -> None:
    plain = ReelSettings(dirt=None, lines=None, flicker=None, average=None)
    named = replace(plain, prerestore=PreRestoration(weights=weights, device="cpu"))
    restore_film(small_film, tmp_path / "named.mkv", named)
    network = KIND.load(weights)
    given = replace(plain, prerestore=PreRestoration(weights=tmp_path / "none.safetensors"))
    restore_film(small_film, tmp_path / "given.mkv", given, prerestorer=network)
    assert np.array_equal(frames_of(tmp_path / "named.mkv"), frames_of(tmp_path / "given.mkv"))
    assert not np.array_equal(frames_of(tmp_path / "named.mkv"), frames_of(small_film))
    restore_film(small_film, tmp_path / "off.mkv", replace(plain, prerestore=None), prerestorer=network)
    assert np.array_equal(frames_of(tmp_path / "off.mkv"), frames_of(small_film))


def test_it_is_off_where_nothing_is_said_and_weights_are_looked_at_before_the_film(small_film, tmp_path) -> None:
    assert ReelSettings().prerestore is None

    def touched(*_: Any, **__: Any) -> Any:
        raise AssertionError("work began")

    settings = ReelSettings(prerestore=PreRestoration(weights=tmp_path / "none.safetensors"))
    with pytest.raises(WeightFileError, match=r"none\.safetensors is not there"):
        restore_film(small_film, tmp_path / "out.mkv", settings, touched)
    with pytest.raises(SettingsError, match="device 'tpu'"):
        restore_film(small_film, tmp_path / "out.mkv", ReelSettings(prerestore=PreRestoration(device="tpu")), touched)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_chooses(small_film, weights, tmp_path, monkeypatch) -> None:
    used = []
    monkeypatch.setattr(
        "vldm_core.reel.resumable.run.restore_reel", lambda *given, **_: used.append(given[2]) or _report(given)
    )
    command = ["restore", str(small_film), str(tmp_path / "out.mkv")]
    assert runner.invoke(app, command).exit_code == 0
    options = [
        "--prerestore",
        "--prerestore-strength",
        "0.5",
        "--keep-grain",
        "0.1",
        "--prerestore-weights",
        str(weights),
    ]
    assert runner.invoke(app, [*command, *options, "--device", "cpu"]).exit_code == 0
    assert runner.invoke(app, [*command, "--no-prerestore"]).exit_code == 0
    assert [settings.prerestore for settings in used] == [
        None,
        PreRestoration(strength=0.5, keep_grain=0.1, weights=weights, device="cpu"),
        None,
    ]
    result = runner.invoke(app, [*command, "--no-prerestore", "--prerestore-weights", str(weights)])
    assert result.exit_code == 1 and "contradict each other" in " ".join(result.stderr.split())


def _report(given) -> restore.ReelReport:
    values: dict[str, Any] = {field.name: 0.5 for field in fields(restore.ReelReport)}
    return restore.ReelReport(**(values | {"shots": (), "shares": (), "frames": 1}))


def test_an_interrupt_strikes_in_the_middle_of_a_segment(small_film, weights, tmp_path) -> None:
    class StopWork(Exception):  # noqa: N818 - stands for an interrupt
        pass

    beats = []

    def progress(phase: str, done: int, total: int | None, preview: torch.Tensor | None = None) -> None:
        if phase == "restore":
            beats.append(done)
            # All frames of the first segment are read, none is finished.
            if len(beats) > 30:
                raise StopWork

    settings = ReelSettings(
        dirt=None, lines=None, flicker=None, prerestore=PreRestoration(weights=weights), keep_partial=False
    )
    with pytest.raises(StopWork):
        restore_film(small_film, tmp_path / "out.mkv", settings, progress)
    assert set(beats) == {0}
    assert list(tmp_path.iterdir()) == []
