"""Takes repairs back: the samples that were there before, and nothing else."""

import functools
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np

from ...errors import FilmFileError, SettingsError
from ...progress import Progress, Pulse, silent
from ...video.colour import ColourConverter, layout_of, sample_view
from ...video.info import FilmFrame, FilmInfo
from ...video.reading.reader import open_film
from ...video.sequences.names import names_sequence
from ...video.shots import Shot
from ...video.writing.encoding import WriteSettings
from ...video.writing.writer import open_writer
from .checksums import checksums
from .file import RecordReader, RecordWriter, record_path
from .finding import SampleForm
from .making import NOTHING_DONE, SHOT_FACTS
from .originals import FramePlanes
from .repairs import Repairs, Selection, covered

_MADE_ANEW = ("format", "version", "samples", "figures", "shots")
"""What the record of what is left does not take over."""


@dataclass(frozen=True, kw_only=True)
class Undone:
    """What was taken back.

    Attributes:
        fixes: Fixes.
        repairs: Repairs of single frames.
        frames: Frames that were changed.
        pixels: Pixels.
        record: The record of what is left.
        whole: Frames of these that were given back whole.
    """

    fixes: int
    repairs: int
    frames: int
    pixels: int
    record: Path
    whole: int = 0


def undo_repairs(
    record: str | os.PathLike[str],
    restored: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    selection: Selection | None = None,
    progress: Progress = silent,
    *,
    force: bool = False,
    overwrite: bool = False,
) -> Undone:
    """Write a restored film once more with some of its repairs taken back.

    Where a repair is taken back the samples are those of the source, bit for bit; all others are those of the restored
    film. Of a subsampled plane a sample goes back with whichever repair lies above it. A record of what is left is
    written beside the new film, with the numbers unchanged, so that more can be taken back of that one.

    Where a prior has changed whole frames, the record holds these as they came. A selection of shots, of frames or of
    all, and not of kinds or numbers, gives them back whole.

    Args:
        record: The record of the restored film.
        restored: The film that the record was written with.
        destination: The film to write, without loss: .mkv, or a folder for pictures where the film is one.
        selection: Which repairs; None is all of them.
        progress: Called for every frame; may raise to interrupt.
        force: Also take back where more was done to the film than repairs, so that the samples of the source are those
            of another brightness or grain, and where the film is not the one that the record was written with.
        overwrite: Whether the new film and its record may replace others.

    Raises:
        FilmFileError: A file cannot be read or written, or the film is not that of the record.
        SettingsError: Nothing is selected, or taking back would not give a film that is of one piece.
    """
    selection = selection or Selection()
    with ExitStack() as stack:
        reader = stack.enter_context(RecordReader(record))
        _check_chosen(reader, selection, force=force)
        film = stack.enter_context(open_film(restored, deinterlace="off"))
        _check_form(film.info, reader, Path(restored))
        write = _write_settings(destination, overwrite=overwrite)
        frames = int(reader.about["frames"])
        pulse = Pulse(progress, "undo", frames)
        # Opened first: an output that cannot work costs no time.
        writer = stack.enter_context(open_writer(destination, film.info, settings=write, source=restored))
        pixels = film.info.width * film.info.height
        left = stack.enter_context(
            RecordWriter(record_path(destination), reader.form, pixels, reader.shots, overwrite=overwrite)
        )
        if not force:
            _check_sum(reader, restored, pulse)
        returner, planes_of = _Returner(film.info, reader.form), FramePlanes(film.info, reader.form)
        repairs, originals = _by_frame(reader), reader.originals()
        waiting, original = next(repairs, None), next(originals, None)
        fixes: set[int] = set()
        counts = {"repairs": 0, "frames": 0, "pixels": 0, "whole": 0}
        left_whole = [0] * len(reader.shots)
        for frame in film:
            own = waiting[1] if waiting is not None and waiting[0] == frame.index else None
            planes = original[1] if original is not None and original[0] == frame.index else None
            waiting = waiting if own is None else next(repairs, None)
            original = original if planes is None else next(originals, None)
            shot = _shot_of(reader.shots, frame.index)
            whole = planes is not None and selection.has_frame(shot, frame.index)
            back = None
            if own is not None:
                meant = (np.ones(len(own), bool) if whole else selection.of(own)) & (own.changed > 0)
                back = own.taken(meant)
                left.write(own.taken(~meant))
                fixes |= {int(number) for number in np.unique(back.number)}
                counts["repairs"] += len(back)
            if planes is not None and whole:
                writer.write(planes_of.in_place(frame, planes))
                counts["whole"] += 1
                counts["pixels"] += pixels
            else:
                if planes is not None:
                    left.keep_original(frame.index, planes)
                    left_whole[shot] += 1
                writer.write(returner.without(frame, back) if back is not None and len(back) else frame)
                counts["pixels"] += 0 if back is None else int(back.changed.sum())
            counts["frames"] += whole or (back is not None and len(back) > 0)
            pulse.step()
        if pulse.done != frames:
            raise FilmFileError(f"{film.name} has {pulse.done} frames, the record {frames}; give the film it is of")
        for number in range(len(reader.shots)):
            if (example := reader.example(number)) is not None:
                left.show(number, example)
        writer.close()
        facts = {name: value for name, value in reader.about.items() if name not in _MADE_ANEW}
        done = [_left_of(row, left_whole[row["shot"]]) for row in reader.about["shots"]]
        for name, found in _of_all(done).items():
            facts[name] = found
        facts["result"] = {**facts["result"], "files": checksums(destination, pulse.beat)}
        facts["undone"] = [
            *facts.get("undone", ()),
            {"fixes": len(fixes), **counts, "kinds": selection.kinds, "shots": selection.shots,
             "numbers": selection.fixes, "of_frames": selection.frames},
        ]  # fmt: skip
        left.finish(of_shots=done, **facts)
    return Undone(fixes=len(fixes), record=left.path, **counts)


