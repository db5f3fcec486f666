"""Damage that comes and goes: tears, stains, splices, cue marks keep to their stated statistics."""

import math

import numpy as np
import pytest
import torch

from vldm_core.ageing import CueModel, SimulationSettings, Simulator, SpliceModel, StainModel, TearModel, simulate
from vldm_core.ageing.defects.cue_marks import CueLayer
from vldm_core.ageing.defects.splices import SpliceLayer
from vldm_core.ageing.defects.stains import StainLayer
from vldm_core.ageing.defects.tears import TearLayer
from vldm_core.errors import SettingsError


def grey(frames: int, level: float = 0.5, height: int = 120, width: int = 160) -> torch.Tensor:
    return torch.full((frames, 3, height, width), level)


class TestTears:
    def test_they_live_like_lines(self):
        layer = TearLayer(TearModel(count=3), 1, 480, 640)
        visible = [layer.between(index, index + 1) for index in range(0, 8000, 10)]
        assert np.mean([len(tears) for tears in visible]) == pytest.approx(3, rel=0.15)
        kinds: list[str] = [tear.kind for tears in visible for tear in tears]
        for kind, share in (("fixed", 0.5), ("drifting", 0.3), ("transient", 0.2)):
            assert kinds.count(kind) / len(kinds) == pytest.approx(share, abs=0.1)

    def test_they_are_other_lines_than_the_scratches(self):
        settings = SimulationSettings(tears=TearModel(count=3)).only("tears", "lines")
        simulator = Simulator(settings, 1, 120, 160)
        tears = TearLayer(TearModel(count=3), 1, 120, 160).between(0, 500)
        assert not {tear.key for tear in tears} & {line.key for line in simulator.lines(0, 500)}

    @pytest.mark.parametrize(("white_share", "low", "high"), [(1.0, 0.75, 1.0), (0.0, 0.0, 0.1)])
    def test_they_are_opaque(self, white_share, low, high):
        """In the core of a tear nothing is left of the picture: the same strip over two pictures looks the same."""
        model = TearModel(count=4, width=(6, 9), white_share=white_share, largest_gaps=0)
        settings = SimulationSettings(tears=model).only("tears")
        one, two = (simulate(grey(12, level, 240, 320), settings, seed=2).frames for level in (0.3, 0.6))
        core = (one - two).abs().amax(dim=1) < 1e-4
        assert 0.005 < core.float().mean() < 0.2
        values = one[:, 0][core]
        assert values.min() >= low and values.max() <= high


class TestStains:
    def test_areas_and_lives(self):
        layer = StainLayer(StainModel(rate=0.5), 1, 480, 640)
        stains = layer.between(30, 2000)
        lives = [stain.last - stain.first for stain in stains]
        assert min(lives) == 3 and max(lives) == 30
        assert len(stains) == pytest.approx(0.5 * 1985, rel=0.1)
        areas = np.array([np.pi * stain.radius**2 / (480 * 640) for stain in stains])
        assert areas.min() >= 0.01 and areas.max() <= 0.15
        assert {stain.kind for stain in stains} == {"water", "mould"}

    @pytest.mark.parametrize("mould", [0.0, 1.0])
    def test_a_stain_stays_about_its_place_but_differs_from_frame_to_frame(self, mould):
        model = StainModel(rate=0.01, life=(20, 30), area=(0.1, 0.15), opacity=(0.4, 0.4), mould_share=mould)
        layer = StainLayer(model, 3, 240, 320)
        stain = next(
            stain
            for stain in layer.between(100, 9000)
            if 80 < stain.x < 240 and 60 < stain.y < 180 and layer.between(stain.first, stain.last) == (stain,)
        )
        middle = (stain.first + stain.last) // 2
        settings = SimulationSettings(stains=model).only("stains")
        simulator = Simulator(settings, 3, 240, 320)
        masks = [
            simulator.frame(index, grey(1, 0.5, 240, 320)[0]).masks["stains"] for index in range(middle, middle + 2)
        ]
        share = (masks[0] > 0.5).float().mean()
        assert 0.005 < share < 0.4
        assert not torch.equal(masks[0], masks[1])
        rows, columns = torch.meshgrid(torch.arange(240.0), torch.arange(320.0), indexing="ij")
        centres = [((mask * rows).sum() / mask.sum(), (mask * columns).sum() / mask.sum()) for mask in masks]
        assert math.dist(*((float(row), float(column)) for row, column in centres)) < stain.radius


class TestSplices:
    def test_statistics(self):
        layer = SpliceLayer(SpliceModel(rate=0.1), 1, 480, 640)
        splices = [splice for splice in layer.between(0, 5000) if 0 <= splice.cut < 5000]
        assert len(splices) == pytest.approx(500, rel=0.12)
        assert {splice.dropped for splice in splices} == set(range(1, 9))
        jumps = np.abs([splice.dy for splice in splices])
        assert jumps.min() >= 5 and jumps.max() <= 15
        assert all(abs(splice.dx) <= abs(splice.dy) / 3 for splice in splices)

    def test_the_line_crosses_the_picture_at_the_cut_and_the_jump_dies_out(self):
        settings = SimulationSettings(splices=SpliceModel(rate=0.01)).only("splices")
        simulator = Simulator(settings, 5, 240, 320)
        splice = next(s for s in simulator.splices(20, 2000) if s.bright and s.dy > 0)
        aged = simulator.frame(splice.cut, grey(1, 0.4, 240, 320)[0])
        mask = aged.masks["splices"] >= 0.5
        row = int(mask.float().mean(dim=1).argmax())
        assert mask[row].float().mean() > 0.5
        assert abs(row - (splice.y + splice.dy)) < 6
        places = [simulator.scanner_displacement(splice.cut + age).dy for age in range(-1, 7)]
        assert places[0] == 0 and places[1] == splice.dy and abs(places[3]) < abs(places[2]) < abs(places[1])
        assert places[-1] == 0
        # The jump brings the line between two frames into sight.
        assert float(aged.frame[:, : int(splice.dy) - 1].max()) < 0.1


class TestCues:
    def test_two_marks_seven_seconds_apart_in_the_upper_right_corner(self):
        layer = CueLayer(CueModel(rate=0.005), 2, 240, 320)
        pair = next(pair for pair in layer.between(200, 5000) if pair.first > 0)
        assert 3 <= pair.length <= 4
        assert [pair.shown(pair.first + offset) for offset in (-1, 0, pair.length - 1, pair.length, 168)] == [
            False,
            True,
            True,
            False,
            True,
        ]
        settings = SimulationSettings(cues=CueModel(rate=0.005)).only("cues")
        mask = Simulator(settings, 2, 240, 320).frame(pair.first, grey(1, 0.5, 240, 320)[0]).masks["cues"]
        rows, columns = (mask >= 0.5).nonzero(as_tuple=True)
        assert len(rows) and rows.max() < 48 and columns.min() > 260


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (TearModel, {"shares": (1, 1)}),
    ],
)
def test_values_out_of_range_say_what_to_do(model, values):
    with pytest.raises(SettingsError, match=next(iter(values))) as caught:
        model(**values)
    assert "choose" in str(caught.value) or "give" in str(caught.value)
