"""What nodes/host/node_run.py does that no graph on this host can reach: other layouts, and newer hosts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.host

ROOT = Path(__file__).resolve().parents[2]

# Run in a process of its own, because the host's modules cannot be imported beside the tests.
PREPARE = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("in_host", {root!r} + "/tests/host/in_host.py")
in_host = importlib.util.module_from_spec(spec)
spec.loader.exec_module(in_host)
in_host.prepare({host!r})
import torch
from pack.nodes.host import node_run as host
from pack.vldm_core.errors import SettingsError

def refusal(call, *arguments):
    try:
        call(*arguments)
    except SettingsError as error:
        return str(error)
    raise AssertionError("accepted")
"""

LAYOUTS = """
grey = torch.rand(2, 4, 6, 1)
assert torch.equal(host.frames_from_image(grey), grey.movedim(-1, 1).expand(-1, 3, -1, -1))
colour = torch.rand(2, 4, 6, 4, dtype=torch.float64)
frames = host.frames_from_image(colour)
assert frames.shape == (2, 3, 4, 6) and frames.dtype == torch.float32
assert torch.equal(host.image_from_frames(frames), colour[..., :3].float())
assert host.image_from_frames(frames).is_contiguous()
assert "images: a batch" in refusal(host.frames_from_image, torch.zeros(0, 4, 6, 3))
assert "before: a batch" in refusal(host.frames_from_image, torch.zeros(4, 6, 3), "before")
assert "got (1, 4, 6, 2)" in refusal(host.frames_from_image, torch.zeros(1, 4, 6, 2))
"""

MASKS = """
images = torch.zeros(5, 4, 6, 3)
assert host.mask_for(None, images, "dirt") is None
assert host.mask_for(torch.ones(4, 6), images, "dirt").shape == (5, 4, 6)
assert host.mask_for(torch.ones(1, 4, 6), images, "dirt").shape == (5, 4, 6)
assert host.mask_for(torch.ones(5, 4, 6), images, "dirt").shape == (5, 4, 6)
assert "dirt: the mask has 3 frames" in refusal(host.mask_for, torch.ones(3, 4, 6), images, "dirt")
assert "of 4×6" in refusal(host.mask_for, torch.ones(5, 6, 4), images, "dirt")
"""

PROGRESS = """
import comfy.model_management as management
seen = []
bar = host.NodeProgress(phases=2)
bar._bar.hook = lambda value, total, preview, node_id=None: seen.append(value)
host._BAR_INTERVAL_S = 0
# Two shots, each measured and then corrected: the bar must not run back.
for phase, done in (("measure", 5), ("correct", 5), ("measure", 10), ("correct", 10)):
    bar(phase, done, 10)
assert seen == [250, 500, 750, 1000], seen
management.interrupt_current_processing(True)
try:
    bar("correct", 10, 10)
except management.InterruptProcessingException:
    pass
else:
    raise AssertionError("the interrupt was not noticed")
"""


@pytest.mark.parametrize("code", [LAYOUTS, MASKS, PROGRESS], ids=["layouts", "masks", "progress and interrupt"])
def test_adapter(host_folder, tmp_path, code):
    script = PREPARE.format(host=str(host_folder), root=str(ROOT)) + code
    # The host's folder_paths makes folders in its base directory; let it not be the user's.
    environment = os.environ | {"PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
