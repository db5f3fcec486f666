"""The cost benchmark times warm processes of this checkout and of another one, by turns, and counts their flows."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.cost.benchmark import run_cost_benchmark
from benchmarks.cost.checkouts import opened_checkout
from benchmarks.cost.films import write_films
from benchmarks.cost.report import TARGETS, CheckoutCost, CostReport, cost_tables
from benchmarks.cost.settings import AGAINST, HERE, REPAIR, RESTORE, CostSettings
from vldm_core.errors import SettingsError, VLDMError
from vldm_core.video.reading.reader import open_film

from ..film_data import moving_texture, write_film

REEL = """
from dataclasses import dataclass, field
from vldm_core.parts import Reader

@dataclass(frozen=True)
class ReelSettings:
    prerestore: object = "network"
    read: Reader = field(default_factory=Reader)

def restore_film(source, target, settings):
    if settings.prerestore is None:
        raise RuntimeError("this checkout cannot do that")
    target.write_bytes(b"restored")
"""
PARTS = """
from types import SimpleNamespace
import torch

class Film:
    info = SimpleNamespace(width=64, height=64)
    def __enter__(self): return self
    def __exit__(self, *error): return None
    def __iter__(self): return (SimpleNamespace(tensor=lambda: torch.zeros(3, 64, 64)) for _ in range(5))

class Reader:
    def open(self, path): return Film()
"""
METHODS = """
from types import SimpleNamespace
import cv2
import numpy as np

def restore(frames):
    print("a library greets")
    plane = np.zeros((64, 128), np.uint8)
    for _ in range(len(frames) * 2 - 2):
        cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST).calc(plane, plane, None)

