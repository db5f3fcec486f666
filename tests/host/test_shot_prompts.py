"""Prompts, pictures and tags of shots in the host's own classes, with tiny models."""

import pytest

from .in_host import run_in_host

pytestmark = pytest.mark.host


@pytest.mark.parametrize("program", ["shot_prompts", "shot_nodes", "clip_parity"])
def test_in_the_host(host_folder, program) -> None:
    run_in_host(host_folder, program)
