"""The folder of a run: finished chunks, what the first pass learnt, and a journal of what was done when.

Whatever is kept appears under its name only when it is complete and on the disk: a chunk counts once its description
(``.json``) is there, which is written after its pictures and marks. The journal is for people and for reports; it is
only ever appended to, and nothing is read back from it.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from ...errors import FilmFileError, SettingsError
from ...files.locks import locked
from ...files.temporary import written_whole
from ...video.sequences.names import names_sequence

SUFFIX = ".vldm"
"""What the name of a run's folder ends in, after the name of the film that is being made."""

_JOURNAL = "journal.jsonl"
_LOCK = "lock"
_ABOUT = "run.json"
_CHUNKS, _ANALYSES = "chunks", "analyses"
_BLOCK = 1 << 20

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+.+")
"""Such as s3://bucket/film.mkv, also after a path has made one slash of two. Drives of Windows have one letter."""


def refuse_address(path: str | os.PathLike[str]) -> None:
    """Refuse an address in the place of a path: a run locks its folder, and its files appear when they are complete.

    Raises:
        SettingsError: It is an address.
    """
    found = _ADDRESS.fullmatch(os.fspath(path))
    if found is not None and not Path(path).absolute().parent.is_dir():
        raise SettingsError(
            f"{os.fspath(path)} is an address ({found[1]}), and a film is put together in a folder of the file "
            "system; give a path of this computer, and where workers of others cannot write there, the address of a "
            "storage for their chunks (--storage)"
        )


@dataclass(frozen=True, kw_only=True)
class KeptChunk:
    """A finished chunk.

    Attributes:
        key: Of all that its frames depend on.
        first: Its first frame.
        last: The one after its last.
        film: Name of the file with its pictures.
        marks: Name of the file with its marks.
        repairs: Name of the file with its repairs, for the record.
        sizes: Bytes of the three.
        hashes: SHA-256 of the three.
        frames: For each frame its timestamp, duration, number in the name of its picture, and whether it stands in for
            one that could not be decoded.
        dirt: Pixels of all its frames that were filled as dirt.
        scratch: Pixels that were repaired as scratches.
        notices: Stage, text and frame of what the stages had to say.
        seconds: Wall time that it took.
    """

    key: str
    first: int
    last: int
    film: str
    marks: str
    repairs: str
    sizes: tuple[int, ...]
    hashes: tuple[str, ...]
    frames: tuple[tuple[int | None, int | None, int | None, bool], ...]
    dirt: int
    scratch: int
    notices: tuple[tuple[str, str, int | None], ...]
    seconds: float

    @property
    def files(self) -> tuple[str, str, str]:
        """Names of the three."""
        return self.film, self.marks, self.repairs


