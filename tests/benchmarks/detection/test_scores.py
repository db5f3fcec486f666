"""Scores of the detection benchmark by hand."""

import math

import pytest
import torch

from benchmarks.detection import scores as film_scores
from benchmarks.detection.methods import Masks
from benchmarks.detection.sources.aged import AgedClip
from benchmarks.detection.sources.strata import DIRT_KINDS, LINE_KINDS

COUNT, HEIGHT, WIDTH = 3, 24, 40


def _clip() -> AgedClip:
    """Grey frames: a speck of dirt and a hair in the first, a line of depth 6 at column 30 with a gap in all."""
    undamaged = torch.full((COUNT, 3, HEIGHT, WIDTH), 0.5)
    dirt = torch.zeros(COUNT, HEIGHT, WIDTH, dtype=torch.uint8)
    dirt[0, 4:6, 4:6] = 1
    dirt[0, 12, 4:12] = 2
    courses = torch.zeros(COUNT, HEIGHT, WIDTH, dtype=torch.bool)
    courses[:, :, 30] = True
    lines = courses.to(torch.uint8)
    lines[:, 10:14] = 0
    aged = undamaged.clone()
    aged += (lines > 0)[:, None] * -6 / 255
    aged = torch.where((dirt > 0)[:, None], torch.zeros_like(aged), aged)
    return AgedClip(
        name="hand/persistent",
        stratum="persistent",
        locked=False,
        aged=aged,
        undamaged=undamaged,
        steady=undamaged,
        dirt=dirt,
        lines=lines,
        faint=torch.zeros(COUNT, HEIGHT, WIDTH, dtype=torch.bool),
        courses=courses,
        flow=torch.zeros(COUNT - 1, 2, HEIGHT, WIDTH),
        visible=torch.ones(COUNT - 1, HEIGHT, WIDTH, dtype=torch.bool),
    )


def test_recall_goes_by_kind_and_precision_over_all():
    clip = _clip()
    marked = torch.zeros(COUNT, HEIGHT, WIDTH)
    marked[0, 4:6, 4:6] = 1  # the speck: 4 of 12 dirty pixels
    marked[1, 20, 10:16] = 1  # six false alarms
    marked[1, 2:4, 30] = 1  # on the line: counts neither way
    tally = film_scores.tally_dirt(clip, Masks(dirt=marked))
    figures = film_scores.detection_figures(tally, DIRT_KINDS)
    assert figures.recall == pytest.approx((4 / 12, 4 / 12, 4 / 12))
    assert figures.precision == pytest.approx((4 / 10, 4 / 10, 4 / 10))
    assert figures.f1[0] == pytest.approx(2 * (1 / 3) * 0.4 / (1 / 3 + 0.4))
    assert figures.recall_by_kind == {"dirt": 1.0, "hair": 0.0, "blotch": None}
    line_pixels = COUNT * (HEIGHT - 4)
    assert figures.false_alarm[0] == pytest.approx(6 / (COUNT * HEIGHT * WIDTH - 12 - line_pixels))
    assert figures.false_alarm_far == pytest.approx(6 / (COUNT * HEIGHT * WIDTH))
    assert figures.average_precision is None and figures.recall_at_alarm is None


def test_a_line_marked_through_its_gap_is_told_from_one_that_is_not_there():
    clip = _clip()
    through = clip.courses.float()
    figures = film_scores.detection_figures(film_scores.tally_lines(clip, Masks(lines=through)), LINE_KINDS)
    assert figures.recall[0] == 1
    # At 1 px the two middle rows of the gap are away from the line.
    assert figures.precision == pytest.approx((20 / 24, 22 / 24, 1.0))
    assert figures.false_alarm_far == 0
    assert figures.recall_by_kind == {"line 6": 1.0, "line 10": None, "line 20": None}
    phantom = through.clone()
    phantom[:, :, 20] = 1
    figures = film_scores.detection_figures(film_scores.tally_lines(clip, Masks(lines=phantom)), LINE_KINDS)
    assert figures.false_alarm_far == pytest.approx(1 / WIDTH)


