"""Clean moving shots to train on, from clips and photographs.

A shot of a clip is a stretch of it, cropped and reduced. A shot of a photograph is what a simulated camera sees of it,
often with things that cross the picture. Every shot is a function of its number and the seed alone, so any process can
make any of them, in any order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from ..ageing.randomness import log_uniform
from ..arrays import ByteArray, FloatArray
from ..errors import FilmFileError, SettingsError
from ..files.suffixes import FILM_SUFFIXES, PHOTO_SUFFIXES
from .camera import CameraMove, draw_move, seen, smeared, still
from .objects import MovingObject, draw_object
from .split import material_files, split_files
from .stretches import Stretches
from .structure import UprightSettings, draw_uprights

_MARGIN = 4
"""px around what is seen, for the reach of the interpolation."""


@dataclass(frozen=True, kw_only=True)
class MaterialSettings:
    """How shots are drawn. Speeds are in pixels of a 480-line frame per frame and scale with the height.

    Attributes:
        clip_share: Share of shots that are taken from clips, where there are both clips and photographs.
        clip_steps: Largest number of frames by which a clip is played on per frame: 2 is half the frame rate.
        clip_move_share: Share of clip shots over which the camera moves besides.
        locked_share: Share of photograph shots in which the camera does not move at all.
        speed: Slowest and fastest pan.
        zoom_share: Share of camera moves with a zoom.
        turn_share: Share of camera moves with a rotation.
        shake_share: Share of camera moves by hand.
        shake: Smallest and largest standard deviation of the shake, px of a 480-line frame.
        object_share: Share of photograph shots that something crosses.
        objects: Most objects in such a shot.
        object_size: Smallest and largest size, share of the height.
        object_speed: Slowest and fastest object.
        upright_share: Share of photograph shots with a camera move in whose scene there are posts or fences.
        uprights: Most posts in such a shot.
        posts: What they look like.
        shutter: Smallest and largest share of the time between frames for which the shutter is open.
        reduction: Largest number of picture pixels that become one pixel of the shot.
        grey_share: Share of shots in black and white.
        gamma: Smallest and largest exponent of the tone curve: above 1 darkens.
        film_lines: Length to which the shorter side of clips is reduced before anything else, px.
        photo_side: Length to which the longer side of photographs is reduced, px.
        memory: Most bytes of decoded pictures that are kept.
    """

    clip_share: float = 0.5
    clip_steps: int = 2
    clip_move_share: float = 0.25
    locked_share: float = 0.2
    speed: tuple[float, float] = (0.2, 14.0)
    zoom_share: float = 0.25
    turn_share: float = 0.25
    shake_share: float = 0.5
    shake: tuple[float, float] = (0.1, 1.5)
    object_share: float = 0.5
    objects: int = 3
    object_size: tuple[float, float] = (0.08, 0.6)
    object_speed: tuple[float, float] = (2.0, 40.0)
    upright_share: float = 0.25
    uprights: int = 8
    posts: UprightSettings = UprightSettings()
    shutter: tuple[float, float] = (0.1, 0.6)
    reduction: float = 3.0
    grey_share: float = 0.3
    gamma: tuple[float, float] = (0.6, 1.6)
    film_lines: int = 540
    photo_side: int = 2400
    memory: int = 1 << 30

    def __post_init__(self) -> None:
        for name in (
            "clip_share",
            "clip_move_share",
            "locked_share",
            "zoom_share",
            "turn_share",
            "shake_share",
            "object_share",
            "upright_share",
            "grey_share",
        ):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise SettingsError(f"material {name} is {share}; use a share from 0 to 1")
        ceilings = {"speed": 200, "shake": 20, "object_size": 1, "object_speed": 200, "shutter": 1, "gamma": 5}
        for name, ceiling in ceilings.items():
            low, high = getattr(self, name)
            if not 0 < low <= high <= ceiling:
                raise SettingsError(
                    f"material {name} is {(low, high)}; use a smallest and a largest value above 0, at most {ceiling}"
                )
        for name in ("clip_steps", "objects", "uprights", "film_lines", "photo_side", "memory"):
            if getattr(self, name) < 1:
                raise SettingsError(f"material {name} is {getattr(self, name)}; use 1 or more")
        if not 1 <= self.reduction < math.inf:
            raise SettingsError(f"material reduction is {self.reduction}; use 1 or more")


class TrainingMaterial:
    """Clean shots from folders of clips and photographs.

    Args:
        data: Folders or files. Of a folder, the films and pictures in it and in its subfolders `clips` and `photos`
            are used; other subfolders are not, since they may hold damaged films.
        validation: Whether shots come from the files kept for validation, or from all the others, see
            :mod:`vldm_core.data.split`; None takes all.
        settings: How shots are drawn.

    Raises:
        FilmFileError: Nothing to use is there.
    """

    def __init__(
        self, data: Path | Sequence[Path], *, validation: bool | None = False, settings: MaterialSettings | None = None
    ) -> None:
        roots = [data] if isinstance(data, Path) else list(data)
        self.settings = settings or MaterialSettings()
        files = material_files(roots)
        found: Sequence[Path] = files
        if validation is not None:
            split = split_files(files)
            found = split.validation if validation else split.training
        self.clips = tuple(path for path in found if path.suffix.lower() in FILM_SUFFIXES)
        self.photos = tuple(path for path in found if path.suffix.lower() in PHOTO_SUFFIXES)
        if not found:
            kind = "validation" if validation else "training"
            few = f", which has {files[0].name} alone and needs two files or more" if len(files) == 1 else " there"
            raise FilmFileError(
                f"{', '.join(map(str, roots))}: no film or picture for {kind}{few}; "
                "pass a folder with clips/ and photos/, or with films and pictures in it"
            )
        self._stretches = Stretches(
            film_lines=self.settings.film_lines, photo_side=self.settings.photo_side, memory=self.settings.memory
        )

    def source(self, index: int, *, seed: int) -> Path:
        """Return the file that a shot is taken from."""
        return self._choose(_stream(seed, index))

    def shot(self, index: int, *, frames: int, height: int, width: int, seed: int) -> Tensor:
        """Return a shot.

        Args:
            index: Number of the shot, from 0; there is no largest.
            frames: Its length, at least 1.
            height: Of a frame, px, at least 16.
            width: The same.
            seed: Another seed gives other shots.

        Returns:
            (frames, 3, height, width) in [0, 1].

        Raises:
            SettingsError: The number, the length or the size is out of range.
            FilmFileError: The file cannot be read.
        """
        if index < 0 or seed < 0:
            raise SettingsError(f"shot {index} with seed {seed} was asked for; use numbers from 0")
        if frames < 1 or min(height, width) < 16:
            raise SettingsError(f"a shot of {frames} frames of {width}×{height} was asked for; use 16×16 or more")
        stream = _stream(seed, index)
        path = self._choose(stream)
        if path.suffix.lower() in FILM_SUFFIXES:
            shot = self._clip_shot(stream, path, frames, height, width)
        else:
            shot = self._photo_shot(stream, path, frames, height, width)
        if stream.random() < 0.5:
            shot = shot[:, :, ::-1]
        if stream.random() < self.settings.grey_share:
            luma = shot @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
            shot = np.repeat(luma[..., None], 3, axis=3)
        return torch.from_numpy(np.ascontiguousarray(np.clip(shot, 0, 1).transpose(0, 3, 1, 2)))

    def _choose(self, stream: np.random.Generator) -> Path:
        share = self.settings.clip_share if self.clips and self.photos else float(bool(self.clips))
        pool = self.clips if stream.random() < share else self.photos
        return pool[int(stream.integers(len(pool)))]

    def _clip_shot(self, stream: np.random.Generator, path: Path, frames: int, height: int, width: int) -> FloatArray:
        """Play a stretch of a clip at some speed, forwards or backwards; a clip that is too short turns around."""
        count = self._stretches.count(path)
        step = int(stream.integers(1, self.settings.clip_steps + 1))
        step = min(step, max(1, (count - 1) // max(1, frames - 1)))
        numbers = np.arange(frames) * step
        numbers += int(stream.integers(max(1, count - int(numbers[-1]))))
        turn = max(1, 2 * (count - 1))
        numbers = np.minimum(numbers % turn, turn - numbers % turn)
        if stream.random() < 0.5:
            numbers = numbers[::-1]
        pictures = self._stretches.frames(path, numbers.tolist())
        move = still(frames)
        if stream.random() < self.settings.clip_move_share:
            move = self._draw_move(stream, frames, height)
        return self._film(stream, pictures, move, [], height, width)

    def _photo_shot(self, stream: np.random.Generator, path: Path, frames: int, height: int, width: int) -> FloatArray:
        """Move a camera over a photograph, and things across it."""
        settings = self.settings
        locked = stream.random() < settings.locked_share
        move = still(frames) if locked else self._draw_move(stream, frames, height)
        things: list[MovingObject] = []
        if stream.random() < settings.object_share:
            for _ in range(int(stream.integers(1, settings.objects + 1))):
                other = self._stretches.photo(self.photos[int(stream.integers(len(self.photos)))])
                things.append(
                    draw_object(
                        stream, other, frames, height, width, size=settings.object_size, speed=settings.object_speed
                    )
                )
        return self._film(stream, [self._stretches.photo(path)], move, things, height, width)

    def _draw_move(self, stream: np.random.Generator, frames: int, height: int) -> CameraMove:
        settings = self.settings
        return draw_move(
            stream,
            frames,
            height,
            speed=settings.speed,
            zoom_share=settings.zoom_share,
            turn_share=settings.turn_share,
            shake_share=settings.shake_share,
            shake=settings.shake,
        )

    def _film(
        self,
        stream: np.random.Generator,
        pictures: Sequence[ByteArray],
        move: CameraMove,
        things: Sequence[MovingObject],
        height: int,
        width: int,
    ) -> FloatArray:
        """Film pictures, one for all frames or one per frame, with a camera move and objects in front: (T, H, W, 3)."""
        frames = len(move.zoom)
        view = _place_view(stream, move, pictures[0].shape[:2], height, width, self.settings.reduction)
        shutter = stream.uniform(*self.settings.shutter)
        tones = _tone_curve(log_uniform(stream, *self.settings.gamma))
        # On a locked-off photograph nothing tells a post from a scratch.
        uprights = len(pictures) == 1 and not view.move.locked and stream.random() < self.settings.upright_share
        motion = np.gradient(view.move.place, axis=0) if frames > 1 else np.zeros((frames, 2))
        shot = np.empty((frames, height, width, 3), dtype=np.float32)
        canvas: FloatArray | None = None
        for index in range(frames):
            if canvas is None or len(pictures) > 1:
                canvas = view.reduce(pictures[index], tones)
                if uprights:
                    canvas = draw_uprights(stream, canvas, height, self.settings.uprights, self.settings.posts)
            if not view.move.locked:
                shot[index] = smeared(seen(canvas, view.move, index, height, width), shutter * motion[index])
            elif index and len(pictures) == 1:
                shot[index] = shot[0]
            else:
                shot[index] = canvas
        np.clip(shot, 0, 1, out=shot)
        for thing in things:
            for index in range(frames):
                thing.cover(shot[index], index, shutter)
        return shot


@dataclass(frozen=True, kw_only=True)
class _View:
    """The part of a picture that is seen during a shot.

    Attributes:
        box: Top, left, bottom, right in the picture, px.
        size: Height and width to which it is scaled, px of the shot.
        move: The camera move, made to fit.
    """

    box: tuple[int, int, int, int]
    size: tuple[int, int]
    move: CameraMove

    def reduce(self, picture: ByteArray, tones: FloatArray) -> FloatArray:
        """Return that part of a picture, scaled and with a tone curve (256,), as (h, w, 3) in [0, 1]."""
        top, left, bottom, right = self.box
        part = tones[picture[top:bottom, left:right]]
        smaller = self.size[0] <= part.shape[0] and self.size[1] <= part.shape[1]
        kernel = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(part, self.size[::-1], interpolation=kernel), dtype=np.float32)


def _place_view(
    stream: np.random.Generator, move: CameraMove, picture: tuple[int, int], height: int, width: int, reduction: float
) -> _View:
    """Choose how much a picture is reduced and which part of it is seen.

    A picture that is too small for the move slows the move down; one that is too small for the frame is enlarged.
    """
    spare = [
        (side - 2 * _MARGIN) - (need - 2 * float(np.abs(move.place[:, axis]).max()))
        for side, need, axis in zip(picture, move.reach(height, width), (1, 0), strict=True)
    ]
    travel = 2 * np.abs(move.place).max(axis=0)[::-1]
    fit = min([1.0, *(max(0.0, room) / way for room, way in zip(spare, travel, strict=True) if way > 0)])
    move = CameraMove(place=move.place * fit, zoom=move.zoom, angle=move.angle)
    margin = 0 if move.locked else 2 * _MARGIN
    need = np.ceil(np.array(move.reach(height, width))).astype(int) + margin
    largest = min(picture[0] / need[0], picture[1] / need[1])
    scale = float(np.exp(stream.uniform(np.log(min(1.0, largest)), np.log(min(max(largest, 1e-6), reduction)))))
    box = [min(side, max(1, round(length * scale))) for side, length in zip(picture, need, strict=True)]
    top, left = (int(stream.integers(side - length + 1)) for side, length in zip(picture, box, strict=True))
    return _View(box=(top, left, top + box[0], left + box[1]), size=(int(need[0]), int(need[1])), move=move)


def _tone_curve(gamma: float) -> FloatArray:
    return np.asarray(np.linspace(0, 1, 256) ** gamma, dtype=np.float32)


def _stream(seed: int, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, index])
