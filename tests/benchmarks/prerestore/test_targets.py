"""What pre-restoration aims at beside what it reached."""

from dataclasses import replace

import pytest

from benchmarks.common.own_process import MethodCost
from benchmarks.prerestore.methods import DEFAULT, EVEN, FLICKERING, NETWORK, NLM, PER_FRAME, REFERENCE, REPAIR
from benchmarks.prerestore.page import format_report, write_page
from benchmarks.prerestore.report import ALL, PreRestoreReport, grouped
from benchmarks.prerestore.scores import PictureFigures
from benchmarks.prerestore.settings import PreRestoreBenchmarkSettings
from benchmarks.prerestore.targets import TARGETS
from benchmarks.prerestore.tasks import MethodResult, RealFilmFigures

FIGURES = {
    #              psnr  ssim  warp  flicker
    REFERENCE: (None, None, 2.0, 0.0010),
    REPAIR: (27.0, 0.70, 4.0, 0.0200),
    EVEN: (27.6, 0.71, 3.5, 0.0050),
    NLM: (27.5, 0.74, 2.4, 0.0052),
    PER_FRAME: (28.2, 0.78, 2.6, 0.0050),
    NETWORK: (29.2, 0.80, 2.4, 0.0045),
    DEFAULT: (28.4, 0.77, 2.7, 0.0055),
    FLICKERING: (27.9, 0.69, 2.3, 0.0210),
}


def _row(psnr, ssim, warp_error, flicker):
    return PictureFigures(psnr=psnr, ssim=ssim, detail=0.8, residue=1.0, warp_error=warp_error, flicker=flicker)


def _report(**changed) -> PreRestoreReport:
    rows = [
        MethodResult(clip=f"{source}/1940s", preset="1940s", method=name, figures=_row(*figures))
        for name, figures in FIGURES.items()
        for source in ("dog", "seeking")
    ]
    cost = MethodCost(
        seconds_per_frame=0.4, cpu_seconds_per_frame=0.7, peak_mb=900.0, loaded_mb=300.0, threads=2, frames=96
    )
    made = PreRestoreReport(
        figures=grouped(rows, ("1940s",)),
        clips=rows,
        costs={NETWORK: cost, NLM: replace(cost, seconds_per_frame=2.5)},
        peaks={24: 880.0, 96: 900.0},
        real=[],
        network={"file": "net.safetensors", "parameters": 12345},
        settings=PreRestoreBenchmarkSettings(),
        machine={"cpu_count": 2, "torch": "2", "opencv": "4", "minutes": 0.5},
    )
    return replace(made, **changed)


def _changed(name: str, **figures) -> PreRestoreReport:
    report = _report()
    rows = dict(report.figures[ALL])
    rows[name] = replace(rows[name], **figures)
    return replace(report, figures={ALL: rows})


def _target(words: str):
    found = [target for target in TARGETS if words in target.what]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    ("words", "name", "value", "text"),
    [
        ("PSNR above repair", NETWORK, 2.2, "2.20 dB"),
        ("PSNR above repair", DEFAULT, 1.4, "1.40 dB missed"),
        ("PSNR above what", NETWORK, 1.6, "1.60 dB"),
        ("PSNR above what", DEFAULT, 0.8, "0.80 dB missed"),
        ("PSNR above what", FLICKERING, 0.9, "0.90 dB missed"),
        ("SSIM above repair", NETWORK, 0.1, "0.1000"),
        ("SSIM above what", NETWORK, 0.09, "0.0900"),
        ("SSIM above what", FLICKERING, -0.01, "-0.0100 missed"),
        ("PSNR above fast", NETWORK, 1.7, "1.70 dB"),
        ("SSIM above fast", DEFAULT, 0.03, "0.0300"),
        ("PSNR above the network per", DEFAULT, 0.2, "0.20 dB"),
        ("SSIM above the network per", DEFAULT, -0.01, "-0.0100 missed"),
        ("warp error", NETWORK, 1.2, "1.200"),
        ("warp error", DEFAULT, 1.35, "1.350 missed"),
        ("flicker", NETWORK, 0.9, "0.900"),
        ("flicker", DEFAULT, 1.1, "1.100 missed"),
        ("flicker", FLICKERING, 1.05, "1.050 missed"),
        ("a frame", NETWORK, 0.4, "0.400 s"),
        ("peak memory", NETWORK, 900 / 880, "1.023"),
    ],
)
def test_targets_read_the_right_figures(words, name, value, text):
    target = _target(words)
    assert target.measure(_report())[name] == pytest.approx(value)
    assert target.reached(_report(), name) == text
    assert target.met(_report(), name) is not text.endswith("missed")


def test_equal_is_not_above_but_enough_where_a_bound_is_named():
    base = _report().figures[ALL]
    equal = _changed(NETWORK, psnr=base[NLM].psnr, ssim=base[REPAIR].ssim, flicker=base[EVEN].flicker)
    assert not _target("PSNR above fast").met(equal, NETWORK)
    assert not _target("SSIM above repair").met(equal, NETWORK)
    assert _target("flicker").met(equal, NETWORK)
    assert _target("PSNR above repair").met(_changed(NETWORK, psnr=28.5), NETWORK)
    assert _target("warp error").met(_changed(NETWORK, warp_error=2.5), NETWORK)
    assert not _target("warp error").met(_changed(NETWORK, warp_error=2.51), NETWORK)


def test_a_better_baseline_takes_the_target_away():
    assert _target("PSNR above fast").met(_report(), NETWORK)
    assert not _target("PSNR above fast").met(_changed(NLM, psnr=29.3), NETWORK)
    assert not _target("SSIM above the network per").met(_changed(PER_FRAME, ssim=0.81), NETWORK)
    assert not _target("PSNR above repair").met(_changed(REPAIR, psnr=27.8), NETWORK)
    assert not _target("PSNR above what").met(_changed(EVEN, psnr=27.8), NETWORK)
    assert not _target("peak memory").met(_report(peaks={24: 800.0, 96: 900.0}), NETWORK)


def test_what_was_not_measured_is_neither_met_nor_missed():
    bare = _report(costs={}, peaks={24: None, 96: None})
    assert _target("a frame").met(bare, NETWORK) is None and _target("a frame").reached(bare, NETWORK) == "–"
    assert _target("peak memory").reached(bare, NETWORK) == "–"
    assert _target("PSNR above fast").reached(_report(), REFERENCE) == "–"


def test_tables_and_page_show_it_all(tmp_path):
    real = RealFilmFigures(
        film="market",
        frames=40,
        flicker_before=0.02,
        flicker_after=0.01,
        warp_error_before=3.0,
        warp_error_after=None,
        texture_before=5.5,
        texture_after=3.25,
    )
    report = _report(real=[real])
    text = format_report(report)
    for words in ("Targets", "1940s (dog, seeking)", "Real films", "streamed", "≥ 1.50 dB", "missed", "5.50"):
        assert words in text
    assert "nan" not in text and "None" not in text
    write_page(report, tmp_path / "docs" / "page.md", command="do it --all", pictures=tmp_path / "docs" / "looks")
    page = (tmp_path / "docs" / "page.md").read_text()
    assert "do it --all" in page and "`looks`" in page and "`net.safetensors` with 12,345 parameters" in page
    assert "| PSNR above repair alone | ≥ 1.50 dB | 2.20 dB | 1.40 dB missed | 0.90 dB missed |" in page
    assert "{" not in page
    report.write_json(tmp_path / "figures.json")
    assert '"24": 880.0' in (tmp_path / "figures.json").read_text()
