"""Keys of what is kept: they change with everything that a result depends on, and with nothing else."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ... import __version__
from ...errors import FilmFileError
from ...stages.preset import settings_text
from ...stages.settings import StageSettings
from ...video.reading.edited import EditedFilm

_LENGTH = 20
"""Hexadecimal digits of a key: 80 bits, of which no two will ever be alike by chance."""

_SAMPLES = 64
"""Parts of a file that are read for its key."""

_SAMPLE_BYTES = 1 << 20
"""Bytes of each. A film of up to 64 MB is read whole, of a larger one as much, spread evenly."""

_VALUES = 64
"""Values of a tensor that are looked at: whoever trains a network further changes nearly all of them."""

_PACKAGE = Path(__file__).resolve().parents[2]


def key_of(**parts: Any) -> str:
    """Return the key of some facts, which JSON can hold."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_LENGTH]


def film_key(source: Any) -> str | None:
    """Return the key of a film's contents; None for one that lies in memory.

    Args:
        source: File, folder or pattern of an image sequence, or parts of films.

    Raises:
        FilmFileError: It cannot be read.
    """
    if isinstance(source, EditedFilm):
        keys = [(film_key(part.source), repr((part.start, part.duration, part.crop))) for part in source.parts]
        sound = None if source.sound is None else film_key(source.sound)
        return None if any(key is None for key, _ in keys) else key_of(parts=keys, sound=sound)
    if not isinstance(source, str | os.PathLike):
        return None
    path = Path(source)
    try:
        if path.is_file():
            return key_of(file=_sampled(path))
        folder = path if path.is_dir() else path.parent
        files = sorted(each for each in folder.iterdir() if each.is_file())
        chosen = {files[len(files) * number // _SAMPLES] for number in range(_SAMPLES)} if files else set()
        listed = [(each.name, each.stat().st_size) for each in files]
        return key_of(name=path.name, files=listed, contents=[_sampled(each) for each in sorted(chosen)])
    except OSError as error:
        raise FilmFileError(f"{source} cannot be read: {error.strerror or error}") from error


def _sampled(path: Path) -> str:
    """Hash of the size of a file and of parts of its contents."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    spare = max(0, size - _SAMPLES * _SAMPLE_BYTES)
    with path.open("rb") as file:
        for number in range(_SAMPLES):
            place = number * _SAMPLE_BYTES + spare * number // (_SAMPLES - 1)
            if place >= size:
                break
            file.seek(place)
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


@lru_cache(maxsize=1)
def pack_key() -> str:
    """Return the key of this version of the package, its networks included."""
    digest = hashlib.sha256(__version__.encode())
    kept = (".py", ".safetensors", ".json")
    for path in sorted(path for path in _PACKAGE.rglob("*") if path.suffix in kept and "__pycache__" not in path.parts):
        digest.update(path.relative_to(_PACKAGE).as_posix().encode())
        digest.update(path.read_bytes())
    return f"{__version__}+{digest.hexdigest()[:_LENGTH]}"


def stages_key(settings: StageSettings) -> str:
    """Return the key of what is done to a film, with the contents of the files that the settings name."""
    weights = getattr(settings.prerestore, "weights", None)
    return key_of(
        settings=json.loads(settings_text(settings)),
        given=[settings.given_dirt, settings.given_scratch],
        weights=None if weights is None else _sampled(Path(weights)),
    )


def network_key(network: nn.Module) -> str:
    """Return the key of the weights of a network."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:_LENGTH]


def sampled_network_key(network: nn.Module) -> str:
    """Return the key of a large network from parts of its weights: of each tensor the shape and some values."""
    return key_of(kind=type(network).__name__, weights=sampled_tensors_key(network.state_dict()))


def sampled_tensors_key(tensors: Mapping[str, Tensor]) -> str:
    """Return the key of named tensors: of each the shape and some values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        flat = tensor.detach().reshape(-1)
        step = max(1, flat.numel() // _VALUES)
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(flat[::step][:_VALUES].double().cpu().numpy().tobytes())
    return digest.hexdigest()[:_LENGTH]


def maps_key(maps: Iterable[Any]) -> str | None:
    """Return the key of damage that is known; None where a map lies in memory."""
    keys = []
    for given in maps:
        key = "alpha" if given.source is None else film_key(given.source)
        if key is None:
            return None
        keys.append((key, given.kind, repr(given.reading), given.alone))
    return key_of(maps=keys)
