"""Temporal layers start as the identity, learn, stay within a shot, and leave the image model alone."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vldm_core.errors import SettingsError
from vldm_core.prior.attachment import calling
from vldm_core.prior.call import UNetCall
from vldm_core.prior.temporal.attention import AttentionWindows
from vldm_core.prior.temporal.layers import (
    MixedLayer,
    RelativePositionBias,
    TemporalAttention,
    TemporalConfig,
    TemporalConvolution,
    TemporalLayers,
    TemporalResidual,
)
from vldm_core.prior.unet import UNetView

from ..tiny_models import CONTEXT, tiny_unet, whole_clip


@pytest.fixture(scope="module")
def unet() -> nn.Module:
    return tiny_unet()


def new_layers(unet: nn.Module, *, awake: bool = False, **settings) -> TemporalLayers:
    torch.manual_seed(2)
    layers = TemporalLayers(TemporalConfig.for_unet(UNetView(unet)), **settings)
    if awake:
        with torch.no_grad():
            for parameter in layers.parameters():
                parameter.add_(
                    torch.randn(parameter.shape) * (0.1 if parameter.ndim < 2 else parameter[0].numel() ** -0.5)
                )
    return layers


def inputs(frames: int, *, chunks: int = 1, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(chunks * frames, 4, 8, 16, generator=generator)
    return x, torch.randn(chunks, 1, 7, CONTEXT, generator=generator).expand(-1, frames, -1, -1).flatten(0, 1)


def run(unet: nn.Module, layers: TemporalLayers | None, call: UNetCall, x: Tensor, context: Tensor) -> Tensor:
    if layers is None:
        return unet(x, torch.tensor([500]), context).sample
    with layers.attached(UNetView(unet)), calling([layers], call):
        return unet(x, torch.tensor([500]), context).sample


@torch.no_grad()
def test_new_layers_are_the_identity(unet) -> None:
    x, context = inputs(3)
    before = run(unet, None, whole_clip(3), x, context)
    assert (run(unet, new_layers(unet), whole_clip(3), x, context) - before).abs().max() < 1e-5


def test_every_parameter_learns_by_the_second_step_and_the_image_model_does_not() -> None:
    unet = tiny_unet().requires_grad_(False)
    weights = {key: tensor.clone() for key, tensor in unet.state_dict().items()}
    layers = new_layers(unet)
    x, context = inputs(4)
    before = run(unet, None, whole_clip(4), x, context)
    start = {key: parameter.detach().clone() for key, parameter in layers.named_parameters()}
    optimiser = torch.optim.AdamW(layers.parameters(), lr=1e-3)
    target = torch.randn(x.shape, generator=torch.Generator().manual_seed(5))
    for _ in range(2):
        optimiser.zero_grad()
        (run(unet, layers, whole_clip(4), x, context) - target).square().mean().backward()
        optimiser.step()
    still = [key for key, p in layers.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not still, f"no gradient at the second step: {still[:5]}"
    assert all((parameter - start[key]).abs().max() > 0 for key, parameter in layers.named_parameters())
    assert all(torch.equal(tensor, weights[key]) for key, tensor in unet.state_dict().items())
    assert not torch.equal(run(unet, layers, whole_clip(4), x, context), before)
    assert torch.equal(run(unet, None, whole_clip(4), x, context), before)
    assert not any(module._forward_hooks for module in unet.modules())


@torch.no_grad()
def test_nothing_crosses_a_cut(unet) -> None:
    layers = new_layers(unet, awake=True)
    x, context = inputs(5)
    other = x.clone()
    other[2:] = torch.randn(3, 4, 8, 16, generator=torch.Generator().manual_seed(9))
    first, second = (run(unet, layers, whole_clip(5, cut=2), batch, context) for batch in (x, other))
    assert torch.equal(first[:2], second[:2]) and not torch.equal(first[2:], second[2:])
    uncut = [run(unet, layers, whole_clip(5), batch, context) for batch in (x, other)]
    assert (uncut[0][:2] - uncut[1][:2]).abs().max() > 1e-4


@torch.no_grad()
def test_conditioned_and_unconditioned_chunks_do_not_mix(unet) -> None:
    layers = new_layers(unet, awake=True)
    x, context = inputs(3, chunks=2)
    both = run(unet, layers, whole_clip(3, chunks=(0, 1)), x, context)
    alone = torch.cat([run(unet, layers, whole_clip(3), x[s], context[s]) for s in (slice(3), slice(3, 6))])
    torch.testing.assert_close(both, alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_strength_zero_is_off(unet) -> None:
    layers = new_layers(unet, awake=True)
    x, context = inputs(3)
    before = run(unet, None, whole_clip(3), x, context)
    assert (run(unet, layers, whole_clip(3), x, context) - before).abs().max() > 1e-3
    assert torch.equal(run(unet, layers.configured(strength=0.0), whole_clip(3), x, context), before)
    with pytest.raises(SettingsError, match="-1"):
        layers.configured(strength=-1)


@torch.no_grad()
@pytest.mark.parametrize("windows", [None, AttentionWindows(length=8, stride=4)])
def test_any_length_runs(windows) -> None:
    layer = awake(MixedLayer(TemporalAttention(32, 4, 8)))
    convolution = awake(MixedLayer(TemporalResidual(32, 3)))
    for frames in range(1, 41):
        clip = torch.randn(frames, 32, 2, 3)
        out = convolution(layer(clip, windows=windows))
        assert out.shape == clip.shape and torch.isfinite(out).all()


def awake(module: nn.Module) -> nn.Module:
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape) * (0.1 if parameter.ndim < 2 else parameter[0].numel() ** -0.5))
    return module


@torch.no_grad()
def test_a_layer_mixes_as_published() -> None:
    mixed: Any = awake(MixedLayer(TemporalResidual(32, 3)))
    clip = torch.randn(4, 32, 2, 3)
    alpha = torch.sigmoid(mixed.mix)
    layer = clip + mixed.layer(clip, None)
    torch.testing.assert_close(mixed(clip), (1 - alpha) * clip + alpha * layer, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("size", [(2, 3), (16, 17)])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("frames", [1, 2, 6])
def test_the_convolution_is_conv3d(size, kernel, frames) -> None:
    ours = TemporalConvolution(8, kernel)
    theirs = nn.Conv3d(8, 8, (kernel, 1, 1), padding=(kernel // 2, 0, 0))
    weight = ours.weight.detach().transpose(1, 2)[..., None, None]
    theirs.load_state_dict({"weight": weight, "bias": ours.bias.detach()})
    clip = torch.randn(frames, 8, *size, requires_grad=True)
    found = ours(clip)
    wanted = theirs(clip.transpose(0, 1)[None])[0].transpose(0, 1)
    torch.testing.assert_close(found, wanted, atol=2e-6, rtol=1e-5)
    target = torch.randn(found.shape)
    gradients = [torch.autograd.grad((out * target).sum(), clip, retain_graph=True)[0] for out in (found, wanted)]
    torch.testing.assert_close(*gradients, atol=5e-6, rtol=1e-5)
    (found * target).sum().backward()
    (wanted * target).sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad[..., 0, 0].transpose(1, 2), atol=2e-4, rtol=1e-4)


def test_the_bias_sees_distances_only() -> None:
    bias = RelativePositionBias(2, 4)
    nn.init.normal_(bias.table)
    matrix = bias(12)
    assert matrix.shape == (2, 12, 12)
    assert torch.equal(matrix[:, 1:, 1:], matrix[:, :-1, :-1])
    assert torch.equal(matrix[:, 3:9, 3:9], bias(6))
    assert torch.equal(matrix[:, 0, 4:], matrix[:, 0, 4:5].expand(-1, 8))
    assert len(matrix.unique()) == 2 * 9


@torch.no_grad()
def test_a_clip_may_begin_anywhere() -> None:
    # With the bias shutting out all frames beyond a distance, a frame that has no border of the clip within that
    # distance comes out the same wherever the clip begins.
    layer = awake(MixedLayer(TemporalAttention(32, 4, 4)))
    layer.layer.distance.table[:, [0, -1]] = -1e4
    clip, before, after = (torch.randn(frames, 32, 2, 3) for frames in (5, 4, 4))
    whole = torch.cat([before, clip, after])
    later = torch.cat([after, before[:2], whole, before])
    found, wanted = layer(later)[10:15], layer(whole)[4:9]
    assert (wanted - clip).abs().max() > 1e-2
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    assert (layer(clip) - wanted).abs().max() > 1e-3


@torch.no_grad()
def test_flicker_does_not_leak_through_the_norms() -> None:
    # A frame twice as bright in all its channels has the same normalised values, so its neighbours see no difference.
    layer = awake(TemporalResidual(32, 3))
    clip = torch.randn(5, 32, 4, 4)
    flicker = clip.clone()
    flicker[2] *= 2
    torch.testing.assert_close(layer(clip, None), layer(flicker, None), atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near(dtype) -> None:
    for layer in (TemporalResidual(32, 3), TemporalAttention(32, 4, 8)):
        mixed: Any = awake(MixedLayer(layer))
        clip = 300 * torch.randn(6, 32, 4, 4) + 1000
        wanted = mixed(clip)
        found = mixed.to(dtype)(clip.to(dtype)).float()
        assert (found - wanted).abs().max() < clip.abs().max() * torch.finfo(dtype).eps + 0.1 * (wanted - clip).std()


@torch.no_grad()
def test_layers_of_another_precision_than_the_unet() -> None:
    mixed: Any = awake(MixedLayer(TemporalResidual(32, 3)))
    clip = torch.randn(3, 32, 4, 4)
    found = mixed(clip.to(torch.bfloat16))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), mixed(clip), atol=0.05, rtol=0.02)


def test_layers_for_another_unet_are_refused(unet) -> None:
    config = TemporalConfig(convolutions=(("down.0.0.res", 64),), attentions=())
    with pytest.raises(SettingsError, match=r"down\.0\.0\.res.*64.*has 32"):
        TemporalLayers(config).attach(UNetView(unet))
    config = TemporalConfig(convolutions=(), attentions=(("down.3.0.attn", 128),))
    with pytest.raises(SettingsError, match="no such place"):
        TemporalLayers(config).attach(UNetView(unet))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"convolutions": (), "attentions": ()}, "at least one place"),
        ({"convolutions": (("a", 40),)}, "multiple of 32"),
        ({"attentions": (("a", 32),), "heads": 5}, "5 heads"),
        ({"kernel": 2}, "odd"),
        ({"max_distance": 0}, "max_distance"),
        ({"convolutions": (("a", 32), ("a", 32))}, "twice"),
    ],
)
def test_wrong_settings_are_refused(settings, message) -> None:
    base = {"convolutions": (("c", 32),), "attentions": ()}
    with pytest.raises(SettingsError, match=message):
        TemporalConfig(**(base | settings))


def test_all_places_get_a_layer(unet) -> None:
    config = TemporalConfig.for_unet(UNetView(unet))
    assert len(config.convolutions) == 22 and len(config.attentions) == 16
    assert TemporalConfig.for_unet(UNetView(unet), attention=False).attentions == ()
