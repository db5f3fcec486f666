"""What goes wrong in one frame stays with it: an error or a NaN in every stage of a batch, and what must go through."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from vldm_core.containment import Faults, NotFiniteError, check_finite
from vldm_core.errors import SettingsError, StageError
from vldm_core.film.dirt.detection import DirtSettings
from vldm_core.film.scratches.detection import ScratchSettings
from vldm_core.film.weave.stabilise import StabiliseSettings
from vldm_core.notices import Notices
from vldm_core.prerestore.shipped import PreRestoration
from vldm_core.stages import batch as pipeline

from ..faults import MESSAGE, STAGES, marked, sabotage, sabotage_analysis
from ..prerestore.test_network import TINY, trained

COUNT, HEIGHT, WIDTH, BAD = 12, 48, 64, 5
HOW = pytest.mark.parametrize("how", ["error", "nan"])
SAID = {"error": f"RuntimeError: {MESSAGE}", "nan": "it gave values that are not finite"}
DIRT = DirtSettings()
LINES = ScratchSettings(detector="weight-free")


def spot(t: int) -> tuple[int, int]:
    """Where the dirt of a frame lies."""
    return 6 + 17 * t % 35, 5 + 23 * t % 50


def film() -> torch.Tensor:
    """A textured scene that pans, weaves and flickers, with a spot of dirt per frame; frame BAD is marked."""
    rng = np.random.default_rng(3)
    wide = cv2.GaussianBlur(rng.normal(size=(HEIGHT + 16, WIDTH + 32)).astype(np.float32), (0, 0), 2)
    wide = (0.5 + 0.15 * wide / wide.std()).clip(0.05, 0.95)
    frames = []
    for t in range(COUNT):
        y, x = 8 + (t * 5 % 3) - 1, 8 + t
        frame = wide[y : y + HEIGHT, x : x + WIDTH] * (1 + 0.08 * (-1) ** t)
        row, column = spot(t)
        frame[row : row + 4, column : column + 4] = 0.99
        frames.append(frame.clip(0, 1))
    return marked(torch.from_numpy(np.stack(frames))[:, None].repeat(1, 3, 1, 1).float(), BAD)


def masks() -> tuple[torch.Tensor, torch.Tensor]:
    dirt, scratch = torch.zeros(COUNT, HEIGHT, WIDTH), torch.zeros(COUNT, HEIGHT, WIDTH)
    for t in range(COUNT):
        row, column = spot(t)
        dirt[t, row - 1 : row + 5, column - 1 : column + 5] = 1
    scratch[:, :, 40:42] = 1
    return dirt, scratch


def run(stage: str, frames: torch.Tensor, **how) -> torch.Tensor:
    """Run one stage over a batch; what it gives per frame."""
    dirt, scratch = masks()
    if stage == "scratch marking":
        return pipeline.detect_damage(frames, lines=LINES, **how).scratch
    if stage == "dirt marking":
        return pipeline.detect_damage(frames, dirt=DIRT, **how).dirt
    if stage == "scratch repair":
        return pipeline.repair_damage(frames, scratch=scratch, **how)
    if stage == "dirt repair":
        return pipeline.repair_damage(frames, dirt=dirt, **how)
    if stage == "flicker":
        return pipeline.remove_flicker(frames, **how)
    if stage == "averaging":
        return pipeline.average_frames(frames, **how)
    if stage == "stabilise":
        return pipeline.stabilise(frames, settings=StabiliseSettings(least_weave=0), **how)
    network = trained(replace(TINY, latent=False))
    settings = PreRestoration(segment=4, lookahead=2)
    return pipeline.pre_restore_frames(frames, settings=settings, network=network, **how)[0]


@HOW
@pytest.mark.parametrize("stage", STAGES)
def test_a_batch_loses_one_frame_of_one_stage(monkeypatch, stage, how):
    frames = film()
    expected = run(stage, frames)
    sabotage(monkeypatch, stage, how)
    notices = Notices()
    made = run(stage, frames, notices=notices)
    assert notices.summary() == (f"{stage}, frame {BAD}: left as it came ({SAID[how]})",)
    handed_on = torch.zeros(HEIGHT, WIDTH) if "marking" in stage else frames[BAD]
    assert torch.equal(made[BAD], handed_on)
    assert bool(torch.isfinite(made).all())
    others = [t for t in range(COUNT) if t != BAD]
    if stage == "pre-restoration":
        # The state is given up at the failure, so other frames are done a little otherwise.
        assert all(not torch.equal(made[t], frames[t]) for t in others)
    else:
        assert torch.equal(made[others], expected[others])
    if stage != "scratch marking":
        assert not torch.equal(expected[BAD], handed_on), "the stage must have something to do in this frame"


@HOW
@pytest.mark.parametrize("stage", STAGES)
def test_strict_stops_a_batch_and_names_frame_and_stage(monkeypatch, stage, how):
    sabotage(monkeypatch, stage, how)
    with pytest.raises(StageError, match=f"{stage} failed in frame {BAD} "):
        run(stage, film(), strict=True)


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "scratch marking"])
def test_without_a_fault_nothing_is_said(stage):
    notices = Notices()
    run(stage, film(), notices=notices, strict=True)
    assert notices.summary() == ()


@HOW
@pytest.mark.parametrize("part", ["motion analysis", "flicker analysis"])
def test_a_frame_that_cannot_be_measured_costs_its_shot_nothing(monkeypatch, part, how):
    frames = film()
    clean = run("flicker", frames)
    sabotage_analysis(monkeypatch, part, how, BAD)
    notices = Notices()
    made = run("flicker", frames, notices=notices)
    (line,) = notices.summary()
    assert line.startswith(f"{part}, frame {BAD}: not looked at (")
    # The steps in brightness are still evened out, nearly as well as before.
    before, after, best = (float(picture.mean(dim=(1, 2, 3)).diff().abs().mean()) for picture in (frames, made, clean))
    assert after < 0.4 * before, (before, after, best)
    monkeypatch.undo()
    sabotage_analysis(monkeypatch, part, how, BAD)
    with pytest.raises(StageError, match=f"{part} failed in frame {BAD}"):
        run("flicker", frames, strict=True)


def test_a_frame_whose_scratches_cannot_be_measured_leaves_the_others(monkeypatch):
    sabotage_analysis(monkeypatch, "scratch analysis", "error", BAD)
    notices = Notices()
    found = pipeline.detect_damage(film(), lines=LINES, notices=notices)
    assert found.scratch.shape == (COUNT, HEIGHT, WIDTH)
    assert notices.summary() == (f"scratch analysis, frame {BAD}: not looked at (RuntimeError: {MESSAGE})",)


@pytest.mark.parametrize("stage", ["flicker", "pre-restoration"])
def test_a_frame_in_which_the_picture_cannot_be_looked_for_leaves_the_others(monkeypatch, stage):
    frames = film()
    expected = run(stage, frames)
    sabotage_analysis(monkeypatch, "search for the picture", "error", BAD)
    notices = Notices()
    assert torch.equal(run(stage, frames, notices=notices), expected)
    assert notices.summary() == (f"search for the picture, frame {BAD}: not looked at (RuntimeError: {MESSAGE})",)


def test_a_measurement_that_cannot_be_closed_leaves_its_shot_as_it_came(monkeypatch):
    from vldm_core.film.flicker import removal as flicker

    def fail(*_):
        raise np.linalg.LinAlgError("singular")

    monkeypatch.setattr(flicker, "summed_path", fail)
    notices, frames = Notices(), film()
    assert torch.equal(pipeline.remove_flicker(frames, notices=notices), frames)
    (line,) = notices.summary()
    assert line == f"flicker analysis, {COUNT} frames (0–{COUNT - 1}): left as it came (LinAlgError: singular)"
    with pytest.raises(StageError, match=f"frames 0 to {COUNT - 1} "):
        pipeline.remove_flicker(frames, strict=True)


def test_a_frame_in_which_no_cut_can_be_looked_for_is_counted(monkeypatch):
    clean = pipeline.detect_shots_in(torch.cat([film(), 1 - film()]))
    sabotage_analysis(monkeypatch, "search for cuts", "error", BAD)
    notices = Notices()
    assert pipeline.detect_shots_in(torch.cat([film(), 1 - film()]), notices=notices) == clean
    assert [notice.frame for notice in notices] == [BAD]


class StopError(Exception):
    """What a host raises from the progress callback to interrupt; an ordinary exception, as ComfyUI's is."""


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "scratch marking"])
def test_an_interrupt_goes_through(stage):
    calls = 0

    def interrupt(*_):
        nonlocal calls
        calls += 1
        if calls > COUNT:
            raise StopError

    notices = Notices()
    with pytest.raises(StopError):
        run(stage, film(), progress=interrupt, notices=notices)
    assert notices.summary() == ()


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        SettingsError("feather is 9"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("stage", ["dirt repair", "flicker", "pre-restoration"])
def test_what_is_no_fault_of_a_frame_goes_through(monkeypatch, stage, error):
    module, name, _ = STAGES[stage]

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(module, name, fail)
    with pytest.raises(type(error)):
        run(stage, film())


def test_what_an_earlier_stage_raises_goes_through_the_later_ones():
    watch = Faults().watch("pre-restoration")

    def broken():
        yield 1
        raise OSError("disk")

    source = watch.drawn(broken())
    assert next(source) == 1
    with pytest.raises(OSError, match="disk") as caught:
        next(source)
    with pytest.raises(OSError, match="disk"):
        watch.settle(caught.value)
    wrapped = ValueError("made of it")
    wrapped.__cause__ = caught.value
    with pytest.raises(OSError, match="disk"):
        watch.settle(wrapped)
    watch.settle(ValueError("its own"))


def test_a_neighbour_that_spoils_a_window_costs_only_the_frames_that_look_at_it():
    done = []

    def work(seen, part):
        if 6 in range(20)[seen]:
            raise ValueError("frame 6 spoils it")
        done.append(part)
        return torch.zeros(part.stop - part.start, 2)

    notices = Notices()
    made = Faults(notices).watch("dirt repair").window(range(20), slice(2, 18), work, radius=2)
    assert [t for t, one in enumerate(made, 2) if one is None] == [4, 5, 6, 7, 8]
    assert {notice.frame for notice in notices} == {4, 5, 6, 7, 8}


def test_a_stage_that_can_do_nothing_is_not_tried_frame_by_frame_for_ever():
    calls = 0

    def work(*_):
        nonlocal calls
        calls += 1
        raise ValueError

    notices = Notices()
    watch = Faults(notices).watch("dirt repair")
    for window in range(50):
        assert watch.window(range(16 * window, 16 * window + 16), slice(0, 16), work, radius=0) == [None] * 16
    assert calls < 3 * 31 + 50
    assert notices.summary() == ("dirt repair, 800 frames (0–799): left as it came (ValueError)",)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_seen(value):
    values = torch.rand(3, 5, 7)
    check_finite(values)
    values[1, 2, 3] = value
    with pytest.raises(NotFiniteError):
        check_finite(values)
