"""The blur is a Gaussian whose borders are repeated, and what it needs is imported only when it is asked for."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.ndimage
import torch

from vldm_core.video.blending import gaussian


@pytest.mark.parametrize("sigma", [0.4, 1.5, 6.0])
def test_the_blur_is_that_of_scipy(sigma: float):
    frame = torch.rand(3, 21, 34, generator=torch.Generator().manual_seed(1))
    reach = max(1, round(3 * sigma))
    planes = [
        scipy.ndimage.gaussian_filter(plane, sigma, mode="nearest", radius=reach) for plane in frame.double().numpy()
    ]
    assert torch.allclose(gaussian(frame, sigma).double(), torch.from_numpy(np.stack(planes)), atol=1e-6)
    assert torch.allclose(gaussian(torch.full((1, 5, 5), 0.3), sigma), torch.tensor(0.3))


def test_commands_that_blur_nothing_do_not_wait_for_kornia():
    program = "import sys, vldm_core.cli.app, vldm_core.video.blending; sys.exit('kornia' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
