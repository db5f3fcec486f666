"""Regions of a clip: the one plan of what a denoiser sees at a time, in time and in space.

A region is a window of frames times a tile of the frame. :func:`plan_regions` lays windows inside each shot, so that
nothing is averaged across a cut, and tiles over the frame; :func:`blend` evaluates a denoiser region by region and puts
the weighted mean together. Everything that belongs to a frame (a prompt, a control picture, a noise map) follows the
region's `frames` and rectangle.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...errors import SettingsError
from ...video.shots import Shot, covering_shots
from .tiles import Tile, TileSettings, plan_tiles, tile_weights
from .windows import WindowSettings, fuse_weights, plan_windows

# Below these a smaller region saves little and costs coherence: 8 frames, tiles of 256 picture pixels.
_SHORTEST_WINDOW, _SMALLEST_TILE = 8, 32
_UNET_FACTOR = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Region:
    """Part of a clip that is denoised at once.

    Attributes:
        frames: Clip frame indices, ascending.
        top: First latent row.
        left: First latent column.
        height: Latent rows.
        width: Latent columns.
        weight: (F, height, width) float32, above 0, not normalised: how much each pixel counts in the mean.
    """

    frames: tuple[int, ...]
    top: int
    left: int
    height: int
    width: int
    weight: Tensor

    def crop(self, clip: Tensor) -> Tensor:
        """Cut the region out of something laid out (T, …, h, w) on the latent's grid."""
        return self._frames_of(clip)[..., self.top : self.top + self.height, self.left : self.left + self.width]

    def _frames_of(self, clip: Tensor) -> Tensor:
        first, last = self.frames[0], self.frames[-1]
        if last - first + 1 == len(self.frames):
            return clip[first : last + 1]
        return clip[torch.tensor(self.frames, device=clip.device)]


def plan_regions(
    *,
    frames: int,
    height: int,
    width: int,
    shots: Sequence[Shot] | None,
    windows: WindowSettings | None,
    tiles: TileSettings | None,
    step: int,
    steps: int,
) -> tuple[Region, ...]:
    """Lay windows over every shot and tiles over the frame.

    Args:
        frames: Frames of the clip.
        height: Latent rows.
        width: Latent columns.
        shots: The shots of the clip, in order and without gaps; None where it is one shot.
        windows: None denoises all frames together, cuts included: temporal layers keep the shots apart themselves.
        tiles: None denoises whole frames.
        step: 0-based index of the sampling step; moving grids depend on it.
        steps: Steps of the schedule.

    Returns:
        Regions that together cover every pixel of every frame, window by window.

    Raises:
        SettingsError: The shots do not cover the clip, or `step` is not below `steps`.
    """
    if not 0 <= step < steps:
        raise SettingsError(f"step is {step} of {steps}; steps count from 0")
    spans = covering_shots(shots, frames)
    if windows is None:
        whole = tuple(range(frames))
        laid = [(whole, torch.ones(frames))]
    else:
        laid = [
            (tuple(shot.first + frame for frame in window), fuse_weights(window, windows))
            for shot in spans
            for window in plan_windows(len(shot), windows, step)
        ]
    if tiles is None:
        rectangles = [(Tile(0, 0, height, width), torch.ones(height, width))]
    else:
        rectangles = [(tile, tile_weights(tile, tiles).float()) for tile in plan_tiles(height, width, tiles, step)]
    return tuple(
        Region(
            frames=window,
            top=tile.top,
            left=tile.left,
            height=tile.height,
            width=tile.width,
            weight=in_time[:, None, None] * in_space,
        )
        for window, in_time in laid
        for tile, in_space in rectangles
    )


def smaller(
    windows: WindowSettings | None, tiles: TileSettings | None, frames: int, height: int, width: int
) -> tuple[WindowSettings | None, TileSettings | None] | None:
    """Return windows and tiles that need about half the memory, or None when there are none.

    Windows go first, down to 8 frames; then tiles, down to 32 latent pixels.

    Args:
        windows: What did not fit.
        tiles: What did not fit.
        frames: Frames of the clip.
        height: Latent rows.
        width: Latent columns.
    """
    length = frames if windows is None else min(frames, windows.length)
    if length > _SHORTEST_WINDOW:
        base, fewer = windows or WindowSettings(), max(_SHORTEST_WINDOW, length // 2)
        return replace(base, length=fewer, overlap=min(base.overlap, fewer // 4)), tiles
    size = max(height, width) if tiles is None else min(tiles.size, max(height, width))
    reduced = max(_SMALLEST_TILE, size // 2 // _UNET_FACTOR * _UNET_FACTOR)
    if reduced >= size:
        return None
    kept = tiles or TileSettings()
    return windows, replace(kept, size=reduced, overlap=min(kept.overlap, reduced // 4))


def described(windows: WindowSettings | None, tiles: TileSettings | None) -> str:
    """Say in words what is denoised at once."""
    time = "all frames at once" if windows is None else f"windows of {windows.length} frames"
    return f"{time} and " + ("whole pictures" if tiles is None else f"tiles of {tiles.size} latent pixels")


def blend(regions: Sequence[Region], evaluate: Callable[[Region], Sequence[Tensor]], like: Tensor) -> list[Tensor]:
    """Evaluate something region by region and return the weighted means over the clip.

    Args:
        regions: From :func:`plan_regions`.
        evaluate: Gives one or more tensors (F, C, h, w) for a region, the same number every time.
        like: (T, …, h, w): gives the size of the clip, and device and type of the results.

    Returns:
        One (T, C, h, w) for each tensor that `evaluate` gives; sums are kept in float32. A single region that is the
        whole clip is handed through unchanged.

    Raises:
        SettingsError: The regions leave a pixel uncovered, or a tensor does not have its region's size.
    """
    count, height, width = like.shape[0], like.shape[-2], like.shape[-1]
    total = torch.zeros(count, 1, height, width, device=like.device)
    sums: list[Tensor] = []
    for region in regions:
        parts = list(evaluate(region))
        expected = (len(region.frames), region.height, region.width)
        if any((part.shape[0], *part.shape[-2:]) != expected for part in parts):
            shapes = ", ".join(str(tuple(part.shape)) for part in parts)
            raise SettingsError(f"a region of (frames, rows, columns) {expected} was evaluated to {shapes}")
        if len(regions) == 1 and expected == (count, height, width):
            return [part.to(like) for part in parts]
        weight = region.weight.to(like.device)[:, None]
        index = torch.tensor(region.frames, device=like.device)
        if not sums:
            sums = [torch.zeros(count, part.shape[1], height, width, device=like.device) for part in parts]
        _window(total, region).index_add_(0, index, weight)
        for sum_, part in zip(sums, parts, strict=True):
            _window(sum_, region).index_add_(0, index, part.to(like.device, torch.float32) * weight)
    if not bool((total > 0).all()):
        raise SettingsError("the regions leave pixels of the clip uncovered; plan them with plan_regions")
    return [(sum_ / total).to(like.dtype) for sum_ in sums]


def _window(clip: Tensor, region: Region) -> Tensor:
    return clip[..., region.top : region.top + region.height, region.left : region.left + region.width]
