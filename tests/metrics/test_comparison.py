"""Figures and picture of a clip before and after."""

import math

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.metrics.before_after import LAYOUTS, before_after
from vldm_core.metrics.comparison import compare_films
from vldm_core.metrics.places import changed_places, places_row
from vldm_core.video.shots import Shot


def pan(count, height=64, width=80, seed=0):
    """A smooth random scene that moves one pixel to the left per frame."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 8 + 2, (width + count) // 8 + 2, generator=generator)
    scene = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bicubic").clamp(0, 1)[0]
    return torch.stack([0.2 + 0.6 * scene[:, :height, t : t + width] for t in range(count)])


class TestCompare:
    def test_equal_clips(self):
        clip = pan(4)
        found = compare_films(clip, clip.clone())
        assert math.isinf(found.psnr)
        assert (found.largest_change, found.changed_share, found.frame_change) == (0, 0, (0.0,) * 4)
        assert found.flicker_before == found.flicker_after
        assert "4 frames: identical" in found.lines()[0]

    def test_fidelity_figures(self):
        before = torch.full((2, 3, 10, 10), 0.5)
        after = before.clone()
        after[1, 0, :5] += 0.1
        found = compare_films(before, after, temporal=False)
        assert found.changed_share == pytest.approx(0.25)
        assert found.largest_change == pytest.approx(25.5, abs=1e-3)
        assert found.psnr == pytest.approx(-10 * math.log10(0.01 / 12), abs=1e-3)
        assert found.frame_change[0] == 0 < found.frame_change[1]
        assert found.flicker_before is None and found.warp_error_after is None
        assert len(found.lines()) == 1

    def test_change_below_half_a_level_does_not_count(self):
        before = torch.full((1, 3, 8, 8), 0.5)
        assert compare_films(before, before + 0.4 / 255, temporal=False).changed_share == 0
        assert compare_films(before, before + 0.6 / 255, temporal=False).changed_share == 1

    def test_flicker_and_warp_error_fall_when_flicker_is_removed(self):
        clean = pan(8)
        gain = 1 + 0.1 * torch.tensor([0, 1, -1, 1, 0, -1, 1, 0]).reshape(-1, 1, 1, 1)
        found = compare_films(clean * gain, clean)
        assert found.flicker_before > 0.05 > 0.01 > found.flicker_after
        assert found.warp_error_before > 3 * found.warp_error_after
        assert len(found.lines()) == 2

    def test_a_cut_is_not_flicker(self):
        clip = torch.cat([pan(4, seed=1), 0.3 * pan(4, seed=2)])
        shots = (Shot(first=0, last=4), Shot(first=4, last=8))
        assert compare_films(clip, clip, shots=shots).warp_error_after < compare_films(clip, clip).warp_error_after
        assert compare_films(clip, clip, shots=shots).flicker_after < 0.02

    def test_progress_never_leaves_the_clip_and_can_stop_it(self):
        seen = []
        clip = pan(6)
        shots = (Shot(first=0, last=3), Shot(first=3, last=6))
        compare_films(clip, clip, shots=shots, progress=lambda *report: seen.append(report[:3]))
        assert all(0 < done <= total == 6 for _, done, total in seen)

        class StoppedError(Exception):
            pass

        def stop(phase, done, total, preview=None):
            raise StoppedError

        with pytest.raises(StoppedError):
            compare_films(clip, clip, progress=stop)

    def test_sizes_must_match(self):
        with pytest.raises(SettingsError, match=r"4 frames of 80×64, after is 3 frames"):
            compare_films(pan(4), pan(3))


class TestPicture:
    @pytest.mark.parametrize(
        ("layout", "shape"), [("side by side", (60, 164)), ("stacked", (124, 80)), ("split", (60, 80))]
    )
    def test_both_frames_are_shown(self, layout, shape):
        before, after = torch.full((3, 60, 80), 0.2), torch.full((3, 60, 80), 0.8)
        picture = before_after(before, after, layout=layout)
        assert picture.shape == (3, *shape)
        assert picture[0, 50, 10] == pytest.approx(0.2, abs=0.002)
        assert picture[0, shape[0] - 5, shape[1] - 5] == pytest.approx(0.8, abs=0.002)

    def test_caption_is_written_below_and_a_long_line_stays_inside(self):
        frame = torch.full((3, 60, 80), 0.5)
        plain = before_after(frame, frame)
        picture = before_after(
            frame, frame, caption=("short", "a line that is much longer than the picture is wide " * 2)
        )
        assert picture.shape[2] == plain.shape[2] and picture.shape[1] > plain.shape[1] + 20
        assert torch.equal(picture[:, :60], plain)
        text = picture[:, 60:].amax(dim=(0, 1)) > 0.5
        assert text.any() and not text[-2:].any()

    def test_a_row_of_pictures_is_scaled_to_the_width(self):
        frame = torch.full((3, 60, 80), 0.5)
        picture = before_after(frame, frame, row=torch.full((3, 10, 41), 0.8))
        assert picture.shape == (3, 60 + 4 + 40, 164)
        assert picture[0, -3, 80] == pytest.approx(0.8, abs=0.01)

    def test_refusals(self):
        frame = torch.zeros(3, 60, 80)
        with pytest.raises(SettingsError, match="side by side, split, stacked"):
            before_after(frame, frame, layout="round")  # type: ignore[arg-type]
        with pytest.raises(SettingsError, match="of one size"):
            before_after(frame, frame[:, :50])
        assert set(LAYOUTS) == {"side by side", "split", "stacked"}


class TestPlaces:
    """The places that changed most are found wherever they are, and only those that are worth a look."""

    def test_they_are_found_in_order_each_once(self):
        before = torch.full((5, 3, 120, 160), 0.5)
        after = before.clone()
        for frame, row, column, depth in ((3, 20, 30, 0.4), (1, 90, 120, 0.3), (1, 22, 33, 0.35)):
            after[frame, :, row : row + 12, column : column + 12] += depth
        places = changed_places(before, after)
        assert [place.frame for place in places] == [3, 1]
        for place, (row, column) in zip(places, ((20, 30), (90, 120)), strict=True):
            assert place.top <= row + 6 <= place.top + place.side
            assert place.left <= column + 6 <= place.left + place.side
            assert (place.of(after) - place.of(before)).abs().max() > 0.2

    def test_a_change_of_the_whole_frame_is_none(self):
        before = pan(4)
        assert changed_places(before, before + 0.1) == []
        assert changed_places(before, before) == []

    @pytest.mark.parametrize("size", [(1, 1), (5, 300), (24, 24)])
    def test_small_frames(self, size):
        before = torch.zeros(2, 3, *size)
        assert len(changed_places(before, before)) == 0
        after = before.clone()
        after[1, :, 0, 0] = 1
        for place in changed_places(before, after):
            assert place.of(after).shape == (3, place.side, place.side)

    def test_the_row_shows_before_and_after_of_each(self):
        before = torch.zeros(2, 3, 120, 160)
        after = before.clone()
        after[1, :, 40:70, 50:80] = 1
        (place,) = changed_places(before, after)
        row = places_row(before, after, [place], side=100)
        assert row.shape == (3, 100, 204)
        assert row[0, 90, 50] < 0.1 and row[0, :, 104:].mean() > 0.3
