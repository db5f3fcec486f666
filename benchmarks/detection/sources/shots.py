"""Clean shots for the detection benchmark: clips, and photographs that a camera pans over.

A data folder holds clean films and stills, in `clips/` and `photos/` or in itself, and `film/` (real old films, used
elsewhere). Every
source becomes a short shot of one size, scaled to cover it and cropped at the centre. For the strata of upright
structure posts are drawn into photographs before the camera moves, so they belong to the scene and move with it.
"""

import zlib
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from vldm_core.ageing.randomness import log_uniform
from vldm_core.ageing.units import line_scale
from vldm_core.data.split import material_files, split_files
from vldm_core.data.structure import upright
from vldm_core.errors import FilmFileError
from vldm_core.files.suffixes import FILM_SUFFIXES
from vldm_core.film.motion.scene import measure_motion
from vldm_core.video.luma import luma_array
from vldm_core.video.reading.reader import open_film

from ..settings import DetectionBenchmarkSettings
from .strata import POSTS_STRATA, UPRIGHT_CLIPS, Stratum, strata_of

PAN_SPEEDS = (2.0, 4.0, 8.0)
"""Sideways speed of the camera over a photograph at its start, px a frame at 480 columns, by turns."""

_SKIPPED_FRAMES = 40
"""Frames passed over at the start of a clip, where cameras are often still at rest."""

_LOCKED_SWAY = 0.25
"""Standard deviation of the scene's sideways place, px at 480 columns, below which a camera counts as locked off."""

_POSTS_PER_WIDTH = 9


@dataclass(frozen=True, kw_only=True)
class Source:
    """A clip or photograph and what is done with it.

    Attributes:
        path: Its file.
        strata: Strata in which it is aged.
        speed: Sideways speed of the camera over a photograph, px a frame at 480 columns; 0 for a clip, which moves by
            itself.
    """

    path: Path
    strata: tuple[Stratum, ...]
    speed: float

    @property
    def looks(self) -> tuple["SceneLook", ...]:
        """The clean shots that false alarms are counted on: the plain one, and those of the strata with posts."""
        return (PLAIN, *(look_of(stratum) for stratum in self.strata if self.speed and stratum in POSTS_STRATA))

    def is_upright(self, look: "SceneLook") -> bool:
        """Tell whether a look of the scene is full of upright structure."""
        return look.posts if self.speed else self.path.stem in UPRIGHT_CLIPS


@dataclass(frozen=True, kw_only=True)
class SceneLook:
    """What is done to a photograph before it is aged; clips are taken as they are.

    Attributes:
        posts: Draw posts into the scene.
        at_rest: Keep the camera still.
    """

    posts: bool = False
    at_rest: bool = False


PLAIN = SceneLook()


def look_of(stratum: Stratum) -> SceneLook:
    """Return the look of photographs in a stratum."""
    return SceneLook(posts=stratum in POSTS_STRATA, at_rest=stratum == "at rest")


@dataclass(frozen=True, kw_only=True)
class CleanClip:
    """A clean shot.

    Attributes:
        name: Name of the source, without suffix, and what was drawn into it.
        frames: (T, 3, H, W) in [0, 1].
        upright: Whether the scene is full of upright structure.
        locked: Whether the camera stands still, so that the scene does not move against the film.
    """

    name: str
    frames: Tensor
    upright: bool
    locked: bool

    @property
    def group(self) -> str:
        """The group that false alarms on this clip are reported in."""
        if self.upright:
            return "upright structure at rest" if self.locked else "upright structure"
        return "locked-off camera" if self.locked else "fast motion"


def find_sources(data: Path, settings: DetectionBenchmarkSettings) -> tuple[Source, ...]:
    """List the clips and photographs to use, in a fixed order.

    What is done with a source does not depend on how many others are asked for.

    Raises:
        FilmFileError: The folder holds none.
    """
    files = material_files([data])
    wanted = files if settings.all_sources else split_files(files).validation
    clips = [path for path in wanted if path.suffix.lower() in FILM_SUFFIXES]
    photos = [path for path in wanted if path.suffix.lower() not in FILM_SUFFIXES]
    found = []
    for number, path in enumerate(clips + photos):
        photo = number - len(clips) if number >= len(clips) else None
        strata = strata_of(number, path.stem, photo)
        found.append(
            Source(
                path=path,
                strata=tuple(stratum for stratum in strata if stratum in settings.strata),
                speed=0.0 if photo is None else PAN_SPEEDS[photo % len(PAN_SPEEDS)],
            )
        )
    if not found:
        every = "clips/*.mp4 or photos/*.jpg, nor films or pictures itself"
        what = every if settings.all_sources else "clips or photos kept for validation"
        raise FilmFileError(
            f"{data} holds no {what}; pass the folder with clips/ and photos/ in it"
            + ("" if settings.all_sources else ", or --all-sources to take every file")
        )
    if settings.sources is not None and settings.sources < len(found):
        picks = np.linspace(0, len(found) - 1, settings.sources).round().astype(int)
        found = [found[pick] for pick in picks]
    return tuple(found)


