"""Wrong settings are refused with the value and what to do."""

from types import SimpleNamespace

import pytest

from benchmarks.common.settings import check_chosen, check_least, check_seed, check_size
from vldm_core.errors import SettingsError


def test_what_can_be_run_passes():
    check_least(SimpleNamespace(frames=4), frames=4)
    check_size(64, 96)
    check_chosen("methods", ("b", "a"), ("a", "b", "c"))
    check_seed(2**32 - 1)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: check_least(SimpleNamespace(frames=3, lanes=1), lanes=1, frames=4), "frames is 3; use 4 or more"),
        (lambda: check_size(96, 63), "96x63; use 64 px or more"),
        (lambda: check_chosen("methods", (), ("a",)), "methods are none"),
        (lambda: check_chosen("methods", ("a", "a"), ("a",)), "each once"),
        (lambda: check_chosen("methods", ("z",), ("a", "b")), "methods are z; choose some, each once, of a, b"),
        (lambda: check_seed(2**31, bits=31), r"2147483648; choose a whole number from 0 to 2\*\*31 - 1"),
        (lambda: check_seed(-1), "seed is -1"),
    ],
)
def test_what_cannot_be_run_is_named(check, message):
    with pytest.raises(SettingsError, match=message):
        check()