class WorkFolder:
    """The folder of a run. Use as a context manager: one process at a time may own it.

    Args:
        path: Where it lies; made if missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.chunks, self.analyses = path / _CHUNKS, path / _ANALYSES
        self._owned = contextlib.ExitStack()

    @classmethod
    def beside(cls, destination: str | os.PathLike[str]) -> Self:
        """The folder of a run that makes a film, or pictures in a folder that need not be there."""
        path = Path(destination)
        if not path.parent.is_dir() and names_sequence(path):
            path = path.parent
        return cls(path.with_name(f"{path.name}{SUFFIX}"))

    def __enter__(self) -> Self:
        with told(self.path), contextlib.ExitStack() as stack:
            for folder in (self.path, self.chunks, self.analyses):
                folder.mkdir(exist_ok=True)
            if not stack.enter_context(locked(self.path / _LOCK)):
                raise FilmFileError(
                    f"another process works in {self.path}; wait for it, or choose another name for the result"
                )
            self._owned = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._owned.close()

    @property
    def at_work(self) -> bool:
        """Whether a process works in the folder."""
        if not self.path.is_dir():
            return False
        with locked(self.path / _LOCK) as free:
            return not free

    def note(self, event: str, **facts: Any) -> None:
        """Append a line to the journal."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **facts}, ensure_ascii=False)
        with told(self.path), (self.path / _JOURNAL).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())

    def journal(self) -> Iterator[dict[str, Any]]:
        """The lines of the journal; one that was cut off is left out."""
        path = self.path / _JOURNAL
        if not path.exists():
            return
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                yield json.loads(line)

    def describe(self, **facts: Any) -> None:
        """Keep what the run is: source, settings, plan; for who looks at it later."""
        self.keep_file(self.path / _ABOUT, json.dumps(facts, ensure_ascii=False, indent=1).encode())

    def about(self) -> dict[str, Any]:
        """What the run is; empty where nothing was kept."""
        return _read_json(self.path / _ABOUT) or {}

    def keep_json(self, name: str, key: str, facts: dict[str, Any]) -> None:
        """Keep facts under a key."""
        self.keep_file(self.analyses / f"{name}-{key}.json", json.dumps(facts).encode())

    def json(self, name: str, key: str) -> dict[str, Any] | None:
        """Facts that were kept under a key; None where there are none or they are damaged."""
        return _read_json(self.analyses / f"{name}-{key}.json")

    def keep_analysis(self, number: int, key: str, contents: bytes) -> None:
        """Keep what the first pass learnt of a shot."""
        self.keep_file(self.analysis(number, key), contents)

    def analysis(self, number: int, key: str) -> Path:
        """The file of what the first pass learnt of a shot."""
        return self.analyses / f"{number:05d}-{key}.npz"

    def chunk_name(self, first: int, last: int, key: str) -> str:
        """Name of the files of a chunk, without suffix."""
        return f"{first:07d}-{last:07d}-{key}"

    def chunk_files(self, first: int, last: int, key: str) -> tuple[str, str, str]:
        """Names of the files of a chunk: its pictures, its marks and its repairs."""
        name = self.chunk_name(first, last, key)
        return f"{name}.mkv", f"{name}.npz", f"{name}.repairs.npz"

    def description(self, first: int, last: int, key: str) -> Path:
        """The file that says that a chunk is finished."""
        return self.chunks / f"{self.chunk_name(first, last, key)}.json"

    def keep_chunk(self, chunk: KeptChunk) -> None:
        """Say that a chunk is finished, whose files are there."""
        description = self.description(chunk.first, chunk.last, chunk.key)
        self.keep_file(description, json.dumps(asdict(chunk)).encode())

    def chunk(self, first: int, last: int, key: str, *, whole: bool = True) -> KeptChunk | None:
        """Return a finished chunk, or None where it is not there or its files are not as they were written.

        Args:
            first: Its first frame.
            last: The one after its last.
            key: Of what its frames depend on.
            whole: Whether to read the files, and not only to look at their sizes.
        """
        facts = _read_json(self.description(first, last, key))
        if facts is None:
            return None
        try:
            chunk = KeptChunk(
                **{
                    **facts,
                    "sizes": tuple(facts["sizes"]),
                    "hashes": tuple(facts["hashes"]),
                    "frames": tuple(tuple(frame) for frame in facts["frames"]),
                    "notices": tuple(tuple(notice) for notice in facts["notices"]),
                }
            )
        except (TypeError, KeyError):
            return None
        names = self.chunk_files(first, last, key)
        if chunk.files != names or len(chunk.sizes) != len(names) or len(chunk.hashes) != len(names):
            return None
        for name, size, digest in zip(names, chunk.sizes, chunk.hashes, strict=True):
            path = self.chunks / name
            if not path.is_file() or path.stat().st_size != size or (whole and hash_of(path) != digest):
                return None
        return chunk

    def remove(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def restart(self) -> None:
        """Remove what earlier runs have kept."""
        with told(self.path):
            for folder in (self.chunks, self.analyses):
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(exist_ok=True)

    def keep_file(self, path: Path, contents: bytes) -> None:
        """Write a file, which appears when it is on the disk."""
        with told(self.path), written_whole(path) as part, part.open("wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Say in words what an operating system refuses.

    Raises:
        FilmFileError: It refused.
    """
    try:
        yield
    except OSError as error:
        raise FilmFileError(
            f"cannot work in {path}: {error.strerror or error}; make room or rights, and run the same again: what is "
            "finished is kept"
        ) from error


def hash_of(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
