"""Bars, film edges, perforations and gate corners are found once per shot, and no stage touches them."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vldm_core.errors import SettingsError
from vldm_core.film.active_picture import ActivePicture, PictureFinder
from vldm_core.film.dirt.detection import DirtSettings
from vldm_core.film.flicker.removal import FlickerSettings
from vldm_core.film.scratches.detection import ScratchSettings, detect_scratches
from vldm_core.film.scratches.tracks import ScratchMap, ScratchTrack, clear_of_edges
from vldm_core.film.weave.stabilise import StabiliseSettings
from vldm_core.prerestore.shipped import PreRestoration
from vldm_core.stages import batch as pipeline
from vldm_core.stages.analysis import analyse_shot
from vldm_core.stages.plan import StagePlan
from vldm_core.stages.settings import StageSettings
from vldm_core.stages.stage import ShotContext
from vldm_core.stages.stage_frame import StageFrame
from vldm_core.video.luma import luma_array
from vldm_core.video.reading.reader import open_film

HEIGHT, WIDTH, COUNT = 144, 208, 12


def find_picture(frames, height, width):
    finder = PictureFinder(height, width)
    for frame in frames:
        finder.update(luma_array(frame))
    return finder.finish()


def texture(height, width, seed=0):
    generator = np.random.default_rng(seed)
    layers = [s * cv2.GaussianBlur(generator.normal(size=(height, width)), (0, 0), s) for s in (1.5, 5, 15)]
    scene = np.sum(layers, axis=0)
    return (110 + 45 * scene / scene.std()).clip(30, 240)


def scene(count=COUNT, height=HEIGHT, width=WIDTH, speed=1.5, seed=0, grain=1.5):
    """A textured scene under a pan, (T, H, W) grey levels."""
    generator = np.random.default_rng(seed)
    wide = texture(height, width + int(speed * count) + 2, seed)
    frames = []
    for t in range(count):
        matrix = np.array([[1, 0, -speed * t], [0, 1, 0]], np.float64)
        frames.append(cv2.warpAffine(wide, matrix, (width, height)) + generator.normal(0, grain, (height, width)))
    return np.stack(frames).clip(0, 255)


def rgb(grey):
    return torch.from_numpy(np.repeat(grey[:, None].round(), 3, axis=1).astype(np.float32) / 255)


def box_of(grey):
    return find_picture(rgb(grey), *grey.shape[1:]).box


@settings(max_examples=12)
@given(
    sides=st.tuples(*(st.sampled_from([0, 2, 9, 31]) for _ in range(4))),
    black=st.sampled_from([0, 16, 30]),
    count=st.sampled_from([1, 2, 7]),
    ringing=st.sampled_from([0.0, 1.0]),
)
def test_bars_are_found_to_the_pixel(sides, black, count, ringing):
    top, bottom, left, right = sides
    frames = scene(count, seed=sum(sides)).clip(70, 255)
    inside = np.zeros(frames.shape[1:], bool)
    inside[top : HEIGHT - bottom, left : WIDTH - right] = True
    frames[:, ~inside] = black + ringing * np.random.default_rng(1).normal(size=(~inside).sum())
    picture = find_picture(rgb(frames.clip(0, 255)), HEIGHT, WIDTH)
    assert picture.box == (top, HEIGHT - bottom, left, WIDTH - right)
    assert np.array_equal(picture.inside(), inside)
    assert picture.whole == (not any(sides))
    assert (picture.outside() is None) == picture.whole


def perforated(count=COUNT, weave=0.0):
    """Film edges with perforations, sound kept out; the picture inside has rounded corners."""
    frames = scene(count).clip(70, 255)
    generator = np.random.default_rng(5)
    inside = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.rectangle(inside, (34, 12), (WIDTH - 35, HEIGHT - 13), 1, -1)
    for x, y, way_x, way_y in ((34, 12, 1, 1), (WIDTH - 35, 12, -1, 1), (34, HEIGHT - 13, 1, -1)):
        cv2.rectangle(inside, (x, y), (x + 7 * way_x, y + 7 * way_y), 0, -1)
        cv2.circle(inside, (x + 8 * way_x, y + 8 * way_y), 8, 1, -1)
    frames[:, inside == 0] = 12 + generator.normal(0, 1.0, (count, int((inside == 0).sum())))
    for t in range(count):
        jump = generator.normal(0, weave)
        for x in (10, WIDTH - 25):
            for y in range(4, HEIGHT, 35):
                cv2.rectangle(frames[t], (x, round(y + jump)), (x + 14, round(y + jump) + 20), 255, -1)
    return frames.clip(0, 255), inside > 0


@pytest.mark.parametrize("weave", [0.0, 0.7])
def test_perforations_and_rounded_corners_lie_outside(weave):
    frames, inside = perforated(weave=weave)
    picture = find_picture(rgb(frames), HEIGHT, WIDTH)
    assert picture.box == (12, HEIGHT - 12, 34, WIDTH - 34)
    wrong = picture.inside() != inside
    assert wrong.sum() <= 12, "of the three round corners, about 50 pixels, nearly all are outside"


def test_what_is_dark_but_no_bar_is_picture():
    night = scene()
    shade = np.clip((np.arange(WIDTH) - 40) / 60, 0, 1)
    assert box_of(night * shade) == (0, HEIGHT, 0, WIDTH), "a scene that fades into the dark"
    silhouette = scene()
    silhouette[:, :, : WIDTH // 3] = 4
    silhouette[:, 60:75, 10:60] = 180
    assert box_of(silhouette)[2] == 0, "a dark wall with a lit hand in it"
    title = np.full((COUNT, HEIGHT, WIDTH), 12.0) + np.random.default_rng(0).normal(0, 1, (COUNT, HEIGHT, WIDTH))
    title[:, 10:-10, 12:-12][:, :, [0, -1]] = 220
    title[:, 10:-10, 12:-12][:, [0, -1]] = 220
    title[:, 60:84, 50:150:9] = 230
    assert box_of(title.clip(0, 255)) == (0, HEIGHT, 0, WIDTH), "a title with a border"
    scratched = np.zeros((COUNT, HEIGHT, WIDTH)) + scene() * (np.arange(WIDTH) > 80)
    scratched[:, :, 30:33] = 200
    assert box_of(scratched)[2] == 0, "a bright scratch through a black part of the scene"
    for level in (0.0, 128.0, 255.0):
        assert box_of(np.full((3, HEIGHT, WIDTH), level)) == (0, HEIGHT, 0, WIDTH)
    grain = scene()
    grain[:, :, :40] = 10 + np.random.default_rng(2).normal(0, 6, (COUNT, HEIGHT, 40))
    assert box_of(grain.clip(0, 255))[2] == 0, "a dark wall with grain"


def test_a_fade_in_and_dust_do_not_hide_bars():
    frames = scene(24).clip(70, 255) * np.clip(np.arange(24) / 8, 0, 1)[:, None, None]
    frames[:, :, :20] = 0
    frames[5, 30:33, 4:7] = 255
    frames[9, 90:92, 15:18] = 200
    assert box_of(frames) == (0, HEIGHT, 20, WIDTH)


def test_memory_does_not_grow_and_wrong_sizes_are_refused():
    finder = PictureFinder(20, 30)
    held = []
    for _ in range(40):
        finder.update(np.zeros((20, 30), np.float32))
        held.append(sum(v.nbytes for v in vars(finder).values() if isinstance(v, np.ndarray)))
    assert len(set(held)) == 1
    with pytest.raises(SettingsError, match="one finder per shot"):
        finder.update(np.zeros((20, 31), np.float32))
    assert PictureFinder(20, 30).finish().whole


def test_the_picture_is_carried_on_over_its_bars():
    frame = scene(1)[0].astype(np.float32)
    picture = ActivePicture.of_frame(HEIGHT, WIDTH)
    assert picture.extended(frame) is frame
    barred = frame.copy()
    barred[:, :20], barred[:15] = 0, 0
    left = np.where(np.arange(HEIGHT) < 15, 0, 20).astype(np.int32)
    right = np.where(np.arange(HEIGHT) < 15, 0, WIDTH).astype(np.int32)
    extended = ActivePicture(height=HEIGHT, width=WIDTH, left=left, right=right).extended(barred)
    assert np.array_equal(extended[17:, 22:], barred[17:, 22:])
    assert np.array_equal(extended[17:, :22], np.repeat(extended[17:, 22:23], 22, axis=1))
    assert np.array_equal(extended[16], extended[17])
    assert extended.min() > 20


@pytest.mark.parametrize(
    ("x", "tilt", "kept"), [(90.0, 0.0, True), (41.0, 0.0, False), (52.0, 0.2, False), (62.0, 0.2, True)]
)
def test_a_line_that_leans_out_of_the_picture_is_judged_where_it_is_seen(x, tilt, kept):
    inside = ActivePicture(
        height=HEIGHT, width=WIDTH, left=np.full(HEIGHT, 40, np.int32), right=np.full(HEIGHT, WIDTH, np.int32)
    )
    track = ScratchTrack(
        first=0,
        x=np.full(5, x, np.float32),
        tilt=np.full(5, tilt, np.float32),
        left=1.0,
        right=1.0,
        depth=20.0,
        score=50.0,
        present=np.ones((5, 9), bool),
    )
    lines = ScratchMap(height=HEIGHT, width=WIDTH, frame_count=5, grow=1.0, tracks=(track,), doubtful=(track,))
    cleared = clear_of_edges(lines, inside)
    assert (cleared.tracks, cleared.doubtful) == (((track,), (track,)) if kept else ((), ()))
    assert clear_of_edges(lines, ActivePicture.of_frame(HEIGHT, WIDTH)).tracks == (track,)


def restored(frames, **stages):
    plan = StagePlan.from_settings(replace(StageSettings.no_stages(), **stages))
    analysis = analyse_shot(frames, plan.analysis, *frames.shape[-2:])
    stream = (StageFrame(image=frame, origin=None) for frame in frames)
    return list(plan.run(stream, ShotContext(analysis=analysis, window=4))), analysis


def test_nothing_changes_outside_whatever_the_stages_find():
    grey, inside = perforated(14)
    generator = np.random.default_rng(3)
    for t in range(14):
        grey[t] = np.where(inside, grey[t] * (1 + 0.1 * generator.normal()), grey[t])
        matrix = np.array([[1, 0, generator.normal(0, 1.2)], [0, 1, generator.normal(0, 1.2)]], np.float64)
        moved = cv2.warpAffine(grey[t], matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
        grey[t] = np.where(inside, moved, grey[t])
        # Dust on the film edge, and dirt in the picture.
        for x in ((4, 29) if t % 5 == 0 else ()) + (90, 120):
            y = int(generator.integers(20, HEIGHT - 30))
            grey[t, y : y + 4, x : x + 4] = 250
    frames = rgb(grey.clip(0, 255))
    stages = {"lines": ScratchSettings(), "flicker": FlickerSettings(), "stabilise": StabiliseSettings()}
    made, analysis = restored(frames, dirt=DirtSettings(), **stages)
    outside = analysis.picture.outside()
    assert outside is not None and outside.numpy()[:, :33].all()
    result = torch.stack([frame.image for frame in made])
    assert torch.equal(result[..., outside], frames[..., outside])
    assert (result - frames)[..., ~outside].abs().mean() > 0.01, "inside, the stages do work"
    dirt = torch.stack([frame.dirt for frame in made])
    assert dirt[:, ~outside].sum() > 30 and not dirt[:, outside].any()


def test_the_functions_for_batches_leave_bars_too():
    grey = scene(9).clip(70, 255)
    generator = np.random.default_rng(4)
    for t in range(9):
        matrix = np.array([[1, 0, generator.normal(0, 1.5)], [0, 1, generator.normal(0, 1.5)]], np.float64)
        grey[t] = cv2.warpAffine(grey[t], matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
        grey[t] *= 1 + 0.08 * generator.normal()
    grey = grey.clip(60, 255)
    grey[:, :, :24] = 16
    frames = rgb(grey)
    for changed in (
        pipeline.remove_flicker(frames),
        pipeline.stabilise(frames),
        pipeline.pre_restore_frames(frames[:2], settings=PreRestoration(device="cpu"))[0],
    ):
        assert torch.equal(changed[..., :24], frames[: len(changed), ..., :24])
        assert not torch.equal(changed[..., 24:], frames[: len(changed), ..., 24:])
        # The bar is not drawn into the picture, nor the picture into the bar.
        assert changed[..., 24:].amin() > 40 / 255
    judged = pipeline.damage_probability(frames, dirt=DirtSettings(), lines=ScratchSettings())
    assert not judged.dirt[..., :24].any() and not judged.scratch[..., :24].any()


def test_a_scratch_beside_bars_is_found_and_their_edges_are_not():
    grey = scene(24, height=144, width=240, speed=1.3).clip(60, 255)
    grey[:, :, 120:122] += 45
    grey[:, :, :40], grey[:, :, -40:] = 0, 0
    scratch = pipeline.detect_damage(rgb(grey.clip(0, 255)), lines=ScratchSettings()).scratch
    assert scratch[:, :, 120:122].mean() > 0.9
    scratch[:, :, 116:126] = 0
    assert not scratch.any()


@pytest.mark.parametrize("tall", [False, True])
def test_a_scratch_through_a_letterboxed_picture_is_found_and_nothing_else(tall):
    grey = scene(20, height=180, width=220, speed=1.3, seed=4).clip(60, 255)
    for t in range(20):
        x = 90 + round(t / 7)
        grey[t, :, x : x + 2] = np.clip(grey[t, :, x : x + 2] + 40, 0, 255)
    bar = 50 if tall else 24
    grey[:, :bar], grey[:, -bar:] = 0, 0
    scratch = detect_scratches(rgb(grey.clip(0, 255)))
    assert not scratch[:, :bar].any() and not scratch[:, -bar:].any()
    assert scratch[:, bar:-bar, 90:95].amax(dim=2).mean() > 0.9
    scratch[:, :, 86:98] = 0
    assert not scratch.any()


def test_the_case_with_bars(clean_cases):
    frames, masks = clean_cases("pillarbox")
    clip = torch.from_numpy(np.stack(frames)[:16]).permute(0, 3, 1, 2).float() / 255
    made, _ = restored(clip, lines=ScratchSettings(), flicker=FlickerSettings())
    result = torch.stack([frame.image for frame in made])
    edges = torch.from_numpy(np.stack(masks)[:16])
    error = float((result - clip).square().mean(dim=1)[edges].mean())
    assert error < 10**-4.5, f"PSNR along the edge {-10 * np.log10(error):.1f} dB"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("name", "bar"), [("03_blocks", 36), ("seeking", 60), ("bedroom", 40)])
def test_pillarboxed_real_clips_keep_their_edges(shared_data, name, bar):
    with open_film(shared_data(f"clips/{name}.mp4")) as film:
        frames = [frame.tensor() for _, frame in zip(range(16), film, strict=False)]
    small = [cv2.resize(f.permute(1, 2, 0).numpy(), (240, 180), interpolation=cv2.INTER_AREA) for f in frames]
    clip = torch.nn.functional.pad(torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2), (bar, bar, 0, 0))
    made, analysis = restored(clip, lines=ScratchSettings(), flicker=FlickerSettings())
    result = torch.stack([frame.image for frame in made])
    assert analysis.picture.box == (0, 180, bar, 240 + bar)
    for edge in (slice(bar - 6, bar + 6), slice(234 + bar, 246 + bar)):
        error = float((result - clip)[..., edge].square().mean())
        assert error < 10**-4.5, f"PSNR along the edge {-10 * np.log10(error):.1f} dB"
    assert torch.equal(result[..., :bar], clip[..., :bar])
