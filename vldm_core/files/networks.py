"""Files of the networks that this package trains: safetensors with the network's shape in the metadata.

The metadata has one entry, named after the kind of network, with the format and the configuration as JSON. So a file
says by its header alone what it holds, before a tensor is read and without running anything in it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from safetensors.torch import save
from torch import nn

from ..errors import SettingsError
from .temporary import written_whole
from .weights import WeightFileError, read_contents, read_header, some

Network = TypeVar("Network", bound=nn.Module)

WEIGHTS = Path(__file__).resolve().parents[1] / "weights"
"""Folder of the networks that ship with the package."""

_FORMAT = 1
_AGAIN = "install the package again or name another file"


class NetworkKind(Generic[Network]):
    """Reads and writes one kind of network.

    Args:
        name: In the metadata, for example "vldm.dirt_network".
        what: In messages, for example "dirt detector".
        network: Class of the network. It takes its configuration as only argument and has it as `config`.
        config: Class of the configuration: a dataclass of numbers, texts, None and tuples of them.
        hint: What else can be done about a file that cannot be used, the end of a sentence; for example "or use the
            detector 'weight-free'".
    """

    def __init__(self, name: str, what: str, network: type[Network], config: type[Any], *, hint: str = "") -> None:
        assert is_dataclass(config)
        self.name, self.what, self._network, self._config, self._hint = name, what, network, config, hint
        # One for each kind, and not of the class: kinds may read the same path differently.
        self._kept = lru_cache(maxsize=4)(self._load_as_of)

    def save(self, network: Network, path: Path) -> None:
        """Write a network; the same network gives the same bytes."""
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in network.state_dict().items()}
        text = json.dumps({"format": _FORMAT, **asdict(network.config)})  # type: ignore[call-overload]
        # safetensors' own writing makes files that only their owner may read.
        with written_whole(path) as part:
            part.write_bytes(save(tensors, metadata={self.name: text}))

    def load(self, path: Path) -> Network:
        """Read a network, ready to be used: in evaluation mode, without gradients.

        Raises:
            WeightFileError: The file is missing, damaged, of another kind, or does not fit its own description.
        """
        try:
            return self._load(path)
        except WeightFileError as error:
            if not self._hint:
                raise
            raise WeightFileError(f"{error}, {self._hint}") from error

    def check(self, path: Path) -> None:
        """Look at the header of a file: whether it holds such a network, without reading a tensor.

        Raises:
            WeightFileError: As for `load`.
        """
        self._checked(path)

    def shared(self, path: Path) -> Network:
        """Read a network once per process and state of the file; see `load`. Who changes it changes it for all."""
        try:
            status = path.stat()
        except OSError:
            # Reading says what is wrong.
            return self.load(path)
        return self._kept(path, status.st_mtime_ns, status.st_size)

    def _load_as_of(self, path: Path, changed: int, size: int) -> Network:
        return self.load(path)

    def _load(self, path: Path) -> Network:
        network = self._network(self._checked(path))
        network.load_state_dict(read_contents(path))
        if not all(bool(torch.isfinite(tensor).all()) for tensor in network.state_dict().values()):
            raise WeightFileError(f"{path} holds numbers that are not finite; {_AGAIN}")
        return network.eval().requires_grad_(False)

    def _checked(self, path: Path) -> Any:
        """Return the configuration of the network in a file, after comparing it with the header."""
        try:
            there = path.is_file()
        except OSError as error:
            raise WeightFileError(f"the {self.what} {path} cannot be reached ({error.strerror}); {_AGAIN}") from error
        if not there:
            raise WeightFileError(f"the {self.what} {path} is not there; {_AGAIN}")
        header = read_header(path)
        config = self._described(header.metadata, path)
        # Shapes are compared before a tensor is read or memory is taken: the description may ask for anything.
        with torch.device("meta"):
            network = self._network(config)
        wanted = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
        wrong = sorted(key for key in wanted.keys() | header.shapes.keys() if wanted.get(key) != header.shapes.get(key))
        if wrong:
            raise WeightFileError(
                f"{path} does not fit its own description of a {self.what} at {some(wrong)}; {_AGAIN}"
            )
        return config

    def _described(self, metadata: Mapping[str, str], path: Path) -> Any:
        text = metadata.get(self.name)
        if text is None:
            raise WeightFileError(f"{path} is not a {self.what}: its metadata lacks {self.name!r}; {_AGAIN}")
        try:
            values = dict(json.loads(text))
            version = values.pop("format", None)
            if version != _FORMAT:
                raise WeightFileError(
                    f"{path} is a {self.what} in format {version!r}, this version reads {_FORMAT}; update the package"
                )
            known = {field.name for field in fields(self._config)}
            if unknown := sorted(values.keys() - known):
                raise WeightFileError(
                    f"{path} describes its {self.what} with {some(unknown)}, unknown to this version; "
                    "update the package"
                )
            return self._config(**{name: _tuples(value) for name, value in values.items()})
        except (TypeError, ValueError, RecursionError, SettingsError) as error:
            raise WeightFileError(
                f"{path} describes its {self.what} in a way that makes no sense ({error}); {_AGAIN}"
            ) from error


def _tuples(value: Any) -> Any:
    """JSON has lists where configurations have tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
