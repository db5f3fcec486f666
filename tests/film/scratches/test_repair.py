"""Subtractive repair of scratches, against the truth and against inpainting."""

import weakref

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vldm_core.errors import SettingsError
from vldm_core.film.scratches.repair.cross_profile import straightened
from vldm_core.film.scratches.repair.mask_segments import find_segments
from vldm_core.film.scratches.repair.repair import RADIUS, ScratchRepairSettings, repair_scratches

from ...testers import windows_agree

HEIGHT, WIDTH, COUNT = 160, 200, 11


def scene(seed=1, speed=0.7, count=COUNT):
    """A panning textured scene, grey levels (T, H, W)."""
    rng = np.random.default_rng(seed)
    wide = rng.normal(size=(HEIGHT, WIDTH + 60)).astype(np.float32)
    smooth, fine = cv2.GaussianBlur(wide, (0, 0), 12), cv2.GaussianBlur(wide, (0, 0), 1.2)
    wide = 120 + 15 * smooth / smooth.std() + 9 * fine / fine.std()
    turns = [np.array([[1, 0, -20 - speed * t], [0, 1, 0]], np.float32) for t in range(count)]
    return np.array([cv2.warpAffine(wide, turn, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC) for turn in turns]).clip(0, 255)


def line(depth, x=90.3, *, tilt=0.0, drift=0.0, width=2.5, modulation=0.0, count=COUNT):
    """Added grey levels and a mask a little wider than what is seen."""
    y, columns = np.arange(HEIGHT), np.arange(WIDTH)
    centre = x + drift * np.arange(count)[:, None] + np.tan(np.deg2rad(tilt)) * (y - HEIGHT / 2)
    distance = np.abs(columns - centre[..., None])
    strength = 1 + modulation * np.sin(y / 20)
    added = depth * strength[:, None] * np.exp(-np.square(distance) / 2 / (width / 2.355) ** 2)
    return added.astype(np.float32), distance <= width * 0.9 + 0.7


def to_tensor(grey):
    return torch.from_numpy(np.round(grey.clip(0, 255)).astype(np.float32))[:, None].repeat(1, 3, 1, 1) / 255


def to_mask(mask):
    return torch.from_numpy(mask.astype(np.float32))


def psnr(result, clean, mask):
    return -10 * np.log10(np.mean(np.square((result[:, 0].numpy() - clean[:, 0].numpy())[mask])))


def telea(frames, mask):
    grey = (frames[:, 0].numpy() * 255).round().astype(np.uint8)
    filled = [cv2.inpaint(g, m.astype(np.uint8), 3, cv2.INPAINT_TELEA) for g, m in zip(grey, mask, strict=True)]
    return to_tensor(np.stack(filled).astype(np.float32))


@pytest.mark.parametrize(
    ("depth", "options", "gain"),
    [
        (10, {}, 4),
        (-10, {"tilt": 1.5, "drift": 0.3}, 4),
        (25, {"modulation": 0.3}, 6),
        (-60, {"width": 1.3}, 8),
    ],
)
def test_subtraction_beats_inpainting_and_the_damage(depth, options, gain):
    clean = to_tensor(scene())
    added, mask = line(depth, **options)
    damaged = to_tensor(scene() + added)
    repaired = repair_scratches(damaged, to_mask(mask))
    before, after = psnr(damaged, clean, mask), psnr(repaired, clean, mask)
    assert after > before + gain
    assert after > psnr(telea(damaged, mask), clean, mask) + 5


def test_lines_are_straightened_once_and_held_while_frames_look_at_them(monkeypatch):
    alive, most, made = weakref.WeakSet(), [0], []

    def counted(frame, mask):
        strips = straightened(frame, mask)
        alive.update(strips)
        made.append(len(strips))
        most[0] = max(most[0], len(alive))
        return strips

    monkeypatch.setattr("vldm_core.film.scratches.repair.repair.straightened", counted)
    count = 30
    added, mask = line(10, count=count)
    repair_scratches(to_tensor(scene(count=count) + added), to_mask(mask))
    assert made == [1] * count
    assert most[0] <= 2 * RADIUS + 1 < count


