"""A node's progress bar: weighed, never back, full at the end; it lets an interrupt out, and shows pictures."""

import comfy.model_management as management
import comfy.utils
import pytest
import torch
from pack.nodes.film.detect_damage import shares_of
from pack.nodes.host import node_run
from pack.vldm_core.film.dirt.detection import DirtSettings
from pack.vldm_core.film.scratches.detection import ScratchSettings
from pack.vldm_core.stages import batch


@pytest.fixture(autouse=True)
def _every_call_counts(monkeypatch):
    """Whatever the machine's speed."""
    monkeypatch.setattr(node_run, "_BAR_INTERVAL_S", 0.0)
    monkeypatch.setattr(node_run, "_PREVIEW_INTERVAL_S", 0.0)


@pytest.fixture
def shown(monkeypatch):
    """What the host's bar was told: value, total and preview."""
    shown = []
    monkeypatch.setattr(
        comfy.utils,
        "PROGRESS_BAR_HOOK",
        lambda value, total, preview, node_id=None: shown.append((value, total, preview)),
    )
    return shown


@pytest.fixture
def run(shown):
    """Report phases to a bar; return how full it was after each."""

    def run(progress, phases, preview=None):
        shown.clear()
        for phase, calls in phases.items():
            for done in range(1, calls + 1):
                progress(phase, done, calls, preview)
        return [value / total for value, total, _ in shown]

    return run


def test_two_shots_each_measured_and_corrected_never_pull_the_bar_back(shown):
    bar = node_run.NodeProgress(phases=2)
    for phase, done in (("measure", 5), ("correct", 5), ("measure", 10), ("correct", 10)):
        bar(phase, done, 10)
    assert [1000 * value // total for value, total, _ in shown] == [250, 500, 750, 1000]


def test_an_interrupt_comes_out_of_the_bar():
    bar = node_run.NodeProgress(phases=1)
    management.interrupt_current_processing(True)
    with pytest.raises(management.InterruptProcessingException):
        bar("correct", 10, 10)


def test_phases_take_their_share(run):
    weighed = run(node_run.NodeProgress({"quick": 0.1, "slow": 0.9}), {"quick": 10, "slow": 10})
    assert abs(weighed[9] - 0.1) < 1e-3 and weighed[-1] == 1.0 and weighed == sorted(weighed)
    equal = run(node_run.NodeProgress(2), {"quick": 10, "slow": 10})
    assert abs(equal[9] - 0.5) < 1e-3 and equal[-1] == 1.0


def test_more_phases_than_announced_and_one_that_begins_again_never_pull_the_bar_back(run):
    more = run(node_run.NodeProgress(1), {"a": 4, "b": 4, "c": 4})
    assert more == sorted(more)
    progress = node_run.NodeProgress({"slow": 1.0})
    again = run(progress, {"slow": 8}) + run(progress, {"slow": 4})
    assert again == sorted(again)


def test_the_full_bar_is_shown_however_soon_it_comes(run, monkeypatch):
    monkeypatch.setattr(node_run, "_BAR_INTERVAL_S", 1e9)
    assert run(node_run.NodeProgress({"quick": 0.1, "slow": 0.9}), {"quick": 10, "slow": 10})[-1] == 1.0


def test_the_bar_is_shared_out_to_the_phases_that_are_reported():
    clip, seen = torch.rand(4, 3, 48, 64), []
    settings = {"dirt": DirtSettings(), "lines": ScratchSettings()}
    batch.detect_damage(clip, **settings, progress=lambda phase, *_: seen.append(phase))
    batch.find_damage(clip, **settings, progress=lambda phase, *_: seen.append(phase))
    assert tuple(dict.fromkeys(seen)) == tuple(shares_of(lines=True))
    assert shares_of(lines=True)["find damage"] > 0.9
    assert shares_of(lines=False) == {"find damage": 1.0}


def test_the_hosts_own_preview_does_not_stay_where_the_node_ends_with_its_film(run, shown, monkeypatch):
    live = []
    monkeypatch.setattr(node_run, "show_live", lambda picture: live.append(picture.size))
    frame = torch.zeros(3, 600, 800)
    run(node_run.NodeProgress(1, previews=True, ends_with_picture=True), {"a": 2}, frame)
    assert live == [(512, 384)] * 2 and all(preview is None for _, _, preview in shown)
    run(node_run.NodeProgress(1, previews=True), {"a": 2}, frame)
    assert len(live) == 2 and all(preview is not None for _, _, preview in shown)
