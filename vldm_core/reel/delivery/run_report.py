"""What was done to a reel, as a JSON file: frames, shots, damage, notices, settings, times, and which files."""

import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import FilmFileError, SettingsError
from ...files.temporary import written_whole
from ...notices import Notice
from ...progress import Progress
from ...stages.preset import settings_text
from ...video.info import FilmInfo
from ...video.reading.edited import EditedFilm
from ...video.reading.reader import open_film
from ..passes import Source
from ..restore import ReelReport, ReelSettings
from ..resumable.keys import pack_key

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "vldm restoration report"
"""What the file says that it is."""

SUFFIX = ".json"


class TimedProgress:
    """Hands progress on, and notes how long each pass takes.

    Args:
        progress: Takes what is reported.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._spans: dict[str, tuple[float, float]] = {}

    def __call__(self, phase: str, done: int, total: int | None, preview: "Tensor | None" = None) -> None:
        """See :class:`vldm_core.progress.Progress`."""
        now = time.monotonic()
        self._spans[phase] = (self._spans.get(phase, (now, now))[0], now)
        self._progress(phase, done, total, preview)

    @property
    def seconds(self) -> dict[str, float]:
        """From the first to the last sign of life of each pass, in order; nearly nothing where all of it was kept."""
        return {phase: round(last - first, 3) for phase, (first, last) in self._spans.items()}


def check_report_path(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Check that a report can be written under this name.

    Raises:
        SettingsError: The suffix is another than .json, there is no such folder, or there is such a file.
    """
    path = Path(path)
    if path.suffix.lower() != SUFFIX:
        raise SettingsError(f"a report ends in {SUFFIX}; {path.name} does not")
    if not path.absolute().parent.is_dir():
        raise SettingsError(f"there is no folder {path.parent} for the report; make it or name another")
    if path.exists() and not overwrite:
        raise SettingsError(f"{path} exists already; name another report, or ask for --overwrite")


def report_facts(
    report: ReelReport,
    settings: ReelSettings,
    source: Source,
    destination: str | os.PathLike[str],
    *,
    notices: Iterable[Notice] = (),
    passes: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Return what was done as JSON holds it.

    Args:
        report: What came out.
        settings: What was asked for.
        source: The film.
        destination: What was made of it.
        notices: What the stages said of single frames.
        passes: Seconds of each pass.

    Raises:
        FilmFileError: One of both films cannot be read.
    """
    known = len(report.shares) == len(report.shots)
    shots = []
    for number, shot in enumerate(report.shots):
        said = None if settings.choices is None else settings.choices.at(shot.first)
        shots.append(
            {"shot": number, "first": shot.first, "last": shot.last - 1}
            | ({"dirt_share": report.shares[number][0], "scratch_share": report.shares[number][1]} if known else {})
            | ({} if said is None else {"skip": said.skip, "quality": said.quality, "own": said.said})
        )
    return {
        "format": FORMAT,
        "program": f"ComfyUI-VLDM {pack_key()}",
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "source": _film(source),
        "result": _film(destination),
        "frames": report.frames,
        "dirt_share": report.dirt_share,
        "scratch_share": report.scratch_share,
        "shots": shots,
        "warnings": list(report.warnings),
        "notices": _by_frames(notices),
        "settings": json.loads(settings_text(settings)),
        "write": asdict(settings.write),
        "fixes": [str(fix) for fix in settings.fixes],
        "seconds": {"all": round(report.seconds, 3), **(passes or {})},
    }


def write_report(path: str | os.PathLike[str], facts: dict[str, Any]) -> None:
    """Write a report; it appears only when it is complete.

    Raises:
        FilmFileError: It cannot be written.
    """
    try:
        with written_whole(Path(path)) as part:
            part.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise FilmFileError(f"the report {path} cannot be written ({error.strerror or error})") from error


def _film(source: Source) -> dict[str, Any]:
    """What a film is: its name, bytes, and what its frames are."""
    if isinstance(source, EditedFilm):
        return {"name": source.name, "parts": [_film(part.source) for part in source.parts]}
    with open_film(source, deinterlace="off") as film:
        facts = _facts(film.info)
    if not isinstance(source, str | os.PathLike):
        return {"name": facts.pop("name"), **facts}
    path = Path(source)
    files = [path] if path.is_file() else sorted((path if path.is_dir() else path.parent).iterdir())
    size = sum(file.stat().st_size for file in files if file.is_file())
    return {**facts, "name": str(path.absolute()), "bytes": size}


def _facts(info: FilmInfo) -> dict[str, Any]:
    return {
        "name": info.path,
        "width": info.width,
        "height": info.height,
        "frame_rate": str(info.frame_rate),
        "codec": info.codec,
        "pixel_format": info.pix_fmt,
        "bits": info.bit_depth,
        "scene_linear": info.scene_linear,
        "timecode": info.timecode,
        "sound": info.has_audio,
    }


def _by_frames(notices: Iterable[Notice]) -> list[dict[str, Any]]:
    """Equal notices as one, with the ranges of their frames, last included."""
    alike: dict[tuple[str, str], set[int]] = {}
    for notice in notices:
        alike.setdefault((notice.stage, notice.text), set()).update(() if notice.frame is None else (notice.frame,))
    return [
        {"stage": stage, "text": text, "frames": _ranges(sorted(frames))} for (stage, text), frames in alike.items()
    ]


def _ranges(numbers: Sequence[int]) -> list[list[int]]:
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found