class _Returner:
    """Puts samples of the source back into frames."""

    def __init__(self, info: FilmInfo, form: SampleForm) -> None:
        self._info, self._form = info, form
        self._converter = ColourConverter(info.width, info.height, info.colour_matrix, info.colour_range)

    def without(self, frame: FilmFrame, repairs: Repairs) -> FilmFrame:
        """Return a frame without some of its repairs."""
        assert frame.source is not None, "every frame that is read from a file has its samples"
        planar = self._converter.reformat(frame.source, self._form.name)
        made = av.VideoFrame(self._info.width, self._info.height, self._form.name)
        owner, place = repairs.pixels()
        for plane in range(len(planar.planes)):
            view = sample_view(made, plane)
            view[...] = sample_view(planar, plane)
            if plane < self._form.planes:
                _, under = covered(owner, place, self._info.width, self._form.step_of(plane))
                view[np.divmod(under, view.shape[1])] = repairs.samples[plane]
        return replace(frame, image=functools.partial(self._converter.rgb, made), source=made)


def _shot_of(shots: Sequence[Shot], frame: int) -> int:
    return bisect_right(shots, frame, key=lambda shot: shot.first) - 1


def _left_of(row: dict[str, Any], whole: int) -> dict[str, Any]:
    """What was done to a shot, after some of it was taken back: nothing where every frame was given back whole."""
    facts = {name: row[name] for name in SHOT_FACTS if name in row}
    if row.get("originals") and not whole:
        return {**facts, **NOTHING_DONE}
    return facts


def _of_all(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the rows of shots say of the film."""
    return {
        "whole_picture": list(dict.fromkeys(switch for row in rows for switch in row["whole_picture"])),
        "moved": any(row["moved"] for row in rows),
    }


def _by_frame(reader: RecordReader) -> Iterator[tuple[int, Repairs]]:
    """The repairs of each frame that has any."""
    for part in reader.parts():
        for frame in np.unique(part.frame):
            yield int(frame), part.taken(part.frame == frame)


def _check_chosen(reader: RecordReader, selection: Selection, *, force: bool) -> None:
    """Refuse a selection of nothing, or of what cannot be taken back, before the film is written."""
    shots: set[int] = set()
    whole = {
        number
        for number, (row, shot) in enumerate(zip(reader.about["shots"], reader.shots, strict=True))
        if row.get("originals") and selection.meets_frames(number, shot.first, shot.last)
    }
    for part in reader.parts():
        shots |= {int(shot) for shot in np.unique(part.shot[selection.of(part) & (part.changed > 0)])}
    if not shots and not whole:
        raise SettingsError(f"{reader.path} holds no repair that is meant; look at it with: record show {reader.path}")
    # Where frames are given back whole, nothing stands out and nothing lies elsewhere.
    rows = [reader.about["shots"][shot] for shot in sorted(shots - whole)]
    moved = [str(row["shot"]) for row in rows if row["moved"]]
    if moved:
        raise SettingsError(
            f"shot {', '.join(moved)} was stabilised: its picture lies elsewhere than the source's, so the source's "
            "samples fit nowhere in it; restore again without --stabilise, or with masks from which the repair is "
            "removed"
        )
    changed = [row for row in rows if row["whole_picture"]]
    if changed and not force:
        switches = ", ".join(dict.fromkeys(switch for row in changed for switch in row["whole_picture"]))
        raise SettingsError(
            f"beside the repairs, {switches} changed the whole picture in shot "
            f"{', '.join(str(row['shot']) for row in changed)}: the source's samples would stand out by their grain "
            "and brightness; restore again with --masks from which the repair is removed, or with --no-average "
            "--no-flicker, or ask for --force to put them back all the same"
        )


def _check_form(info: FilmInfo, reader: RecordReader, restored: Path) -> None:
    form, source = reader.form, reader.about["source"]
    if (info.width, info.height) != (source["width"], source["height"]):
        raise FilmFileError(
            f"{restored} has frames of {info.width}×{info.height}, and its source has {source['width']}×"
            f"{source['height']}: the source's samples fit nowhere in it; restore again at the source's size"
        )
    canonical = layout_of(info.pix_fmt).canonical
    if canonical != form.name:
        raise FilmFileError(
            f"{restored} holds samples of {canonical}, and its source was {form.name}: the source's samples cannot be "
            "put into it bit for bit; restore into a .mkv file, which keeps the source's form"
        )


def _write_settings(destination: str | os.PathLike[str], *, overwrite: bool) -> WriteSettings:
    if not names_sequence(destination) and Path(destination).suffix.lower() != ".mkv":
        raise SettingsError(f"{destination} would be lossy; repairs are taken back bit for bit into a .mkv file")
    return WriteSettings(overwrite=overwrite)


def _check_sum(reader: RecordReader, restored: str | os.PathLike[str], pulse: Pulse) -> None:
    expected = [each["sha256"] for each in reader.about["result"]["files"]]
    if [each["sha256"] for each in checksums(restored, pulse.beat)] != expected:
        raise FilmFileError(
            f"{restored} is not the film that {reader.path} was written with, its checksum differs; give that one, or "
            "ask for --force where you know that its frames are the same"
        )
