"""A short training run: temporal layers on a frozen image model learn motion, and unseen clips flicker less."""

import math

import torch
from torch import Tensor, nn

from vldm_core.prior.call import UNetCall
from vldm_core.prior.temporal.layers import TemporalConfig, TemporalLayers
from vldm_core.prior.unet import UNetView

SIDE, FRAMES, SIGMA = 8, 6, 1.0


def moving_waves(clips: int, generator: torch.Generator) -> Tensor:
    """Clean clips (N, F, 4, side, side): three waves per channel that drift together, each clip its own way."""
    wave = torch.randn(clips, 1, 4, 3, 2, generator=generator) * 0.7
    phase = torch.rand(clips, 1, 4, 3, generator=generator) * 2 * math.pi
    drift = torch.randn(clips, 1, 2, generator=generator) * 0.4 * torch.arange(FRAMES)[None, :, None]
    grid = torch.stack(torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="xy"), -1)
    place = grid - drift[:, :, None, None]
    angle = torch.einsum("nfckd,nfyxd->nfckyx", wave.expand(-1, FRAMES, -1, -1, -1), place) + phase[..., None, None]
    return 0.8 * angle.sin().sum(3)


def noisy_pair(clips: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    clean = moving_waves(clips, generator)
    return clean, clean + SIGMA * torch.randn(clean.shape, generator=generator)


class Toy:
    """A tiny image denoiser that predicts x0, and the same with temporal layers."""

    def __init__(self) -> None:
        from diffusers import UNet2DConditionModel

        torch.manual_seed(0)
        self.unet = UNet2DConditionModel(
            sample_size=SIDE,
            block_out_channels=(32, 64),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=16,
            attention_head_dim=4,
        )
        self.view = UNetView(self.unet)
        self.layers = TemporalLayers(TemporalConfig.for_unet(self.view, heads=4))

    def frame_by_frame(self, noisy: Tensor) -> Tensor:
        batch = noisy.flatten(0, 1) / math.sqrt(1 + SIGMA**2)
        context = torch.zeros(len(batch), 1, 16)
        return self.unet(batch, 500, context).sample.view_as(noisy)

    def in_time(self, noisy: Tensor, *, cut_everywhere: bool = False) -> Tensor:
        clips, frames = noisy.shape[:2]
        segments = tuple((i, i + 1) for i in range(frames)) if cut_everywhere else ((0, frames),)
        call = UNetCall(frames=tuple(range(frames)), chunks=(0,) * clips, segments=segments)
        with self.layers.attached(self.view), self.layers.during(call):
            return self.frame_by_frame(noisy)


def train(module: nn.Module, denoise, steps: int, rate: float, frames: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(module.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1.0, 2 * (1 - step / steps)))
    for _ in range(steps):
        clean, noisy = noisy_pair(4, generator)
        optimiser.zero_grad()
        (denoise(noisy[:, :frames]) - clean[:, :frames]).square().mean().backward()
        optimiser.step()
        schedule.step()


@torch.no_grad()
def errors(denoise) -> tuple[float, float]:
    """Return the root mean square error of x0's change from frame to frame, and of x0, on clips nobody trained on."""
    clean, noisy = noisy_pair(16, torch.Generator().manual_seed(77))
    found = denoise(noisy)
    return (found - clean).diff(dim=1).square().mean().sqrt().item(), (found - clean).square().mean().sqrt().item()


def test_trained_layers_flicker_less_on_unseen_clips() -> None:
    toy = Toy()
    train(toy.unet, toy.frame_by_frame, steps=60, rate=3e-3, frames=2, seed=1)
    toy.unet.requires_grad_(False)
    weights = {key: tensor.clone() for key, tensor in toy.unet.state_dict().items()}
    flicker, error = errors(toy.frame_by_frame)
    train(toy.layers, toy.in_time, steps=45, rate=4e-3, frames=FRAMES, seed=2)
    trained_flicker, trained_error = errors(toy.in_time)
    assert trained_flicker < 0.8 * flicker
    assert trained_error < error
    # It is time that helps, not more weights: with a cut between all frames the gain is gone.
    assert errors(lambda noisy: toy.in_time(noisy, cut_everywhere=True))[0] > 0.95 * flicker
    assert all(torch.equal(tensor, weights[key]) for key, tensor in toy.unet.state_dict().items())
    assert errors(toy.frame_by_frame) == (flicker, error)
