"""What is done to hold less of large frames does not show: small frames are treated as large, and come out the same."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vldm_core.film.dirt.detection import detect_dirt
from vldm_core.film.dirt.features import DirtFeatures
from vldm_core.film.dirt.looks import NeighbourLooks
from vldm_core.film.dirt.network import shared_network
from vldm_core.film.fill.repair import repair_dirt
from vldm_core.film.motion.window import FrameWindow
from vldm_core.film.scratches.repair.repair import repair_scratches
from vldm_core.film.sparse_planes import SparsePlane
from vldm_core.film.weave.stabilise import StabiliseSettings
from vldm_core.prerestore.shipped import PreRestoration
from vldm_core.stages.analysis import analyse_shot
from vldm_core.stages.plan import StagePlan
from vldm_core.stages.settings import StageSettings
from vldm_core.stages.stage import Room, ShotContext, StageModels
from vldm_core.stages.stage_frame import StageFrame
from vldm_core.stages.streams import beside
from vldm_core.video.buffers.bands import bands
from vldm_core.video.buffers.keyed_cache import size_of
from vldm_core.video.buffers.pictures import Clip, Whole
from vldm_core.video.flow import (
    FlowSettings,
    enlarged,
    estimate_pair,
    estimate_reduced,
    prepare_luma,
    to_luma,
)
from vldm_core.video.info import FilmFrame, image_from_tensor

from ..film.dirt.dirt_scenes import scene, speckled
from ..prerestore.test_network import trained

HEIGHT, WIDTH = 120, 152


@pytest.fixture
def treated_as_large(monkeypatch):
    """Make every bound so small that any frame counts as large."""
    for place, value in {
        "vldm_core.film.sparse_planes._LEAST_BYTES": 0,
        "vldm_core.film.motion.window._MOST_HELD": 0,
        "vldm_core.film.motion.window._LEAST_PLANES": 12,
        "vldm_core.prerestore.run._MOST_KEPT": 0,
        "vldm_core.video.buffers.bands._MOST_BYTES": 64 * WIDTH * 4 * 100,
    }.items():
        monkeypatch.setattr(place, value)


def damaged(count: int) -> Tensor:
    """A moving scene with specks, two scratches, flicker and weave, as a film of 8 bits has them."""
    frames, _ = speckled(scene(count, HEIGHT, WIDTH), per_frame=6)
    # One scratch lets the picture through, one hides it.
    frames[..., 40:42] = (frames[..., 40:42] + 0.2).clamp(0, 1)
    frames[..., 101:105] = 0.02
    gain = 1 + 0.08 * torch.sin(torch.arange(count) * 2.1)
    return ((frames * gain[:, None, None, None]).clamp(0, 1) * 255).round() / 255


def film_frames(frames: Tensor) -> Iterator[StageFrame[int]]:
    for number, frame in enumerate(frames):
        held = FilmFrame(index=number, image=image_from_tensor(frame, np.uint8))
        yield StageFrame(image=held, origin=number, number=number)


def restored(frames: Tensor, size: int, room: Room) -> list[StageFrame[int]]:
    settings = StageSettings(stabilise=StabiliseSettings(), prerestore=PreRestoration(segment=4, lookahead=2))
    plan = StagePlan.from_settings(settings, StageModels(prerestorer=trained()))
    analysis = analyse_shot(frames, plan.analysis, HEIGHT, WIDTH)
    return list(plan.run(film_frames(frames), ShotContext(analysis=analysis, window=size, room=room)))


@pytest.fixture(scope="module")
def plainly_restored() -> list[StageFrame[int]]:
    return restored(damaged(9), 6, Room())


def test_large_frames_come_out_of_all_stages_as_small_ones_do(plainly_restored, treated_as_large) -> None:
    made = restored(damaged(9), 4, Room(beside_repair=0, beside_network=0, held=0))
    assert [frame.origin for frame in made] == list(range(9))
    marked = 0.0
    for one, other in zip(plainly_restored, made, strict=True):
        assert torch.equal(one.dirt, other.dirt) and torch.equal(one.scratch, other.scratch)
        # Only the network's kernels add in another order; elsewhere all is equal to the bit.
        assert float((one.image - other.image).abs().max()) < 2e-5
        marked += float(one.dirt.mean()) * float(one.scratch.mean())
    assert marked > 0


def test_frames_that_are_made_when_needed_are_repaired_like_a_tensor(treated_as_large) -> None:
    frames = damaged(10)
    clip = Clip([Whole(frame) for frame in frames])
    keep = slice(3, 7)
    dirt = detect_dirt(frames, keep=keep)
    assert torch.equal(detect_dirt(clip, keep=keep), dirt) and dirt[keep].sum() > 0
    dirt = detect_dirt(frames)
    filled = repair_dirt(frames, dirt, keep=keep)
    assert torch.equal(repair_dirt(clip, dirt > 0, keep=keep)[keep], filled[keep])
    assert not torch.equal(filled[keep], frames[keep])
    scratch = torch.zeros(10, HEIGHT, WIDTH)
    scratch[..., 39:43] = scratch[..., 100:106] = 1
    repaired = repair_scratches(frames, scratch, keep=keep)
    assert torch.equal(repair_scratches(clip, scratch > 0, keep=keep)[keep], repaired[keep])
    assert (repaired[keep] - frames[keep])[..., 101:105].abs().mean() > 0.1, "the opaque scratch is filled"
    # Where there is nothing to do, frames come as they are, too.
    assert torch.equal(repair_scratches(clip, scratch * 0, keep=keep)[keep], frames[keep])


def test_rows_of_the_network_are_those_of_the_frame() -> None:
    frames, network = damaged(9), shared_network()
    features = DirtFeatures(NeighbourLooks(FrameWindow(frames)))
    whole = features.planes(4)
    assert whole is not None
    found = network.probability(whole)
    parts = bands(HEIGHT, WIDTH, network.reach, granularity=8, planes=(128 << 20) // (WIDTH * 4 * 24))
    assert len(parts) == 5
    for band in parts:
        planes = features.planes(4, band.around)
        assert planes is not None
        assert torch.equal(planes.fine, whole.fine[:, band.around])
        assert torch.equal(planes.coarse, whole.coarse[:, band.around.start // 2 : band.around.stop // 2])
        part = network.probability(planes)[:, band.within(1)]
        assert float((part - found[:, band.rows]).abs().max()) < 1e-6


def test_evidence_of_past_frames_is_given_back() -> None:
    frames = damaged(18)
    seen = FrameWindow(frames)
    window = NeighbourLooks(seen)
    features = DirtFeatures(window)
    held = []
    for index in range(18):
        features.planes(index)
        features.forget(index + 1)
        window.forget(index + 1)
        values = [value for once in (window._once, seen.luma._once) for value in once._values.values()]
        held.append(size_of([*values, *features._alone.values()]))
    assert max(held[10:13]) <= max(held[7:10]) + 4 * HEIGHT * WIDTH, "it does not grow"


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_a_sparse_plane_is_the_plane(monkeypatch, share) -> None:
    monkeypatch.setattr("vldm_core.film.sparse_planes._LEAST_BYTES", 0)
    stream = np.random.default_rng(0)
    plane = (stream.standard_normal((33, 47)) * (stream.random((33, 47)) < share)).astype(np.float32)
    held = SparsePlane(plane)
    assert np.array_equal(held.plane(), plane)
    assert size_of(held) <= 33 * (6 + 8) + 8 + 4 * np.count_nonzero(plane)
    assert np.array_equal(held[5:9], plane[5:9]) and held[40:].shape == (0, 47)


def test_a_small_sparse_plane_is_not_made_anew() -> None:
    plane = np.eye(33, 47, dtype=np.float32)
    held = SparsePlane(plane)
    assert held.plane().base is plane or held.plane() is plane
    assert np.array_equal(held[5:9], plane[5:9])


def test_a_flow_kept_at_its_working_size_is_the_flow() -> None:
    luma = to_luma(scene(2, 90, 240))
    settings = FlowSettings(working_side=96)
    prepared = [prepare_luma(frame, settings=settings) for frame in luma]
    reduced = estimate_reduced(*prepared, settings=settings)
    assert reduced.shape == (36, 96, 2)
    wanted = estimate_pair(luma[0], luma[1], settings=settings)
    assert np.array_equal(enlarged(reduced, (90, 240)), wanted)
    assert enlarged(reduced, (36, 96)) is reduced


@pytest.mark.parametrize("largest", [0, 1 << 40])
def test_frames_are_drawn_ahead_only_where_there_is_room(largest) -> None:
    drawn: list[int] = []
    closed: list[bool] = []

    def source() -> Iterator[StageFrame[int]]:
        try:
            for frame in film_frames(torch.zeros(8, 3, 6, 6)):
                drawn.append(frame.origin)
                yield frame
        finally:
            closed.append(True)

    stream: Any = beside(source(), 3, largest)
    taken = [next(stream).origin for _ in range(2)]
    assert taken == [0, 1] and (largest or drawn == [0, 1])
    stream.close()
    assert closed == [True]
    assert [frame.origin for frame in beside(source(), 3, largest)] == list(range(8))
    assert list(beside(iter(()), 3, largest)) == []