METHODS = {"ours": SimpleNamespace(restore=restore)}
"""


def other_checkout(folder: Path) -> Path:
    """Make a checkout from before the benchmarks were a package of their own, which does next to nothing."""
    for name, text in {
        "vldm_core/__init__.py": "",
        "vldm_core/parts.py": PARTS,
        "vldm_core/reel/__init__.py": "",
        "vldm_core/reel/restore.py": REEL,
        "vldm_core/evaluation/__init__.py": "",
        "vldm_core/evaluation/film_methods.py": METHODS,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_the_other_checkout_is_asked_for_its_own_figures(tmp_path) -> None:
    with opened_checkout(other_checkout(tmp_path / "other")) as checkout:
        assert Path(checkout.facts["package"]).is_relative_to(tmp_path)
        figures = checkout.ask("repair", tmp_path / "film.mkv", tmp_path)
        assert (figures["frames"], figures["flows_per_pair"], figures["flow_frames_per_pair"]) == (5, 2.0, 4.0)
        assert checkout.ask("restore", tmp_path / "film.mkv", tmp_path)["flows_per_pair"] == 0, "warm, counted anew"
        assert not list(tmp_path.glob("restored*"))
        with pytest.raises(VLDMError, match="this checkout cannot do that"):
            checkout.ask("without network", tmp_path / "film.mkv", tmp_path)


def test_both_checkouts_take_turns_on_the_same_films(tmp_path) -> None:
    settings = CostSettings(
        sizes=((96, 64), (128, 64)), frames=(5,), repeats=2, against=other_checkout(tmp_path / "other")
    )
    seen: list[tuple[str, int, int | None]] = []
    report = run_cost_benchmark(
        settings=settings, progress=lambda phase, done, total, _=None: seen.append((phase, done, total))
    )
    assert [(row.width, row.part, row.checkout) for row in report.figures] == [
        (width, part, checkout) for width in (96, 128) for part in ("repair", "restore") for checkout in (HERE, AGAINST)
    ]
    assert ("measure cost", 12, 12) in seen
    for row in report.figures:
        assert len(row.seconds_per_frame) == len(row.cpu_seconds_per_frame) == 2
        assert min(row.seconds_per_frame) > 0
    here = [row for row in report.figures if row.checkout == HERE]
    assert all(row.flows_per_pair >= 1 and row.flow_frames_per_pair > 0 for row in here), (
        "flows of the real stages count"
    )


def test_targets_are_judged_by_the_least_of_the_runs() -> None:
    def cost(part: str, size: tuple[int, int], *seconds: float) -> CheckoutCost:
        return CheckoutCost(
            checkout=HERE,
            part=part,
            width=size[0],
            height=size[1],
            frames=8,
            seconds_per_frame=seconds,
            cpu_seconds_per_frame=seconds,
            flows_per_pair=2.0,
            flow_frames_per_pair=2.0,
            peak_mb=None,
        )

    small, large = (480, 368), (2048, 1556)
    figures = (cost(REPAIR, small, 0.3, 0.1), cost(RESTORE, small, 0.5, 0.6), cost(REPAIR, large, 1.5, 2.0))
    report = CostReport(figures=figures, settings=CostSettings(), machine={})
    assert [target.reached(report, HERE) for target in TARGETS] == ["0.100 s", "0.500 s missed", "15.0 missed", "–"]
    table = cost_tables(report)[0]
    assert table.section == "Targets" and len(table.rows) == 3, "what was not measured is left out"
    other = CostReport(figures=(cost(REPAIR, (96, 64), 1.0),), settings=CostSettings(sizes=((96, 64),)), machine={})
    assert [table.section for table in cost_tables(other)] == ["Cost"]


def test_the_command_prints_and_writes_what_it_measured(tmp_path) -> None:
    files = {"--json": tmp_path / "cost.json", "--markdown": tmp_path / "cost.md"}
    options = ["--sizes", "96x64,128x64", "--frames", "4", "--repeats", "1", "--parts", "repair"]
    result = CliRunner().invoke(app, ["cost", *options, *(str(part) for pair in files.items() for part in pair)])
    assert result.exit_code == 0, result.output
    rows = json.loads(files["--json"].read_text(encoding="utf-8"))["figures"]
    assert [(row["width"], row["frames"], row["checkout"]) for row in rows] == [(96, 4, HERE), (128, 4, HERE)]
    assert "128x64" in result.output and "| 128x64 | repair |" in files["--markdown"].read_text(encoding="utf-8")
    assert "1.33" in result.output, "times the pixels"
    page = files["--markdown"].read_text(encoding="utf-8")
    assert "python -m benchmarks cost --sizes 96x64,128x64 --frames 4 --parts repair --repeats 1 --markdown" in page
    assert "made from nothing" in page and "{" not in page


def test_an_aged_clip_of_any_size_can_be_measured(tmp_path) -> None:
    write_film(tmp_path / "data" / "clips" / "alpha.mp4", moving_texture(1, 8, step=2))
    paths = tmp_path / "film.mkv", tmp_path / "first.mkv"
    write_films(paths, 96, 64, 6, tmp_path / "data")
    frames = []
    for path in paths:
        with open_film(path) as film:
            frames.append([frame.image for frame in film])
    assert [len(part) for part in frames] == [6, 4] and frames[0][0].shape == (64, 96, 3)
    assert all((one == other).all() for one, other in zip(frames[0], frames[1], strict=False)), "the same film"


def test_lengths_follow_the_sizes() -> None:
    assert CostSettings().films == ((480, 368, 16), (2048, 1556, 8))
    assert CostSettings(sizes=((96, 64), (128, 64)), frames=(5,)).films == ((96, 64, 5), (128, 64, 5))


def test_wrong_settings_are_named(tmp_path) -> None:
    for wrong, match in (
        ({"sizes": ((32, 64),)}, "64 px"),
        ({"frames": (4, 4, 4)}, "one for each of the 2 sizes"),
        ({"frames": (3,)}, "4 or more"),
        ({"parts": ("all",)}, "choose some, each once, of repair, restore"),
        ({"repeats": 0}, "repeats is 0; use 1 or more"),
        ({"against": tmp_path}, "holds no vldm_core"),
    ):
        with pytest.raises(SettingsError, match=match):
            CostSettings(**wrong)
