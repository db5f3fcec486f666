"""Opening whatever holds a film: a file, a folder of pictures, a film in memory, parts of films joined."""

from __future__ import annotations

import dataclasses
import io
from fractions import Fraction

from ...errors import SettingsError
from ...machine.allocator import share_one_heap
from ..stream import FilmReader
from .container import (
    FilmSource,
    source_name,
)
from .edited import EditedFilm
from .edited_reader import EditedReader
from .video_file import Deinterlace, VideoFileReader

# Pixels of a frame from which on memory decides what a machine can restore: between 720p and 1080p.
_LARGE_FRAME = 1_500_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadSettings:
    """How to read a film, where it does not say itself.

    Attributes:
        deinterlace: ``"auto"`` looks at the pictures; ``"tff"`` / ``"bff"`` force a field order for the whole film;
            ``"off"`` leaves the frames as they are.
        sequence_rate: Frames per second of an image sequence; None is what its pictures say, which only DPX does, else
            24.
    """

    deinterlace: Deinterlace = "auto"
    sequence_rate: Fraction | None = None

    def open(self, source: FilmSource | EditedFilm) -> FilmReader:
        """Open a film; see ``open_film``."""
        return open_film(source, deinterlace=self.deinterlace, sequence_rate=self.sequence_rate)


def open_film(
    source: FilmSource | EditedFilm,
    *,
    deinterlace: Deinterlace = "auto",
    sequence_rate: Fraction | int | None = None,
) -> FilmReader:
    """Open a film file, an image-sequence folder, a film in memory, or a film made of parts of such files.

    Frames come in the orientation they are stored in; a display rotation is in ``info`` and the writer carries it
    over. Interlaced stretches of a film are deinterlaced, each in its own field order, and telecined ones have their
    fields put together again; where stretches differ ``reader.warnings`` names them. A frame that cannot be decoded
    is replaced by its last good neighbour, so that frame numbers and sound stay in place; ``reader.warnings`` names
    the numbers, and a ``FilmFileWarning`` is issued at the end of the iteration.

    Frames are converted to RGB with the colour matrix and range the file states. Where it states no matrix, pictures of
    up to 576 lines and fewer than 1280 columns are taken as BT.601 and larger ones as BT.709; YUV without a stated
    range is taken as limited.

    Args:
        source: Path of a video file, of a folder of images or of a pattern such as ``scan_%06d.png``; or the bytes
            of a video file.
        deinterlace: See ``ReadSettings``.
        sequence_rate: See ``ReadSettings``.

    Returns:
        A context manager; iterating over it yields ``FilmFrame``.

    Raises:
        FilmFileError: The source is missing, unreadable, empty, cut short before its index, without video, or no
            frame of it can be decoded.
        SettingsError: A setting has an unknown value, or a rate is given for a film file, which has its own.
    """
    if deinterlace not in ("auto", "off", "tff", "bff"):
        raise SettingsError(f"deinterlace is 'auto', 'off', 'tff' or 'bff', got {deinterlace!r}")
    reader = _reader(source, deinterlace, sequence_rate)
    # What is opened is worked on, frame by frame, for as long as the film is. Of smaller frames little is left over.
    if reader.info.width * reader.info.height >= _LARGE_FRAME:
        share_one_heap()
    return reader


def _reader(
    source: FilmSource | EditedFilm, deinterlace: Deinterlace, sequence_rate: Fraction | int | None
) -> FilmReader:
    if not isinstance(source, io.BytesIO | EditedFilm):
        from ..sequences.names import is_sequence
        from ..sequences.reader import SequenceReader

        if is_sequence(source):
            return SequenceReader(source, frame_rate=None if sequence_rate is None else Fraction(sequence_rate))
    if sequence_rate is not None:
        name = source.name if isinstance(source, EditedFilm) else source_name(source)
        raise SettingsError(
            f"{name} is a film file and has its own frame rate; {sequence_rate} frames per second can "
            "be given for an image sequence only"
        )
    if isinstance(source, EditedFilm):
        return EditedReader(source, deinterlace=deinterlace)
    return VideoFileReader(source, deinterlace=deinterlace)
