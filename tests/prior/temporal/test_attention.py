"""The fast attention equals the plain formulas, in windows and in chunks, and follows every change of its weights."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from vldm_core.errors import SettingsError
from vldm_core.prior.temporal import attention as temporal_attention
from vldm_core.prior.temporal.attention import (
    CHUNK_BYTES,
    MOST_PIXELS,
    AttentionWindows,
    TemporalSelfAttention,
    add_tokens,
    over_pixels,
    pixels_at_a_time,
    pyramid,
    tokens_from,
)

CHANNELS, HEADS = 24, 3


def make(positions: int = 32, seed: int = 0) -> TemporalSelfAttention:
    attention = TemporalSelfAttention(CHANNELS, HEADS, positions=positions)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * (0.5 if parameter.ndim < 2 else 0.3))
    return attention


def plain(attention: TemporalSelfAttention, tokens: Tensor, *, bias: Tensor | None = None) -> Tensor:
    """Pixel by pixel: LayerNorm, add positions, project, softmax of scaled products, project."""
    frames, pixels, channels = tokens.shape
    out = torch.empty_like(tokens)
    for pixel in range(pixels):
        x = tokens[:, pixel]
        mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
        x = (x - mean) / (variance + attention.norm.eps).sqrt() * attention.norm.weight + attention.norm.bias
        if attention.positions is not None:
            x = x + attention.positions[:frames]
        query, key, value = (x @ weight.T for weight in attention.to_qkv.weight.chunk(3))
        heads = []
        for head, part in enumerate(torch.arange(channels).chunk(attention.heads)):
            logits = query[:, part] @ key[:, part].T / math.sqrt(len(part))
            logits = logits if bias is None else logits + bias[head]
            heads.append(logits.softmax(1) @ value[:, part])
        out[:, pixel] = torch.cat(heads, 1) @ attention.to_out.weight.T + attention.to_out.bias
    return out


def run(attention: TemporalSelfAttention, tokens: Tensor, **settings) -> Tensor:
    windows = settings.get("windows")
    longest = tokens.shape[0] if windows is None else min(tokens.shape[0], windows.length)
    return attention(tokens, attention.shift(longest), **settings)


@pytest.mark.parametrize("frames", [1, 2, 7])
@pytest.mark.parametrize("positions", [0, 32])
def test_equals_the_plain_formulas(frames, positions) -> None:
    attention = make(positions)
    tokens = torch.randn(frames, 5, CHANNELS)
    bias = torch.randn(HEADS, frames, frames)
    torch.testing.assert_close(run(attention, tokens), plain(attention, tokens), atol=2e-6, rtol=1e-5)
    found, wanted = run(attention, tokens, bias=bias), plain(attention, tokens, bias=bias)
    torch.testing.assert_close(found, wanted, atol=2e-6, rtol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(run(attention, tokens, bias=bias), wanted, atol=2e-6, rtol=1e-5)


def test_gradients_equal_those_of_the_plain_formulas() -> None:
    attention = make()
    tokens = torch.randn(6, 4, CHANNELS)
    target = torch.randn(6, 4, CHANNELS)
    gradients = []
    for forward in (run, plain):
        leaf = tokens.clone().requires_grad_()
        (forward(attention, leaf) * target).sum().backward()
        gradients.append([leaf.grad, *(parameter.grad.clone() for parameter in attention.parameters())])
        attention.zero_grad()
    for found, wanted in zip(*gradients, strict=True):
        assert wanted.abs().max() > 0
        torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-4)


@given(st.integers(1, 90), st.integers(2, 24), st.data())
def test_windows_cover_the_clip(frames, length, data) -> None:
    stride = data.draw(st.integers(1, length - 1))
    spans = AttentionWindows(length=length, stride=stride).spans(frames)
    assert spans[0][0] == 0 and spans[-1][1] == frames
    if frames <= length:
        assert spans == ((0, frames),)
        return
    assert all(last - first == length for first, last in spans)
    starts = [first for first, _ in spans]
    assert all(0 < later - earlier <= stride for earlier, later in itertools.pairwise(starts))


def test_windows_of_free_noise() -> None:
    spans = AttentionWindows(length=16, stride=4).spans(40)
    assert spans == tuple((first, first + 16) for first in range(0, 25, 4))
    assert AttentionWindows(length=16, stride=4).spans(18) == ((0, 16), (2, 18))
    assert pyramid(16) == [*range(1, 9), *range(8, 0, -1)] and pyramid(5) == [1, 2, 3, 2, 1]


@pytest.mark.parametrize("frames", [6, 7, 13])
@pytest.mark.parametrize("grad", [False, True])
def test_windows_crossfade_plain_attention(frames, grad) -> None:
    attention = make()
    windows = AttentionWindows(length=6, stride=4)
    tokens = torch.randn(frames, 3, CHANNELS)
    total, weights = torch.zeros_like(tokens), torch.zeros(frames, 1, 1)
    for first, last in windows.spans(frames):
        weight = torch.tensor(pyramid(last - first), dtype=torch.float32)[:, None, None]
        total[first:last] += weight * plain(attention, tokens[first:last])
        weights[first:last] += weight
    with torch.set_grad_enabled(grad):
        found = run(attention, tokens, windows=windows)
    torch.testing.assert_close(found, total / weights, atol=3e-6, rtol=1e-5)


def test_a_clip_of_one_window_is_plain_attention() -> None:
    attention = make()
    tokens = torch.randn(16, 3, CHANNELS)
    assert torch.equal(run(attention, tokens, windows=AttentionWindows()), run(attention, tokens))


def test_changes_of_the_weights_are_seen() -> None:
    attention = make()
    tokens = torch.randn(5, 2, CHANNELS)

    def check(found: TemporalSelfAttention, tolerance: float = 2e-6) -> Tensor:
        dtype = found.to_qkv.weight.dtype
        with torch.inference_mode():
            out = run(found, tokens.to(dtype)).float()
        reference = make(seed=99)
        reference.load_state_dict({key: value.float() for key, value in found.state_dict().items()})
        torch.testing.assert_close(out, plain(reference, tokens), atol=tolerance, rtol=tolerance)
        return out

    outputs = [check(attention)]
    with torch.no_grad():
        attention.to_qkv.weight.mul_(1.1)
        attention.norm.bias.add_(0.3)
    outputs.append(check(attention))
    attention.norm.bias.data.mul_(-1)
    outputs.append(check(attention))
    attention.load_state_dict(make(seed=1).state_dict())
    outputs.append(check(attention))
    attention.load_state_dict(make(seed=2).state_dict(), assign=True)
    outputs.append(check(attention))
    attention.to_qkv.weight = nn.Parameter(attention.to_qkv.weight.detach() * 0.9)
    outputs.append(check(attention))
    outputs.append(check(attention.to(torch.bfloat16), tolerance=0.1))
    outputs.append(check(attention.to(torch.float32)))
    for earlier, later in itertools.pairwise(outputs):
        assert (earlier - later).abs().max() > 1e-5


@pytest.mark.parametrize("size", [(2, 3), (17, 19)])
def test_tokens_from_and_to_pictures(size) -> None:
    into, out = nn.Linear(CHANNELS, 10), nn.Linear(10, CHANNELS)
    pictures = torch.randn(4, CHANNELS, *size)
    tokens = into(pictures.permute(0, 2, 3, 1)).flatten(1, 2)
    torch.testing.assert_close(tokens_from(pictures, into), tokens, atol=1e-5, rtol=1e-5)
    added = out(tokens).transpose(1, 2).unflatten(2, size)
    before = pictures.clone()
    torch.testing.assert_close(add_tokens(pictures, tokens, out), pictures + added, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        add_tokens(pictures, tokens, out, strength=0.5), pictures + 0.5 * added, atol=1e-5, rtol=1e-5
    )
    factors = torch.tensor([0.0, 1.0, -1.0, 2.0])
    wanted = pictures + factors[:, None, None, None] * added
    torch.testing.assert_close(add_tokens(pictures, tokens, out, strength=factors), wanted, atol=1e-5, rtol=1e-5)
    assert torch.equal(pictures, before)


def test_chunks_do_not_change_the_result(monkeypatch) -> None:
    attention = make()
    tokens = torch.randn(20, 37, CHANNELS)
    windows = AttentionWindows(length=8, stride=3)
    shift = attention.shift(8)
    sizes = []

    def block(part: Tensor) -> Tensor:
        sizes.append(part.shape[1])
        return attention(part, shift, windows=windows) + part

    with torch.inference_mode():
        wanted = attention(tokens, shift, windows=windows) + tokens
        monkeypatch.setattr(temporal_attention, "CPU_TOKENS", 100)
        found = over_pixels(tokens.clone(), 3 * CHANNELS, block)
    assert sizes == [5] * 7 + [2]
    torch.testing.assert_close(found, wanted, atol=2e-6, rtol=1e-5)


@given(st.integers(1, 400), st.sampled_from([32, 320, 1280, 5120]), st.sampled_from([2, 4]), st.booleans())
def test_chunks_keep_within_the_budget(frames, width, size, on_cpu) -> None:
    pixels = pixels_at_a_time(frames, width, size, on_cpu=on_cpu)
    assert 1 <= pixels <= MOST_PIXELS
    assert pixels == 1 or pixels * frames * width * size <= CHUNK_BYTES
    if not on_cpu and pixels < MOST_PIXELS:
        assert (pixels + 1) * frames * width * size > CHUNK_BYTES


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(SettingsError, match="length 1"):
        AttentionWindows(length=1)
    with pytest.raises(SettingsError, match="got 16"):
        AttentionWindows(length=16, stride=16)
    with pytest.raises(SettingsError, match="5 attention heads"):
        TemporalSelfAttention(CHANNELS, 5)
