"""Filling a network from a published checkpoint: every key and shape accounted for, or a list of what is not."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from .weights import WeightFileError, some


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose keys begin with a prefix, without it."""
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}


def numbered(tensors: Mapping[str, Tensor], prefix: str) -> tuple[int, ...]:
    """Return the numbers that follow a prefix, sorted: the layers below "layer." for example."""
    found = {key[len(prefix) :].partition(".")[0] for key in tensors if key.startswith(prefix)}
    return tuple(sorted(int(number) for number in found if number.isdecimal()))


def shape_of(tensors: Mapping[str, Tensor], key: str, dimensions: int) -> tuple[int, ...]:
    """Return the shape of one tensor.

    Raises:
        WeightFileError: It is missing or has another number of sides.
    """
    tensor = tensors.get(key)
    if tensor is None:
        raise WeightFileError(f"{key} is missing; the file is incomplete or holds something else")
    if tensor.ndim != dimensions:
        raise WeightFileError(f"{key} is {tuple(tensor.shape)}; {dimensions} sides are needed")
    return tuple(tensor.shape)


def _as_published(key: str) -> str:
    return key


def fill(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    what: str,
    *,
    published: Callable[[str], str] = _as_published,
    unused: Callable[[str], bool] | None = None,
) -> None:
    """Give a network the weights of a file.

    Args:
        network: Changed in place; parameters on the meta device take the file's tensors themselves.
        tensors: The file's, in the published layout.
        what: Name of the network in messages.
        published: Published name of one of the network's own keys.
        unused: Tells published keys that no output depends on; they are left aside.

    Raises:
        WeightFileError: Anything is missing, left over or of another shape; the message lists it.
    """
    own = {published(key): key for key in network.state_dict()}
    wanted = {published(key): tuple(value.shape) for key, value in network.state_dict().items()}
    left_over = [key for key in tensors if key not in own and not (unused and unused(key))]
    missing = [key for key in own if key not in tensors]
    wrong = [
        f"{key} {tuple(tensors[key].shape)} instead of {shape}"
        for key, shape in wanted.items()
        if key in tensors and tuple(tensors[key].shape) != shape
    ]
    complaints = [
        f"{label} {some(keys)}"
        for label, keys in (("missing:", missing), ("unexpected:", left_over), ("of another shape:", wrong))
        if keys
    ]
    if complaints:
        raise WeightFileError(f"{what} does not fit: {'; '.join(complaints)}; take the published file")
    network.load_state_dict({own[key]: tensors[key] for key in own}, assign=_is_empty(network))


def _is_empty(network: nn.Module) -> bool:
    return any(parameter.device == torch.device("meta") for parameter in network.parameters())
