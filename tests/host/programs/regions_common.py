"""What the programs about regions share."""

import torch
from in_host import *

from comfy.model_management import OOM_EXCEPTION
import comfy.samplers
from pack.nodes.host.prior import with_attachment, with_shots, with_noise, with_transform
from pack.nodes.host.regions import with_regions
from pack.vldm_core.sampling.regions.windows import WindowSettings
from pack.vldm_core.sampling.regions.tiles import TileSettings
from pack.vldm_core.video.shots import Shot
from pack.vldm_core.prior.lora.per_frame import ShotLora, read_lora

model, _ = tiny_pair()
negative = conditioning(seed=3)


def equal(a, b, limit=2e-5):
    difference = float((a - b).abs().max() / b.abs().max())
    assert difference < limit, difference
