"""What the core streams for a VIDEO of the host: its file, parts of files, or as a last resort a copy of it."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import torch
from comfy_api.latest import Input, InputImpl

from ...vldm_core.progress import Progress
from ...vldm_core.video.info import FilmFrame, FilmInfo, image_from_tensor
from ...vldm_core.video.reading.edited import EditedFilm, FilmPart
from ...vldm_core.video.reading.reader import open_film
from ...vldm_core.video.writing.clip import SoundFile, join_sound, write_clip, write_sound
from ...vldm_core.video.writing.writer import WriteSettings, open_writer
from .node_run import frames_from_image

logger = logging.getLogger(__name__)

# Frames that are asked of the host at once, where it alone can apply an edit: 400 MB at 1920×1080.
_FRAMES_AT_ONCE = 16
# The host's words for edits of the picture that the core can apply while it reads.
_CROPS = ("crop", "crop_aligned")
_EDITS = (*_CROPS, "scale")


@contextlib.contextmanager
def film_source(video: Input.Video, progress: Progress) -> Iterator[Any]:
    """Give what the core can stream for a VIDEO.

    A film in a file is read from that file; one that was trimmed, cropped or joined in the graph (newer hosts) is read
    from the files of its parts. Only what exists in the host's memory alone, and edits that the host alone can apply,
    are stored without loss for as long as they are needed, a few frames at a time where the host can give a few.

    Args:
        video: The VIDEO.
        progress: Called once per frame that is stored.
    """
    with contextlib.ExitStack() as stack:
        yield _source(video, _Scratch(stack), progress)


class _Scratch:
    """A folder that is made when it is first asked for."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._folder: Path | None = None
        self._count = 0

    def file(self, suffix: str) -> Path:
        if self._folder is None:
            root = folder_paths.get_temp_directory()
            Path(root).mkdir(parents=True, exist_ok=True)
            own = self._stack.enter_context(tempfile.TemporaryDirectory(dir=root, prefix="vldm-clip-"))
            self._folder = Path(own)
        self._count += 1
        return self._folder / f"{self._count}{suffix}"


def _source(video: Input.Video, scratch: _Scratch, progress: Progress) -> Any:
    parts = tuple(_parts(video, scratch, progress))
    sound: Path | None = None
    whole_sound = getattr(video, "complete_audio", None)
    if whole_sound is not None:
        sound = scratch.file(".mka")
        write_sound(sound, whole_sound["waveform"][0], int(whole_sound["sample_rate"]))
    elif len(parts) == 1 and not parts[0].is_cut_in_time and parts[0].crop is None:
        return parts[0].source
    elif len(parts) > 1:
        sound = join_sound(EditedFilm(parts=parts), scratch.file(".mka"))
    return EditedFilm(parts=parts, sound=sound)


def _parts(video: Input.Video, scratch: _Scratch, progress: Progress) -> Iterator[FilmPart]:
    joined = getattr(video, "videos", None)
    if isinstance(joined, list | tuple) and joined:
        for one in joined:
            yield from _parts(one, scratch, progress)
        return
    if isinstance(video, InputImpl.VideoFromFile):
        edits = _frame_edits(video)
        if edits is not None and all(edit[0] in _CROPS for edit in edits):
            start, duration = _trim_window(video)
            part = FilmPart(source=video.get_stream_source(), start=start, duration=duration or None)
            yield FilmPart(
                source=part.source, start=part.start, duration=part.duration, crop=_crop(part, edits) if edits else None
            )
            return
    yield FilmPart(source=str(_stored(video, scratch.file(".mkv"), progress)))


def _trim_window(video: Input.Video) -> tuple[Fraction, Fraction]:
    # Newer hosts only: before them a VIDEO from a file could not be trimmed.
    window = getattr(video, "get_active_trim_window", None)
    start, duration = (0.0, 0.0) if window is None else window()
    return Fraction(start), Fraction(duration)


def _frame_edits(video: Input.Video) -> Sequence[tuple[Any, ...]] | None:
    """Return the edits of the picture that a VIDEO holds and its file does not, in order; None where they are unknown.

    The host says whether there are any, and not which: they lie in the object as tuples, a single crop as four numbers.
    """
    for name, value in vars(video).items():
        listed = isinstance(value, list | tuple) and bool(value)
        if listed and all(isinstance(edit, tuple) and edit and edit[0] in _EDITS for edit in value):
            return list(value)
        if name.endswith("__crop") and isinstance(value, tuple) and len(value) == 4:
            return [("crop_aligned", *value)]
    pending = getattr(video, "has_pending_frame_edits", None)
    return None if pending is not None and pending() else []