def test_scores_give_a_curve_beside_the_mask():
    clip = _clip()
    scores = torch.zeros(COUNT, HEIGHT, WIDTH)
    scores[clip.dirt == 1] = 0.9
    scores[1, 20, 10:16] = 0.7
    scores[clip.dirt == 2] = 0.4
    masks = Masks(dirt=(scores >= 0.5).float(), dirt_probability=scores)
    figures = film_scores.detection_figures(film_scores.tally_dirt(clip, masks), DIRT_KINDS)
    # 4 of 12 at precision 1, then all at 12 of 18.
    assert figures.average_precision[0] == pytest.approx(4 / 12 + 8 / 12 * 12 / 18)
    assert figures.best_f1 == pytest.approx(2 * 1 * (12 / 18) / (1 + 12 / 18))
    assert 0.37 < figures.best_threshold <= 0.4
    # Six of about 2800 undamaged pixels are more than 0.1 %.
    assert figures.recall_at_alarm == pytest.approx(4 / 12)


def test_nothing_to_look_for_is_no_score():
    clip = _clip()
    assert film_scores.tally_dirt(clip, Masks()) is None
    assert film_scores.tally_lines(clip, Masks(dirt=clip.dirt.float())) is None
    assert film_scores.pooled([None, None]) is None
    one = film_scores.tally_dirt(clip, Masks(dirt=torch.zeros(COUNT, HEIGHT, WIDTH)))
    both = film_scores.pooled([one, None, one])
    assert both.pixels == 2 * COUNT * HEIGHT * WIDTH
    figures = film_scores.detection_figures(both, DIRT_KINDS)
    assert figures.recall[1] == 0 and figures.precision[1] is None and figures.f1[1] == 0


def test_a_perfect_repair_scores_perfectly():
    clip = _clip()
    masks = Masks(dirt=(clip.dirt > 0).float(), lines=(clip.lines > 0).float())
    figures = film_scores.repair_figures(clip, clip.undamaged, masks)
    assert figures.psnr["all"] == figures.psnr["hair"] == figures.psnr["line 6"] == figures.psnr_whole == 99
    assert figures.psnr["blotch"] is None and figures.ssim["blotch"] is None
    assert figures.ssim["all"] == pytest.approx(1)
    assert (figures.outside_max, figures.outside_changed) == (0, 0)
    assert (figures.flicker, figures.warp_error) == (0, 0)


def test_psnr_is_measured_inside_each_kind_and_change_outside_the_masks():
    clip = _clip()
    output = clip.aged.clone()
    output[:, :, 20, 20] += 10 / 255
    masks = Masks(dirt=(clip.dirt > 0).float(), lines=(clip.lines > 0).float())
    figures = film_scores.repair_figures(clip, output, masks)
    assert figures.psnr["dirt"] == pytest.approx(10 * math.log10(1 / 0.25), abs=1e-4)
    assert figures.psnr["line 6"] == pytest.approx(20 * math.log10(255 / 6), abs=1e-3)
    transient, line = 12 * 0.25, 60 * (6 / 255) ** 2
    assert figures.psnr["all"] == pytest.approx(10 * math.log10(72 / (transient + line)), abs=1e-3)
    assert figures.outside_max == pytest.approx(10, abs=1e-3)
    sound = COUNT * HEIGHT * WIDTH - 16 - 3 * 10 - COUNT * 3 * (HEIGHT - 2)
    assert figures.outside_changed == pytest.approx(COUNT / sound)
    assert film_scores.reference_figures(clip, output).outside_max is None


def test_temporal_figures_are_those_of_the_film_that_is_shown():
    clip = _clip()
    shown = clip.undamaged.clone()
    shown[1] += 20 / 255
    figures = film_scores.repair_figures(clip, clip.undamaged, shown=shown)
    assert figures.warp_error == pytest.approx(20, abs=0.01)
    assert figures.flicker > 0.03
    assert figures.psnr_whole == 99


def test_means_skip_what_does_not_apply_and_keep_the_worst_change():
    clip = _clip()
    masks = Masks(dirt=(clip.dirt > 0).float(), lines=(clip.lines > 0).float())
    good = film_scores.repair_figures(clip, clip.undamaged, masks)
    bad = film_scores.repair_figures(clip, clip.aged + 1 / 255, masks)
    mean = film_scores.mean_repair([good, bad])
    assert mean.psnr["dirt"] == pytest.approx((99 + bad.psnr["dirt"]) / 2)
    assert mean.psnr["blotch"] is None
    assert mean.outside_max == pytest.approx(1, abs=1e-3)
