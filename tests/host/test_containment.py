"""What goes wrong in one frame of a stage, in the nodes."""

from pathlib import Path

import pytest

from .in_host import run_in_host

pytestmark = pytest.mark.host


def test_a_node_passes_a_frame_on_that_its_stage_cannot_do(host_folder: Path) -> None:
    run_in_host(host_folder, "contained_stages")
