"""The pre-restoration network: identity before training, gates, recurrence, files."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from vldm_core.errors import SettingsError
from vldm_core.prerestore.alignment import alignments, nearby, soundness
from vldm_core.prerestore.network import BASE, KIND, SMALL, PreRestorer, PreRestorerConfig

from ..testers import survives_its_file

TINY = PreRestorerConfig(
    widths=(8, 8, 12), encoder_blocks=(1, 1), state_blocks=1, bottom_blocks=1, decoder_blocks=(1, 1), heads=2, window=4
)
MIXINGS = pytest.mark.parametrize("mixing", ["attention", "conv3d"])


def trained(config: PreRestorerConfig = TINY) -> PreRestorer:
    """A network whose zero-initialised layers do something, as after training."""
    torch.manual_seed(0)
    network = PreRestorer(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return network


def clip(frames: int = 4, height: int = 32, width: int = 48, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Frames, empty masks and a flow field of still pictures."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(1, frames, 3, height, width, generator=generator)
    return images, torch.zeros(1, frames, height, width), torch.zeros(1, frames - 1, 2, height, width)


@torch.no_grad()
def run(network: PreRestorer, images: Tensor, masks: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    decoded = network(images, masks, *alignments(flow, flow, masks, scale=4)).decoded
    return decoded.pictures[0], decoded.latent


@MIXINGS
def test_untrained_it_gives_the_input_back(mixing) -> None:
    images, masks, flow = clip()
    network = PreRestorer(replace(TINY, mixing=mixing)).eval()
    with torch.no_grad():
        decoded = network(images, masks, *alignments(flow, flow, masks, scale=4)).decoded
    assert torch.equal(decoded.pictures[0], images)
    for level, picture in enumerate(decoded.pictures):
        assert picture.shape == (1, 4, 3, 32 >> level, 48 >> level)
        assert torch.allclose(picture.mean(), images.mean(), atol=1e-5)
    assert decoded.latent is not None and decoded.latent.shape == (1, 4, 4, 4, 6)
    assert [features.shape[2:] for features in decoded.features] == [(8, 16, 24), (8, 8, 12), (12, 4, 6)]


@MIXINGS
def test_at_the_start_the_signal_reaches_the_heads(mixing) -> None:
    images, masks, flow = clip()
    network = PreRestorer(replace(SMALL, mixing=mixing)).eval()
    seen = []
    network.heads[0].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].std()))
    run(network, images, masks, flow)
    assert 0.2 < seen[0] / (4 * images.std()) < 20


def test_neighbours_are_brought_to_their_place_and_nothing_of_damage() -> None:
    generator = torch.Generator().manual_seed(0)
    wide = torch.rand(3, 24, 40, generator=generator)
    frames = torch.stack([wide[..., t : t + 32] for t in range(3)])
    shift = torch.zeros(2, 2, 24, 32)
    # The scene goes left by a pixel per frame: what is here was one pixel farther right before.
    shift[:, 0] = 1
    masks = torch.zeros(3, 24, 32)
    shown = nearby(frames, shift, -shift, masks)
    assert shown.shape == (3, 6, 24, 32)
    assert shown[0, :3].abs().max() == 0 and shown[2, 3:].abs().max() == 0
    assert shown[1].abs().max() < 1e-6, "the neighbours show the same"
    frames[0] += 0.1
    masks[0, 5:9, 6:10] = 1
    shown = nearby(frames, shift, -shift, masks)
    apart = shown[1, 0]
    # Seen from frame 1, the damage lies a pixel farther left; its rim is left out, too.
    assert apart[4:10, 4:10].abs().max() == 0
    assert torch.allclose(apart[12:, :30], torch.tensor(0.1), atol=1e-5)
    assert shown[0, 3:, 5:9, 6:10].abs().max() == 0, "what is damaged here takes nothing"


@MIXINGS
def test_neighbours_are_seen_and_their_shares_added(mixing) -> None:
    images, masks, flow = clip()
    network = PreRestorer(replace(TINY, mixing=mixing)).eval()
    shown = 0.1 * torch.ones(1, 4, 6, 32, 48)
    ways = alignments(flow, flow, masks, scale=4)
    with torch.no_grad():
        alone = network(images, masks, *ways, nearby=shown).decoded.pictures[0]
        assert torch.equal(alone, images), "untrained, the shares are 0"
        network.heads[0].bias[3] = 0.25
        first = network(images, masks, *ways, nearby=shown).decoded.pictures[0]
        assert torch.allclose(first, images + 0.1, atol=1e-5)
        halves, _ = network.encode(images, masks, shown)
        assert not torch.equal(halves, network.encode(images, masks)[0])
    with pytest.raises(SettingsError, match="nearby"):
        network(images, masks, *ways, nearby=shown[:, :3])


@MIXINGS
def test_frames_hear_of_each_other_in_both_directions(mixing) -> None:
    images, masks, flow = clip()
    network = trained(replace(TINY, mixing=mixing))
    before, _ = run(network, images, masks, flow)
    for changed in (0, 3):
        other = images.clone()
        other[:, changed] = 1 - other[:, changed]
        after, _ = run(network, other, masks, flow)
        for t in range(4):
            assert not torch.equal(after[:, t], before[:, t])


@MIXINGS
def test_a_masked_pixel_gives_and_takes_nothing(mixing) -> None:
    images, masks, flow = clip()
    network = trained(replace(TINY, mixing=mixing))
    masks[:, 1] = 1
    before, _ = run(network, images, masks, flow)
    other = images.clone()
    other[:, 1] = 1 - other[:, 1]
    after, _ = run(network, other, masks, flow)
    for t in (0, 2, 3):
        assert torch.equal(after[:, t], before[:, t]), "a damaged frame must give nothing"
    other = images.clone()
    other[:, 0], other[:, 2] = 1 - other[:, 0], 1 - other[:, 2]
    after, _ = run(network, other, masks, flow)
    assert torch.equal(after[:, 1], before[:, 1]), "a damaged frame must take nothing"


def test_a_damaged_patch_is_not_carried_to_other_frames() -> None:
    # Every residual block of the encoder would spread the patch a little farther before it is cut out.
    images, masks, flow = clip(height=64, width=64)
    network = trained(replace(TINY, encoder_blocks=(0, 0)))
    other = images.clone()
    other[:, 1, :, 16:48, 16:48] = 1
    free = torch.zeros_like(masks)
    masks[:, 1, 16:48, 16:48] = 1

    def carried(masks: Tensor) -> float:
        apart = run(network, images, masks, flow)[0][:, 2] - run(network, other, masks, flow)[0][:, 2]
        return float(apart.abs().sum())

    assert carried(masks) == 0 < carried(free)


@pytest.mark.parametrize("lookahead", [0, 2])
def test_a_shot_in_stretches_goes_on_where_it_was(lookahead) -> None:
    images, masks, flow = clip(frames=7)
    network = trained()
    whole_before, whole_after = alignments(flow, flow, masks, scale=4)
    with torch.no_grad():
        halves, quarters = network.encode(images, masks)
        sound = soundness(masks, scale=4)
        whole, _ = network.propagate(quarters, sound, whole_before, whole_after, state=None, lookahead=0)
        first = network(
            images[:, : 3 + lookahead], masks[:, : 3 + lookahead],
            *alignments(flow[:, : 2 + lookahead], flow[:, : 2 + lookahead], masks[:, : 3 + lookahead], scale=4),
            lookahead=lookahead,
        )  # fmt: skip
        before, _ = alignments(flow[:, 2:], flow[:, 2:], masks[:, 2:], scale=4)
        _, after = alignments(flow[:, 3:], flow[:, 3:], masks[:, 3:], scale=4)
        second = network(images[:, 3:], masks[:, 3:], before, after, state=first.state)
        wanted = network.decode(images, halves, whole).pictures[0]
    assert first.decoded.pictures[0].shape[1] == 3
    # The stretch that ends with the shot knows all of its future and, through the state, all of its past.
    assert torch.allclose(second.decoded.pictures[0], wanted[:, 3:], atol=1e-5)


def test_wrong_shapes_are_named() -> None:
    images, masks, flow = clip()
    network = PreRestorer(TINY)
    ways = alignments(flow, flow, masks, scale=4)
    with pytest.raises(SettingsError, match="divisible by 8"):
        network(images[..., :44], masks[..., :44], *ways)
    with pytest.raises(SettingsError, match="masks are"):
        network(images, masks[:, :3], *ways)
    with pytest.raises(SettingsError, match="alignments"):
        network(images[:, :3], masks[:, :3], *ways)
    with pytest.raises(SettingsError, match="lookahead is 4"):
        network(images, masks, *ways, lookahead=4)
    with pytest.raises(SettingsError, match="do not belong together"):
        alignments(flow, flow[:, :2], masks, scale=4)
    with pytest.raises(SettingsError, match="widths"):
        PreRestorerConfig(widths=(8, 9, 12))
    with pytest.raises(SettingsError, match="mixing"):
        PreRestorerConfig(mixing="sum")  # type: ignore[arg-type]


def test_sizes() -> None:
    small, base = (sum(p.numel() for p in PreRestorer(config).parameters()) for config in (SMALL, BASE))
    assert small <= 2_000_000 < base


@MIXINGS
def test_it_is_kept_in_a_file(tmp_path, mixing) -> None:
    network = trained(replace(TINY, mixing=mixing))
    back = survives_its_file(network, KIND.save, KIND.load, tmp_path / "net.safetensors")
    images, masks, flow = clip()
    assert torch.equal(run(network, images, masks, flow)[0], run(back, images, masks, flow)[0])


@MIXINGS
def test_every_weight_is_trained(mixing) -> None:
    images, masks, flow = clip()
    network = trained(replace(TINY, mixing=mixing)).train()
    decoded = network(images, masks, *alignments(flow, flow, masks, scale=4)).decoded
    loss = sum(picture.square().mean() for picture in decoded.pictures) + decoded.latent.square().mean()
    loss.backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []
