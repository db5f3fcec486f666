"""The resolution study end to end on a tiny data folder."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from benchmarks.common.curves import draw_panels
from benchmarks.prerestore.scores import PictureFigures, picture_figures
from benchmarks.resolution import study as resolution_study
from benchmarks.resolution.curves import curve_panels
from benchmarks.resolution.page import format_report, write_page
from benchmarks.resolution.restorers import PriorSampling, Restorer, open_prior_restorers, open_restorer
from benchmarks.resolution.study import ResolutionRow, ResolutionSettings, run_resolution_study
from vldm_core import VideoRestorationPipeline
from vldm_core.cli.app import app
from vldm_core.errors import SettingsError, VLDMError
from vldm_core.files.networks import WEIGHTS
from vldm_core.prerestore.run import PreRestoreSettings, pre_restore
from vldm_core.sampling.restoration import default_restoration

from ...prior.tiny_models import tiny_diffbir, tiny_unet
from ...prior.tiny_pipeline import tiny_pipeline
from ..prerestore_data import TINY, made_clip, random_network, write_network

SETTINGS = ResolutionSettings(sizes=(96, 64), material=TINY)


@pytest.fixture
def clips(monkeypatch):
    """Two made clips in the place of aged ones."""
    made = {"one": made_clip(), "two": replace(made_clip(noise=3), name="two/1940s")}
    monkeypatch.setattr(resolution_study, "find_aged_sources", lambda data, settings: tuple(made))
    monkeypatch.setattr(resolution_study, "make_clip", lambda source, settings: made[source])
    return list(made.values())


def _noted(name, change, seen, multiple=8):
    def run(frames, masks):
        seen.append((name, tuple(frames.shape), masks is not None and tuple(masks.shape)))
        return change(frames)

    return Restorer(name=name, description=f"{name} for tests", multiple=multiple, run=run)


def test_every_size_is_measured_at_the_size_of_the_film(clips):
    settings = replace(SETTINGS, sizes=(96, 32, 48))
    seen, steps = [], []
    report = run_resolution_study(
        Path(),
        [_noted("dark", lambda frames: frames * 0.5, seen)],
        settings=settings,
        progress=lambda *step: steps.append(step),
    )
    places = [(row.way, row.short_side, row.height, row.width) for row in report.rows]
    assert places == [
        ("resized", 32, 32, 40),
        ("resized", 48, 48, 64),
        ("resized", 96, 96, 128),
        ("padded", 48, 48, 64),
        ("padded", 96, 96, 96),
        ("fitted", 48, 64, 64),
        ("fitted", 96, 128, 128),
    ]
    wanted = [picture_figures(clip, clip.even * 0.5) for clip in clips]
    mean = sum(row.psnr for row in wanted) / 2
    for row in report.rows:
        exact = row.way == "padded" or row.short_side == 48
        assert row.figures.psnr == pytest.approx(mean, abs=1e-3 if exact else 0.5)
        assert row.seconds_per_frame > 0
    repaired = [picture_figures(clip, clip.even).psnr for clip in clips]
    assert report.repaired.psnr == pytest.approx(sum(repaired) / 2)
    assert seen[0] == ("dark", (2, 3, 32, 40), (2, 32, 40)) and len(seen) == 1 + 7 * 2
    assert steps[-1][:3] == ("dark", 14, 14)


def test_a_prior_gets_what_the_restorer_made_at_the_size_of_the_film(clips):
    seen = []
    first = _noted("first", lambda frames: frames * 0.5, seen)
    second = _noted("second", lambda frames: frames * 2, seen, multiple=64)
    report = run_resolution_study(Path(), [first, second], settings=replace(SETTINGS, sizes=(64,)))
    rows = {(row.restorer, row.way): row for row in report.rows}
    assert set(report.restorers) == {"first", "second"} and len(rows) == 6
    # Half and twice is what came in.
    assert rows["second", "padded"].figures.psnr == pytest.approx(report.repaired.psnr, abs=1e-3)
    assert rows["first", "padded"].figures.psnr < report.repaired.psnr - 5
    assert (rows["second", "resized"].height, rows["second", "resized"].width) == (64, 64)
    assert {shape[2] % 64 for name, shape, _ in seen if name == "second"} == {0}


def test_the_pre_restorer_runs_at_full_strength(tmp_path):
    clip, network = made_clip(), random_network()
    restorer = open_restorer(str(write_network(tmp_path / "net.safetensors")), device="cpu")
    full = pre_restore(clip.repaired, network, PreRestoreSettings(keep_grain=0), masks=clip.masks)[0]
    # A network that was loaded lies in memory in another order than one that was made, and sums up in another.
    assert torch.allclose(restorer.run(clip.repaired, clip.masks), full, atol=1e-5)
    assert (full - pre_restore(clip.repaired, network, PreRestoreSettings(), masks=clip.masks)[0]).abs().max() > 0.01
    assert "net.safetensors" in restorer.description


def test_a_file_that_is_no_restorer_says_so(tmp_path):
    with pytest.raises(VLDMError, match="not a stage-1 restorer"):
        open_restorer(str(WEIGHTS / "dirt_detector.safetensors"), device="cpu")
    with pytest.raises(VLDMError, match="does not exist"):
        open_restorer(str(tmp_path / "none.safetensors"), device="cpu")


def test_a_restorer_of_stills_runs_over_time(tmp_path, monkeypatch):
    class Twice(torch.nn.Module):
        scale, input_channels, output_channels = 1, 3, 3
        device, dtype = torch.device("cpu"), torch.float32

        def forward(self, image):
            return (image * 1.2).clamp(0, 1)

    (tmp_path / "model.pth").touch()
    monkeypatch.setattr("benchmarks.resolution.restorers.read_stage1", lambda path: Twice())
    clip = made_clip(noise=0)
    made = open_restorer(str(tmp_path / "model.pth"), device="cpu").run(clip.even, torch.zeros_like(clip.masks))
    assert torch.allclose(made.mean(), (clip.even * 1.2).mean(), atol=0.01)


def test_the_prior_restores_at_any_working_size(tmp_path):
    tiny_pipeline().save_pretrained(tmp_path / "prior")
    options = PriorSampling(steps=4, strength=0.5, prompt="a dog")
    (restorer,) = open_prior_restorers(tmp_path / "prior", options, device="cpu")
    frames = torch.rand(2, 3, 64, 128)
    made = restorer.run(frames, torch.zeros(2, 64, 128))
    assert made.shape == frames.shape and torch.isfinite(made).all()
    assert not torch.allclose(made, frames, atol=0.01)
    assert torch.equal(made, restorer.run(frames, torch.zeros(2, 64, 128)))
    assert "4 steps at strength 0.5" in restorer.description
    with pytest.raises(VLDMError, match=r"model_index\.json"):
        open_prior_restorers(tmp_path, device="cpu")


def test_a_prior_is_measured_alone_and_beside_that_with_a_control(tmp_path, clips):
    """Both get what the restorer before them made."""
    tiny_pipeline().save_pretrained(tmp_path / "prior")
    save_file(tiny_diffbir().branch.state_dict(), tmp_path / "diffbir.safetensors")
    how = PriorSampling(steps=2, strength=1.0, start="noise", cfg=1.0)
    alone, controlled = open_prior_restorers(
        tmp_path / "prior", how, controls=[tmp_path / "diffbir.safetensors"], device="cpu"
    )
    assert controlled.name == "prior with DiffBIR" and controlled.beside and not alone.beside
    assert "under the control of DiffBIR at strength 1" in controlled.description
    frames, masks = torch.rand(2, 3, 64, 64), torch.zeros(2, 64, 64)
    plain = alone.run(frames, masks)
    made = controlled.run(frames, masks)
    assert (made - plain).abs().max() > 1e-3
    masks[1] = 1
    weaker = controlled.run(frames, masks)
    away = [(weaker[t] - made[t]).abs().mean() for t in (0, 1)]
    assert away[1] > max(away[0], 1e-3), "in damage the control holds back; frames are joined along their motion"
    assert PriorSampling().restoration() == replace(default_restoration(), consistency=None)
    (off, silent) = open_prior_restorers(
        tmp_path / "prior",
        replace(how, control_strength=0.0),
        controls=[tmp_path / "diffbir.safetensors"],
        device="cpu",
    )
    assert torch.equal(off.run(frames, masks), silent.run(frames, masks))

    seen: list = []
    before = _noted("before", lambda film: film * 0.5, seen)
    first = _noted("first", lambda film: film * 0.5, seen, multiple=64)
    second = replace(_noted("second", lambda film: film * 2, seen, multiple=64), beside=True)
    report = run_resolution_study(Path(), [before, first, second], settings=replace(SETTINGS, sizes=(64,)))
    rows = {(row.restorer, row.way): row for row in report.rows}
    # Twice the half is what came in, a quarter is not.
    assert rows["second", "padded"].figures.psnr == pytest.approx(report.repaired.psnr, abs=1e-3)
    assert rows["first", "padded"].figures.psnr < rows["before", "padded"].figures.psnr


def test_a_control_that_does_not_fit_is_refused_before_the_prior_is_loaded(tmp_path, monkeypatch):
    wide = tiny_pipeline()
    wide.register_modules(unet=tiny_unet())
    wide.save_pretrained(tmp_path / "prior")
    save_file(tiny_diffbir().branch.state_dict(), tmp_path / "diffbir.safetensors")

    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(VideoRestorationPipeline, "from_pretrained", loaded)
    with pytest.raises(SettingsError, match="choose a model of the family"):
        open_prior_restorers(tmp_path / "prior", controls=[tmp_path / "diffbir.safetensors"], device="cpu")


def _figures(psnr: float) -> PictureFigures:
    return PictureFigures(psnr=psnr, ssim=psnr / 40, detail=0.5, residue=1.0, warp_error=psnr / 10, flicker=0.01)


@pytest.fixture
def report():
    rows = [
        ResolutionRow(
            restorer="pre-restorer",
            way=way,  # type: ignore[arg-type]
            short_side=size,
            height=size,
            width=size,
            figures=_figures(psnr),
            seconds_per_frame=size / 1000,
        )
        for way, size, psnr in (("resized", 256, 24.0), ("resized", 512, 28.0), ("padded", 512, 28.5))
    ]
    return resolution_study.ResolutionReport(
        rows=rows,
        repaired=_figures(26.0),
        reference_warp_error=2.0,
        clips=["dog/1940s"],
        restorers={"pre-restorer": "it"},
        settings=SETTINGS,
        machine={"cpu_count": 2, "threads": 2, "torch": "2", "minutes": 0.2},
    )


def test_tables_and_page_show_the_best_size(report, tmp_path):
    text = format_report(report)
    assert "28.50 dB, padded to a short side of 512, in 0.51 s a frame" in text
    assert "nothing" in text and "26.00" in text and "nan" not in text and "None" not in text
    write_page(report, tmp_path / "page.md", command="do it", curves=tmp_path / "curves.png")
    page = (tmp_path / "page.md").read_text()
    assert "do it" in page and "![Figures over working size](curves.png)" in page and "{" not in page
    assert "| resized | 256 | 256×256 | 24.00 |" in page
    report.write_json(tmp_path / "figures.json")
    assert json.loads((tmp_path / "figures.json").read_text())["rows"][2]["way"] == "padded"


def test_curves_are_drawn_where_the_figures_are(report):
    plots = draw_panels(curve_panels(report)).axes
    assert [axes.get_title() for axes in plots] == ["PSNR, dB", "SSIM", "warp error, grey levels", "seconds a frame"]
    resized, padded, level = plots[0].get_lines()
    assert resized.get_xydata().tolist() == [[256, 24], [512, 28]] and padded.get_xydata().tolist() == [[512, 28.5]]
    assert np.array(level.get_ydata())[0] == 26 and level.get_linestyle() == "--" and len(plots[3].get_lines()) == 2
    assert [text.get_text() for text in plots[0].get_xticklabels()] == ["256", "512"]


@pytest.mark.parametrize("wrong", [{"sizes": ()}, {"sizes": (8,)}, {"sizes": (64, 64)}, {"ways": ("cropped",)}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(SettingsError):
        ResolutionSettings(**wrong)


def test_there_must_be_something_to_measure():
    with pytest.raises(SettingsError, match="no restorer"):
        run_resolution_study(Path(), [])


def test_the_command_line_runs_it(report, tmp_path, monkeypatch):
    weights = write_network(tmp_path / "net.safetensors")
    asked = []

    def run(data, restorers, **options):
        asked.append((data, restorers, options["settings"]))
        return report

    monkeypatch.setattr(resolution_study, "run_resolution_study", run)
    line = ["benchmark", "resolution", "--data", str(tmp_path), "--restorer", str(weights), "--device", "cpu"]
    files = ["--markdown", str(tmp_path / "page.md"), "--curves", str(tmp_path / "curves.png")]
    refused = CliRunner().invoke(app, [*line, "--sizes", "a,b"])
    assert refused.exit_code == 1 and not asked
    assert CliRunner().invoke(app, [*line, "--ways", "cropped"]).exit_code == 1
    done = CliRunner().invoke(app, [*line, *files, "--sizes", "128,64", "--clips", "2", "--frames", "5"])
    assert done.exit_code == 0 and "highest PSNR" in done.output
    ((data, restorers, settings),) = asked
    assert data == tmp_path and [restorer.name for restorer in restorers] == ["pre-restorer"]
    assert (settings.sizes, settings.material.clips, settings.material.frames) == ((128, 64), 2, 5)
    page = (tmp_path / "page.md").read_text()
    assert "This page has no such rows" in page
    assert "benchmarks resolution --data DIR --restorer" in page and "--sizes 128,64 --clips 2 --frames 5" in page
    assert (tmp_path / "curves.png").is_file()


def test_the_command_line_takes_a_prior_with_controls(report, tmp_path, monkeypatch):
    tiny_pipeline().save_pretrained(tmp_path / "prior")
    for name, seed in (("one", 1), ("two", 2)):
        save_file(tiny_diffbir(seed).branch.state_dict(), tmp_path / f"{name}.safetensors")
    asked = []

    def run(data, restorers, **options):
        asked.append(restorers)
        return replace(
            report,
            restorers={**report.restorers, "prior": "it"},
            rows=[*report.rows, replace(report.rows[0], restorer="prior")],
        )

    monkeypatch.setattr(resolution_study, "run_resolution_study", run)
    line = ["benchmark", "resolution", "--data", str(tmp_path), "--device", "cpu"]
    control = ["--control", str(tmp_path / "one.safetensors"), "--control", str(tmp_path / "two.safetensors")]
    refused = CliRunner().invoke(app, [*line, *control])
    assert refused.exit_code == 1 and "give --prior PATH too" in " ".join(refused.output.split()) and not asked
    more = ["--prior", str(tmp_path / "prior"), "--start", "noise", "--cfg", "1", "--control-strength", "0.5"]
    done = CliRunner().invoke(app, [*line, *control, *more, "--markdown", str(tmp_path / "page.md")])
    assert done.exit_code == 0, done.output
    assert [restorer.name for restorer in asked[0]] == ["pre-restorer", "prior", "prior with DiffBIR and DiffBIR"]
    page = (tmp_path / "page.md").read_text()
    assert (
        f"--control {tmp_path / 'one.safetensors'} --control {tmp_path / 'two.safetensors'} --control-strength" in page
    )
    assert "--start noise --cfg 1" in page and "of a system's quality they then say nothing" in page
