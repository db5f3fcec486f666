"""Run a still-image model on frames of a film within the memory there is.

Any object that behaves like spandrel's ImageModelDescriptor will do; this module does not import spandrel. Small frames
can be enlarged first, as DiffBIR does, and what models that enlarge give is brought to the size that is asked for.
Resampling is bicubic and antialiased, as there.
"""

import logging
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import SettingsError, VLDMError
from ..progress import Progress, silent
from ..video.tiles import PictureTileSettings, tiled

_LOG = logging.getLogger(__name__)

SMALLEST_TILE = 128
"""Pixels below which a tile is mostly border."""


@dataclass(frozen=True, kw_only=True)
class TileChoice:
    """How frames are cut into tiles for a still-image model.

    Attributes:
        first: Pixels on each side of the tiles that are tried first when a whole frame does not fit.
        step: Pixels by which tiles are smaller or larger: networks that work in windows or on reduced pictures want
            multiples.
        overlap: Pixels of a frame over which tiles are crossfaded.
        halo: Pixels that are thrown away beyond, where the border of a tile shows.
        bytes_per_pixel: Bytes that a network takes per pixel that goes in and factor of enlargement: an estimate that
            covers the usual networks, as ComfyUI makes it.
    """

    first: int = 512
    step: int = 64
    overlap: int = 32
    halo: int = 16
    bytes_per_pixel: int = 3 * 4 * 384


_TILES = TileChoice()


class ImageModel(Protocol):
    """What is needed of spandrel's ImageModelDescriptor.

    Attributes:
        scale: Enlargement, a whole number.
        input_channels: 3 for colour, 1 for grey.
        output_channels: The same.
        tiling: spandrel's advice; a model of kind INTERNAL is given whole frames only.
    """

    scale: int
    input_channels: int
    output_channels: int
    tiling: Any

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Its precision."""
        ...

    def __call__(self, image: Tensor, /) -> Tensor:
        """(1, C, H, W) in [0, 1] to (1, C, scale·H, scale·W)."""
        ...


@dataclass(frozen=True, kw_only=True)
class FrameSettings:
    """Size and tiles.

    Attributes:
        short_side: Least shorter side, in pixels, of what a model that keeps the size is given, and of what comes out
            with `keep_scale`; 0 is the film's own. DiffBIR uses 512.
        keep_scale: The result keeps the size the model gives, enlarged; False brings it back to that of the film.
        tile: Largest side of a tile in pixels, from 128, or None for whole frames where memory suffices.
    """

    short_side: int = 0
    keep_scale: bool = False
    tile: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.short_side <= 4096:
            raise SettingsError(f"short_side is {self.short_side}; use 0 (the film's own) … 4096 pixels")
        if self.tile is not None and self.tile < SMALLEST_TILE:
            raise SettingsError(f"tile is {self.tile}; use {SMALLEST_TILE} pixels or more, or None for whole frames")


def working_size(height: int, width: int, scale: int, settings: FrameSettings) -> tuple[int, int]:
    """Return the size (height, width) in which frames go into a model of an enlargement."""
    # What enlarges works at the film's size, as BSRNet does in DiffBIR: more pixels would only be reduced again.
    return (height, width) if scale > 1 else _at_least(height, width, settings.short_side)


def output_size(height: int, width: int, scale: int, settings: FrameSettings) -> tuple[int, int]:
    """Return the size (height, width) in which frames come out."""
    if not settings.keep_scale:
        return height, width
    return _at_least(height * scale, width * scale, settings.short_side)


def _at_least(height: int, width: int, short_side: int) -> tuple[int, int]:
    short = min(height, width)
    if short >= short_side:
        return height, width
    return round(height * short_side / short), round(width * short_side / short)


def first_tile(height: int, width: int, model: ImageModel, free_bytes: float, settings: FrameSettings) -> int | None:
    """Choose tiles for the memory that is free.

    Args:
        height: Of the frames.
        width: Of the frames.
        model: The model.
        free_bytes: On its device, beside its weights.
        settings: A tile that is asked for there is kept.

    Returns:
        Largest side of a tile in pixels, or None for whole frames.
    """
    if settings.tile is not None:
        return settings.tile
    tall, wide = working_size(height, width, model.scale, settings)
    pixels = free_bytes / bytes_needed(1, 1, model)
    if tall * wide <= pixels:
        return None
    return max(SMALLEST_TILE, int(pixels**0.5) // _TILES.step * _TILES.step)


def bytes_needed(height: int, width: int, model: ImageModel) -> float:
    """Estimate what a model needs, beside its weights, for a picture that goes in."""
    return height * width * _TILES.bytes_per_pixel * max(1, model.scale)


def resized(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring a picture (C, H, W) in [0, 1] to a size (height, width); itself where it has that size."""
    if tuple(picture.shape[-2:]) == size:
        return picture
    return functional.interpolate(picture[None], size, mode="bicubic", antialias=True)[0].clamp(0, 1)