def clean_clip(
    source: Source, settings: DetectionBenchmarkSettings, *, frames: int, look: SceneLook = PLAIN
) -> CleanClip:
    """Return the clean shot of a source.

    Args:
        source: Where it comes from.
        settings: Its size.
        frames: Its length.
        look: What is done to a photograph.

    Raises:
        FilmFileError: The source cannot be read or is too short.
    """
    name = source.path.stem
    if source.speed:
        shot = _pan(source, settings, frames, look)
        name += (" with posts" if look.posts else "") + (" at rest" if look.at_rest else "")
    else:
        shot = _read_clip(source.path, settings, frames)
    locked = camera_sway(shot) < _LOCKED_SWAY * settings.width / 480
    return CleanClip(name=name, frames=shot, upright=source.is_upright(look), locked=locked)


def camera_sway(frames: Tensor) -> float:
    """Measure the standard deviation of the sideways place of the scene in the frames, px.

    Args:
        frames: (T, 3, H, W) in [0, 1].
    """
    place, places = 0.0, [0.0]
    previous = luma_array(frames[0])
    for frame in frames[1:]:
        luma = luma_array(frame)
        place += measure_motion(previous, luma).dx
        places.append(place)
        previous = luma
    return float(np.std(places))


def _read_clip(path: Path, settings: DetectionBenchmarkSettings, frames: int) -> Tensor:
    """Read so many frames: those after the skipped ones, or the last ones of a shorter clip."""
    kept: deque[np.ndarray] = deque(maxlen=frames)
    with open_film(path) as film:
        for number, frame in enumerate(film):
            kept.append(_cover(frame.image, settings.height, settings.width))
            if number + 1 == _SKIPPED_FRAMES + frames:
                break
    if len(kept) < frames:
        raise FilmFileError(f"{path} has {len(kept)} frames; the benchmark needs {frames}")
    return torch.from_numpy(np.stack(kept))


def _cover(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale an RGB image (H, W, 3) to cover the size, crop its centre; returns (3, height, width) in [0, 1]."""
    scale = max(height / image.shape[0], width / image.shape[1])
    size = (max(width, round(image.shape[1] * scale)), max(height, round(image.shape[0] * scale)))
    levels = np.float32(np.iinfo(image.dtype).max)
    scaled = cv2.resize(
        image.astype(np.float32) / levels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    return np.ascontiguousarray(scaled[top : top + height, left : left + width].transpose(2, 0, 1))


def _pan(source: Source, settings: DetectionBenchmarkSettings, count: int, look: SceneLook) -> Tensor:
    """Move a camera over a photograph: sideways, gathering speed, and an eighth of that up."""
    picture = cv2.imread(str(source.path), cv2.IMREAD_COLOR)
    if picture is None:
        raise FilmFileError(f"{source.path} cannot be read as a picture; replace it or leave it out")
    rgb = np.ascontiguousarray(picture[..., ::-1])
    time = np.arange(count, dtype=np.float64)
    speed = 0.0 if look.at_rest else source.speed
    path_x = speed * settings.width / 480 * (time + 0.02 * time**2)
    path_y = 0.125 * path_x
    reach_x, reach_y = int(np.ceil(path_x[-1])) + 4, int(np.ceil(path_y[-1])) + 4
    wide = np.ascontiguousarray(_cover(rgb, settings.height + reach_y, settings.width + reach_x).transpose(1, 2, 0))
    if look.posts:
        key = zlib.crc32(source.path.stem.encode())
        draw_posts(wide, np.random.default_rng([settings.seed, key]), settings.height, settings.width)
    frames = []
    for x, y in zip(path_x, path_y, strict=True):
        shift = np.array([[1, 0, x + 2], [0, 1, y + 2]], dtype=np.float64)
        moved = cv2.warpAffine(
            wide,
            shift,
            (settings.width, settings.height),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )
        frames.append(np.clip(moved, 0, 1).transpose(2, 0, 1))
    return torch.from_numpy(np.ascontiguousarray(np.stack(frames), dtype=np.float32))


def draw_posts(picture: np.ndarray, stream: np.random.Generator, height: int, width: int) -> None:
    """Draw posts, poles and wires into a scene: upright within 1.5°, from hairline to door frame, faint to plain.

    Args:
        picture: (H', W', 3) float32 in [0, 1], changed in place.
        stream: Source of chance.
        height: Lines of the frame that will show a part of the picture; sizes scale with it.
        width: Its columns; about nine posts are seen at a time.
    """
    rows, columns = picture.shape[:2]
    count = round(_POSTS_PER_WIDTH * columns / width)
    places = (np.arange(count) + stream.uniform(0.1, 0.9, count)) * columns / count
    for place in places:
        broad = log_uniform(stream, 1.2, 12) * line_scale(height)
        contrast = log_uniform(stream, 6, 80) / 255 * stream.choice([-1, 1])
        lean = float(np.tan(np.radians(stream.uniform(-1.5, 1.5))))
        top = 0.0 if stream.random() < 0.6 else float(stream.uniform(0, 0.4)) * rows
        post = upright(rows, columns, place, broad, slope=lean, top=top)
        np.clip(picture + np.float32(contrast) * post.cover[..., None], 0, 1, out=picture, dtype=np.float32)
