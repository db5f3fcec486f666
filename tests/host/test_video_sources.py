"""What is streamed for a VIDEO of the host."""

import pytest

from .in_host import run_in_host

pytestmark = pytest.mark.host


def test_edited_videos_are_streamed(host_folder, tmp_path) -> None:
    run_in_host(host_folder, "video_sources", str(tmp_path))
