"""A tiny data folder, a tiny network and a tiny clip for tests of the pre-restoration benchmark."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.prerestore.material import DamagedClip
from benchmarks.prerestore.settings import PreRestoreBenchmarkSettings
from vldm_core.prerestore.network import KIND, PreRestorer, PreRestorerConfig
from vldm_core.video.flow import estimate_flow
from vldm_core.video.warping import consistency

from .film_data import moving_texture, write_film, write_photo

TINY = PreRestoreBenchmarkSettings(
    frames=4,
    height=64,
    width=96,
    presets=("1940s", "8mm amateur"),
    clips=2,
    costs=False,
    cost_frames=4,
    lengths=(4, 8),
    real_frames=2,
    lanes=1,
    seed=7,
)


def write_data(folder: Path) -> Path:
    """Files that bear the names of those kept for validation."""
    write_film(folder / "clips" / "01_dog.mp4", moving_texture(1, 24, step=2))
    write_photo(folder / "photos" / "kait-herzog-8242.png")
    write_film(folder / "film" / "san_francisco_1906.mkv", moving_texture(2, 5))
    return folder


def random_network(seed: int = 0) -> PreRestorer:
    """A network whose zero-initialised layers do something, as after training."""
    torch.manual_seed(seed)
    config = PreRestorerConfig(
        widths=(8, 16, 16), encoder_blocks=(0, 1), state_blocks=0, bottom_blocks=0, decoder_blocks=(0, 0), heads=2
    )
    network = PreRestorer(config).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(0.05 * torch.randn(parameter.shape))
    for head in network.heads:
        # A change of a few dozen grey levels.
        head.weight.mul_(0.1)
        head.bias.mul_(0.1)
    return network


def write_network(path: Path) -> Path:
    KIND.save(random_network(), path)
    return path


def made_clip(noise: float = 8.0, frames: int = 4) -> DamagedClip:
    """A clip of moving texture with noise of so many grey levels, darker from frame to frame where it flickers."""
    levels = moving_texture(5, frames, 48, 64).astype(np.float32) / 255
    reference = torch.from_numpy(levels).permute(0, 3, 1, 2).contiguous()
    generator = torch.Generator().manual_seed(3)
    grain = noise / 255 * torch.randn(frames, 1, *reference.shape[2:], generator=generator)
    even = _eight(reference + grain)
    gain = torch.tensor([1.0, 0.93])[torch.arange(frames) % 2].view(-1, 1, 1, 1)
    repaired = _eight(even * gain)
    damaged = repaired.clone()
    damaged[1, :, 10:16, 20:30] = 1
    masks = torch.zeros(frames, *reference.shape[2:])
    masks[1, 10:16, 20:30] = 1
    flow = estimate_flow(reference)
    return DamagedClip(
        name="made/1940s",
        preset="1940s",
        damaged=damaged,
        repaired=repaired,
        even=even,
        reference=_eight(reference),
        masks=masks,
        flow=flow.half().float(),
        visible=consistency(flow, estimate_flow(reference, direction="forward")),
    )


def _eight(frames: Tensor) -> Tensor:
    return (frames.clamp(0, 1) * 255).round() / 255
