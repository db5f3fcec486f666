"""Hidden files and folders for unfinished work, which name their owner: after a crash the next run removes them.

A name is ``.STEM-vldm-HOST-PROCESS-RANDOM``. Those of a process of this computer that is no more are stale; those of
other computers, which may share the disk, are never touched.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import FilmFileError

# Longest part of a film's own name in a temporary one, and of the computer's: file systems take 255 bytes.
_MOST_STEM = 60
_MOST_HOST = 40
_OWNED = re.compile(r"\..*-vldm-(?P<host>[A-Za-z0-9_.]+)-(?P<process>\d+)-[^-]+")
# A folder of a long film's chunks has thousands of files, and each one that is made is made hidden first.
_LOOK_AGAIN_S = 600.0
# What this process made: after a restart of a container another one may have had the same number.
_made: dict[str, Path] = {}
# When a folder was last looked through.
_looked: dict[Path, float] = {}


def temporary_file(target: Path) -> Path:
    """Create an empty hidden file in the folder of the file it is to become, with its suffix.

    Raises:
        FilmFileError: The folder is missing or not writable.
    """
    with _told(target.parent):
        _look_through(target.parent)
        handle, name = tempfile.mkstemp(prefix=_prefix(target), suffix=target.suffix, dir=target.parent)
    os.close(handle)
    # mkstemp makes files private; a film gets the permissions any new file would have.
    os.chmod(name, 0o666 & ~umask())
    return _registered(name)


def temporary_folder(target: Path) -> Path:
    """Create a hidden folder beside a file or folder that is to be made.

    Raises:
        FilmFileError: The folder above is missing or not writable.
    """
    with _told(target.parent):
        _look_through(target.parent)
        return _registered(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))


@contextlib.contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """A hidden file to write, which takes the place of another when all is written, and goes when that fails.

    Args:
        target: The file to be made or replaced.

    Raises:
        FilmFileError: The folder is missing or not writable.
        OSError: Writing fails.
    """
    part = temporary_file(target)
    try:
        yield part
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
        _made.pop(part.name, None)


@contextlib.contextmanager
def own_folder(target: Path) -> Iterator[Path]:
    """A hidden folder beside a file that is to be made, for as long as it is needed."""
    folder = temporary_folder(target)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _made.pop(folder.name, None)


def remove_stale(folder: Path) -> None:
    """Remove what processes of this computer that have ended left in a folder."""
    for path in folder.iterdir():
        found = _OWNED.fullmatch(path.name)
        if found is None or found["host"] != _host() or path.name in _made:
            continue
        process = int(found["process"])
        if process != os.getpid() and _is_running(process):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()


def _look_through(folder: Path) -> None:
    now, place = time.monotonic(), Path(os.path.abspath(folder))
    if place in _looked and now - _looked[place] < _LOOK_AGAIN_S:
        return
    _looked[place] = now
    remove_stale(folder)
    for name, path in list(_made.items()):
        # Most have got the name that they were made for.
        if not path.exists():
            _made.pop(name, None)


def free_path(path: Path) -> Path:
    """Return a name that is not taken: the one given, else with ``-2``, ``-3`` … before the suffix."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def umask() -> int:
    """Return the mask of permissions that new files do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9_.]", "_", platform.node() or "local")[:_MOST_HOST]


def _prefix(target: Path) -> str:
    return f".{target.stem[:_MOST_STEM]}-vldm-{_host()}-{os.getpid()}-"


def _registered(name: str) -> Path:
    path = Path(name)
    _made[path.name] = Path(os.path.abspath(path))
    return path


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise FilmFileError(f"the folder {folder} does not exist; make it first") from error
    except OSError as error:
        raise FilmFileError(f"cannot write into {folder}: {error.strerror or error}") from error


def _is_running(process: int) -> bool:
    if sys.platform == "win32":
        import ctypes

        # PROCESS_QUERY_LIMITED_INFORMATION, and STILL_ACTIVE as the exit code.
        kernel = ctypes.windll.kernel32
        handle = kernel.OpenProcess(0x1000, False, process)
        if not handle:
            return False
        code = ctypes.c_ulong()
        kernel.GetExitCodeProcess(handle, ctypes.byref(code))
        kernel.CloseHandle(handle)
        return code.value == 259
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
