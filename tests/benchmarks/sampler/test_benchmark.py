"""The sampler benchmark's figures, settings, order of runs and report, with a worker that only pretends."""

import json
from contextlib import contextmanager
from dataclasses import replace

import pytest

from benchmarks.sampler import benchmark as sampler_benchmark
from benchmarks.sampler.benchmark import format_report, run_sampler_benchmark
from benchmarks.sampler.settings import SamplerBenchmarkSettings
from benchmarks.sampler.statistics import Measurement, best_ratio, round_ratios, summarise
from benchmarks.sampler.variants import GROUPS, STOCK, VARIANTS, in_order
from benchmarks.sampler.worker import HostNotFoundError, Loaded, find_host
from vldm_core.errors import SettingsError, VLDMError

SETTINGS = SamplerBenchmarkSettings(frames=4, steps=2, rounds=3)


def run(variant: str, seconds: float, number: int = 0, group: str = "motion_v2", **more) -> Measurement:
    values = {"cpu_seconds": 2 * seconds, "peak_mb": 100.0, **more}
    return Measurement(group=group, round=number, variant=variant, seconds=seconds, **values)


def test_every_variant_has_a_group_and_its_references_run_before_it_there():
    assert {name for names in GROUPS.values() for name in names} == set(VARIANTS)
    for names in GROUPS.values():
        for place, name in enumerate(names):
            variant = VARIANTS[name]
            for reference in (variant.against, *variant.also, variant.equal_to):
                assert reference is None or reference in names[:place], name
    for variant in VARIANTS.values():
        assert variant.against is None or VARIANTS[variant.against].against is None
    assert in_order(["windows", STOCK, "windows"]) == (STOCK, "windows")


def test_ratios_are_formed_inside_a_round():
    # The machine is ten times slower in the second round; only ratios of neighbours do not see it.
    runs = [run(STOCK, 1), run("motion_v2", 1.5), run(STOCK, 10, 1), run("motion_v2", 14, 1), run("motion_v2", 99, 2)]
    assert round_ratios(runs, "motion_v2", STOCK) == (1.5, 1.4)
    # A round of another process is another round.
    runs += [run(STOCK, 2, 0, "ade_v2"), run("motion_v2", 4, 0, "ade_v2")]
    assert round_ratios(runs, "motion_v2", STOCK) == (1.5, 1.4, 2.0)
    assert round_ratios(runs, "ade_v2", STOCK) == ()


def test_fastest_runs_are_compared_within_a_process():
    runs = [run(STOCK, 3), run("motion_v2", 9), run(STOCK, 2, 1), run("motion_v2", 6, 1), run(STOCK, 5, 2)]
    assert best_ratio(runs, "motion_v2", STOCK) == 3
    runs += [run(STOCK, 1, 0, "ade_v2"), run("motion_v2", 5, 0, "ade_v2"), run("ade_v2", 4, 0, "ade_v2")]
    assert best_ratio(runs, "motion_v2", STOCK) == 4
    assert best_ratio(runs, "ade_v2", STOCK) == 4 and best_ratio(runs, "ade_v2", "stock_long") is None


def test_summary():
    times = [(1.0, 1.2), (4.0, 6.0), (2.0, 2.6)]
    runs = []
    for number, (reference, other) in enumerate(times):
        runs.append(run(STOCK, reference, number, peak_mb=50.0 + number))
        runs.append(run("motion_v2", other, number, cpu_seconds=reference * 2 * 1.1))
    summary = summarise(runs, SETTINGS, flops={STOCK: 100, "motion_v2": 140}, differences={"motion_v2": 1e-6})
    assert list(summary) == [STOCK, "motion_v2"]
    stock, ours = summary[STOCK], summary["motion_v2"]
    assert (stock.ratio, stock.cpu_ratio, stock.against, stock.met, stock.target) == (1, 1, None, None, None)
    assert stock.seconds_per_frame_step == 2.0 / 8 and stock.cpu_seconds_per_frame_step == 4.0 / 8
    assert stock.peak_mb == 51
    assert ours.ratio == pytest.approx(1.3) and ours.against == STOCK
    assert (ours.ratio_lowest, ours.ratio_highest) == (pytest.approx(1.2), pytest.approx(1.5))
    assert ours.best_ratio == pytest.approx(1.2) and stock.best_ratio == 1
    assert ours.cpu_ratio == pytest.approx(1.1)
    assert ours.flop_ratio == 1.4 and ours.difference == 1e-6
    assert ours.target == 1.36 and ours.met is True
    slower = [replace(r, seconds=2 * r.seconds) if r.variant == "motion_v2" else r for r in runs]
    assert summarise(slower, SETTINGS)["motion_v2"].met is False
    assert summarise([replace(r, peak_mb=None) for r in runs], SETTINGS)[STOCK].peak_mb is None


def test_further_references():
    group = "diffusers_animatediff"
    runs = [run(STOCK, 1, 0, group), run("diffusers_unet", 2, 0, group), run("diffusers_animatediff", 3, 0, group)]
    row = summarise(runs, SETTINGS)["diffusers_animatediff"]
    assert row.ratio == 3 and row.other_ratios == {"diffusers_unet": 1.5}


