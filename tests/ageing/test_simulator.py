"""The simulator: determinism, independence of chunks, masks that agree with the picture."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vldm_core.ageing import (
    MASK_KINDS,
    PRESETS,
    VISIBLE_CHANGE,
    BlotchModel,
    CinchModel,
    CueModel,
    DirtModel,
    FlickerModel,
    HairModel,
    LineModel,
    ScratchLine,
    SimulationSettings,
    Simulator,
    SpliceModel,
    StainModel,
    TearModel,
    WeaveModel,
    age_span,
    binary_truth,
    simulate,
)
from vldm_core.errors import SettingsError

from ..testers import windows_agree

LOCAL_DEFECTS = SimulationSettings(
    dirt=DirtModel(rate=60),
    hair=HairModel(transient_rate=2, gate_count=2),
    lines=LineModel(count=5),
    tears=TearModel(count=1),
    stains=StainModel(rate=0.2),
    splices=SpliceModel(rate=0.1, dropped=(0, 0), jump=(0, 0)),
    cues=CueModel(rate=0.05),
    cinches=CinchModel(),
).only(*MASK_KINDS)


def scene(frames: int, height: int = 96, width: int = 128) -> torch.Tensor:
    """Smooth colour ramps with a little texture, nowhere black or white, drifting to the right."""
    x = torch.arange(width, dtype=torch.float32)[None, None, :] - torch.arange(frames)[:, None, None] * 0.7
    y = torch.arange(height, dtype=torch.float32)[None, :, None]
    base = 0.5 + 0.2 * torch.sin(x / 17) * torch.cos(y / 13) + 0.05 * torch.sin(x * 1.3 + y)
    return torch.stack([base, base * 0.9, base * 0.8 + 0.05], dim=1)


@pytest.mark.parametrize("preset", PRESETS)
def test_frames_do_not_depend_on_what_was_asked_before(preset):
    clip = scene(40)
    in_sequence = simulate(clip, PRESETS[preset], seed=11)
    (alone,) = age_span(Simulator(PRESETS[preset], 11, 96, 128), clip, 37, 38)
    assert alone.source == in_sequence.sources[37] and torch.equal(alone.clean, clip[alone.source])
    assert torch.equal(alone.frame, in_sequence.frames[37])
    for kind in MASK_KINDS:
        assert torch.equal(alone.masks[kind], in_sequence.masks[kind][37])


def test_backwards_is_the_same_as_forwards():
    clip = scene(12)
    simulator = Simulator(PRESETS["heavy"], 5, 96, 128)
    backwards = {index: simulator.frame(index, clip[index]).frame for index in reversed(range(12))}
    forwards = simulate(clip, PRESETS["heavy"], seed=5).frames
    assert all(torch.equal(backwards[index], forwards[index]) for index in range(12))


@settings(max_examples=8)
@given(split=st.integers(1, 9), seed=st.integers(0, 2**64 - 1))
def test_chunks_join_without_a_trace(split, seed):
    clip = scene(10, 48, 64)
    whole = simulate(clip, PRESETS["heavy"], seed=seed)
    lines = set()

    def layers(aged):
        return torch.cat([aged.frames, *(aged.masks[kind][:, None] for kind in MASK_KINDS)], dim=1)

    def part(window, kept):
        aged = simulate(clip[window], PRESETS["heavy"], seed=seed, first=window.start)
        lines.update(aged.lines)
        return layers(aged)

    windows_agree(part, layers(whole), (split,))
    assert lines == set(whole.lines)


def test_frame_far_into_a_reel_needs_nothing_before_it():
    image = scene(1)[0]
    simulator = Simulator(PRESETS["heavy"], 2, 96, 128)
    far = simulator.frame(1_000_000, image)
    for index in range(0, 6400, 160):
        simulator.frame(index, image)
    assert torch.equal(simulator.frame(1_000_000, image).frame, far.frame)


def test_other_seeds_give_other_films():
    clip = scene(2)
    one, other = (simulate(clip, PRESETS["worn"], seed=seed).frames for seed in (1, 2))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("preset", PRESETS)
def test_values_stay_in_range_and_the_input_is_untouched(preset):
    clip = torch.rand((6, 3, 64, 80), generator=torch.Generator().manual_seed(1))
    clip[0], clip[1] = 0, 1
    kept = clip.clone()
    aged = simulate(clip, PRESETS[preset], seed=3)
    assert torch.equal(clip, kept)
    assert aged.frames.shape == clip.shape and aged.frames.dtype == torch.float32
    assert aged.frames.min() >= 0 and aged.frames.max() <= 1 and torch.isfinite(aged.frames).all()
    assert tuple(aged.masks) == MASK_KINDS
    for mask in aged.masks.values():
        assert mask.shape == (6, 64, 80) and mask.min() >= 0 and mask.max() <= 1


def test_only_masked_pixels_change_when_all_defects_are_local():
    clip = scene(20, 240, 320)
    aged = simulate(clip, LOCAL_DEFECTS, seed=4)
    anything = sum(aged.masks[kind] for kind in MASK_KINDS) > 0
    changed = (aged.frames != clip).any(dim=1)
    assert changed.float().mean() > 0.01
    assert not (changed & ~anything).any()
    for kind in MASK_KINDS:
        assert (aged.masks[kind] > 0).any()


@pytest.mark.parametrize("defect", [kind for kind in MASK_KINDS if kind not in ("lines", "cinches")])
def test_truth_is_where_the_picture_visibly_changed(defect):
    clip = scene(20, 240, 320)
    aged = simulate(clip, replace(LOCAL_DEFECTS, blotches=BlotchModel(rate=2)).only(defect), seed=8)
    change = (aged.frames - clip).abs().amax(dim=1)
    truth = binary_truth(aged.masks[defect])
    assert truth.any() and not any(aged.masks[kind].any() for kind in MASK_KINDS if kind != defect)
    assert change[truth].min() >= VISIBLE_CHANGE - 1e-6
    assert change[~truth].max() < VISIBLE_CHANGE + 1e-6


def test_white_dirt_on_white_is_no_damage():
    white = torch.ones((4, 3, 96, 128))
    aged = simulate(white, SimulationSettings(dirt=DirtModel(rate=50, white_share=1.0)).only("dirt"), seed=1)
    assert torch.equal(aged.frames, white)
    assert not aged.masks["dirt"].any()


def test_settings_without_defects_change_nothing():
    clip = scene(3)
    aged = simulate(clip, SimulationSettings().only(), seed=1)
    assert torch.equal(aged.frames, clip)
    assert not any(mask.any() for mask in aged.masks.values())


def test_grey_film_stays_grey():
    clip = scene(4)[:, :1].expand(-1, 3, -1, -1)
    aged = simulate(clip, PRESETS["heavy"], seed=9).frames
    assert torch.equal(aged[:, 0], aged[:, 1]) and torch.equal(aged[:, 0], aged[:, 2])


def test_scanner_weave_moves_the_masks_with_the_picture():
    line = ScratchLine(key=1, kind="fixed", x=60, depth=60, width=3, first=0, last=50)
    still = SimulationSettings(lines=LineModel(count=0, pinned=(line,))).only("lines")
    moved = SimulationSettings(lines=still.lines, scanner_weave=WeaveModel(horizontal=15, vertical=0, rotation=0)).only(
        "lines", "scanner_weave"
    )
    clip = torch.full((30, 3, 96, 128), 0.4)
    simulator = Simulator(moved, 1, 96, 128)
    columns = torch.arange(128, dtype=torch.float32)
    shifts = []
    for index in range(30):
        aged = simulator.frame(index, clip[index])
        for weight in (aged.masks["lines"][48], aged.frame[0, 48] - 0.4):
            centre = float((columns * weight).sum() / weight.sum())
            assert centre == pytest.approx(60 + simulator.scanner_displacement(index).dx, abs=0.1)
        shifts.append(simulator.scanner_displacement(index).dx)
    assert max(shifts) - min(shifts) > 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((SimulationSettings(), -1, 96, 128), "seed"),
        ((SimulationSettings(), 2**64, 96, 128), "seed"),
        ((SimulationSettings(), 0, 8, 128), "16x16"),
    ],
)
def test_simulator_rejects_impossible_arguments(arguments, message):
    with pytest.raises(SettingsError, match=message):
        Simulator(*arguments)


def test_frames_of_another_size_are_rejected():
    simulator = Simulator(SimulationSettings(), 0, 96, 128)
    with pytest.raises(SettingsError, match="shape"):
        simulator.frame(0, torch.zeros((3, 96, 127)))
    with pytest.raises(SettingsError, match="count from 0"):
        simulator.frame(-1, torch.zeros((3, 96, 128)))
    with pytest.raises(SettingsError, match="shape"):
        simulate(torch.zeros((4, 1, 96, 128)))


def test_exposure_explains_the_flicker():
    simulator = Simulator(SimulationSettings(flicker=FlickerModel(gamma=0, spatial=0)).only("flicker"), 6, 96, 128)
    image = torch.full((3, 96, 128), 0.5)
    gains = [simulator.exposure(index).gain for index in range(20)]
    means = [float(simulator.frame(index, image).frame.mean()) for index in range(20)]
    assert means == pytest.approx([0.5 * gain for gain in gains], rel=1e-4)
