"""Attention in windows does what its formula says, also at odd sizes and with damaged keys."""

import pytest
import torch

from vldm_core.prerestore.layers.blocks import WindowAttention


def attention(**changes) -> WindowAttention:
    torch.manual_seed(0)
    layer = WindowAttention(**{"channels": 8, "heads": 2, "window": 4, "sources": 2, **changes}).eval()
    with torch.no_grad():
        layer.out.weight.copy_(torch.eye(8))
        layer.bias.normal_()
    return layer


def pictures(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def by_hand(layer: WindowAttention, x, others, seen) -> torch.Tensor:
    """Every pixel looks at the pixels of its window, one by one."""
    count, _channels, height, width = x.shape
    side, heads = layer.window, layer.heads
    result = torch.zeros_like(x)
    for n in range(count):
        for i in range(height):
            for j in range(width):
                top = (i + layer.shift) // side * side - layer.shift
                left = (j + layer.shift) // side * side - layer.shift
                query = layer.query(layer.query_norm(x[n, :, i, j])).view(heads, -1)
                scores, values = [], []
                for s in range(layer.sources):
                    for a in range(max(top, 0), min(top + side, height)):
                        for b in range(max(left, 0), min(left + side, width)):
                            if seen[n, s, a, b] <= 0:
                                continue
                            both = layer.key_value(layer.key_norm(others[n, s, :, a, b]))
                            key, value = both.view(2, heads, -1)
                            place = (i - a + side - 1) * (2 * side - 1) + (j - b + side - 1)
                            score = (query * key).sum(-1) * key.shape[-1] ** -0.5
                            scores.append(score + layer.bias[s, :, place] + torch.log(seen[n, s, a, b]))
                            values.append(value)
                if scores:
                    weights = torch.softmax(torch.stack(scores), dim=0)
                    result[n, :, i, j] = layer.out((weights[..., None] * torch.stack(values)).sum(0).flatten())
    return result


@pytest.mark.parametrize("shift", [0, 2])
@pytest.mark.parametrize("size", [(8, 8), (5, 7), (3, 9)])
def test_it_is_attention_inside_windows(size, shift) -> None:
    layer = attention(shift=shift)
    x, others = pictures(2, 8, *size), pictures(2, 2, 8, *size, seed=2)
    seen = (pictures(2, 2, *size, seed=3) > -0.5).float() * torch.rand(
        2, 2, *size, generator=torch.Generator().manual_seed(4)
    ).clamp(min=0.1)
    with torch.no_grad():
        assert torch.allclose(layer(x, others, seen), by_hand(layer, x, others, seen), atol=1e-5)


def test_what_is_hidden_is_not_looked_at() -> None:
    layer = attention()
    x, others = pictures(1, 8, 8, 8), pictures(1, 2, 8, 8, 8, seed=2)
    seen = torch.ones(1, 2, 8, 8)
    seen[:, :, 2:5, 3:6] = 0
    changed = others.clone()
    changed[..., 2:5, 3:6] = 1e3
    with torch.no_grad():
        assert torch.equal(layer(x, others, seen), layer(x, changed, seen))
        nothing = layer(x, others, torch.zeros_like(seen))
    assert torch.equal(nothing, torch.zeros_like(nothing))


def test_untrained_it_adds_nothing() -> None:
    layer = WindowAttention(8, heads=2, window=4)
    with torch.no_grad():
        assert not layer(pictures(1, 8, 6, 6), pictures(1, 1, 8, 6, 6)).any()