class FrameRestorer:
    """Gives frames to a model one by one and remembers the tiles that fit into memory.

    Args:
        model: On the device and in the precision to run in.
        settings: Size and tiles.
        tile: What to begin with, from `first_tile`; None begins with whole frames, or with the tiles of the settings.
        out_of_memory: Exception that the model raises when memory runs out.
        beat: Called before every call of the model; may raise to interrupt.

    Raises:
        SettingsError: The model takes neither colour nor grey pictures, or reduces them.
    """

    def __init__(
        self,
        model: ImageModel,
        settings: FrameSettings,
        *,
        tile: int | None = None,
        out_of_memory: type[BaseException] = torch.OutOfMemoryError,
        beat: Progress = silent,
    ) -> None:
        channels = model.input_channels, model.output_channels
        if channels not in ((3, 3), (1, 1)):
            raise SettingsError(
                f"the image model makes {channels[1]} channels of {channels[0]}; use one for colour (3) or grey (1)"
            )
        if model.scale < 1:
            raise SettingsError(f"the image model has scale {model.scale}; use one that keeps the size or enlarges")
        self._model, self._settings = model, settings
        self._out_of_memory, self._beat = out_of_memory, beat
        self._tile = settings.tile if tile is None else tile
        self._number = 0

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size (height, width) in which frames of a size come out."""
        return output_size(height, width, self._model.scale, self._settings)

    @torch.inference_mode()
    def restore(self, frame: Tensor) -> Tensor:
        """Return what the model makes of a frame.

        Args:
            frame: (3, H, W), RGB, [0, 1].

        Returns:
            (3, h, w) in [0, 1], float32, of `output_size`, on the device and in the precision of the frame.

        Raises:
            VLDMError: Memory does not suffice for the smallest tile, or the model gives no usable numbers.
        """
        while True:
            failed = False
            try:
                made = self._restore(frame)
            except self._out_of_memory:
                # What the failed call allocated is referenced by the exception until this block is left.
                failed = True
            if not failed:
                break
            height, width = frame.shape[-2:]
            self._take_smaller_tiles(*working_size(height, width, self._model.scale, self._settings))
        if not bool(torch.isfinite(made).all()):
            raise VLDMError(
                f"the image model gives numbers that are not finite on frame {self._number}; "
                "run it in float32, or use another model"
            )
        self._number += 1
        return made

    def _restore(self, frame: Tensor) -> Tensor:
        model = self._model
        height, width = frame.shape[-2:]
        size = working_size(height, width, model.scale, self._settings)
        given = resized(frame.to(model.device, torch.float32), size)[None]
        # A grey model sees red, green and blue one after the other.
        planes = [given] if model.input_channels == 3 else list(given.split(1, dim=1))
        made = torch.cat([self._in_tiles(plane) for plane in planes], dim=1)[0]
        return resized(made.clamp(0, 1), self.output_size(height, width)).to(frame)

    def _in_tiles(self, given: Tensor) -> Tensor:
        """Run the model on (1, C, H, W), in one piece or in tiles."""
        if self._tile is None or max(given.shape[-2:]) <= self._tile:
            return self._run(given)
        return tiled(self._run, PictureTileSettings(size=self._tile, overlap=_TILES.overlap, halo=_TILES.halo))(given)

    def _run(self, given: Tensor) -> Tensor:
        model = self._model
        self._beat("restore images", 0, None)
        made = model(given.to(model.dtype)).float()
        wanted = (*given.shape[:2], given.shape[2] * model.scale, given.shape[3] * model.scale)
        if made.shape != wanted:
            raise SettingsError(
                f"the image model makes {tuple(made.shape)} of {tuple(given.shape)}, not {wanted}; use another model"
            )
        return made

    def _take_smaller_tiles(self, height: int, width: int) -> None:
        largest = max(height, width)
        if self._tile is None and largest > _TILES.first:
            tile = _TILES.first
        else:
            tile = min(largest, self._tile or largest) // 2 // _TILES.step * _TILES.step
        if tile < SMALLEST_TILE or getattr(self._model.tiling, "name", "") == "INTERNAL":
            used = "whole frames" if self._tile is None else f"tiles of {self._tile} pixels"
            raise VLDMError(
                f"memory ran out although the image model was given {used} of {width}×{height}; "
                "free memory, use a smaller model, or the CPU"
            )
        _LOG.warning("image model: memory ran out; going on with tiles of %d pixels", tile)
        self._tile = tile
