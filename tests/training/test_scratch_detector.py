"""Training of the line network: labels, examples that do not depend on interruptions, and resuming bit by bit."""

import cv2
import numpy as np
import pytest
import torch

from vldm_core.ageing import LineModel, ScratchLine
from vldm_core.ageing.defects.scratches import LineLayer
from vldm_core.errors import FilmFileError, SettingsError
from vldm_core.film.scratches.network import KIND, LineNetworkConfig
from vldm_core.film.scratches.search.candidates import Candidate
from vldm_core.film.scratches.search.paths import Path as LinePath
from vldm_core.training.scratch_detector.examples import (
    LineExamples,
    LineExampleSettings,
    label,
    load_line_examples,
    make_line_examples,
    tensors,
)
from vldm_core.training.scratch_detector.scenes import draw_scene, scene_margin
from vldm_core.training.scratch_detector.task import LineTrainingSettings, held_out, train_line_network

SMALL = LineNetworkConfig(width=8, hidden=16)
TRAINING = LineTrainingSettings(steps=12, batch=16, warmup=3, checkpoint_every=4, held_out=0.2)


def examples(count=80):
    """Lines that are scratches where they are strong in the middle."""
    stream = np.random.default_rng(4)
    labels = (np.arange(count) % 2).astype(np.uint8)
    near = stream.normal(size=(count, 6, 24, 33)).astype(np.float16)
    near[labels == 1, 1, :, 16] += 2
    return LineExamples(
        near=near,
        far=stream.normal(size=(count, 3, 24, 33)).astype(np.float16),
        times=stream.normal(size=(count, 4, 24, 16)).astype(np.float16),
        numbers=stream.normal(size=(count, 18)).astype(np.float32),
        labels=labels,
        shots=np.arange(count) // 4,
        sources=np.array([f"file{number % 5}" for number in range(count)], dtype="U64"),
    )


def test_a_resumed_run_gives_the_same_weights(tmp_path):
    whole, parted = tmp_path / "whole.safetensors", tmp_path / "parted.safetensors"
    train_line_network(examples(), whole, TRAINING, SMALL)

    def stop(phase, done, total, preview=None):
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_line_network(examples(), parted, TRAINING, SMALL, progress=stop)
    assert not parted.exists()
    train_line_network(examples(), parted, TRAINING, SMALL, resume=True)
    one, other = KIND.load(whole).state_dict(), KIND.load(parted).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_training_learns(tmp_path):
    settings = LineTrainingSettings(steps=60, batch=32, warmup=5, average=0.9, held_out=0.2)
    network = train_line_network(examples(160), tmp_path / "net.safetensors", settings, SMALL)
    fresh = examples(40)
    logits = network(*tensors(fresh)[:-1])
    assert ((logits > 0).numpy() == (fresh.labels > 0)).mean() > 0.85


def test_whole_files_are_held_out():
    held = held_out(examples(), TRAINING)
    sources = examples().sources
    assert 0 < held.sum() < len(held)
    assert not set(sources[held]) & set(sources[~held])


def test_a_checkpoint_of_another_run_or_no_checkpoint_is_refused(tmp_path):
    out = tmp_path / "net.safetensors"
    train_line_network(examples(), out, TRAINING, SMALL)
    with pytest.raises(FilmFileError, match="other settings"):
        train_line_network(examples(), out, LineTrainingSettings(steps=13), SMALL, resume=True)
    out.with_suffix(".checkpoint").write_bytes(b"nothing")
    with pytest.raises(FilmFileError, match="not a checkpoint"):
        train_line_network(examples(), out, TRAINING, SMALL, resume=True)


def test_bad_settings_and_one_kind_of_line_only(tmp_path):
    for given in ({"steps": 0}, {"rate": 2.0}, {"scratches": 1.0}, {"held_out": 0.0}):
        with pytest.raises(SettingsError):
            LineTrainingSettings(**given)
    for given in ({"shots": 0}, {"scene_share": 1.5}, {"seed": -1}):
        with pytest.raises(SettingsError):
            LineExampleSettings(**given)
    only = examples()
    only.labels[:] = 0
    with pytest.raises(SettingsError, match="0 scratches"):
        train_line_network(only, tmp_path / "net.safetensors", TRAINING, SMALL)


def candidate(x, polarity=1, first=0, count=20):
    path = LinePath(first=first, x=np.full(count, x, np.float32), tilt=0.0, polarity=polarity, score=50.0)
    return Candidate(path=path, present=np.ones((count, 10), bool), standing=True)


def test_labels():
    line = ScratchLine(key=3, kind="fixed", x=60.0, depth=9.0, width=2.0, first=4, last=20)
    faint = ScratchLine(key=4, kind="fixed", x=90.0, depth=2.0, width=2.0, first=0, last=20)
    layer = LineLayer(LineModel(count=0, pinned=(line, faint)), 1, 160, 200)
    for found, expected in (
        (candidate(60.5), 1),
        (candidate(60.5, polarity=-1), 0),
        (candidate(63.5), -1),
        (candidate(66.0), 0),
        (candidate(120.0), 0),
        (candidate(90.0), -1),
    ):
        assert label(found, layer, (line, faint)) == expected


@pytest.fixture
def photos(tmp_path):
    stream = np.random.default_rng(2)
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(2):
        picture = cv2.GaussianBlur(stream.normal(size=(500, 600, 3)).astype(np.float32), (0, 0), 6)
        picture = np.clip(120 + 500 * picture, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"p{number}.png"), picture)
    return tmp_path


def test_examples_are_made_once_and_do_not_depend_on_interruptions(photos, tmp_path):
    settings = LineExampleSettings(shots=2, scratched_share=1.0)
    first = make_line_examples(photos, tmp_path / "a", settings)
    before = [path.stat().st_mtime_ns for path in first]
    assert [path.stat().st_mtime_ns for path in make_line_examples(photos, tmp_path / "a", settings)] == before
    one = load_line_examples(first)
    other = load_line_examples(make_line_examples(photos, tmp_path / "b", settings))
    assert len(one) and np.array_equal(one.near, other.near) and np.array_equal(one.labels, other.labels)
    assert one.near.shape[1:] == (6, 24, 33) and set(one.sources) <= {"p0", "p1"}
    first[0].write_bytes(b"damaged")
    with pytest.raises(FilmFileError, match="delete it"):
        load_line_examples(first)


def test_a_scene_has_the_size_asked_for_and_moves_or_not():
    margin = scene_margin()
    still = np.random.default_rng(1).random((120 + 2 * margin, 160 + 2 * margin)).astype(np.float32)
    for seed in range(4):
        shot = draw_scene(np.random.default_rng(seed), still, still, 5, 120, 160)
        assert shot.shape == (5, 3, 120, 160)
        assert float(shot.min()) >= 0 and float(shot.max()) <= 1
    again = draw_scene(np.random.default_rng(3), still, still, 5, 120, 160)
    assert torch.equal(shot, again)
