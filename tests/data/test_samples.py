"""Samples by number: shared out among processes, and found again after an interruption."""

import pytest

from vldm_core.data.samples import NumberedSamples
from vldm_core.errors import SettingsError


class Numbers(NumberedSamples[int]):
    def sample(self, index: int) -> int:
        return index


def test_processes_take_turns():
    taken = []
    for rank in range(3):
        numbers = Numbers(seed=0, batch=2, length=12)
        numbers.share(rank, 3)
        taken.append(list(numbers))
    assert taken == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]


def test_a_pass_goes_on_where_it_was_and_the_next_one_behind_it():
    numbers = Numbers(seed=0, batch=2, length=6)
    numbers.advance(4)
    assert list(numbers) == [4, 5]
    numbers.advance(2)
    assert list(numbers) == [6, 7, 8, 9, 10, 11]
    other = Numbers(seed=0, batch=2, length=6)
    other.load_state_dict(numbers.state_dict())
    assert list(other) == list(numbers)


def test_what_cannot_be_shared_out_is_refused():
    numbers = Numbers(seed=0, batch=2, length=6)
    with pytest.raises(SettingsError, match="multiple of 4"):
        numbers.share(0, 2)
    with pytest.raises(SettingsError, match="rank is 3 of 3"):
        numbers.share(3, 3)
    numbers = Numbers(seed=0, batch=2)
    with pytest.raises(SettingsError, match="use a multiple of 2"):
        numbers.advance(3)
    with pytest.raises(SettingsError, match="seed 1"):
        numbers.load_state_dict({"seed": 1, "start": 0})
    for wrong in ({"batch": 0}, {"seed": -1}):
        with pytest.raises(SettingsError, match="batch of 1 or more, a seed from 0"):
            Numbers(**{"seed": 0, "batch": 1} | wrong)
