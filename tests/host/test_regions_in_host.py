"""Windows and tiles in the host: every tensor, mask, area and hint goes with its frame and its place."""

import pytest

from .in_host import run_in_host

pytestmark = pytest.mark.host


@pytest.mark.parametrize("program", ["hints", "places", "shots_and_memory", "loaders", "other_families"])
def test_in_the_host(host_folder, program) -> None:
    run_in_host(host_folder, program)
