"""The file of a record: a ZIP archive of JSON, NumPy arrays and JPEG pictures, of which nothing is ever run.

It is written part by part and read part by part, so neither takes more memory for a longer film.
"""

import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from ...errors import FilmFileError
from ...files.temporary import temporary_file
from ...video.sequences.names import is_sequence
from ...video.shots import Shot
from .example import Example
from .finding import SampleForm
from .originals import Planes, packed, unpacked
from .repairs import Repairs
from .tally import Tally

SUFFIX = ".record.zip"
"""What the name of a record ends in, after the name of the film that it belongs to."""

FORMAT, VERSION = "vldm restoration record", 1

_ABOUT, _README = "film.json", "README.txt"
_PART_FRAMES = 64
"""Frames with repairs in a part at most."""
_PART_BYTES = 16 << 20
"""Bytes of samples from which on a part is full."""

_EXPLAINED = """\
Restoration record: what a program has changed in a film, and what was there before.

film.json            the film and its result with SHA-256 checksums, settings, shots, figures, warnings, doubts
repairs/A-B.npz      the repairs of frames A to B, as NumPy arrays (.npy files in a ZIP archive); frames, shots and
                     pixels are counted from 0
shots/N-before.jpg   the frame of shot N in which most was repaired, as it came; reduced, to be looked at
shots/N-after.jpg    the same frame as it was written
originals/A-B.npz    where a diffusion model has changed whole frames: the frames A to B as they came, in the shots for
                     which film.json says "originals"

Arrays with one value for each repair, in the order of the frames:
  frame, shot, number    number is the fix: a scratch is one through its shot
  kind                   0 dirt, 1 scratch, 2 standing mark (hair in the gate, dirt on the lens), 3 seam of a splice or
                         frame line, 4 a box that a person named
  x, y, width, height    box around the mark, pixels
  marked, changed        pixels that were marked, and of these the pixels that the repair has changed
  chroma                 samples of each subsampled plane under the changed pixels
  confidence             percent, 255 unknown
  link                   number of the scratch among those of its shot, -1 none
  runs                   runs of changed pixels; a run lies in one row
Arrays with one value for each run, the repairs one after the other:
  run_step               way to its first pixel from that of the run before, or from 0; a pixel is counted as y times
                         the width of the film plus x
  run_length             pixels
Arrays with one value for each sample, the repairs one after the other:
  samples_0              the original samples of the changed pixels in the first plane (Y, grey or G), in the order of
                         the runs
  samples_1, samples_2   of the other planes (Cb and Cr, or B and R): each sample that lies under a changed pixel, once
                         for each repair, row by row
Arrays of originals, all of type unsigned, frames by rows by columns:
  plane_0, plane_1, ...  the samples of each plane, each less the one to its left, the first of a row as it is; sums and
                         differences wrap around

"samples" in film.json names the pixel format, as FFmpeg does, with the pixels across and down for one sample of the
second and third plane.
"""


def record_path(film: str | os.PathLike[str]) -> Path:
    """Name of the record of a film: beside it, with its whole name; that of a folder of pictures beside the folder."""
    path = Path(film)
    if not path.is_dir() and is_sequence(path):
        path = path.parent
    return path.with_name(f"{path.name}{SUFFIX}")


class RecordWriter:
    """Writes a record. Use as a context manager: the file appears with `finish`, and without it nothing stays.

    Args:
        path: The file.
        form: How the film's samples are recorded.
        pixels: Of a frame.
        shots: Of the film.
        overwrite: Whether a file of that name may be replaced.

    Raises:
        FilmFileError: It exists already, or cannot be written.
    """

    def __init__(
        self, path: Path, form: SampleForm, pixels: int, shots: Sequence[Shot], *, overwrite: bool = False
    ) -> None:
        refuse_record(path, overwrite=overwrite)
        self.path, self._form = path, form
        self.tally = Tally(shots, pixels)
        self._stack = ExitStack()
        self._waiting: list[Repairs] = []
        self._bytes = 0
        self._originals: list[Planes] = []
        self._next = 0

    def __enter__(self) -> Self:
        with _told(self.path), ExitStack() as stack:
            self._temporary = temporary_file(self.path)
            stack.callback(self._temporary.unlink, missing_ok=True)
            self._zip = stack.enter_context(zipfile.ZipFile(self._temporary, "w"))
            self._add(_README, _EXPLAINED.encode(), packed=True)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def write(self, repairs: Repairs) -> None:
        """Append the repairs of a frame.

        Args:
            repairs: With numbers and shot; they come in the order of the frames.
        """
        if not len(repairs):
            return
        self.tally.count(repairs)
        self._waiting.append(repairs)
        self._bytes += sum(plane.nbytes for plane in repairs.samples)
        if len(self._waiting) >= _PART_FRAMES or self._bytes >= _PART_BYTES:
            self._flush()

    def keep_original(self, frame: int, planes: Planes) -> None:
        """Keep a whole frame of the source; they come in the order of the film.

        Args:
            frame: Its number in the film.
            planes: Its samples.
        """
        if self._originals and frame != self._next:
            self._flush_originals()
        self._originals.append(planes)
        self._next = frame + 1
        if len(self._originals) * sum(plane.nbytes for plane in planes) >= _PART_BYTES:
            self._flush_originals()

    def show(self, shot: int, example: Example) -> None:
        """Add the pictures of a shot."""
        self.tally.show(shot, example)
        with _told(self.path):
            self._add(f"shots/{shot:05d}-before.jpg", example.before)
            self._add(f"shots/{shot:05d}-after.jpg", example.after)

    def finish(self, *, of_shots: Sequence[Mapping[str, Any]], **facts: Any) -> None:
        """Complete the file.

        Args:
            of_shots: What else belongs to each shot in ``film.json``.
            facts: What else belongs to the film.
        """
        self._flush()
        self._flush_originals()
        counted = self.tally.facts()
        counted["shots"] = [{**own, **more} for own, more in zip(counted["shots"], of_shots, strict=True)]
        about = {
            "format": FORMAT,
            "version": VERSION,
            "samples": {"pix_fmt": self._form.name, "planes": self._form.planes, "step": list(self._form.step)},
            **facts,
            **counted,
        }
        with _told(self.path):
            self._add(_ABOUT, json.dumps(about, ensure_ascii=False, indent=1).encode(), packed=True)
            self._zip.close()
            with self._temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(self._temporary, self.path)

    def _flush(self) -> None:
        if not self._waiting:
            return
        part = Repairs.joined(self._waiting)
        self._waiting, self._bytes = [], 0
        self._add_arrays("repairs", int(part.frame[0]), int(part.frame[-1]), part.arrays())

    def _flush_originals(self) -> None:
        if not self._originals:
            return
        arrays = packed(self._originals)
        first = self._next - len(self._originals)
        self._originals = []
        self._add_arrays("originals", first, self._next - 1, arrays)

    def _add_arrays(self, folder: str, first: int, last: int, arrays: Mapping[str, Any]) -> None:
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)
        with _told(self.path):
            self._add(f"{folder}/{first:07d}-{last:07d}.npz", file.getvalue())

    def _add(self, name: str, contents: bytes, *, packed: bool = False) -> None:
        # No time of writing: the same repairs give the same parts, byte for byte.
        member = zipfile.ZipInfo(name)
        member.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
        member.external_attr = 0o644 << 16
        self._zip.writestr(member, contents)


