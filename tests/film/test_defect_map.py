"""Maps of damage from elsewhere: what their values mean is said by the user, and they are trusted."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vldm_core.errors import SettingsError
from vldm_core.film.defect_map import LEAST_CONTRAST, MapSettings, map_marks, map_probability


def test_white_is_damage_by_default():
    values = torch.tensor([[[0.0, 0.4, 0.6, 1.0]]])
    assert map_marks(values, MapSettings()).tolist() == [[[0, 0, 1, 1]]]


def test_in_an_infrared_scan_dark_is_damage():
    infrared = MapSettings(clean=0.9, damaged=0.3)
    values = torch.tensor([[[0.95, 0.9, 0.75, 0.5, 0.3, 0.0]]])
    assert map_probability(values, infrared).flatten().tolist() == pytest.approx([0, 0, 0.25, 2 / 3, 1, 1])
    assert map_marks(values, infrared).flatten().tolist() == [0, 0, 0, 1, 1, 1]


def test_a_map_may_be_a_probability_and_marks_may_grow():
    values = torch.zeros(1, 5, 5)
    values[0, 2, 2] = 0.3
    assert not map_marks(values, MapSettings()).any()
    assert map_marks(values, MapSettings(threshold=0.3)).sum() == 1
    assert map_marks(values, MapSettings(threshold=0.3, grow=1)).sum() == 5


@given(clean=st.floats(0, 1), damaged=st.floats(0, 1), value=st.floats(0, 1))
def test_a_probability_is_one_at_damage_and_nought_at_clean(clean, damaged, value):
    if abs(clean - damaged) < LEAST_CONTRAST:
        with pytest.raises(SettingsError, match="tells apart"):
            MapSettings(clean=clean, damaged=damaged)
        return
    settings = MapSettings(clean=clean, damaged=damaged)
    low, high, between = map_probability(torch.tensor([clean, damaged, value], dtype=torch.float64), settings).tolist()
    assert low == 0 and high == pytest.approx(1, abs=1e-3) and 0 <= between <= 1
