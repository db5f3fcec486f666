"""How far a run is, from its folder alone."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import FilmFileError
from ...video.reading.reader import open_film
from .work_folder import WorkFolder


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """How far a run is.

    Attributes:
        source: The film, as it was named.
        destination: What is made of it.
        at_work: Whether a process works on it.
        frames: Frames of the film; None before it was read once.
        shots: Its shots; None likewise.
        analysed: Shots whose first pass is done.
        done: Frames that are restored and kept.
        chunks: Chunks that are kept.
        speed: Frames a second over the chunks that the latest call has finished; None where there are none.
        left: Seconds to the last frame at that speed; None where that cannot be told.
        bytes: Of the folder.
    """

    source: str
    destination: str
    at_work: bool
    frames: int | None
    shots: int | None
    analysed: int
    done: int
    chunks: int
    speed: float | None
    left: float | None
    bytes: int


def run_status(folder: WorkFolder) -> RunStatus:
    """Tell how far a run is.

    Raises:
        FilmFileError: There is no such folder of a run.
    """
    about = folder.about()
    if not about:
        raise FilmFileError(
            f"{folder.path} is no folder of a run; give the name of a film that is being made, as restore was given it"
        )
    shots = frames = None
    analysed = 0
    kept: dict[int, int] = {}
    recent: list[tuple[float, int]] = []
    for line in folder.journal():
        if line["event"] == "run":
            recent = [(line["time"], 0)]
        elif line["event"] == "shots":
            shots, frames, analysed = line["count"], line["frames"], 0
        elif line["event"] == "analysed":
            analysed += 1
            recent = [(line["time"], 0)]
        elif line["event"] == "chunk" and _is_there(folder, line):
            kept[line["first"]] = line["last"] - line["first"]
            recent.append((line["time"], kept[line["first"]]))
    done = sum(kept.values())
    spent = recent[-1][0] - recent[0][0] if len(recent) > 1 else 0.0
    speed = sum(count for _, count in recent) / spent if spent > 0 else None
    return RunStatus(
        source=str(about.get("source")),
        destination=str(about.get("destination")),
        at_work=folder.at_work,
        frames=frames,
        shots=shots,
        analysed=min(analysed, shots or 0),
        done=done,
        chunks=len(kept),
        speed=speed,
        left=None if speed is None or frames is None else (frames - done) / speed,
        bytes=sum(path.stat().st_size for path in folder.path.rglob("*") if path.is_file()),
    )


def _is_there(folder: WorkFolder, line: dict) -> bool:
    return (folder.chunks / f"{folder.chunk_name(line['first'], line['last'], line['key'])}.json").is_file()


def latest_picture(folder: WorkFolder) -> tuple[int, np.ndarray]:
    """Return the last frame of the chunk that was finished last: its number, and (H, W, 3) RGB.

    Raises:
        FilmFileError: No chunk is finished.
    """
    for line in reversed(list(folder.journal())):
        if line["event"] != "chunk":
            continue
        chunk = folder.chunk(line["first"], line["last"], line["key"], whole=False)
        if chunk is None:
            continue
        with open_film(folder.chunks / chunk.film, deinterlace="off") as film:
            for frame in film:
                last = frame
        return chunk.last - 1, last.image
    raise FilmFileError(f"no chunk of {folder.path} is finished yet; look again later")


def age(seconds: float) -> str:
    """Write a length of time for a person: ``1:23:45``."""
    return time.strftime("%H:%M:%S", time.gmtime(seconds)) if seconds < 86400 else f"{seconds / 3600:.0f} hours"


def run_folder(path: str | Path) -> WorkFolder:
    """The folder of a run by its own name or by that of the film that is made."""
    folder = WorkFolder(Path(path))
    return folder if folder.about() else WorkFolder.beside(path)
