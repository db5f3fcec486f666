"""What the first pass learnt of a shot, as a file: arrays and a tree of plain values, and nothing that could be run."""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, overload
from zipfile import BadZipFile

import numpy as np

from ...errors import FilmFileError
from ...film.active_picture import ActivePicture
from ...film.flicker.removal import FlickerTrack
from ...film.scratches.columns import ColumnRange
from ...film.scratches.tracks import ScratchMap, ScratchTrack
from ...film.spared.graphics import Graphics
from ...film.standing.detection import StandingBlock, StandingMap
from ...film.weave.stabilise import WeaveTrack
from ...stages.analysis import ShotAnalysis
from .sharing.storage import SharedStorage

_CLASSES: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        ActivePicture, ColumnRange, FlickerTrack, Graphics, ScratchMap, ScratchTrack, ShotAnalysis, StandingBlock,
        StandingMap, WeaveTrack,
    )
}  # fmt: skip
_TREE = "tree"
"""Name of the array that holds the plain values, as JSON."""


def analysis_bytes(analysis: ShotAnalysis) -> bytes:
    """Write an analysis as the contents of an ``.npz`` file.

    Raises:
        TypeError: It holds something that is neither a plain value, an array nor one of the known classes.
    """
    arrays: dict[str, np.ndarray] = {}
    tree = _plain(analysis, arrays)
    arrays[_TREE] = np.frombuffer(json.dumps(tree).encode(), np.uint8)
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def analysis_key(analysis: ShotAnalysis) -> str:
    """Return the key of an analysis."""
    arrays: dict[str, np.ndarray] = {}
    tree = _plain(analysis, arrays)
    digest = hashlib.sha256(json.dumps(tree).encode())
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def read_analysis(path: Path, contents: bytes | None = None) -> ShotAnalysis:
    """Read what `analysis_bytes` made.

    Args:
        path: The file.
        contents: What stands in it, where that was read already.

    Raises:
        FilmFileError: The file is damaged.
    """
    try:
        with np.load(path if contents is None else io.BytesIO(contents), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        analysis = _made(json.loads(arrays[_TREE].tobytes()), arrays)
    except (OSError, BadZipFile, ValueError, KeyError, TypeError, EOFError) as error:
        raise FilmFileError(f"{path} is damaged ({error}); remove it, and the shot is analysed again") from error
    if not isinstance(analysis, ShotAnalysis):
        raise FilmFileError(f"{path} is no analysis of a shot; remove it, and the shot is analysed again")
    return analysis


class StoredAnalyses(Sequence[ShotAnalysis]):
    """Analyses of the shots of a reel, read from their files when they are asked for: those of a long reel are large.

    Args:
        paths: One file of `analysis_bytes` for each shot.
        shared: Storage that they are read from by their names; None reads the files themselves.
    """

    def __init__(self, paths: Sequence[Path], shared: SharedStorage | None = None) -> None:
        self._paths, self._shared = tuple(paths), shared
        self._last: tuple[int, ShotAnalysis] | None = None

    def __getstate__(self) -> dict[str, object]:
        """Go to another process without what was read."""
        return {**self.__dict__, "_last": None}

    def sent_to(self, shared: SharedStorage) -> "StoredAnalyses":
        """Copy the files into a storage, and return the same analyses as they are read from there.

        Raises:
            FilmFileError: The storage cannot be written to.
        """
        for path in self._paths:
            shared.send_file(path)
        return StoredAnalyses(self._paths, shared)

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> ShotAnalysis: ...

    @overload
    def __getitem__(self, index: slice) -> "StoredAnalyses": ...

    def __getitem__(self, index: int | slice) -> "ShotAnalysis | StoredAnalyses":
        if isinstance(index, slice):
            return StoredAnalyses(self._paths[index], self._shared)
        number = range(len(self._paths))[index]
        if self._last is None or self._last[0] != number:
            path = self._paths[number]
            self._last = number, read_analysis(path, None if self._shared is None else self._shared.read(path.name))
        return self._last[1]


def _plain(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Return a value as JSON holds it; arrays and bytes go to the others."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray | bytes):
        name = f"a{len(arrays)}"
        arrays[name] = np.frombuffer(value, np.uint8) if isinstance(value, bytes) else value
        return {"bytes" if isinstance(value, bytes) else "array": name}
    if isinstance(value, tuple):
        return {"tuple": [_plain(each, arrays) for each in value]}
    if isinstance(value, dict):
        return {"dict": [[_plain(key, arrays), _plain(each, arrays)] for key, each in value.items()]}
    if is_dataclass(value) and type(value).__name__ in _CLASSES:
        own = {field.name: _plain(getattr(value, field.name), arrays) for field in fields(value) if field.init}
        return {"class": type(value).__name__, "fields": own}
    raise TypeError(f"a {type(value).__name__} cannot be kept with the analysis of a shot")


def _made(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    if "bytes" in value:
        return arrays[value["bytes"]].tobytes()
    if "tuple" in value:
        return tuple(_made(each, arrays) for each in value["tuple"])
    if "dict" in value:
        return {_made(key, arrays): _made(each, arrays) for key, each in value["dict"]}
    return _CLASSES[value["class"]](**{name: _made(each, arrays) for name, each in value["fields"].items()})
