"""What restoring does to clean content, and how it is told."""

import json
import shlex
import sys

import pytest
import torch
from typer.testing import CliRunner

from benchmarks.harm.benchmark import (
    METHODS,
    REPAIR,
    CleanCase,
    format_harm,
    harm_table,
    load_cases,
    measure_harm,
    run_harm_benchmark,
)
from benchmarks.harm.page import write_json, write_page
from vldm_core.cli.app import app
from vldm_core.errors import SettingsError

MAKERS = """
import numpy as np

def _picture(t):
    return np.full((40, 64, 3), 90 + 10 * t, np.uint8)

def bright():
    masks = np.zeros((4, 40, 64), bool)
    masks[:, 10:20, 10:30] = True
    return [_picture(t) for t in range(4)], list(masks)

def dark():
    return [_picture(0) // 3] * 4, [np.ones((40, 64), bool)] * 4

MAKERS = {"bright": bright, "dark": dark}
"""


@pytest.fixture
def makers(tmp_path):
    file = tmp_path / "makers.py"
    file.write_text(MAKERS)
    return file


def python(program):
    """A command that runs a program with the films' paths as its arguments."""
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} {{in}} {{out}}"


COPY = python("import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])")


def case():
    frames = torch.full((2, 3, 8, 8), 0.5)
    at_risk = torch.zeros(2, 8, 8, dtype=torch.bool)
    at_risk[:, :4] = True
    return CleanCase(name="case", frames=frames, at_risk=at_risk)


def test_figures_are_those_of_the_change():
    output = case().frames.clone()
    output[:, :, :2] += 51 / 255
    output[:, :, 4:] += 10 / 255
    harm = measure_harm(case(), output, method="m", seconds=1.0)
    assert harm.moved == 0.5 and harm.moved_outside == 0
    assert harm.mean_outside == pytest.approx(10, abs=1e-3)
    # Half of the places moved by 51 levels: mean square 51^2 / 2.
    assert harm.largest == pytest.approx(51, abs=1e-3)
    # The content has no grain.
    assert harm.beyond_grain == pytest.approx(51 / 2, abs=1e-3)
    assert harm.psnr == pytest.approx(20 * torch.tensor(255 / 51 * 2**0.5).log10().item(), abs=1e-3)


def test_what_is_unchanged_and_what_has_another_length_is_told():
    same = measure_harm(case(), case().frames, method="same", seconds=1.0)
    short = measure_harm(case(), case().frames[:1], method="short", seconds=1.0)
    assert same.psnr == float("inf") and same.moved == same.mean_outside == 0
    assert "(1, 3, 8, 8) came back of (2, 3, 8, 8)" in short.failure
    (row,) = harm_table((same, short)).rows
    assert row == ("case", "unchanged", "failed")
    assert "case, short: (1, 3, 8, 8)" in format_harm((same, short))


def grainy(sigma=4.0, name="poles"):
    noise = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(1)) * sigma / 255
    frames = (torch.full((2, 3, 64, 64), 0.5) + noise).clamp(0, 1)
    return CleanCase(name=name, frames=frames, at_risk=torch.ones(2, 64, 64, dtype=torch.bool))


def test_taking_grain_off_is_no_harm_but_moving_a_pixel_is():
    content = grainy()
    smooth = torch.full_like(content.frames, 0.5)
    harm = measure_harm(content, smooth, method=REPAIR, seconds=1.0)
    assert harm.beyond_grain < 0.1 and harm.reached is True
    smooth[0, :, 5, 5] += 40 / 255
    assert measure_harm(content, smooth, method=REPAIR, seconds=1.0).reached is False
    assert measure_harm(grainy(name="rain"), smooth, method=REPAIR, seconds=1.0).reached is None


def test_page_and_json_say_what_was_reached(tmp_path):
    content = grainy()
    same = measure_harm(content, content.frames, method=REPAIR, seconds=1.0)
    moved = measure_harm(content, content.frames.flip(-1).roll(9, -2) * 0.5, method="chain", seconds=1.0)
    write_page((same, moved), tmp_path / "harm.md", command="do it")
    page = (tmp_path / "harm.md").read_text()
    assert "reaches the target for 1 of 1" in page and "unchanged ✓" in page and "{" not in page
    write_json((same, moved), tmp_path / "harm.json")
    rows = json.loads((tmp_path / "harm.json").read_text())
    assert rows[0]["psnr"] == "unchanged" and rows[1]["moved"] > 0.9


def test_repair_only_leaves_the_picture_stages_out():
    settings = METHODS[REPAIR]()
    assert settings.dirt is not None and settings.lines is not None
    assert settings.flicker is None and settings.prerestore is None and settings.stabilise is None


def test_methods_and_peers_get_the_same_film(makers):
    peers = {
        "copy": COPY,
        "words": (sys.executable, "-c", "import shutil, sys; shutil.copy(*sys.argv[1:])", "{in}", "{out}"),
        "broken": python("import sys; sys.exit('no film today')"),
        "absent": "no-such-program {in} {out}",
    }
    found = run_harm_benchmark(load_cases(makers, ("dark",)), methods=(REPAIR,), peers=peers)
    by_method = {harm.method: harm for harm in found}
    assert by_method[REPAIR].psnr == by_method["copy"].psnr == by_method["words"].psnr == float("inf")
    assert by_method["broken"].failure == "no film today"
    assert "no-such-program" in by_method["absent"].failure


def test_the_command_prints_and_writes_the_table(makers, tmp_path):
    page = tmp_path / "harm.md"
    options = [
        "--cases",
        str(makers),
        "--methods",
        "repair only",
        "--no-peers",
        "--peer",
        f"copy={COPY}",
        "--markdown",
        str(page),
    ]
    done = CliRunner().invoke(app, ["benchmark", "harm", *options, "bright"])
    assert done.exit_code == 0, done.output
    assert "bright" in done.output and "dark" not in done.output
    assert "| content | repair only | copy |" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ("rain",)}, "has no rain; it has bright, dark"),
        ({"methods": ("magic",)}, "methods are magic; choose some"),
        ({"peers": {"p": "cp {in} there"}}, "needs {in} and {out}"),
    ],
)
def test_mistakes_are_told_before_anything_is_made(makers, options, message):
    names = options.pop("names", ())
    with pytest.raises(SettingsError) as caught:
        run_harm_benchmark(load_cases(makers, names), **options)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "MAKERS = []"])
def test_a_file_without_makers_is_refused(tmp_path, text):
    file = tmp_path / "empty.py"
    file.write_text(text)
    with pytest.raises(SettingsError, match="has no dictionary MAKERS"):
        load_cases(file)
