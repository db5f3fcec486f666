"""The command line reaches the functions, and failures end in one line and an exit code."""

import json
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from vldm_core.cli.app import app
from vldm_core.errors import SettingsError
from vldm_core.film.defect_map import MapSettings
from vldm_core.film.dirt.detection import DirtSettings
from vldm_core.film.flicker.removal import FlickerSettings
from vldm_core.film.scratches.columns import ColumnRange
from vldm_core.film.scratches.detection import ScratchSettings
from vldm_core.film.weave.stabilise import StabiliseSettings
from vldm_core.prerestore.shipped import PreRestoration
from vldm_core.reel.mask_films import GivenMap
from vldm_core.reel.restore import ReelSettings
from vldm_core.video.reading.reader import open_film
from vldm_core.video.writing.writer import WriteSettings

from ..reel.conftest import CUT, write_film

runner = CliRunner()


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_film(tmp_path_factory.mktemp("cli") / "film.mkv", 2 * CUT)


def test_shots_as_json(film):
    result = runner.invoke(app, ["shots", str(film), "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert rows == [{"shot": 0, "first": 0, "last": CUT - 1}, {"shot": 1, "first": CUT, "last": 2 * CUT - 1}]


def test_restore_writes_the_film(film, tmp_path):
    out = tmp_path / "out.mp4"
    result = runner.invoke(
        app, ["restore", str(film), str(out), "--no-dirt", "--stabilise", "--crf", "20", "--quality", "fast"]
    )
    assert result.exit_code == 0, result.output
    with open_film(out) as restored:
        assert restored.info.codec == "h264"
        assert restored.info.has_audio
        assert len(list(restored)) == 2 * CUT


def test_nothing_is_found_where_a_mask_protects(film, tmp_path):
    with open_film(film) as source:
        height, width = source.info.height, source.info.width
    protect = tmp_path / "protect.png"
    cv2.imwrite(str(protect), np.full((height, width), 255, np.uint8))
    options = ["--protect", str(protect), "--scratch-detector", "weight-free"]
    result = runner.invoke(app, ["detect", str(film), str(tmp_path / "masks"), *options])
    assert result.exit_code == 0, result.output
    for name in ("dirt", "scratch"):
        with open_film(tmp_path / "masks" / f"{name}.mkv") as mask:
            assert all(frame.image.max() == 0 for frame in mask)
    options += ["--no-flicker", "--no-average"]
    result = runner.invoke(app, ["restore", str(film), str(tmp_path / "out.mkv"), *options])
    assert result.exit_code == 0, result.output
    with open_film(film) as source, open_film(tmp_path / "out.mkv") as restored:
        assert all(np.array_equal(a.image, b.image) for a, b in zip(source, restored, strict=True))


def test_the_detector_of_the_command_line_is_used(film, tmp_path, monkeypatch):
    used = []
    monkeypatch.setattr("vldm_core.reel.masks.detect_film", lambda *given, **_: used.append(given[2]))
    options = ["--dirt-max-size", "400", "--scratch-detector", "learned"]
    result = runner.invoke(app, ["detect", str(film), str(tmp_path), *options])
    assert result.exit_code == 0, result.output
    assert (used[0].dirt.max_size, used[0].lines.detector) == (400, "learned")
    assert runner.invoke(app, ["detect", str(film), str(tmp_path)]).exit_code == 0
    assert (used[1].dirt, used[1].lines) == (DirtSettings(), ScratchSettings())
    assert runner.invoke(app, ["detect", str(film), str(tmp_path), "--scratch-detector", "magic"]).exit_code == 2


@pytest.fixture
def told(film, tmp_path, monkeypatch):
    """Give options to `restore`, and get the settings that the film would be restored with, or what it says instead.

    They come without the record, which is written beside the film unless it is switched off.
    """
    used: list[ReelSettings] = []

    def restore(*given, **_):
        assert given[2].record == tmp_path / "out.mkv.record.zip"
        used.append(replace(given[2], record=None))
        raise SettingsError("enough")

    monkeypatch.setattr("vldm_core.reel.resumable.run.restore_reel", restore)

    def tell(*options) -> ReelSettings | str:
        used.clear()
        result = runner.invoke(app, ["restore", str(film), str(tmp_path / "out.mkv"), *map(str, options)])
        assert result.exit_code in (1, 2), result.output
        assert "Traceback" not in result.output
        return used[0] if used else result.stderr

    return tell


def as_told(**changes) -> ReelSettings:
    return ReelSettings(write=WriteSettings(quality=16), **changes)


def test_without_options_a_film_is_restored_as_the_package_does_by_default(told):
    assert told() == told("--quality", "normal") == as_told()


@pytest.mark.parametrize("quality", ["fast", "best"])
def test_a_level_of_effort_is_one_option(told, quality):
    assert told("--quality", quality) == ReelSettings.of_quality(quality, write=WriteSettings(quality=16))
    assert told("--quality", quality) != told()


def test_the_size_of_a_flash_reaches_the_stage(told):
    assert told("--flash", "2.5").flicker == FlickerSettings(flash=2.5)
    assert told("--no-flicker").flicker is None
    assert "1.1" in told("--flash", "0.5")


def test_single_settings_count_before_the_level(told):
    fast = ReelSettings.of_quality("fast")
    settings = told("--quality", "fast", "--dirt-certainty", 0.7, "--dirt-polarity", "dark", "--scratch-min-depth", 3)
    assert settings.dirt == replace(fast.dirt, certainty=0.7, polarity="dark")
    assert settings.lines == replace(fast.lines, min_depth=3.0)
    stages = told("--stabilise", "--stabilise-period", 30, "--prerestore", "--keep-grain", 0.5, "--no-lines")
    assert stages.stabilise == StabiliseSettings(period=30)
    assert stages.prerestore == PreRestoration(keep_grain=0.5)
    assert stages.lines is None


def test_columns_are_named_as_they_are_typed(told, tmp_path):
    path = tmp_path / "film.json"
    options = ("--scratch-columns", "287-288, 100@10-40", "--scratch-excluded", "30", "--scratch-polarity", "dark")
    lines = told(*options, "--save-settings", path).lines
    assert lines.forced == (ColumnRange(first=287, last=288), ColumnRange(first=100, last=100, frames=(10, 40)))
    assert lines.excluded == (ColumnRange(first=30, last=30),) and lines.polarity == "dark"
    assert told("--settings", path).lines == lines


def test_settings_of_a_film_are_kept_in_a_file_and_used_again(told, tmp_path):
    path = tmp_path / "film.json"
    first = told("--quality", "fast", "--dirt-min-size", 6, "--save-settings", path)
    assert told("--settings", path) == first
    assert told("--settings", path, "--dirt-min-size", 7).dirt == replace(first.dirt, min_size=7)
    assert "there already" in told("--save-settings", path)
    assert told("--save-settings", path, "--overwrite").dirt == as_told().dirt


def test_a_map_of_damage_is_told_by_its_levels(told, tmp_path):
    map_, infrared = tmp_path / "map.mkv", MapSettings(clean=0.9, damaged=0.3, threshold=0.4, grow=1)
    options = ("--defect-levels", "0.9:0.3", "--defect-threshold", 0.4, "--defect-grow", 1, "--defect-only")
    assert told("--defect-map", map_, *options).maps == (GivenMap(source=map_, reading=infrared, alone=True),)
    assert told("--defect-map", "alpha").maps == (GivenMap(source=None),)
    (tmp_path / "dirt.mkv").touch()
    assert told("--masks", tmp_path).maps == (GivenMap(source=tmp_path / "dirt.mkv", alone=True),)
    assert told("--write-masks", tmp_path / "masks").mask_films == tmp_path / "masks"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--quality", "ultra"], "ultra"),
        (["--quality", "16"], "fast"),
        (["--settings", "none.json"], "none.json"),
        (["--settings", "none.json", "--quality", "fast"], "leave one out"),
        (["--save-settings", "film.txt"], ".json"),
        (["--defect-only"], "--defect-map"),
        (["--defect-map", "a.mkv", "--defect-levels", "dark"], "such as 0:1"),
        (["--defect-map", "a.mkv", "--defect-levels", "1:1"], "no map tells apart"),
        (["--masks", "nowhere"], "neither dirt.mkv nor scratch.mkv"),
        (["--no-dirt", "--dirt-certainty", "0.4"], "contradict each other"),
        (["--no-prerestore", "--prerestore-weights", "net.safetensors"], "contradict each other"),
        (["--stabilise-period", "30"], "add --stabilise"),
        (["--dirt-max-size", "1"], "dirt max_size is 1"),
        (["--scratch-columns", "left"], "is neither"),
        (["--scratch-columns", "100-200"], "at most 24"),
        (["--scratch-rows", "3"], "8"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_read(told, options, words):
    assert words in " ".join(told(*options).split())


def test_an_output_that_cannot_work_is_refused_before_the_film_is_read(film, tmp_path):
    result = runner.invoke(app, ["restore", str(film), str(tmp_path / "out.avi")])
    assert result.exit_code == 1
    assert ".avi" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_errors_are_one_line(tmp_path):
    result = runner.invoke(app, ["restore", str(tmp_path / "missing.mkv"), str(tmp_path / "out.mkv")])
    assert result.exit_code == 1
    assert "missing.mkv" in result.stderr
    assert "Traceback" not in result.output


def test_queue_says_that_no_server_answers(tmp_path):
    workflow = tmp_path / "w.json"
    workflow.write_text(json.dumps({"1": {"class_type": "LoadVideo", "inputs": {"file": "a.mp4"}}}))
    result = runner.invoke(app, ["queue", str(workflow), "--server", "http://127.0.0.1:9", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "127.0.0.1:9" in result.stderr


def test_help_is_quick_to_come():
    """Training, measuring and diffusers are loaded by the commands that need them."""
    program = (
        "import sys; from typer.testing import CliRunner; from vldm_core.cli.app import app\n"
        "result = CliRunner().invoke(app, ['train', '--help'])\n"
        "heavy = ('torch', 'cv2', 'diffusers', 'accelerate')\n"
        "print(result.exit_code, 'prerestore' in result.output, [name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=2) == ["0", "True", "[]\n"]