def test_nothing_outside_the_mask_changes():
    added, mask = line(12, tilt=2)
    damaged = to_tensor(scene() + added)
    repaired = repair_scratches(damaged, to_mask(mask))
    outside = torch.from_numpy(~mask)[:, None].expand_as(damaged)
    assert torch.equal(repaired[outside], damaged[outside])
    assert not torch.equal(repaired, damaged)


def test_a_mask_without_a_line_hardly_changes_the_picture():
    clean = to_tensor(scene(seed=5))
    _, mask = line(0)
    change = (repair_scratches(clean, to_mask(mask)) - clean).abs()[:, 0].numpy()[mask]
    assert change.mean() * 255 < 1.0


@pytest.mark.parametrize("seed", range(4))
def test_what_colours_the_scene_is_not_taken_for_a_coloured_line(seed):
    # A faint line in a mask that is too wide, before a scene at rest whose colour changes from column to column.
    rng = np.random.default_rng(seed)
    grey = scene(seed=seed, speed=0.0)
    added, _ = line(-1.5)
    tone = cv2.GaussianBlur(rng.normal(size=(1, WIDTH)).astype(np.float32), (0, 0), 2.0)
    frames = to_tensor(grey + added)
    frames[:, 2] = (frames[:, 2] + torch.from_numpy(0.03 * tone / tone.std())).clamp(0, 1)
    _, mask = line(0, width=7.5)
    change = (repair_scratches(frames, to_mask(mask)) - frames) * 255
    blue = (change[:, 2] - change[:, 1]).numpy()
    assert np.abs(np.where(mask, blue, 0).sum(axis=1) / mask.sum(axis=1).clip(1)).max() < 2.5


def test_an_empty_mask_changes_nothing():
    frames = to_tensor(scene(count=2))
    assert torch.equal(repair_scratches(frames, torch.zeros(2, HEIGHT, WIDTH)), frames)


@pytest.mark.parametrize(("size", "depth", "count"), [(3, 12, 16), (7, 12, 16), (8, -250, 24)])
def test_chunks_give_the_same_frames_as_the_whole(size, depth, count):
    added, mask = line(depth, drift=0.2, count=count)
    damaged, marked = to_tensor(scene(count=count) + added), to_mask(mask)
    whole = repair_scratches(damaged, marked)

    def run(window, kept):
        part = repair_scratches(damaged[window], marked[window], keep=kept)
        assert torch.equal(part[: kept.start], damaged[window][: kept.start])
        return part

    windows_agree(run, whole, range(0, count, size), radius=RADIUS)


def test_a_coloured_scratch_is_taken_out_of_each_channel():
    clean = to_tensor(scene())
    added, mask = line(20)
    tint = torch.tensor([0.2, 0.6, 1.4])[:, None, None]
    damaged = (clean + torch.from_numpy(added)[:, None] / 255 * tint).clamp(0, 1)
    repaired = repair_scratches(damaged, to_mask(mask))
    for channel, share in enumerate((0.8, 0.4, 0.4)):
        before, after = ((frames - clean)[:, channel].numpy()[mask] for frames in (damaged, repaired))
        assert np.sqrt(np.mean(np.square(after))) < share * np.sqrt(np.mean(np.square(before)))


def test_clipped_pixels_are_filled():
    clean = to_tensor(scene())
    added, mask = line(-250)
    damaged = to_tensor(scene() + added)
    repaired = repair_scratches(damaged, to_mask(mask))
    assert psnr(repaired, clean, mask) > 24
    assert (repaired[:, 0].numpy()[mask] > 0.1).mean() > 0.98


def test_clipped_rows_are_seen_in_other_frames():
    """Where the scene moves past a black line, the neighbours show what both sides cannot tell."""
    moving = scene(speed=3.0)
    added, mask = line(-250)
    damaged, clean = to_tensor(moving + added), to_tensor(moving)
    opaque = np.broadcast_to(added < -120, mask.shape)
    repaired = repair_scratches(damaged, to_mask(mask), ScratchRepairSettings(grain=0.0))
    still = repair_scratches(to_tensor(scene(speed=0.0) + added), to_mask(mask), ScratchRepairSettings(grain=0.0))
    bridged = psnr(still, to_tensor(scene(speed=0.0)), opaque)
    assert psnr(repaired, clean, opaque) > bridged + 2


