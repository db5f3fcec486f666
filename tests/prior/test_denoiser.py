"""The clip's denoiser: conditioning per frame, windows, guidance, controls and transforms in their order."""

import pytest
import torch
from torch import nn

from vldm_core.errors import SettingsError
from vldm_core.prior.attachment import Attachment
from vldm_core.prior.denoiser import ClipDenoiser, Control, DenoiserSettings
from vldm_core.prior.unet import UNetView
from vldm_core.sampling.cfg import CfgSettings, ClassifierFreeGuidance, guide
from vldm_core.sampling.regions.tiles import TileSettings
from vldm_core.sampling.regions.windows import WindowSettings
from vldm_core.sampling.schedule import NoiseSchedule
from vldm_core.sampling.state import StepState
from vldm_core.video.shots import Shot

from .tiny_models import CONTEXT, tiny_unet

SCHEDULE = NoiseSchedule.stable_diffusion()
SIGMAS = (10.0, 3.0, 1.0, 0.0)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def unet():
    return tiny_unet(block_out_channels=(32, 64))


POSITIVE, NEGATIVE = draw(1, 5, CONTEXT, seed=1), draw(1, 5, CONTEXT, seed=2)


def denoiser(unet, positive=POSITIVE, negative=NEGATIVE, **more) -> ClipDenoiser:
    settings = DenoiserSettings(**{name: more.pop(name) for name in ("cfg", "windows", "tiles") if name in more})
    return ClipDenoiser(
        unet, timestep=SCHEDULE.timestep, sigmas=SIGMAS, positive=positive, negative=negative, settings=settings, **more
    )


@torch.no_grad()
@pytest.mark.parametrize("cfg", [CfgSettings(scale=3.0, rescale=0.7), CfgSettings(scale=4.0, schedule="diffbir")])
def test_guidance_is_the_shared_one(unet, cfg) -> None:
    x = 3 * draw(2, 4, 8, 8)
    plain = CfgSettings(scale=1.0)
    conditioned = denoiser(unet, cfg=plain)(x, 3.0)
    unconditioned = denoiser(unet, positive=NEGATIVE, cfg=plain)(x, 3.0)
    state = StepState(sigma=3.0, step=1, steps=3)
    wanted = ClassifierFreeGuidance(cfg, SCHEDULE)(conditioned, unconditioned, x, state)
    found = denoiser(unet, cfg=cfg, schedule=SCHEDULE)(x, 3.0)
    assert (found - wanted).abs().max() < 1e-4
    assert (guide(conditioned, unconditioned, cfg.scale) - wanted).abs().max() > 1e-2


@torch.no_grad()
def test_a_scale_of_one_leaves_the_negative_out(unet) -> None:
    x = draw(2, 4, 8, 8)
    assert torch.equal(denoiser(unet)(x, 1.0), denoiser(unet, negative=None)(x, 1.0))
    with pytest.raises(SettingsError, match="negative"):
        denoiser(unet, negative=None, cfg=CfgSettings(scale=2.0))


@torch.no_grad()
def test_every_frame_has_its_own_text_in_every_window(unet) -> None:
    x, texts = draw(9, 4, 8, 8), draw(9, 5, CONTEXT, seed=3)
    settings = WindowSettings(length=4, overlap=2)
    found = denoiser(unet, positive=texts, windows=settings)(x, 1.0)
    for frame in (0, 3, 8):
        alone = denoiser(unet, positive=texts[frame : frame + 1])(x[frame : frame + 1], 1.0)
        assert (found[frame] - alone[0]).abs().max() < 1e-4
    with pytest.raises(SettingsError, match="5 items for 9 frames"):
        denoiser(unet, positive=texts[:5])(x, 1.0)


class Mixing(Attachment):
    """Adds the mean over the frames of a shot."""

    def changes(self, view):
        return [(view["mid.attn"].module, self.mix)]

    def mix(self, x, call):
        parts = [part + part.mean(1, keepdim=True) for part in call.parts(call.clips(x))]
        return torch.cat(parts, 1).flatten(0, 1)


@torch.no_grad()
@pytest.mark.parametrize("windows", [None, WindowSettings(length=4, overlap=1)])
def test_nothing_crosses_a_cut(unet, windows) -> None:
    shots, mixing = (Shot(0, 3), Shot(3, 8)), Mixing()
    x = draw(8, 4, 8, 8)
    other = x.clone()
    other[3:] = draw(5, 4, 8, 8, seed=9)
    with mixing.attached(UNetView(unet)):
        made = [
            denoiser(unet, shots=shots, attachments=[mixing], windows=windows, cfg=CfgSettings(scale=2.0))(clip, 1.0)
            for clip in (x, other)
        ]
    assert torch.equal(made[0][:3], made[1][:3])
    assert (made[0][3:] - made[1][3:]).abs().max() > 1e-2


class Hinted(nn.Module):
    """In the place of a ControlNet: adds the mean of the hint in the middle."""

    def forward(self, x, time, encoder_hidden_states, controlnet_cond, conditioning_scale, return_dict):
        assert controlnet_cond.shape[0] == x.shape[0] and controlnet_cond.shape[-1] == 8 * x.shape[-1]
        height, width = x.shape[-2] // 2, x.shape[-1] // 2
        level = controlnet_cond.mean((1, 2, 3)) * conditioning_scale
        centre = level[:, None, None, None].expand(-1, 64, height, width)
        # Inputs of the skip connections of the two-level UNet: two levels of two layers, conv_in and a downsampler.
        down = [x.new_zeros(len(x), c, x.shape[-2] // s, x.shape[-1] // s) for c, s in SKIPS]
        return down, centre


SKIPS = ((32, 1), (32, 1), (32, 1), (32, 2), (64, 2), (64, 2))


@torch.no_grad()
def test_hints_follow_frames_and_tiles_and_the_schedule(unet) -> None:
    x = draw(3, 4, 16, 16)
    hint = torch.zeros(3, 3, 128, 128)
    hint[1] = 1.0
    for tiles in (None, TileSettings(size=8, overlap=4)):
        control = Control(net=Hinted(), hint=hint, strength=5.0, end=0.5)
        plain, hinted = denoiser(unet, tiles=tiles), denoiser(unet, tiles=tiles, controls=[control])
        before, after = plain(x, 3.0), hinted(x, 3.0)
        assert (after[1] - before[1]).abs().max() > 1e-3
        assert (after[[0, 2]] - before[[0, 2]]).abs().max() < 1e-5
        # The last of three steps is past the end of the control.
        assert torch.equal(hinted(x, 1.0), plain(x, 1.0))


@torch.no_grad()
def test_transforms_run_in_order_and_know_the_step(unet) -> None:
    states = []

    def first(x0, x, state):
        states.append(state)
        return torch.ones_like(x0)

    beats = []
    made = denoiser(unet, transforms=[first, lambda x0, x, state: 3 * x0 + state.step], beat=lambda: beats.append(1))
    assert torch.equal(made(draw(2, 4, 8, 8), 3.0), torch.full((2, 4, 8, 8), 4.0))
    assert states == [StepState(sigma=3.0, step=1, steps=3)] and beats == [1]


@torch.no_grad()
def test_the_unets_type_is_used_and_latents_keep_theirs(unet) -> None:
    x = draw(2, 4, 8, 8)
    wanted = denoiser(unet)(x, 1.0)
    half = tiny_unet(block_out_channels=(32, 64)).to(torch.bfloat16)
    found = denoiser(half)(x, 1.0)
    assert found.dtype == torch.float32
    assert 0 < (found - wanted).abs().max() < 0.1 * wanted.abs().max()
