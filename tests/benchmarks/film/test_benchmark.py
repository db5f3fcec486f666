"""The film benchmark end to end, with programs that copy in the place of restorers."""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.common.peers import Peers
from benchmarks.film import benchmark as film_benchmark
from benchmarks.film.benchmark import run_film_benchmark
from benchmarks.film.clips import aged_clips, clean_clips
from benchmarks.film.methods import Method, methods_of
from benchmarks.film.page import write_page
from benchmarks.film.report import read_recorded
from benchmarks.film.running import run_method
from benchmarks.film.settings import FilmBenchmarkSettings
from benchmarks.film.strips import write_strip
from benchmarks.film.tables import format_report
from benchmarks.film.targets import TARGETS
from vldm_core.cli.app import app
from vldm_core.errors import FilmFileError, SettingsError

from ...testers import interrupt_comes_out
from ..film_data import moving_texture, write_film, write_photo
from ..second_ageing.test_simulate import write_textures

TINY = FilmBenchmarkSettings(frames=8, height=64, width=96, own=("normal",), perceptual=False, cost_frames=(8, 10))

COPY = "import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])"
MARK = "import pathlib, shutil, sys; shutil.copy(sys.argv[1], pathlib.Path(sys.argv[2]) / 'dirt.mkv')"


def method(name, group, film=COPY, masks=MARK):
    words = (sys.executable, "-c")
    return Method(
        name=name,
        group=group,
        description="a copy",
        film=(*words, film, "{in}", "{out}"),
        masks=None if masks is None else (*words, masks, "{in}", "{out}"),
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_film(folder / "clips" / "bedroom.mp4", moving_texture(1, 9, step=3))
    write_photo(folder / "photos" / "beta.png")
    write_textures(folder / "textures")
    write_film(folder / "film" / "market_street_1906.mkv", moving_texture(2, 8))
    return folder


@pytest.fixture(scope="module")
def report(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "film.json"
    patch = pytest.MonkeyPatch()
    programs = (
        method("chain, tuned", "peer", masks=None),
        method("broken", "peer", film="import sys; sys.exit('no film today')"),
        method("before", "earlier"),
        method("normal", "own"),
    )
    patch.setattr(film_benchmark, "methods_of", lambda settings, peers: programs)
    seen, films = [], {}
    made = run_film_benchmark(
        data,
        without_peers="there are none here.",
        json_path=path,
        settings=TINY,
        watch=lambda name, came, outputs: films.update({name: (came, outputs)}),
        progress=lambda *args: seen.append(args[:3]),
    )
    patch.undo()
    return made, json.loads(path.read_text()), seen, films


def test_every_model_ages_every_kind_and_clean_clips_have_none(data):
    clips = list(aged_clips(data, TINY))
    assert [clip.model for clip in clips] == ["second", "training"]
    assert set(clips[0].masks) == {"dirt", "one-frame scratch", "persistent", "drifting", "blotch", "standing"}
    assert set(clips[1].masks) == set(clips[0].masks) - {"standing"}
    for clip in clips:
        assert clip.aged.shape == clip.clean.shape == (8, 64, 96)
        assert clip.masks["dirt"].any() and not (clip.masks["dirt"] & ~clip.touched).any()
    (clean,) = clean_clips(data, TINY)
    assert clean.model is None and not clean.masks and not clean.touched.any()
    assert np.abs(clean.aged.astype(int) - clean.clean).mean() > 0.5


def test_every_method_meets_every_clip_and_one_that_fails_is_told(report):
    _, stored, seen, films = report
    assert [(row["model"], row["method"]) for row in stored["aged"]] == [
        (model, name) for model in ("second", "training") for name in ("input", "chain, tuned", "before", "normal")
    ]
    assert stored["missing"][0] == "The peers are left out: there are none here."
    assert "broken failed on bedroom, second: no film today" in stored["missing"]
    last = {phase: (done, total) for phase, done, total in seen}
    assert last["aged clips"] == (8, 8) and last["clean clips"] == (4, 4) and last["real films"] == (4, 4)
    assert set(films) == {"bedroom, second", "bedroom, training", "bedroom, clean", "market_street_1906"}


def test_a_copy_gains_nothing_and_costs_something(report):
    made, _, _, _ = report
    summary, came = made.summary("second", "normal"), made.summary("second", "input")
    assert summary.outside_gain == pytest.approx(0, abs=0.01)
    assert summary.inside == pytest.approx(came.inside, nan_ok=True, abs=0.05)
    assert summary.found["dirt"].real > 0
    assert made.costs["normal"].start > 0 and "broken" not in made.costs


def test_tables_page_and_targets_show_it_all(report, tmp_path):
    made, _, _, _ = report
    text = format_report(made)
    for words in ("Targets", "Restored films: second model", "Found damage", "Clean clips", "Cost", "no film today"):
        assert words in text
    write_page(made, tmp_path / "page.md", command="do it")
    page = (tmp_path / "page.md").read_text()
    assert "do it" in page and "{" not in page and "None" not in page
    blocks = [block.splitlines() for block in page.split("\n\n") if block.startswith("| ")]
    assert len(blocks) >= 6
    assert all(len({line.count("|") for line in block}) == 1 for block in blocks)
    inside = next(target for target in TARGETS if "second model, inside dirt" in target.what)
    # A copy is no better than another copy.
    assert inside.met(made, "normal") is False and "missed" in inside.reached(made, "normal")


def test_figures_of_an_earlier_run_stand_beside_those_of_the_same_clips(report, tmp_path):
    made, stored, _, _ = report
    path = tmp_path / "film.json"
    path.write_text(json.dumps(stored))
    recorded = read_recorded(path, TINY)
    rows = recorded.of_clips(made.aged)
    assert [(row.model, row.method) for row in rows] == [("second", "before"), ("training", "before")]
    assert rows[0].fidelity == next(row.fidelity for row in made.aged if row.method == "before")
    assert list(recorded.costs) == list(recorded.methods) == ["before"]
    stored["aged"][0]["fidelity"]["whole"] += 0.5  # another clip of the same name
    path.write_text(json.dumps(stored))
    assert [row.model for row in read_recorded(path, TINY).of_clips(made.aged)] == ["training"]
    with pytest.raises(SettingsError, match="measured with seed 2026, not 5"):
        read_recorded(path, replace(TINY, seed=5))
    path.write_text("[]")
    with pytest.raises(SettingsError, match="holds no figures"):
        read_recorded(path, TINY)


def test_strips_show_five_frames_of_each(tmp_path):
    came = moving_texture(1, 7)[..., 0]
    path = write_strip(tmp_path / "strips", "a film, aged", came, {"ours": came.astype(np.float32)})
    assert path.name == "a_film__aged.png"
    import cv2

    assert cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).shape == (2 * (64 + 18), 5 * 96)


def test_methods_are_commands_for_films_and_masks(tmp_path):
    peers = Peers(python="py", chain=Path("chain.py"))
    settings = FilmBenchmarkSettings(own=("fast",), checkouts={"before": tmp_path})
    made = {one.name: one for one in methods_of(settings, peers)}
    assert list(made) == ["chain, tuned", "chain, gentle", "chain, repair only", "before", "fast"]
    assert made["fast"].film[-2:] == ("--quality", "fast") and made["fast"].masks[-2:] == ("--quality", "fast")
    assert made["before"].environment["PYTHONPATH"].startswith(str(tmp_path))
    assert (
        made["chain, tuned"].masks[2].startswith("detect:descratch") and "degrain" not in made["chain, tuned"].masks[2]
    )


def test_masks_that_methods_have_in_common_are_found_once(tmp_path):
    count = tmp_path / "count"
    counted = f"{MARK}; open({str(count)!r}, 'a').write('x')"
    film, known = moving_texture(1, 3)[..., 0], {}
    one, other = (
        run_method(method(name, "own", masks=counted), film, known=known) for name in ("normal", "repair only")
    )
    assert count.read_text() == "x" and np.array_equal(one.marks.dirt, other.marks.dirt)


def test_films_of_ones_own_are_only_shown(data, tmp_path, monkeypatch):
    monkeypatch.setattr(film_benchmark, "methods_of", lambda settings, peers: (method("normal", "own"),))
    write_film(tmp_path / "own.mp4", moving_texture(4, 8))
    settings = replace(TINY, parts=("films",), films=(tmp_path / "own.mp4",))
    strips = tmp_path / "strips"
    report = run_film_benchmark(data, settings=settings, watch=partial(write_strip, strips))
    assert [path.name for path in strips.iterdir()] == ["own.png"]
    assert [(row.film, row.line) for row in report.real] == [("own", None)]


def test_progress_may_interrupt(data, monkeypatch):
    monkeypatch.setattr(film_benchmark, "methods_of", lambda settings, peers: (method("normal", "own"),))
    settings = FilmBenchmarkSettings(frames=8, height=64, width=96, parts=("clean",), perceptual=False)
    interrupt_comes_out(lambda progress: run_film_benchmark(data, settings=settings, progress=progress))


def test_a_folder_without_textures_is_refused(tmp_path):
    write_photo(tmp_path / "photos" / "samuel-zeller-337041.png")
    with pytest.raises(FilmFileError, match="textures"):
        next(aged_clips(tmp_path, TINY))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 4}, "frames is 4; use 8 or more"),
        ({"models": ("third",)}, "third"),
        ({"parts": ()}, "choose some"),
        ({"clips": 0}, "clips is 0"),
        ({"own": ("magic",)}, "magic"),
        ({"cost_frames": (4, 9)}, "give 8 or more"),
        ({"width": 32}, "64 px or more"),
    ],
)
def test_settings_are_checked(change, message):
    with pytest.raises(SettingsError, match=message):
        FilmBenchmarkSettings(**change)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--checkout", "before"], "give NAME=FOLDER"),
        (["--size", "large"], "a frame size is 'large'"),
        (["--peer-chain", "nowhere.py"], "the peers' script vapoursynth_chain.py was not found"),
    ],
)
def test_the_command_tells_mistakes_at_once(data, options, message):
    done = CliRunner().invoke(app, ["benchmark", "film", "--data", str(data), *options])
    assert done.exit_code == 1
    assert message in done.output