def test_filled_rows_get_their_grain_back():
    rng = np.random.default_rng(3)
    smooth = cv2.GaussianBlur(rng.normal(size=(HEIGHT, WIDTH)), (0, 0), 25)
    grain = 4.0 * rng.normal(size=(COUNT, HEIGHT, WIDTH))
    clean = (120 + 20 * smooth / smooth.std() + grain).astype(np.float32)
    added, mask = line(-250, width=6.0)
    inner = np.broadcast_to(added < -200, mask.shape)

    def fine(frames):
        planes = frames[:, 0].numpy() * 255
        return np.mean(np.square(planes - np.stack([cv2.GaussianBlur(p, (0, 0), 2.0) for p in planes]))[inner])

    damaged = to_tensor(clean + added)
    wanted = fine(to_tensor(clean))
    assert fine(repair_scratches(damaged, to_mask(mask), ScratchRepairSettings(grain=0.0))) < 0.5 * wanted
    assert fine(repair_scratches(damaged, to_mask(mask))) == pytest.approx(wanted, rel=0.15)


def test_two_lines_that_cross_are_both_repaired():
    clean = to_tensor(scene())
    first, one = line(12, x=90, tilt=8)
    second, two = line(-12, x=92, tilt=-8)
    damaged = to_tensor(scene() + first + second)
    repaired = repair_scratches(damaged, to_mask(one | two))
    assert psnr(repaired, clean, one | two) > psnr(damaged, clean, one | two) + 1


def test_bad_shapes_are_refused():
    with pytest.raises(SettingsError, match="mask"):
        repair_scratches(torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 9))


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.floats(0.02, 0.6))
def test_strands_cover_every_run_of_any_mask_once(seed, density):
    mask = np.random.default_rng(seed).random((12, 20)) < density
    covered = np.zeros(mask.shape, int)
    for segment in find_segments(mask):
        for row, start, stop in zip(segment.rows, segment.start, segment.stop, strict=True):
            covered[row, start:stop] += 1
    assert np.array_equal(covered, mask.astype(int))


@settings(max_examples=10)
@given(st.integers(0, 2**31))
def test_any_mask_leaves_valid_pictures(seed):
    rng = np.random.default_rng(seed)
    frames = torch.from_numpy(rng.random((3, 3, 24, 60)).astype(np.float32))
    mask = torch.from_numpy((rng.random((3, 24, 60)) < 0.2).astype(np.float32))
    repaired = repair_scratches(frames, mask)
    assert torch.isfinite(repaired).all()
    assert repaired.min() >= 0
    assert repaired.max() <= 1
    assert torch.equal(repaired[:, 0][mask < 0.5], frames[:, 0][mask < 0.5])


@pytest.mark.parametrize("rows", [slice(None), slice(0, HEIGHT // 2)])
def test_a_line_that_another_one_touches_in_its_own_frame_is_mended_by_what_the_others_know(rows):
    """In the middle frame every flank of both lines lies on the other one, on all rows or on half of them."""
    count, near = 5, 2
    added, mask = np.zeros((count, HEIGHT, WIDTH), np.float32), np.zeros((count, HEIGHT, WIDTH), bool)
    for t in range(count):
        for row in range(HEIGHT):
            apart = 4 if t == near and row in range(HEIGHT)[rows] else 16
            for x in (90, 90 + apart):
                added[t, row, x : x + 2] = 20
                mask[t, row, x : x + 2] = True
    clean, damaged = to_tensor(scene(count=count)), to_tensor(scene(count=count) + added)
    repaired = repair_scratches(damaged, to_mask(mask))
    assert bool(torch.isfinite(repaired).all())
    touched = np.zeros_like(mask)
    touched[near, rows] = mask[near, rows]
    assert psnr(repaired, clean, touched) > psnr(damaged, clean, touched) + 6