def test_targets_and_units():
    assert SETTINGS.target("windows").bound == pytest.approx(16 / 12 * 1.03)
    assert SETTINGS.target("temporal_layers").bound == 1.25 and SETTINGS.target(STOCK) is None
    assert SETTINGS.units(STOCK) == 8
    assert SETTINGS.units("windows") == SETTINGS.long_frames * 2
    assert SETTINGS.units("decode_tiles") == SETTINGS.decode_frames
    assert set(SamplerBenchmarkSettings().groups) == set(GROUPS)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"width": 100}, "multiple of 32"),
        ({"frames": 40}, "2 … 32"),
        ({"long_frames": 16}, "windows of 16"),
        ({"window_overlap": 16}, "overlap"),
        ({"attention_stride": 16}, "stride"),
        ({"latent": 12}, "multiple of 8"),
        ({"decode_latent": 8}, "decoded latents"),
        ({"rounds": 0}, "rounds is 0"),
        ({"threads": 0}, "threads"),
        ({"groups": ("ours",)}, "choose some"),
        ({"groups": ()}, "groups are none"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_are_checked(wrong, message):
    with pytest.raises(SettingsError, match=message):
        replace(SETTINGS, **wrong)


class PretendedWorker:
    """Answers at once: each variant twice as slow as the one before it in its group."""

    def __init__(self, log: list[tuple[str, str]], difference: float = 0.0) -> None:
        self.log, self.difference = log, difference

    def load(self, group: str, settings: SamplerBenchmarkSettings) -> Loaded:
        self.group = group
        return Loaded(left_out="it is not here" if group == "ade_v2" else None, versions={"torch": "0"})

    def warm_up(self, name: str) -> float:
        self.log.append(("warm up", name))
        return 10.0 * 2 ** GROUPS[self.group].index(name)

    def run(self, name: str, number: int) -> Measurement:
        self.log.append((f"round {number}", name))
        return run(name, 2.0 ** GROUPS[self.group].index(name), number, self.group)

    def check(self, name: str) -> float | None:
        return None if VARIANTS[name].equal_to is None else self.difference


@pytest.fixture
def pretended(monkeypatch, tmp_path):
    log: list[tuple[str, str]] = []

    def use(difference: float = 0.0) -> list[tuple[str, str]]:
        @contextmanager
        def worker(host, threads):
            log.append(("start", str(threads)))
            yield PretendedWorker(log, difference)

        monkeypatch.setattr(sampler_benchmark, "sampler_worker", worker)
        (tmp_path / "comfy").mkdir()
        (tmp_path / "main.py").touch()
        return log

    return use


def test_rounds_run_forth_and_back_in_one_process_per_group(pretended, tmp_path):
    log = pretended(difference=2e-6)
    settings = replace(SETTINGS, groups=("windows", "ade_v2"), rounds=2)
    report = run_sampler_benchmark(tmp_path, settings=settings, json_path=tmp_path / "report.json")
    assert log == [
        ("start", "2"),
        ("warm up", "stock_long"),
        ("warm up", "windows"),
        ("round 0", "stock_long"),
        ("round 0", "windows"),
        ("round 1", "windows"),
        ("round 1", "stock_long"),
        ("start", "2"),
    ]
    stored = json.loads((tmp_path / "report.json").read_text())
    assert stored["summary"]["windows"]["ratio"] == 2 and stored["summary"]["windows"]["met"] is False
    assert stored["summary"]["windows"]["flop_ratio"] == 2 and stored["summary"]["windows"]["difference"] == 2e-6
    assert stored["left_out"] == {"ade_v2": "it is not here"}
    assert len(stored["rounds"]) == 4 and stored["settings"]["window_length"] == 16
    assert stored["machine"]["threads"] == 2 and stored["machine"]["torch"] == "0"

    text = format_report(report)
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "2.000" in lines["windows"] and "1.373" in lines["windows"] and " no " in lines["windows"]
    assert "windows 2e-06" in text and "ade_v2 left out: it is not here" in text
    assert "targets are meant" not in text
    assert "targets are meant" in format_report(replace(report, settings=replace(settings, width=64)))


def test_one_process_for_all_groups(pretended, tmp_path):
    log = pretended()
    settings = replace(SETTINGS, groups=("windows", "motion_v2"), rounds=1, process_per_group=False)
    report = run_sampler_benchmark(tmp_path, settings=settings)
    assert [entry for entry in log if entry[0] == "start"] == [("start", "2")]
    assert set(report.summary) == {"stock", "stock_long", "motion_v2", "windows"}


def test_a_variant_that_must_be_equal_and_is_not_ends_the_run(pretended, tmp_path):
    pretended(difference=0.01)
    with pytest.raises(VLDMError, match=r"windows differs from stock_long by 1.0e-02"):
        run_sampler_benchmark(tmp_path, settings=replace(SETTINGS, groups=("windows",)))


def test_host_is_named_or_found(tmp_path, monkeypatch):
    (tmp_path / "a" / "comfy").mkdir(parents=True)
    (tmp_path / "a" / "main.py").touch()
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path / "a"))
    assert find_host() == (tmp_path / "a").resolve()
    with pytest.raises(HostNotFoundError, match="COMFYUI_PATH"):
        find_host(tmp_path / "b")
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path / "b"))
    assert find_host(tmp_path / "a") == (tmp_path / "a").resolve()
    with pytest.raises(HostNotFoundError):
        find_host()
