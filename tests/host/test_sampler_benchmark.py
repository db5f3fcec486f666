"""The sampler benchmark on the real host, tiny: every variant runs, and what must be equal is. No clock is judged."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from benchmarks.sampler.benchmark import LARGEST_DIFFERENCE, run_sampler_benchmark
from benchmarks.sampler.settings import SamplerBenchmarkSettings
from benchmarks.sampler.variants import GROUPS, VARIANTS
from benchmarks.sampler.worker import sampler_worker
from vldm_core.cli.app import app
from vldm_core.errors import VLDMError

pytestmark = pytest.mark.host

TINY = SamplerBenchmarkSettings(
    width=32,
    vae_width=32,
    frames=4,
    long_frames=10,
    latent=8,
    window_length=4,
    window_overlap=1,
    attention_stride=2,
    decode_frames=2,
    decode_latent=16,
    rounds=1,
    threads=1,
)


def test_every_variant_runs_and_equals_what_it_must(host_folder):
    flops = {}
    with sampler_worker(host_folder, 1) as worker:
        for group in GROUPS:
            # Two steps where the noise levels of two hosts meet.
            settings = replace(TINY, steps=2) if group == "diffusers_animatediff" else TINY
            loaded = worker.load(group, settings)
            if group == "ade_v2":
                # It knows full width only.
                assert loaded.left_out is not None and "AnimateDiff-Evolved" in loaded.left_out
                continue
            assert loaded.left_out is None
            for name in GROUPS[group]:
                flops[group, name] = worker.warm_up(name)
            for name in GROUPS[group]:
                run = worker.run(name, 0)
                assert (run.group, run.variant) == (group, name)
                assert run.seconds > 0 and run.cpu_seconds > 0 and (run.peak_mb is None or run.peak_mb >= 0)
            for name in GROUPS[group]:
                difference = worker.check(name)
                assert (difference is None) == (VARIANTS[name].equal_to is None)
                assert difference is None or difference < 0.1 * LARGEST_DIFFERENCE, name
        with pytest.raises(VLDMError, match="KeyError"):
            worker.warm_up("no_such_variant")

    # Three windows of four frames cover ten: 12 / 10 of the UNet's work, and of the control's.
    assert flops["windows", "windows"] == pytest.approx(1.2 * flops["windows", "stock_long"], rel=2e-3)
    controlled = flops["hints_windows", "control_long"]
    assert controlled > 1.3 * flops["windows", "stock_long"]
    assert flops["hints_windows", "hints_windows"] == pytest.approx(1.2 * controlled, rel=2e-3)
    # diffusers does the same arithmetic; only its shift of the positions is not folded.
    rivals = {name: flops["diffusers_animatediff", name] for name in GROUPS["diffusers_animatediff"]}
    assert rivals["diffusers_unet"] == pytest.approx(rivals["stock"], rel=1e-2)
    assert rivals["diffusers_animatediff"] == pytest.approx(rivals["motion_v2"], rel=5e-2)
    assert flops["motion_v2", "stock"] < flops["motion_v3", "motion_v3"] < flops["motion_v2", "motion_v2"]
    assert flops["temporal_layers", "stock"] < flops["temporal_layers", "temporal_layers"]
    assert flops["shot_lora", "stock"] < flops["shot_lora", "shot_lora"]
    # Two tiles that share six latents of 32; the host's three layouts.
    assert flops["decode", "decode_chunks"] == flops["decode", "frame_by_frame"] == flops["decode", "decode_batch"]
    assert 1.1 < flops["decode", "decode_tiles"] / flops["decode", "frame_by_frame"] < 1.25
    assert flops["decode", "decode_host_tiles"] > 2.9 * flops["decode", "frame_by_frame"]


def test_report(host_folder, tmp_path):
    settings = SamplerBenchmarkSettings(
        width=32, frames=2, long_frames=10, window_length=4, window_overlap=1, attention_stride=2, latent=8, rounds=2,
        threads=1, groups=("temporal_layers", "ade_v2"),
    )  # fmt: skip
    seen = []
    report = run_sampler_benchmark(
        host_folder,
        json_path=tmp_path / "out" / "sampler.json",
        settings=settings,
        progress=lambda phase, done, total, preview=None: seen.append((phase, done, total)),
    )
    stored = json.loads((tmp_path / "out" / "sampler.json").read_text())
    assert stored == json.loads(json.dumps(report.as_dict()))
    assert set(stored) == {"machine", "settings", "summary", "rounds", "left_out"}
    assert set(stored["summary"]) == {"stock", "temporal_layers"}
    for figures in stored["summary"].values():
        assert {"seconds_per_frame_step", "ratio", "peak_mb"} <= set(figures)
        assert figures["seconds_per_frame_step"] > 0
    assert stored["summary"]["stock"]["ratio"] == 1
    assert [(run["round"], run["variant"]) for run in stored["rounds"]] == [
        (0, "stock"), (0, "temporal_layers"), (1, "temporal_layers"), (1, "stock"),
    ]  # fmt: skip
    assert set(stored["left_out"]) == {"ade_v2"}
    assert {"cpu", "cpu_count", "threads", "torch", "comfyui"} <= set(stored["machine"])
    assert ("temporal_layers (1/2)", 6, 6) in seen


def test_command_without_host(tmp_path):
    result = CliRunner().invoke(app, ["benchmark", "sampler", "--quick", "--host", str(tmp_path)])
    assert result.exit_code == 1
    assert "no ComfyUI" in result.output
