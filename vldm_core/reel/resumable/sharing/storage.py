"""Finished chunks at an address that all computers of a run reach: a bucket, a server, a folder.

Addresses are those of fsspec (https://filesystem-spec.readthedocs.io), such as ``s3://bucket/runs``; what opens them is
installed for each kind (s3fs, gcsfs, paramiko …), and takes its credentials from the environment of every computer. A
worker writes a chunk beside itself and sends it there; whoever leads the run fetches it into the run's folder. A chunk
counts once its description is there, which is sent last and holds the hashes of the others, so it does not matter
whether a file of such a storage appears as a whole.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ....errors import FilmFileError, SettingsError
from ....files.temporary import own_folder, written_whole
from ..work_folder import KeptChunk, WorkFolder, told


@dataclass(frozen=True)
class SharedStorage:
    """A folder of such a storage; it can be sent to another process, which opens it for itself.

    Args:
        address: Of the storage, such as ``s3://bucket/runs``.
        name: Of the folder in it, one for each run.
    """

    address: str
    name: str

    @classmethod
    def of_run(cls, address: str, folder: WorkFolder) -> "SharedStorage":
        """The storage of a run that is led from a folder.

        Raises:
            SettingsError: The address is none, or what opens it is not installed.
            FilmFileError: It cannot be reached.
        """
        storage = cls(address, folder.path.name)
        storage._make()
        return storage

    @contextlib.contextmanager
    def beside_worker(self) -> Iterator[WorkFolder]:
        """A folder of this computer for chunks on their way to the storage; it goes with the block."""
        with own_folder(Path(tempfile.gettempdir()) / self.name) as path:
            folder = WorkFolder(path)
            folder.chunks.mkdir()
            yield folder

    def send(self, folder: WorkFolder, chunk: KeptChunk) -> None:
        """Move a finished chunk from a folder into the storage.

        Raises:
            FilmFileError: It cannot be written there.
        """
        description = folder.description(chunk.first, chunk.last, chunk.key)
        for path in (*(folder.chunks / name for name in chunk.files), description):
            self.send_file(path)
            path.unlink()

    def send_file(self, path: Path) -> None:
        """Copy a file into the storage.

        Raises:
            FilmFileError: It cannot be written there.
        """
        with self._reached():
            self._files.put_file(os.fspath(path), self._path(path.name))

    def fetch(self, folder: WorkFolder, first: int, last: int, key: str) -> KeptChunk | None:
        """Copy a chunk into a folder, or return None where the storage does not have it as it was written.

        Args:
            folder: Takes it.
            first: Its first frame.
            last: The one after its last.
            key: Of what its frames depend on.

        Raises:
            FilmFileError: The storage cannot be reached, or the folder cannot be written to.
        """
        description = folder.description(first, last, key)
        try:
            contents = self._read(description.name)
            # What names the files is not read from elsewhere: a storage may hold what others have put there.
            for name in folder.chunk_files(first, last, key):
                with told(folder.path), written_whole(folder.chunks / name) as part, self._reached():
                    self._files.get_file(self._path(name), os.fspath(part))
        except FileNotFoundError:
            return None
        folder.keep_file(description, contents)
        return folder.chunk(first, last, key)

    def read(self, name: str) -> bytes:
        """The contents of a file.

        Raises:
            FilmFileError: It is not there, or cannot be read.
        """
        try:
            return self._read(name)
        except FileNotFoundError as error:
            raise FilmFileError(f"{self._path(name)} is gone from {self.address}; run the same again") from error

    def remove(self) -> None:
        """Remove what the run has there.

        Raises:
            FilmFileError: It cannot be removed.
        """
        with self._reached(), contextlib.suppress(FileNotFoundError):
            self._files.rm(self._root, recursive=True)

    def clear(self) -> None:
        """Remove what earlier runs have there.

        Raises:
            FilmFileError: It cannot be removed.
        """
        self.remove()
        self._make()

    def _make(self) -> None:
        with self._reached():
            self._files.makedirs(self._root, exist_ok=True)

    def _read(self, name: str) -> bytes:
        with self._reached():
            contents: bytes = self._files.cat_file(self._path(name))
            return contents

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @property
    def _files(self) -> Any:
        return self._opened[0]

    @property
    def _root(self) -> str:
        return f"{self._opened[1].rstrip('/')}/{self.name}"

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        import fsspec

        try:
            files, root = fsspec.url_to_fs(self.address)
        except (ValueError, ImportError) as error:
            raise SettingsError(f"{self.address} is no address of a storage that can be opened: {error}") from error
        return files, root

    def __getstate__(self) -> dict[str, object]:
        """Go to another process without the connection."""
        return {"address": self.address, "name": self.name}

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise FilmFileError(
                f"cannot work at {self.address}: {error}; see that it is reached from all computers, with rights to "
                "write, and run the same again: what is finished is kept"
            ) from error


def remove_run(folder: WorkFolder, storage: str | None) -> None:
    """Remove what a run has kept, in its folder and, where there is one, in its storage.

    Raises:
        FilmFileError: The storage cannot be reached; the folder stays, which says where it is.
    """
    if storage is not None:
        SharedStorage.of_run(storage, folder).remove()
    folder.remove()