class RecordReader:
    """Reads a record. Use as a context manager.

    Args:
        path: The file.

    Attributes:
        about: What the record says of film and run, see ``README.txt`` in it.
        form: How samples are recorded.
        shots: Of the film.

    Raises:
        FilmFileError: It cannot be read, is damaged or is not a record.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with self._reading(), ExitStack() as stack:
            self._zip = stack.enter_context(zipfile.ZipFile(self.path))
            names = self._zip.namelist()
            if _ABOUT not in names:
                # Of a file that is cut off the last part may pass for the whole: it is an archive of its own.
                raise ValueError(f"it holds no {_ABOUT}")
            self.about: dict[str, Any] = json.loads(self._zip.read(_ABOUT))
            if self.about.get("format") != FORMAT:
                raise FilmFileError(f"{self.path} is not a restoration record; give one that restore wrote (*{SUFFIX})")
            if self.about["version"] != VERSION:
                raise FilmFileError(
                    f"{self.path} is a record of version {self.about['version']}, and this program reads {VERSION}; "
                    "use the version of the program that wrote it"
                )
            self.form = SampleForm.of(self.about["samples"]["pix_fmt"])
            self.shots = tuple(Shot(first=row["first"], last=row["last"] + 1) for row in self.about["shots"])
            self._parts = sorted(name for name in names if name.startswith("repairs/"))
            self._originals = sorted(name for name in names if name.startswith("originals/"))
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def parts(self) -> Iterator[Repairs]:
        """Give the repairs in the order of their frames, some dozens of frames at a time.

        Raises:
            FilmFileError: A part is damaged.
        """
        for name in self._parts:
            with self._reading():
                repairs = Repairs.of_arrays(self._arrays(name))
                if len(repairs.samples) != self.form.planes or repairs.samples[0].dtype != self.form.dtype:
                    raise FilmFileError(f"{name} does not hold samples of {self.form.name}")
            yield repairs

    def originals(self) -> Iterator[tuple[int, Planes]]:
        """Give the whole frames of the source that are kept: number and samples of each, in the order of the film.

        Raises:
            FilmFileError: A part is damaged.
        """
        for name in self._originals:
            with self._reading():
                frames = unpacked(self._arrays(name))
                first, last = (int(number) for number in Path(name).stem.split("-"))
                if len(frames) != last - first + 1 or any(
                    len(planes) != self.form.planes or planes[0].dtype != self.form.dtype for planes in frames
                ):
                    raise FilmFileError(f"{name} does not hold frames of {self.form.name}")
            yield from enumerate(frames, start=first)

    def _arrays(self, name: str) -> dict[str, Any]:
        with np.load(io.BytesIO(self._zip.read(name)), allow_pickle=False) as file:
            return {key: file[key] for key in file.files}

    def example(self, shot: int) -> Example | None:
        """The pictures of a shot; None where there are none."""
        row = self.about["shots"][shot].get("example")
        if row is None:
            return None
        with self._reading():
            before, after = (self._zip.read(f"shots/{shot:05d}-{when}.jpg") for when in ("before", "after"))
        return Example(frame=row["frame"], changed=row["changed"], before=before, after=after)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise FilmFileError(f"there is no record {self.path}; restore writes it beside the film") from error
        except FilmFileError as error:
            if str(self.path) in str(error):
                raise
            raise FilmFileError(f"{self.path}: {error}") from error
        except (OSError, zipfile.BadZipFile, zlib.error, ValueError, KeyError, TypeError, EOFError) as error:
            raise FilmFileError(
                f"{self.path} is damaged or is not a restoration record ({error}); take a copy of it that is whole"
            ) from error


def refuse_record(path: Path, *, overwrite: bool) -> None:
    """Refuse to write over a record; for before the work that precedes it.

    Raises:
        FilmFileError: There is a file of that name.
    """
    if path.exists() and not overwrite:
        raise FilmFileError(
            f"{path} exists already, the record of a film; move it away, choose another name, or ask for --overwrite"
        )


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FilmFileError(f"writing the record {path} failed: {error.strerror or error}") from error
