"""What all stage-1 restorers have in common: a configuration read off a file's shapes, and a network built from it.

Nothing of the size that a file asks for is allocated before the shapes are known to fit: `published_shapes` builds the
network without memory.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ...files.weights import WeightFileError

if TYPE_CHECKING:
    from spandrel import Architecture, ModelTiling

Config = TypeVar("Config")
Shapes = Mapping[str, tuple[int, ...]]

WIDEST = 4096
"""Channels, windows or layers beyond which a file is not one of these restorers."""


class Stage1Architecture(ABC, Generic[Config]):
    """One kind of restorer.

    Attributes:
        name: For messages.
        signature: Keys that every file of this kind has and no other kind.
        halves: Whether it runs in float16.
    """

    name: ClassVar[str]
    signature: ClassVar[tuple[str, ...]]
    halves: ClassVar[bool] = True

    def matches(self, keys: Iterable[str]) -> bool:
        """Tell whether keys of a file are of this kind."""
        return set(self.signature) <= set(keys)

    @abstractmethod
    def config_of(self, shapes: Shapes) -> Config:
        """Read the configuration off the shapes of a file's tensors.

        Raises:
            WeightFileError: They do not describe such a network; the message lacks the file's name.
        """

    @abstractmethod
    def build(self, config: Config) -> nn.Module:
        """Return the network with random weights."""

    @abstractmethod
    def family(self) -> "Architecture[Any]":
        """Return what spandrel calls this architecture."""

    @abstractmethod
    def scale(self, config: Config) -> int:
        """Return the enlargement: 1 or more."""

    @abstractmethod
    def multiple(self, config: Config) -> int:
        """Return what both sides of a picture must be divisible by."""

    @abstractmethod
    def tiling(self) -> "ModelTiling":
        """Return what spandrel recommends about tiles."""

    def inner_key(self, key: str) -> str:
        """Return the network's own name for a key of the published layout."""
        return key

    def published_key(self, key: str) -> str:
        """Return the published name for a key of the network."""
        return key

    def published_state(self, network: nn.Module) -> dict[str, Tensor]:
        """Return a network's state dict in the published layout, buffers included."""
        return {self.published_key(key): tensor for key, tensor in network.state_dict().items()}

    def inner_state(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a published state dict in the network's own layout."""
        return {self.inner_key(key): tensor for key, tensor in tensors.items()}

    def published_shapes(self, config: Config) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor of such a file; nothing is allocated."""
        with torch.device("meta"), _WithoutNumbers():
            network = self.build(config)
        return {key: tuple(tensor.shape) for key, tensor in self.published_state(network).items()}


class _WithoutNumbers(TorchFunctionMode):
    """Let constructors run on the meta device, which holds no numbers.

    Tables that they read back are made on the processor; drawing random weights, which takes most of their time, is
    left out.
    """

    _DRAWING = frozenset(getattr(Tensor, name) for name in ("uniform_", "normal_", "erfinv_", "mul_", "add_", "clamp_"))

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is torch.linspace:
            return function(*args, **{**(kwargs or {}), "device": "cpu"})
        if function in self._DRAWING and args[0].is_meta:
            return args[0]
        return function(*args, **(kwargs or {}))


def size_of(shapes: Shapes, key: str, axis: int, *, dimensions: int) -> int:
    """Return one side of one tensor.

    Args:
        shapes: Of a file.
        key: Which tensor.
        axis: Which side.
        dimensions: How many sides the tensor has.

    Raises:
        WeightFileError: It is missing, has another number of sides, or is empty or of an absurd size.
    """
    shape = shapes.get(key)
    if shape is None:
        raise WeightFileError(f"{key} is missing")
    if len(shape) != dimensions or not all(1 <= side <= WIDEST for side in shape):
        raise WeightFileError(f"{key} is {shape}, which no such network has")
    return shape[axis]


def length_of(shapes: Shapes, prefix: str) -> int:
    """Count the numbered entries below a prefix, for example the layers below "layers.".

    Raises:
        WeightFileError: There is none.
    """
    numbers = {key[len(prefix) :].partition(".")[0] for key in shapes if key.startswith(prefix)}
    count = sum(number.isdecimal() for number in numbers)
    if not 1 <= count <= WIDEST:
        raise WeightFileError(f"there are {count} entries below {prefix}")
    return count


def root_of(value: int, what: str) -> int:
    """Return the square root of a square number.

    Raises:
        WeightFileError: It is none.
    """
    root = round(value**0.5)
    if root * root != value:
        raise WeightFileError(f"{what} is {value}, which is not a square number")
    return root
