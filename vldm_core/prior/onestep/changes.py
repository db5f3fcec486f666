"""What a system changes in a network: weights in the place of others, and low-rank updates on top.

Both are kept under diffusers' names, so that one change serves diffusers' network, whose weights are merged for the
length of a block, and that of another host, which takes the same as patches of its own.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from ...errors import SettingsError
from ...files.weights import some
from ..lora.per_frame import LowRank
from .adapters import Updates


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """A change of a network; two are the same only where they are one object.

    Attributes:
        updates: Groups of low-rank updates, which add up.
        replaced: Tensors in the place of the network's own, by their key in diffusers' layout.
    """

    updates: tuple[Updates, ...] = ()
    replaced: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers that it touches, by their names in diffusers."""
        named = [key.rpartition(".")[0] for key in self.replaced]
        return tuple(dict.fromkeys([*named, *(layer for group in self.updates for layer in group)]))

    def weight(self, layer: str, own: Tensor) -> Tensor:
        """Return the weight of a layer under this change.

        Args:
            layer: Its name in diffusers.
            own: Its own weight.

        Returns:
            Of the device and type of `own`; the sums are made in float32.
        """
        made = self.replaced.get(f"{layer}.weight", own).to(own.device, torch.float32)
        for group in self.updates:
            if layer in group:
                made = made + delta(group[layer], made)
        return made.to(own.dtype)


NO_CHANGE = Change()
"""Leaves a network as it is."""


def delta(update: LowRank, weight: Tensor) -> Tensor:
    """Return what an update adds to a weight: s · sum over r of B[o, r] A[r, i, y, x].

    Args:
        update: Its halves, for a linear layer or a convolution.
        weight: What it is added to; gives the shape, which may be that of a convolution of one pixel.
    """
    up, down = (half.to(weight.device, torch.float32).flatten(1) for half in (update.up, update.down))
    return (update.scale * (up @ down)).reshape(weight.shape)


@contextmanager
def changed(layers: Mapping[str, nn.Module], change: Change) -> Iterator[None]:
    """Let a change be in force for the length of a `with` block; the network is bit-equal afterwards.

    Args:
        layers: The network's layers by their names in diffusers.
        change: The change.
    """
    before: list[tuple[nn.Module, str, nn.Parameter]] = []

    def put(layer: str, kind: str, make: Callable[[Tensor], Tensor]) -> None:
        module = layers[layer]
        own = getattr(module, kind)
        before.append((module, kind, own))
        setattr(module, kind, nn.Parameter(make(own.detach()), requires_grad=False))

    weights = {layer for group in change.updates for layer in group}
    try:
        for layer in change.layers:
            if layer in weights or f"{layer}.weight" in change.replaced:
                put(layer, "weight", partial(change.weight, layer))
            if f"{layer}.bias" in change.replaced:
                put(layer, "bias", partial(_like, change.replaced[f"{layer}.bias"]))
        yield
    finally:
        for module, kind, own in reversed(before):
            setattr(module, kind, own)


def _like(tensor: Tensor, own: Tensor) -> Tensor:
    return tensor.to(own)


def check_fit(
    what: str,
    change: Change,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    adapted: Callable[[str], bool],
    free: Callable[[str], bool] = lambda _key: False,
    whole: bool = False,
) -> None:
    """Check that a change touches just the layers that it should, in their sizes.

    Args:
        what: Name of the system for messages.
        change: The change.
        shapes: Shape of every tensor of the network that may be changed, by its key in diffusers' layout.
        adapted: Tells the layers that every group of updates must have.
        free: Tells the keys whose tensors may be replaced by some of another size.
        whole: Whether every tensor must be replaced.

    Raises:
        SettingsError: A layer is missing, unexpected or of another size; the message lists them.
    """
    wanted = {
        key.removesuffix(".weight")
        for key, shape in shapes.items()
        if key.endswith(".weight") and len(shape) > 1 and adapted(key.removesuffix(".weight"))
    }
    missing = [key for key in shapes if key not in change.replaced] if whole else []
    wrong: list[str] = []
    unexpected = [key for key in change.replaced if key not in shapes]
    for key, tensor in change.replaced.items():
        if key in shapes and _flat(tensor.shape) != _flat(shapes[key]) and not free(key):
            wrong.append(f"{key} {tuple(tensor.shape)} instead of {shapes[key]}")
    for group in change.updates:
        missing += [layer for layer in wanted if layer not in group]
        unexpected += [layer for layer in group if layer not in wanted]
        for layer in wanted & group.keys():
            outputs, inputs, *kernel = _shape_under(change, layer, shapes)
            update = group[layer]
            got = update.up.shape[0], *update.down.shape[1:]
            if _flat(got) != _flat((outputs, inputs, *kernel)):
                wrong.append(f"{layer} {tuple(got)} instead of {(outputs, inputs, *kernel)}")
    complaints = [
        f"{label} {some(sorted(set(names)))}"
        for label, names in (("missing:", missing), ("unexpected:", unexpected), ("of another size:", wrong))
        if names
    ]
    if complaints:
        raise SettingsError(
            f"{what} does not fit this model: {'; '.join(complaints)}; take the published file, and a model of the "
            "family that it was made for"
        )


def _shape_under(change: Change, layer: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    key = f"{layer}.weight"
    return tuple(change.replaced[key].shape) if key in change.replaced else shapes[key]


def _flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the sides of a kernel of one pixel, as which hosts hold linear layers too."""
    return tuple(shape[:2]) if tuple(shape[2:]) == (1, 1) else tuple(shape)
