"""Restore a film with a still-image model, with the masks and shots of the pre-restorer.

The model sees one frame at a time. What is made of that:

1. Within a shot, restored frames can be held together along the motion (`steadying`). Nothing crosses a cut.
2. *Masks.* A still model takes a repaired place, or what is left of the damage, for the scene and draws structure from
   it. Under a mask only the smooth part of its change is applied, continued from the surroundings, so that tone and
   colour have no seam; what it invents there is left out unless `in_masks` asks for it. A masked pixel neither gives to
   the next frame nor takes from the one before.
3. Strength and share of the grain are those of the pre-restorer.

Memory is that of a frame or two, whatever the length of the film.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import SettingsError
from ..progress import Progress, Pulse, silent
from ..video.blending import gaussian, takeover
from ..video.shots import Shot, covering_shots
from .image_model import FrameRestorer, FrameSettings, ImageModel, resized
from .run import PreRestoreSettings, apply
from .steadying import Steadier

MOST_TEMPORAL = 0.9
"""Beyond, a film would stand still in its first frame."""


@dataclass(frozen=True, kw_only=True)
class UnderMasks:
    """How a change is continued under a mask.

    Attributes:
        sigma: Pixels of the film: what of a change is smoother than this is continued.
        rim: Pixels of the film over which a mask fades out.
        least_sound: Share of undamaged pixels in the neighbourhood below which there is no change to continue.
    """

    sigma: float = 6.0
    rim: int = 4
    least_sound: float = 1e-3


_UNDER_MASK = UnderMasks()


@dataclass(frozen=True, kw_only=True)
class ImageModelSettings(FrameSettings):
    """How a film is restored with a still-image model; see `FrameSettings` for size and tiles.

    Attributes:
        strength: Share of the model's change that is applied, 0 … 1; 0 leaves the frames as they are.
        keep_grain: Share of the fine texture that the model takes off and that is put back, 0 … 1.
        temporal: Most that the restored frame before counts in a frame, 0 … 0.9. 0 restores every frame by itself;
            more takes out crawling detail and softens what moves.
        in_masks: Share of the fine change that is applied under the masks, 0 … 1.
    """

    strength: float = 1.0
    keep_grain: float = 0.3
    temporal: float = 0.5
    in_masks: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, most in (("strength", 1.0), ("keep_grain", 1.0), ("temporal", MOST_TEMPORAL), ("in_masks", 1.0)):
            if not 0 <= getattr(self, name) <= most:
                raise SettingsError(f"image model {name} is {getattr(self, name)}; use 0 … {most:g}")


def restore_images(
    frames: Tensor,
    model: ImageModel,
    settings: ImageModelSettings | None = None,
    *,
    masks: Tensor | None = None,
    shots: Sequence[Shot] | None = None,
    tile: int | None = None,
    output: Tensor | None = None,
    out_of_memory: type[BaseException] = torch.OutOfMemoryError,
    progress: Progress = silent,
) -> Tensor:
    """Restore a clip.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        model: On the device and in the precision to run in.
        settings: Defaults to `ImageModelSettings()`.
        masks: (T, H, W), above 0 = damaged or repaired; see the module.
        shots: Shots that cover the clip; None is one shot.
        tile: Tiles to begin with, from `image_model.first_tile`.
        output: (T, 3, h, w) to write into, of any strides; None makes one on the device of `frames`.
        out_of_memory: Exception that the model raises when memory runs out: tiles are then halved.
        progress: Called at least once per frame, and for every tile.

    Returns:
        ``output``, in [0, 1]: of the size of the frames, or of the model's with `keep_scale`.

    Raises:
        SettingsError: The shapes do not belong together, or the model cannot be used.
        VLDMError: The smallest tile does not fit into memory, or the model gives no usable numbers.
    """
    if frames.ndim != 4 or frames.shape[1] != 3 or 0 in frames.shape:
        raise SettingsError(f"an image model needs frames (T, 3, H, W) with T ≥ 1; got {tuple(frames.shape)}")
    count, _, height, width = frames.shape
    if masks is not None and masks.shape != (count, height, width):
        raise SettingsError(f"masks are {tuple(masks.shape)}; these frames need {(count, height, width)}")
    settings = settings or ImageModelSettings()
    pulse = Pulse(progress, "restore images", count)
    restorer = FrameRestorer(model, settings, tile=tile, out_of_memory=out_of_memory, beat=pulse.beat)
    wanted = (count, 3, *restorer.output_size(height, width))
    if output is None:
        output = frames.new_empty(wanted)
    elif output.shape != wanted:
        raise SettingsError(f"the output is {tuple(output.shape)}; these frames come out as {wanted}")
    for shot in covering_shots(shots, count):
        places = range(shot.first, shot.last)
        pairs = ((frames[t], None if masks is None else masks[t]) for t in places)
        for t, restored in zip(places, _shot(pairs, restorer, settings), strict=True):
            output[t] = restored
            pulse.step(output[t])
    return output


def _shot(
    frames: Iterable[tuple[Tensor, Tensor | None]], restorer: FrameRestorer, settings: ImageModelSettings
) -> Iterator[Tensor]:
    steadier = Steadier(settings.temporal)
    for image, mask in frames:
        base = resized(image, restorer.output_size(*image.shape[-2:]))
        if settings.strength == 0:
            yield base
            continue
        restored = steadier.steadied(restorer.restore(image), image, mask)
        change = restored - base
        if mask is not None and settings.in_masks < 1:
            change = _spared(change, mask, settings.in_masks)
        yield _applied(image, base, change, settings)


def _spared(change: Tensor, mask: Tensor, share: float) -> Tensor:
    """Leave only what is smooth of a change under a mask.

    Args:
        change: (3, h, w).
        mask: (H, W), above 0 = damaged.
        share: Of the rest that stays, 0 … 1.
    """
    marked = (mask.detach().float().cpu() > 0).float()
    if not bool(marked.any()):
        return change
    size = change.shape[-2:]
    ratio = size[-1] / marked.shape[-1]
    if marked.shape != size:
        marked = functional.interpolate(marked[None, None], size, mode="nearest")[0, 0]
    rim = max(1, round(_UNDER_MASK.rim * ratio))
    inside = takeover(marked, rim, rim).to(change)
    # The mean over the undamaged pixels around, which fades to no change where there are none: the model's change under
    # the mask does not count, or a low-pass of what it invents would be let in.
    sound = (1 - inside)[None]
    sigma = _UNDER_MASK.sigma * ratio
    smooth = gaussian(change * sound, sigma) / (gaussian(sound, sigma) + _UNDER_MASK.least_sound)
    return torch.lerp(change, smooth + share * (change - smooth), inside)


def _applied(image: Tensor, base: Tensor, change: Tensor, settings: ImageModelSettings) -> Tensor:
    """Apply a change as the pre-restorer does.

    Args:
        image: (3, H, W), the frame as it came.
        base: (3, h, w), the same in the size of the result.
        change: (3, h, w).
        settings: Strength and share of the grain.
    """
    look = PreRestoreSettings(strength=settings.strength, keep_grain=settings.keep_grain)
    if base is image:
        return apply(image, change, look)
    # Grain has its size at the size of the film: there it is found out what is put back.
    plain = PreRestoreSettings(strength=settings.strength, keep_grain=0)
    size = image.shape[-2:]
    small = functional.interpolate(change[None], size, mode="bicubic", antialias=True)[0]
    grain = apply(image, small, look) - apply(image, small, plain)
    enlarged = functional.interpolate(grain[None], base.shape[-2:], mode="bicubic")[0]
    return (apply(base, change, plain) + enlarged).clamp(0, 1)
