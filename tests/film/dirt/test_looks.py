"""What the neighbours of a frame show, where there are fewer than three on a side."""

import numpy as np
import torch

from vldm_core.film.dirt.looks import NeighbourLooks
from vldm_core.film.motion.window import FrameWindow

from .dirt_scenes import scene


def test_a_spot_that_lasts_near_the_end_of_a_shot_is_not_what_is_shown_after_it() -> None:
    """It lies on one of the two frames that follow; the other one counts twice."""
    clean = scene(9, pan=0.0)
    dirty = clean.clone()
    spot = np.s_[60:72, 90:102]
    for index in (6, 7):
        dirty[index, :, spot[0], spot[1]] = 0.97
    looks = NeighbourLooks(FrameWindow(dirty)).looks(6)
    assert looks is not None
    inside = np.s_[62:70, 92:100]
    over = torch.from_numpy(255 * dirty[6, 0].numpy() - looks.after)[inside]
    truth = 255 * (dirty - clean)[6, 0][inside]
    assert (over - truth).abs().median() < 12