def _crop(part: FilmPart, edits: Sequence[tuple[Any, ...]]) -> tuple[int, int, int, int] | None:
    """Return the part of the stored picture that is left after crops of the picture as it is shown."""
    with open_film(part.source, deinterlace="off") as film:
        width, height, turns = film.info.width, film.info.height, round(film.info.rotation / 90) % 4
    shown_width, shown_height = (height, width) if turns % 2 else (width, height)
    left, top, wide, high = 0, 0, shown_width, shown_height
    for kind, *wanted in edits:
        x, y, w, h = wanted
        if kind == "crop_aligned":
            x, y, w, h = _even(x, y, w, h, whole_width=wide, whole_height=high)
        left, top, wide, high = left + x, top + y, min(w, wide - x), min(h, high - y)
    if (left, top, wide, high) == (0, 0, shown_width, shown_height):
        return None
    # The picture is shown turned counter-clockwise by so many quarters.
    return {
        0: (left, top, wide, high),
        1: (width - top - high, left, high, wide),
        2: (width - left - wide, height - top - high, wide, high),
        3: (top, height - left - wide, high, wide),
    }[turns]


def _even(x: int, y: int, width: int, height: int, *, whole_width: int, whole_height: int) -> tuple[int, int, int, int]:
    """Return a rectangle as the host's crop takes it: inside the picture, all numbers even; empty is the whole."""
    whole = 0, 0, whole_width, whole_height
    if width <= 0 or height <= 0:
        return whole
    left, top = (min(max(place, 0), size - 1) // 2 * 2 for place, size in ((x, whole_width), (y, whole_height)))
    wide, high = min(width, whole_width - left), min(height, whole_height - top)
    if (left, top, wide, high) == whole or wide < 2 or high < 2:
        return whole
    return left, top, wide // 2 * 2, high // 2 * 2


def _stored(video: Input.Video, path: Path, progress: Progress) -> Path:
    """Store what only the host can give, without loss."""
    if hasattr(video, "as_trimmed") and hasattr(video, "get_frame_rate") and not _is_in_memory(video):
        logger.warning(
            "this VIDEO was edited in a way that cannot be streamed; it is stored once, without loss, before the work"
        )
        return _stored_in_pieces(video, path, progress)
    components = video.get_components()
    audio = components.audio
    write_clip(
        path,
        frames_from_image(components.images, "video"),
        Fraction(components.frame_rate),
        waveform=None if audio is None else audio["waveform"][0],
        sample_rate=None if audio is None else int(audio["sample_rate"]),
        progress=progress,
    )
    return path


def _is_in_memory(video: Input.Video) -> bool:
    return isinstance(video, InputImpl.VideoFromComponents)


def _stored_in_pieces(video: Input.Video, path: Path, progress: Progress) -> Path:
    rate = Fraction(video.get_frame_rate())
    total = int(video.get_frame_count())
    pictures = path.with_name(f"{path.stem}-pictures.mkv")
    sound = path.with_name(f"{path.stem}-sound.mka")
    with contextlib.ExitStack() as stack:
        writer = heard = None
        done = 0
        while piece := _piece(video, rate, done):
            frames, audio = piece
            if writer is None:
                depth = 16 if getattr(video, "get_bit_depth", lambda: 8)() > 8 or not _is_eight_bit(frames) else 8
                info = FilmInfo.of_frames(frames.shape[-1], frames.shape[-2], rate, frame_count=total, bit_depth=depth)
                write = WriteSettings(codec="ffv1")
                writer = stack.enter_context(open_writer(pictures, info, settings=write))
            for frame in frames:
                image = image_from_tensor(frame, np.uint8 if info.bit_depth == 8 else np.uint16)
                writer.write(FilmFrame(index=done, image=image))
                done += 1
                progress("store clip", done, max(total, done))
            if audio is not None:
                waveform, sample_rate = audio["waveform"][0], int(audio["sample_rate"])
                heard = heard or stack.enter_context(SoundFile(sound, waveform.shape[0], sample_rate))
                # The host cuts sound at whole samples: what pieces lose in rounding must not add up.
                due = round(done / rate * sample_rate)
                heard.write(waveform[:, : max(0, due - heard.samples)].cpu().float().numpy())
                heard.fill_to(due)
    if heard is None:
        return pictures
    # Sound and pictures come together as they do for any film.
    with (
        open_film(pictures, deinterlace="off") as film,
        open_writer(path, film.info, settings=WriteSettings(codec="ffv1"), source=sound) as whole,
    ):
        for picture in film:
            whole.write(picture)
    pictures.unlink()
    return path


def _piece(video: Input.Video, rate: Fraction, first: int) -> tuple[torch.Tensor, Any] | None:
    """Return the next frames of a VIDEO, (T, 3, H, W), and their sound; None after the last."""
    # Half a frame early, so that no rounding of times moves a frame to the other side.
    start = max(Fraction(0), (first - Fraction(1, 2)) / rate)
    end = (first + _FRAMES_AT_ONCE - Fraction(1, 2)) / rate
    part = video.as_trimmed(float(start), float(end - start), False)
    if part is None:
        return None
    components = part.get_components()
    if not len(components.images):
        return None
    return frames_from_image(components.images, "video"), components.audio


def _is_eight_bit(frames: torch.Tensor) -> bool:
    levels = frames * 255
    return bool(((levels - levels.round()).abs() < 0.025).all())
