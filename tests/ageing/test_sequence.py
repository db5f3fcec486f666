"""Whole films: cadence, mixed frames, codecs, and pieces that join without a trace."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vldm_core.ageing import (
    MASK_KINDS,
    PRESETS,
    CadenceModel,
    CodecModel,
    DirtModel,
    GrainModel,
    MixingModel,
    SimulationSettings,
    Simulator,
    SpliceModel,
    age_span,
    age_stream,
    simulate,
)
from vldm_core.ageing.codec import GROUP
from vldm_core.ageing.defects.splices import SpliceLayer
from vldm_core.ageing.look.cadence import LONGEST_HOLD, MOST_LOST, Timeline
from vldm_core.ageing.mixing import MixingLayer
from vldm_core.errors import SettingsError

HEIGHT, WIDTH = 48, 64
PLAIN = SimulationSettings().only()
EVERYTHING = replace(
    PRESETS["8mm amateur"],
    splices=SpliceModel(rate=0.1),
    cadence=CadenceModel(duplicates=0.3, missing=0.1),
    mixing=MixingModel(kind="fields", probability=0.3),
)


def numbered(frames: int) -> torch.Tensor:
    """Frames that tell their number: frame n has the brightness 0.2 + n / 200."""
    return (0.2 + torch.arange(frames)[:, None, None, None] / 200).expand(-1, 3, HEIGHT, WIDTH)


def scene(frames: int) -> torch.Tensor:
    x = torch.arange(WIDTH)[None, None] - torch.arange(frames)[:, None, None] * 0.7
    base = 0.5 + 0.3 * torch.sin(x / 7) * torch.cos(torch.arange(HEIGHT)[None, :, None] / 5)
    return torch.stack([base, base * 0.9, base * 0.8], dim=1)


class TestCadence:
    @pytest.mark.parametrize("regular", [True, False])
    @pytest.mark.parametrize("share", [0.0, 1 / 3, 0.46, 0.8])
    def test_share_of_repeats_and_longest_hold(self, share, regular):
        timeline = Timeline(CadenceModel(duplicates=share, regular=regular), None, 4)
        shown = [timeline.film_frame(index) for index in range(4000)]
        repeats = np.mean([now == before for before, now in pairwise(shown)])
        assert repeats == pytest.approx(share, abs=0.03)
        assert max(index - number for index, number in enumerate(shown)) < LONGEST_HOLD
        assert shown == sorted(shown)
        for index in range(200):
            assert timeline.next_film_frame(index) == next(number for number in shown[index:] if number > shown[index])

    def test_sixteen_frames_a_second_shown_at_twenty_four(self):
        timeline = Timeline(CadenceModel(duplicates=1 / 3), None, 1)
        shown = np.array([timeline.film_frame(index) for index in range(240)])
        held = np.diff(np.flatnonzero(np.diff(shown, prepend=-1)))
        assert set(held) == {1, 2} and abs(held.mean() - 1.5) < 0.02

    @settings(max_examples=25)
    @given(seed=st.integers(0, 2**32), rate=st.floats(0, 0.5), missing=st.floats(0, 0.5), start=st.integers(0, 900))
    def test_what_is_shown_never_goes_back_and_does_not_depend_on_what_was_asked(self, seed, rate, missing, start):
        def timeline() -> Timeline:
            return Timeline(
                CadenceModel(missing=missing), SpliceLayer(SpliceModel(rate=rate), seed, HEIGHT, WIDTH), seed
            )

        whole = timeline()
        shown = [whole.source(number) for number in range(1000)]
        assert shown[0] == 0 and shown == sorted(shown)
        assert all(0 <= source - number <= MOST_LOST for number, source in enumerate(shown))
        assert timeline().source(start) == shown[start]

    def test_a_splice_brings_what_follows_forward_by_the_frames_it_lost(self):
        layer = SpliceLayer(SpliceModel(rate=0.01), 5, HEIGHT, WIDTH)
        first = min((s for s in layer.between(0, 2000) if s.cut > 0), key=lambda splice: splice.cut)
        timeline = Timeline(None, layer, 5)
        assert timeline.source(first.cut - 1) == first.cut - 1
        assert timeline.source(first.cut) == first.cut + first.dropped

    def test_the_index_table_says_what_every_frame_shows(self):
        clip = numbered(120)
        model = replace(PLAIN, cadence=CadenceModel(duplicates=0.3, missing=0.05), splices=SpliceModel(rate=0.02))
        aged = simulate(clip, replace(model, splices=SpliceModel(rate=0.02, jump=(0, 0))), seed=3)
        assert aged.frames.shape == clip.shape and len(aged.sources) == 120
        damaged = aged.masks["splices"].amax(dim=(1, 2)) > 0
        for index in range(120):
            if not damaged[index]:
                assert torch.allclose(aged.frames[index], clip[aged.sources[index]], atol=1e-6)
        steps = np.diff(aged.sources)
        assert (steps == 0).any() and (steps > 1).any() and (steps >= 0).all()
        assert aged.sources[-1] == 119  # the last frame stands still for those that are lost

    def test_repeated_frames_repeat_their_dirt_and_grain(self):
        model = replace(PLAIN, dirt=DirtModel(rate=60), grain=GrainModel(), cadence=CadenceModel(duplicates=0.5))
        aged = simulate(scene(9), model, seed=3)
        same = [torch.equal(a, b) for a, b in zip(aged.frames, aged.frames[1:], strict=False)]
        assert same == [a == b for a, b in zip(aged.sources, aged.sources[1:], strict=False)]
        assert sum(same) in (4, 5)


class TestMixing:
    def test_share_of_mixed_frames(self):
        layer = MixingLayer(MixingModel(probability=0.1), 2)
        mixed = [layer.at(index) is not None for index in range(4000)]
        assert np.mean(mixed) == pytest.approx(0.1, abs=0.02)

    def test_fields_alternate_between_two_frames_and_blends_mix_them(self):
        clip = numbered(10)
        fields = simulate(clip, replace(PLAIN, mixing=MixingModel(kind="fields", probability=1)), seed=1)
        rows = fields.frames[4, 0, :, 0]
        assert torch.equal(rows[0::2].unique(), rows[:1]) and torch.equal(rows[1::2].unique(), rows[1:2])
        assert sorted([float(rows[0]), float(rows[1])]) == pytest.approx([0.22, 0.225])
        blend = simulate(clip, replace(PLAIN, mixing=MixingModel(kind="blend", probability=1)), seed=1)
        shares = (blend.frames[:9, 0, 0, 0] - clip[:9, 0, 0, 0]) * 200
        assert shares.min() >= 0.3 - 1e-3 and shares.max() <= 0.5 + 1e-3
        assert blend.sources == fields.sources == tuple(range(10))

    def test_masks_are_mixed_like_pictures(self):
        model = replace(PLAIN, dirt=DirtModel(rate=200), mixing=MixingModel(kind="fields", probability=1))
        mixed, plain = simulate(scene(4), model, seed=2), simulate(scene(4), replace(model, mixing=None), seed=2)
        one, two = plain.masks["dirt"][1], plain.masks["dirt"][2]
        rows = [torch.equal(mixed.masks["dirt"][1][row], one[row]) for row in range(HEIGHT)]
        other = [torch.equal(mixed.masks["dirt"][1][row], two[row]) for row in range(HEIGHT)]
        assert all(a or b for a, b in zip(rows, other, strict=True)) and not all(rows) and not all(other)


class TestCodec:
    @pytest.mark.parametrize(
        ("codec", "good", "bad"), [("jpeg", 95, 20), ("h264", 16, 44), ("mpeg4", 2, 28), ("mpeg2", 2, 28)]
    )
    def test_lower_quality_loses_more_and_the_result_repeats(self, codec, good, bad):
        clip = scene(14) + 0.03 * torch.randn((14, 3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(1))
        clip = clip.clamp(0, 1)

        def coded(quality: float) -> torch.Tensor:
            model = replace(PLAIN, codec=CodecModel(codec=codec, quality=(quality, quality)))
            return simulate(clip, model, seed=1).frames

        errors = [float((coded(quality) - clip).square().mean()) for quality in (good, bad)]
        assert errors[0] < 2e-3 and errors[1] > 1.3 * errors[0]
        assert torch.equal(coded(bad), coded(bad))

    def test_grey_stays_grey_and_odd_sizes_are_kept(self):
        clip = scene(5)[:, :1, :47, :61].expand(-1, 3, -1, -1)
        frames = simulate(clip, replace(PLAIN, codec=CodecModel(quality=(30, 30))), seed=1).frames
        assert frames.shape == clip.shape
        assert torch.equal(frames[:, 0], frames[:, 1]) and torch.equal(frames[:, 0], frames[:, 2])

    def test_a_frame_does_not_depend_on_later_ones(self):
        clip, model = scene(20), replace(PLAIN, codec=CodecModel(quality=(30, 30)))
        assert torch.equal(simulate(clip[:16], model, seed=1).frames, simulate(clip, model, seed=1).frames[:16])


class TestPieces:
    @settings(max_examples=6)
    @given(cuts=st.lists(st.integers(0, 40), min_size=1, max_size=3), seed=st.integers(0, 2**32))
    def test_spans_join_without_a_trace(self, cuts, seed):
        clip = scene(40)
        whole = simulate(clip, EVERYTHING, seed=seed)
        marks = sorted({0, 40, *cuts})
        pieces = []
        for first, last in pairwise(marks):
            pieces += age_span(Simulator(EVERYTHING, seed, HEIGHT, WIDTH), clip, first, last)
        assert torch.equal(torch.stack([one.frame for one in pieces]), whole.frames)
        assert tuple(one.source for one in pieces) == whole.sources
        for kind in MASK_KINDS:
            assert torch.equal(torch.stack([one.masks[kind] for one in pieces]), whole.masks[kind])
        for one in pieces:
            assert torch.equal(one.clean, clip[one.source])

    def test_memory_is_bounded(self):
        """A stream is read at most as far ahead as frames can be lost or held, and a group of the codec."""
        read = 0

        def reel():
            nonlocal read
            for _ in range(400):
                read += 1
                yield torch.full((3, 16, 16), 0.5)

        model = replace(PLAIN, splices=SpliceModel(rate=0.3), cadence=CadenceModel(), codec=CodecModel())
        ahead = []
        for index, _ in enumerate(age_stream(Simulator(model, 1, 16, 16), reel())):
            ahead.append(read - index)
        assert len(ahead) == 400 and max(ahead) <= MOST_LOST + LONGEST_HOLD + 1 + GROUP

    def test_as_many_frames_come_out_as_go_in(self):
        for count in (1, 2, 13):
            assert len(simulate(scene(count), EVERYTHING, seed=6).sources) == count
        assert list(age_stream(Simulator(EVERYTHING, 6, HEIGHT, WIDTH), [])) == []

    def test_spans_outside_the_film_are_rejected(self):
        with pytest.raises(SettingsError, match="40 frames"):
            list(age_span(Simulator(PLAIN, 1, HEIGHT, WIDTH), scene(40), 30, 41))


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (MixingModel, {"kind": "weave"}),
        (CodecModel, {"codec": "av1"}),
        (CodecModel, {"codec": "mpeg2", "quality": (2, 60)}),
    ],
)
def test_values_out_of_range_say_what_to_do(model, values):
    with pytest.raises(SettingsError) as caught:
        model(**values)
    assert "choose" in str(caught.value) or "give" in str(caught.value)
