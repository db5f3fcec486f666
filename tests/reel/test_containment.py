"""An error or a NaN in one frame of one stage costs a reel nothing but that frame of that stage."""

from dataclasses import replace

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from vldm_core.cli.app import app
from vldm_core.errors import StageError
from vldm_core.film.dirt.detection import DirtSettings
from vldm_core.film.flicker.removal import FlickerSettings
from vldm_core.film.scratches.detection import ScratchSettings
from vldm_core.film.temporal.averaging import AveragingSettings
from vldm_core.film.weave.stabilise import StabiliseSettings
from vldm_core.notices import Notices
from vldm_core.prerestore.shipped import PreRestoration
from vldm_core.reel.describe import describe_film
from vldm_core.reel.masks import detect_film
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.video.reading.reader import open_film

from ..faults import MESSAGE, STAGES, sabotage, sabotage_analysis
from ..prerestore.test_network import TINY, trained
from .conftest import HEIGHT, WIDTH, damaged_frame

COUNT, BAD = 9, 5
HOW = pytest.mark.parametrize("how", ["error", "nan"])
NOTHING = ReelSettings(dirt=None, lines=None, flicker=None, average=None)
LINES, DIRT = ScratchSettings(detector="weight-free"), DirtSettings()
SETTINGS = {
    "scratch marking": replace(NOTHING, lines=LINES),
    "scratch repair": replace(NOTHING, lines=LINES),
    "dirt marking": replace(NOTHING, dirt=DIRT),
    "dirt repair": replace(NOTHING, dirt=DIRT),
    "flicker": replace(NOTHING, flicker=FlickerSettings()),
    "pre-restoration": replace(NOTHING, prerestore=PreRestoration(segment=4, lookahead=2, device="cpu")),
    "averaging": replace(NOTHING, average=AveragingSettings()),
    "stabilise": replace(NOTHING, stabilise=StabiliseSettings()),
}


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Nine frames, of which one is marked in its first pixel; see `tests/faults.py`."""
    path = tmp_path_factory.mktemp("film") / "small.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1", rate=24)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "bgr0"
        for index in range(COUNT):
            picture = damaged_frame(index)[0]
            if index == BAD:
                picture[0, 0] = 51, 0, 51
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
    return path


def frames_of(path):
    with open_film(path) as film:
        return np.stack([frame.image for frame in film])


def restored(film, target, settings):
    network = trained(replace(TINY, latent=False)) if settings.prerestore else None
    return restore_film(film, target, settings, prerestorer=network)


@HOW
@pytest.mark.parametrize("stage", STAGES)
def test_a_reel_loses_one_frame_of_one_stage(film, tmp_path, monkeypatch, stage, how):
    sabotage(monkeypatch, stage, how)
    report = restored(film, tmp_path / "out.mkv", SETTINGS[stage])
    assert report.frames == COUNT
    (line,) = report.warnings
    assert line.startswith(f"{stage}, frame {BAD}: left as it came (")
    before, after = frames_of(film), frames_of(tmp_path / "out.mkv")
    assert after.shape == before.shape
    assert np.array_equal(after[BAD], before[BAD])
    with pytest.raises(StageError, match=f"{stage} failed in frame {BAD} "):
        restored(film, tmp_path / "strict.mkv", replace(SETTINGS[stage], strict=True, keep_partial=False))


@HOW
@pytest.mark.parametrize("part", ["motion analysis", "flicker analysis"])
def test_a_frame_that_cannot_be_measured_is_named(film, tmp_path, monkeypatch, part, how):
    sabotage_analysis(monkeypatch, part, how, BAD)
    report = restored(film, tmp_path / "out.mkv", SETTINGS["flicker"])
    (line,) = report.warnings
    assert line.startswith(f"{part}, frame {BAD}: not looked at (")


def test_mask_films_and_descriptions_are_made_all_the_same(film, tmp_path, monkeypatch):
    sabotage(monkeypatch, "dirt marking", "error")
    notices = Notices()
    detect_film(film, tmp_path / "masks", SETTINGS["dirt marking"], notices=notices)
    assert len(frames_of(tmp_path / "masks" / "dirt.mkv")) == COUNT
    assert not frames_of(tmp_path / "masks" / "dirt.mkv")[BAD].any()
    described = describe_film(film, repair=SETTINGS["dirt marking"], notices=notices)
    assert described.frames == COUNT
    assert [notice.frame for notice in notices] == [BAD, BAD]
    strict = replace(SETTINGS["dirt marking"], strict=True)
    with pytest.raises(StageError, match=f"dirt marking failed in frame {BAD} "):
        detect_film(film, tmp_path / "strict", strict)
    with pytest.raises(StageError, match=f"dirt marking failed in frame {BAD} "):
        describe_film(film, repair=strict)


@pytest.mark.parametrize("command", ["restore", "detect", "describe"])
def test_the_command_line_sums_up_and_strict_stops_it(film, tmp_path, monkeypatch, command):
    sabotage(monkeypatch, "dirt marking", "error")
    target = {"restore": [str(tmp_path / "out.mkv"), "--no-average"], "detect": [str(tmp_path)], "describe": []}
    arguments = [command, str(film), *target[command]]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert f"warning: dirt marking, frame {BAD}: left as it came (RuntimeError: {MESSAGE})" in " ".join(
        result.output.split()
    )
    again = [] if command == "describe" else ["--overwrite"]
    result = CliRunner().invoke(app, [*arguments, "--strict", *again])
    assert result.exit_code == 1
    assert f"error: dirt marking failed in frame {BAD} (RuntimeError: {MESSAGE})" in " ".join(result.output.split())


@pytest.mark.filterwarnings("error")
def test_no_warning_of_a_library_reaches_the_user(small_film, tmp_path):
    notices = Notices()
    whole = ReelSettings(stabilise=StabiliseSettings(), prerestore=PreRestoration(device="cpu"))
    report = restore_film(
        small_film, tmp_path / "out.mkv", whole, prerestorer=trained(replace(TINY, latent=False)), notices=notices
    )
    assert report.warnings == () and len(notices) == 0


class StopError(Exception):
    """What a host raises from the progress callback to interrupt; an ordinary exception, as ComfyUI's is."""


@pytest.mark.parametrize(
    ("phase", "calls"),
    [
        ("find shots", 1),
        ("find shots", 6),
        ("analyse", 1),
        ("analyse", 6),
        ("restore", 1),
        ("restore", 6),
        ("restore", 40),
    ],
)
def test_an_interrupt_stops_a_reel_in_every_pass(film, tmp_path, phase, calls):
    made = 0

    def interrupt(named, *_):
        nonlocal made
        made += named == phase
        if made == calls:
            raise StopError

    notices = Notices()
    whole = replace(
        SETTINGS["pre-restoration"], dirt=DIRT, lines=LINES, flicker=FlickerSettings(), stabilise=StabiliseSettings()
    )
    network = trained(replace(TINY, latent=False))
    with pytest.raises(StopError):
        restore_film(film, tmp_path / "out.mkv", whole, interrupt, prerestorer=network, notices=notices)
    assert len(notices) == 0
