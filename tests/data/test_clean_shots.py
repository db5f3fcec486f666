"""Clean shots: sizes, repeatability, motion, the split, and what is drawn into them."""

import pickle
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vldm_core.data import MaterialSettings, TrainingMaterial
from vldm_core.data.camera import CameraMove, draw_move, seen, smeared, still
from vldm_core.data.objects import MovingObject, blob
from vldm_core.data.stretches import STRETCH, Stretches
from vldm_core.data.structure import UprightSettings, draw_uprights
from vldm_core.errors import FilmFileError, SettingsError


def _texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).random((height // 8, width // 8, 3), dtype=np.float32)
    return (cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1) * 255).astype(np.uint8)


def _write_film(path: Path, frames: int, height: int = 64, width: int = 96) -> None:
    """Write frames that are evenly grey and tell their number: 16 + 2 n of 255."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4", "g": "20"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for number in range(frames):
            picture = np.full((height, width, 3), 16 + 2 * number, dtype=np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A data folder with two films and three photographs, one of each kept for validation."""
    root = tmp_path_factory.mktemp("material")
    for name in ("clips", "photos", "film"):
        (root / name).mkdir()
    for name in ("street", "bedroom"):
        _write_film(root / "clips" / f"{name}.mp4", 80)
    _write_film(root / "film" / "damaged.mp4", 5)
    for seed, name in enumerate(("hill", "sea", "kait-herzog-8242")):
        cv2.imwrite(str(root / "photos" / f"{name}.png"), _texture(160, 240, seed))
    return root


def _photos_only(**changes) -> MaterialSettings:
    return MaterialSettings(clip_share=0, object_share=0, upright_share=0, grey_share=0, gamma=(1, 1), **changes)


def test_files_are_split_and_damaged_films_are_left_alone(folder):
    training, validation = TrainingMaterial(folder), TrainingMaterial(folder, validation=True)
    assert [path.stem for path in training.clips + training.photos] == ["street", "hill", "sea"]
    assert [path.stem for path in validation.clips + validation.photos] == ["bedroom", "kait-herzog-8242"]


def test_files_and_plain_folders_can_be_given(folder):
    material = TrainingMaterial([folder / "clips" / "street.mp4", folder / "photos"])
    assert [path.stem for path in material.clips + material.photos] == ["street", "hill", "sea"]


def test_a_folder_without_anything_to_use_is_refused(tmp_path):
    with pytest.raises(FilmFileError, match="no film or picture for training"):
        TrainingMaterial(tmp_path)


@settings(max_examples=25)
@given(
    index=st.integers(0, 10**6),
    seed=st.integers(0, 10**6),
    frames=st.integers(1, 9),
    height=st.integers(16, 90),
    width=st.integers(16, 130),
)
def test_a_shot_has_its_size_and_depends_on_number_and_seed_alone(folder, index, seed, frames, height, width):
    used, fresh = TrainingMaterial(folder), TrainingMaterial(folder)
    used.shot(index + 1, frames=3, height=20, width=20, seed=seed)
    shot = used.shot(index, frames=frames, height=height, width=width, seed=seed)
    assert shot.shape == (frames, 3, height, width) and shot.dtype == torch.float32
    assert shot.min() >= 0 and shot.max() <= 1
    assert torch.equal(shot, fresh.shot(index, frames=frames, height=height, width=width, seed=seed))


def test_the_source_is_the_one_a_shot_is_taken_from(folder):
    material = TrainingMaterial(folder, settings=MaterialSettings(gamma=(1, 1)))
    names = set()
    for index in range(12):
        shot = material.shot(index, frames=2, height=32, width=32, seed=3)
        names.add(material.source(index, seed=3).stem)
        # The film is evenly grey within a frame, the photographs are not.
        assert (shot.std(dim=(2, 3)).max() < 0.01) == (material.source(index, seed=3).stem == "street")
    assert names == {"street", "hill", "sea"}


def test_clips_play_on_by_one_or_two_frames_in_both_directions(folder):
    material = TrainingMaterial(folder / "clips" / "street.mp4", settings=MaterialSettings(gamma=(1, 1)))
    steps = set()
    for index in range(16):
        grey = material.shot(index, frames=6, height=32, width=32, seed=0).mean(dim=(1, 2, 3)) * 255
        step = grey.diff() / 2
        assert (step - step.mean()).abs().max() < 0.6
        steps.add(round(step.mean().item()))
    assert steps == {-2, -1, 1, 2}


def test_a_clip_that_is_too_short_turns_around(folder, tmp_path):
    _write_film(tmp_path / "short.mp4", 4)
    material = TrainingMaterial(tmp_path, settings=MaterialSettings(gamma=(1, 1), clip_move_share=0))
    grey = material.shot(0, frames=9, height=32, width=32, seed=0).mean(dim=(1, 2, 3)) * 255
    numbers = ((grey - 16) / 2).round().int()
    assert numbers.diff().abs().eq(1).all() and set(numbers.tolist()) == {0, 1, 2, 3}


def test_stretches_are_exact_wherever_decoding_begins(folder):
    film = folder / "clips" / "street.mp4"
    stretches = Stretches(film_lines=48, photo_side=100, memory=1)
    assert stretches.count(film) == 80
    for number in (STRETCH + 5, 0, 79, STRETCH - 1):
        (picture,) = stretches.frames(film, [number])
        assert picture.shape == (48, 72, 3)
        assert abs(float(picture.mean()) - 16 - 2 * number) < 1.5
    assert sum(kept.nbytes for kept in stretches._kept.values()) == stretches._bytes
    assert len(stretches._kept) == 1, "the memory is bounded"


def test_material_goes_to_another_process_without_its_pictures(folder):
    material = TrainingMaterial(folder)
    shot = material.shot(1, frames=2, height=64, width=64, seed=0)
    packed = pickle.dumps(material)
    assert len(packed) < 10_000
    assert torch.equal(pickle.loads(packed).shot(1, frames=2, height=64, width=64, seed=0), shot)


def test_a_locked_camera_does_not_move_at_all(folder):
    material = TrainingMaterial(folder / "photos", settings=_photos_only(locked_share=1))
    shot = material.shot(0, frames=4, height=64, width=64, seed=0)
    assert torch.equal(shot, shot[:1].expand_as(shot))


def test_a_pan_moves_by_its_speed(folder):
    plain = _photos_only(
        locked_share=0, speed=(5, 5), zoom_share=0, turn_share=0, shake_share=0, shutter=(0.1, 0.1), reduction=1
    )
    material = TrainingMaterial(folder / "photos", settings=plain)
    moved = []
    for index in range(6):
        shot = material.shot(index, frames=5, height=96, width=128, seed=1).mean(dim=1).double().numpy()
        window = cv2.createHanningWindow((128, 96), cv2.CV_64F)
        steps = [cv2.phaseCorrelate(shot[k], shot[k + 1], window)[0] for k in range(4)]
        moved.append(np.mean(np.hypot(*np.array(steps).T)))
    # 5 px of 480 lines are 1 px here, between 0.2 and 1.8 times that by the easing.
    assert min(moved) > 0.15 and max(moved) < 1.9
    assert abs(np.mean(moved) - 1) < 0.4


def test_pixels_are_rendered_where_they_are():
    wave = np.sin(np.arange(160) * 0.7)
    picture = np.ascontiguousarray(np.broadcast_to(wave[None, :, None], (40, 160, 3)), dtype=np.float32)
    place = np.array([[0.0, 0.0], [0.5, 0.0], [1.28125, 0.0]])
    move = CameraMove(place=place, zoom=np.ones(3), angle=np.zeros(3))
    for index in range(3):
        frame = seen(picture, move, index, 24, 120)[12, :, 0]
        columns = np.arange(120) + 20 + place[index, 0]
        assert np.abs(frame - np.sin(columns * 0.7)).max() < 0.02


@given(seed=st.integers(0, 10**6), frames=st.integers(1, 30))
@settings(max_examples=30)
def test_nothing_outside_the_reach_of_a_move_is_seen(seed, frames):
    move = draw_move(
        np.random.default_rng(seed),
        frames,
        80,
        speed=(0.1, 30),
        zoom_share=0.5,
        turn_share=0.5,
        shake_share=0.5,
        shake=(0.1, 2),
    )
    high, wide = move.reach(80, 100)
    for index in range(frames):
        corners = np.array([[0, 99, 0, 99], [0, 0, 79, 79], [1, 1, 1, 1]])
        x, y = move.matrix(index, 80, 100, (0, 0)) @ corners
        assert np.abs(x).max() <= wide / 2 and np.abs(y).max() <= high / 2


def test_motion_blur_keeps_brightness_and_place():
    frame = np.zeros((41, 41, 3), dtype=np.float32)
    frame[20, 20] = 1
    blurred = smeared(frame, np.array([7.0, 3.0]))
    weights = blurred[..., 0] / blurred[..., 0].sum()
    y, x = np.mgrid[:41, :41]
    assert blurred.sum() == pytest.approx(3, rel=1e-4)
    assert (weights * x).sum() == pytest.approx(20, abs=0.01) and (weights * y).sum() == pytest.approx(20, abs=0.01)
    assert blurred.max() < 0.25
    assert smeared(frame, np.array([0.5, 0.5])) is frame


@given(seed=st.integers(0, 10**6), side=st.integers(8, 80))
@settings(max_examples=40)
def test_a_blob_has_a_soft_edge_and_stays_inside_its_square(seed, side):
    alpha = blob(np.random.default_rng(seed), side)
    border = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
    assert alpha.min() >= 0 and alpha.max() <= 1
    assert alpha.max() > 0.5 and border.max() < 0.9


def test_an_object_covers_what_is_behind_it_and_is_smeared_by_its_speed():
    colours = np.zeros((11, 11, 4), dtype=np.float32)
    colours[...] = (0.8, 0.4, 0.2, 1)
    frame = np.full((40, 60, 3), 0.1, dtype=np.float32)
    thing = MovingObject(
        colours=colours,
        place=np.array([[30.0, 20.0]]),
        velocity=np.array([[16.0, 0.0]]),
        angle=np.zeros(1),
    )
    still_frame, moving_frame = frame.copy(), frame.copy()
    thing.cover(still_frame, 0, 1e-6)
    thing.cover(moving_frame, 0, 0.5)
    assert np.allclose(still_frame[20, 30], (0.8, 0.4, 0.2), atol=1e-5)
    assert np.array_equal(still_frame[20, 38:], frame[20, 38:])
    touched = (np.abs(moving_frame - frame).max(axis=2) > 1e-4)[20].sum()
    assert 17 <= touched <= 21, "11 px of object and 8 px of motion while the shutter is open"
    assert 0.1 < moving_frame[20, 24, 0] < 0.8


def test_an_object_out_of_sight_changes_nothing():
    frame = np.full((40, 60, 3), 0.1, dtype=np.float32)
    colours = np.ones((11, 11, 4), dtype=np.float32)
    far = MovingObject(colours=colours, place=np.array([[-40.0, 90.0]]), velocity=np.zeros((1, 2)), angle=np.zeros(1))
    before = frame.copy()
    far.cover(frame, 0, 0.5)
    assert np.array_equal(frame, before)


def test_uprights_change_columns_and_keep_the_range():
    picture = np.full((60, 90, 3), 0.5, dtype=np.float32)
    settings = UprightSettings()
    changed = np.stack([draw_uprights(np.random.default_rng(seed), picture, 480, 3, settings) for seed in range(20)])
    assert changed.shape == (20, *picture.shape) and changed.min() >= 0 and changed.max() <= 1
    difference = np.abs(changed - 0.5).max(axis=(1, 3))
    assert (difference.max(axis=1) > 4 / 255).mean() > 0.6
    assert (difference < 1e-6).mean() > 0.3, "they are narrow"


def test_still_cameras_are_locked():
    assert still(3).locked
    assert not CameraMove(place=np.ones((2, 2)), zoom=np.ones(2), angle=np.zeros(2)).locked


def test_impossible_shots_are_refused(folder):
    material = TrainingMaterial(folder)
    with pytest.raises(SettingsError, match="0 frames"):
        material.shot(0, frames=0, height=32, width=32, seed=0)
    with pytest.raises(SettingsError, match="numbers from 0"):
        material.shot(-1, frames=1, height=32, width=32, seed=0)


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(FilmFileError, match=r"broken.jpg"):
        TrainingMaterial(tmp_path).shot(0, frames=1, height=32, width=32, seed=0)


def test_the_shared_material_gives_moving_shots(shared_data):
    material = TrainingMaterial(shared_data("photos").parent)
    moving = 0
    for index in range(6):
        shot = material.shot(index, frames=3, height=96, width=96, seed=0)
        moving += bool((shot[1] - shot[0]).abs().max() > 0.02)
    assert moving >= 3
