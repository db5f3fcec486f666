"""The film benchmark end to end on a tiny data folder, and its parts."""

import json
import math
from dataclasses import fields
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from vldm_core.errors import FilmFileError, SettingsError, VLDMError
from vldm_core.evaluation import film_material, real_film
from vldm_core.evaluation.film_benchmark import format_report, run_film_benchmark
from vldm_core.evaluation.film_methods import METHODS, Masks
from vldm_core.evaluation.film_scores import Scores, mean_scores, score_repair, score_restoration, score_untouched
from vldm_core.evaluation.film_settings import FilmBenchmarkSettings
from vldm_core.evaluation.method_worker import MethodRun, method_worker
from vldm_core.evaluation.metrics import dilate

SUMMARY_KEYS = {
    "dirt_recall",
    "dirt_precision",
    "dirt_f1",
    "line_recall",
    "line_false_alarm",
    "psnr_inside",
    "outside_max",
    "flicker",
    "warp_error",
    "seconds_per_frame",
    "peak_mb",
}
TINY = FilmBenchmarkSettings(frames=5, height=96, width=128, photos=(), methods=("ours", "median", "line_vote"), seed=7)


def _moving_texture(seed: int, count: int, height: int = 96, width: int = 128) -> np.ndarray:
    """RGB frames (T, H, W, 3) uint8 of a smooth random texture that moves 1 px a frame."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((1, 3, height // 8, (width + count) // 8), dtype=np.float32))
    wide = torch.nn.functional.interpolate(coarse, (height, width + count), mode="bicubic", align_corners=False)
    picture = (wide[0].clamp(0, 1) * 130 + 60).permute(1, 2, 0).numpy().astype(np.uint8)
    return np.stack([picture[:, step : step + width] for step in range(count)])


def _write_film(path: Path, frames: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    _write_film(folder / "clips" / "alpha.mp4", _moving_texture(1, 8))
    _write_film(folder / "clips" / "beta.mp4", _moving_texture(2, 8))
    return folder


@pytest.fixture(scope="module")
def aged(data) -> film_material.AgedClip:
    clean = next(film_material.clean_clips(data, TINY))
    return film_material.age(clean, "fixed", TINY)


@pytest.fixture(scope="module")
def report(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "figures" / "film.json"
    seen = []
    # On frames this small a second thread costs more than it brings.
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made = run_film_benchmark(data, json_path=path, settings=TINY, progress=lambda *args: seen.append(args[:3]))
    monkeypatch.undo()
    return made, json.loads(path.read_text()), seen


def _numbers(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from _numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, (int, float)):
        yield value


def test_json_holds_every_method_with_every_figure(report):
    _, stored, _ = report
    assert set(stored["summary"]) == {*TINY.methods, "untouched", "undamaged"}
    for figures in stored["summary"].values():
        assert set(figures) >= SUMMARY_KEYS
    assert all(math.isfinite(number) for number in _numbers(stored))
    shares = ("dirt_recall", "dirt_precision", "dirt_f1", "line_recall", "line_false_alarm")
    for figures in stored["summary"].values():
        assert all(figures[name] is None or 0 <= figures[name] <= 1 for name in shares)
    assert stored["machine"]["cpu_count"] >= 1
    assert stored["machine"]["torch"] == torch.__version__
    assert stored["settings"]["frames"] == 5


def test_figures_that_do_not_apply_are_null(report):
    _, stored, _ = report
    assert all(stored["summary"]["ours"][name] is not None for name in SUMMARY_KEYS)
    assert stored["summary"]["ours"]["outside_max"] == 0
    assert stored["summary"]["median"]["dirt_recall"] is None
    assert stored["summary"]["median"]["outside_max"] > 0
    assert stored["summary"]["line_vote"]["psnr_inside"] is None
    assert stored["summary"]["untouched"]["seconds_per_frame"] is None


def test_every_clip_is_run_by_every_method(report):
    _, stored, _ = report
    names = [*TINY.methods, "untouched", "undamaged"]
    expected = ["alpha/fixed", "alpha/drifting", "beta/fixed", "beta/weave"]
    assert [(row["clip"], row["method"]) for row in stored["clips"]] == [(c, n) for c in expected for n in names]
    assert set(stored["strata"]) == {"fixed", "drifting", "weave"}
    values = [row["psnr_inside"] for row in stored["clips"] if row["method"] == "median"]
    assert stored["summary"]["median"]["psnr_inside"] == pytest.approx(sum(values) / 4)
    assert set(stored["repair_known_mask"]) == {"ours", "median", "untouched"}
    alarms = {(row["clip"], row["method"]) for row in stored["clean_false_alarms"]}
    assert alarms == {(clip, name) for clip in ("alpha", "beta", "mean") for name in ("ours", "line_vote")}
    assert stored["real"] == []


def test_cost_is_measured_per_process(report):
    _, stored, _ = report
    for name in TINY.methods:
        assert stored["summary"][name]["seconds_per_frame"] > 0
        assert stored["summary"][name]["peak_mb"] >= stored["methods"][name]["loaded_mb"] > 20


def test_progress_reaches_the_end_of_every_phase(report):
    _, _, seen = report
    last = {phase: (done, total) for phase, done, total in seen}
    assert list(last) == ["age clips", "ours (1/3)", "median (2/3)", "line_vote (3/3)"]
    assert all(done == total for done, total in last.values())


def test_table_names_methods_clips_and_means(report):
    made, _, _ = report
    text = format_report(made)
    for word in (*TINY.methods, "alpha/fixed", "beta/weave", "Mean over all clips", "Repair with the true masks"):
        assert word in text
    assert "nan" not in text


def test_progress_may_interrupt(data):
    def stop(phase, done, total, preview=None):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_film_benchmark(data, settings=TINY, progress=stop)


def test_ageing_damages_only_what_the_truth_says(aged):
    """Grain and everything global are the same with and without the local damage."""
    change = (aged.aged - aged.undamaged).abs().amax(dim=1) * 255
    damage = aged.dirt | (aged.lines > 0)
    assert damage.any()
    # Soft rims and faint blotches stay below the 8 grey levels that make the truth, give or take the grain's response.
    assert float(change[~damage].max()) < 14
    assert float((change[~damage] == 0).float().mean()) > 0.9
    assert float(change[aged.dirt].mean()) > 20
    for number, depth in enumerate(film_material.LINE_DEPTHS):
        on_line = (aged.lines == number + 1) & ~dilate(aged.dirt, 2)
        assert depth * 0.4 < float(change[on_line].mean()) < depth * 1.1


def test_ageing_depends_on_seed_and_name_alone(data, aged):
    again = film_material.age(next(film_material.clean_clips(data, TINY)), "fixed", TINY)
    assert torch.equal(again.aged, aged.aged)
    assert torch.equal(again.lines, aged.lines)


def test_the_flicker_stratum_has_a_steady_twin(data):
    clip = film_material.age(next(film_material.clean_clips(data, TINY)), "flicker", TINY)
    levels = clip.undamaged.mean(dim=(1, 2, 3)) / clip.steady.mean(dim=(1, 2, 3))
    assert float(levels.std()) > 0.01


def test_a_clip_survives_saving(aged, tmp_path):
    aged.save(tmp_path / "clip.npz")
    back = film_material.AgedClip.load(tmp_path / "clip.npz")
    for name in ("aged", "undamaged", "steady", "dirt", "lines", "faint", "courses", "visible"):
        assert torch.equal(getattr(back, name), getattr(aged, name))
    assert float((back.flow - aged.flow).abs().max()) < 0.02
    assert (back.name, back.stratum) == (aged.name, aged.stratum)


def test_a_perfect_restoration_scores_perfectly(aged):
    masks = Masks(dirt=aged.dirt.float(), lines=(aged.lines > 0).float())
    run = MethodRun(masks=masks, output=aged.undamaged, even=None, seconds=1.2, deflicker_seconds=0.0, peak_mb=100.0)
    scores = score_restoration(aged, run)
    assert (scores.dirt_f1, scores.line_recall, scores.line_false_alarm, scores.line_false_alarm_far) == (1, 1, 0, 0)
    assert scores.psnr_inside == scores.psnr_whole == 99
    assert scores.seconds_per_frame == pytest.approx(0.24)
    untouched = score_untouched(aged)
    assert untouched.psnr_inside < 35
    assert untouched.warp_error > scores.warp_error
    repair = score_repair(aged, aged.undamaged)
    assert repair.psnr_line_depths == (99, 99, 99)


def test_a_line_that_is_not_there_is_told_from_one_marked_too_broadly(aged):
    broad = dilate(aged.courses, 2).float()
    phantom = torch.zeros_like(broad)
    phantom[:, :, 1] = 1
    assert not bool((dilate(aged.courses, 2)[:, :, 1]).any())
    for lines, far in ((broad, 0), (torch.maximum(broad, phantom), 1 / 128)):
        run = MethodRun(
            masks=Masks(lines=lines), output=None, even=None, seconds=1.0, deflicker_seconds=0.0, peak_mb=None
        )
        scores = score_restoration(aged, run)
        assert scores.line_false_alarm > 0.01
        assert scores.line_false_alarm_far == pytest.approx(far)


def test_means_skip_what_does_not_apply_and_keep_the_worst_extremes():
    rows = [Scores(psnr_inside=30.0, peak_mb=1.0, outside_max=2.0), Scores(dirt_f1=0.5, peak_mb=3.0), Scores()]
    mean = mean_scores(rows)
    assert (mean.psnr_inside, mean.dirt_f1, mean.peak_mb, mean.outside_max) == (30, 0.5, 3, 2)
    rest = {field.name for field in fields(Scores)} - {"psnr_inside", "dirt_f1", "peak_mb", "outside_max"}
    assert all(getattr(mean, name) is None for name in rest)


def test_sources_are_spread_evenly_and_photos_pan(tmp_path):
    import cv2

    for number in range(5):
        (tmp_path / "clips").mkdir(exist_ok=True)
        (tmp_path / "clips" / f"{number}.mp4").touch()
    settings = FilmBenchmarkSettings(sources=3, photos=())
    assert [path.stem for path in film_material.find_sources(tmp_path, settings)] == ["0", "2", "4"]
    photo = _moving_texture(3, 1, 200, 320)[0]
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "still.png"), photo)
    only = FilmBenchmarkSettings(frames=4, height=96, width=128, photos=("still.png", "missing.png"))
    for path in (tmp_path / "clips").iterdir():
        path.unlink()
    (clip,) = film_material.clean_clips(tmp_path, only)
    assert clip.frames.shape == (4, 3, 96, 128)
    steps = [float((clip.frames[t + 1] - clip.frames[t]).abs().mean()) for t in range(3)]
    assert min(steps) > 0.001


def test_folders_without_material_and_short_clips_are_refused(tmp_path):
    with pytest.raises(FilmFileError, match="holds no clips"):
        film_material.find_sources(tmp_path, TINY)
    _write_film(tmp_path / "clips" / "short.mp4", _moving_texture(1, 3))
    with pytest.raises(FilmFileError, match="has 3 frames; the benchmark needs 5"):
        next(film_material.clean_clips(tmp_path, TINY))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 2}, "at least 4 frames"),
        ({"width": 32}, "64 px or more"),
        ({"sources": 0}, "at least 1 source"),
        ({"seed": -1}, "seed is -1"),
        ({"methods": ("telea",)}, "choose 'ours' and others"),
        ({"methods": ("ours", "magic")}, "magic"),
    ],
)
def test_settings_are_checked(change, message):
    with pytest.raises(SettingsError, match=message):
        FilmBenchmarkSettings(**change)


def test_a_worker_that_fails_says_why():
    with method_worker("median") as worker, pytest.raises(VLDMError, match="at least 3 frames, got 2"):
        worker.run(torch.zeros(2, 3, 32, 32), "restore")


def test_every_method_can_do_something():
    assert all(method.detect is not None or method.repair is not None for method in METHODS.values())


def _film_with_line(depth: float) -> torch.Tensor:
    """Moving noise, 368×480, with a dark line where the San Francisco film has one."""
    rng = np.random.default_rng(0)
    film = torch.from_numpy(rng.normal(0.5, 0.02, (4, 1, 368, 480)).astype(np.float32)).expand(-1, 3, -1, -1).clone()
    film[:, :, real_film.LINE_ROWS[0] : real_film.LINE_ROWS[1], 287:289] -= depth / 255
    return film


def test_depth_of_the_real_line_is_measured_and_its_removal_too():
    before, after = _film_with_line(4.0), _film_with_line(0.5)
    mask = torch.zeros(4, 368, 480)
    mask[:3, 30:200, 286:289] = 1
    mask[3, 30:100, 286:289] = 1
    result = real_film.measure_line(before, after, mask)
    assert result.depth_before == pytest.approx(4.0, abs=0.4)
    assert result.depth_after == pytest.approx(0.5, abs=0.4)
    assert result.depth_ratio == pytest.approx(result.depth_after / result.depth_before)
    assert (result.frames, result.frames_detected) == (4, 3)
    assert result.rows_covered == pytest.approx((3 * 170 + 70) / 4 / 308)
    assert result.mask_share == pytest.approx((3 * 170 + 70) * 3 / 4 / 368 / 480)


def test_a_mask_beside_the_line_does_not_count():
    mask = torch.zeros(1, 368, 480)
    mask[:, :, 290:300] = 1
    mask[:, :, :286] = 1
    assert float(real_film.rows_touched(mask, real_film.LINE_COLUMNS, real_film.LINE_ROWS)) == 0


def test_the_real_line_is_there(shared_data):
    film = film_material.read_film(shared_data("film/san_francisco_1906.mkv"))
    depths = real_film.line_depths(film, real_film.LINE_COLUMNS, real_film.LINE_ROWS)
    assert len(depths) == 49
    assert 2 < float(depths.mean()) < 4
    elsewhere = real_film.line_depths(film, (240, 241), real_film.LINE_ROWS)
    assert abs(float(elsewhere.mean())) < 0.5
