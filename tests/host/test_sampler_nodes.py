"""The sampler and its patches in the host"s own sampling, with tiny models of the host"s classes."""

import pytest

from .in_host import run_in_host

pytestmark = pytest.mark.host


@pytest.mark.parametrize("program", ["sampler", "patches", "rgb"])
def test_in_the_host(host_folder, program) -> None:
    run_in_host(host_folder, program)
