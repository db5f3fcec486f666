"""The same weights, noise and attachments give the same sample in the host and headlessly; nothing stays behind."""

import pytest

from .in_host import run_in_host

pytestmark = pytest.mark.host


@pytest.mark.parametrize("program", ["parity", "detaching", "motion_schedule"])
def test_in_the_host(host_folder, program) -> None:
    run_in_host(host_folder, program)
