"""Context windows and spatial tiles inside the host's sampling.

A wrapper around the evaluation of the conditionings cuts the latent, every conditioning tensor, mask, area and control
hint to one region after the other and blends the results. The host's own context handler leaves control hints and
per-frame conditioning of the whole clip in place, and fails on batches of pictures in 0.3.64.
"""

import copy
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from comfy import model_management
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from comfy.utils import common_upscale
from torch import Tensor

from ....vldm_core.errors import SettingsError
from ....vldm_core.sampling.regions.plan import Region, blend, described, plan_regions, smaller
from ....vldm_core.sampling.regions.tiles import TileSettings
from ....vldm_core.sampling.regions.windows import WindowSettings
from ....vldm_core.sampling.state import step_state
from ....vldm_core.video.shots import Shot
from .attachments import CORNER_KEY, EXTENT_KEY, FRAMES_KEY, SHOTS_KEY, SIZE_KEY
from .conditioning import CLIP_FRAMES_KEY, SPAN_KEY
from .control_net import LatentHintControl

logger = logging.getLogger(__name__)

_KEY = "vldm_regions"
_PIXELS_PER_LATENT = 8
# Newer hosts keep prepared hints, and clones for other devices, by size or device in the control: a copy that shared
# them would get the hints of the region before.
_CONTROL_CACHES = ("cond_hints", "control_inputs", "multigpu_clones")


def with_regions(model: ModelPatcher, windows: WindowSettings | None, tiles: TileSettings | None) -> ModelPatcher:
    """Return a clone that samples in windows of frames and tiles of the picture.

    Running out of memory halves the window, then the tile, for the rest of that sampling, and says so in the log.

    Args:
        model: The MODEL. Shots given by `with_shots` are borders that no window crosses.
        windows: Context windows; None takes all frames at once.
        tiles: Tiles; None takes the whole picture at once.
    """
    patched = model.clone()
    regions = _Regions(windows, tiles)
    for kind, wrapper in (
        (WrappersMP.OUTER_SAMPLE, regions.around_sampling),
        (WrappersMP.PREPARE_SAMPLING, regions.around_preparation),
        (WrappersMP.CALC_COND_BATCH, regions.around_conditionings),
    ):
        patched.remove_wrappers_with_key(kind, _KEY)
        patched.add_wrapper_with_key(kind, _KEY, wrapper)
    return patched


class _Regions:
    """The wrappers of one patched MODEL, and what they remember during one sampling."""

    def __init__(self, windows: WindowSettings | None, tiles: TileSettings | None) -> None:
        self._wanted = (windows, tiles)
        self._windows, self._tiles = self._wanted
        self._controls: dict[tuple[int, object], Any] = {}
        self._hints: dict[int, Tensor] = {}

    def around_sampling(self, executor: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Forget the last sampling's reduced sizes and hints before, and the hints after."""
        self._windows, self._tiles = self._wanted
        try:
            return executor(*args, **kwargs)
        finally:
            self._controls.clear()
            self._hints.clear()

    def around_preparation(
        self, executor: Callable[..., Any], model: Any, shape: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Have the host reserve memory for one region, not for the whole clip."""
        size = list(shape)
        if self._windows is not None:
            size[0] = min(size[0], self._windows.length)
        if self._tiles is not None:
            size[-2:] = [min(side, self._tiles.size) for side in size[-2:]]
        return executor(model, size, *args, **kwargs)

    def around_conditionings(
        self,
        executor: Callable[..., list[Tensor]],
        model: Any,
        conds: list[list[dict[str, Any]] | None],
        x: Tensor,
        timestep: Tensor,
        model_options: dict[str, Any],
    ) -> list[Tensor]:
        """Evaluate the conditionings region by region and blend."""
        options = model_options.get("transformer_options", {})
        if FRAMES_KEY in options:
            return executor(model, conds, x, timestep, model_options)
        if x.ndim != 4:
            raise SettingsError(f"windows and tiles need a latent (T, 4, h, w), got {tuple(x.shape)}")
        shots: Sequence[Shot] | None = options.get(SHOTS_KEY)
        if shots is not None and shots[-1].last != len(x):
            raise SettingsError(
                f"the shots cover {shots[-1].last} frames, the latent has {len(x)}; detect the shots on the same frames"
            )
        sigmas = options.get("sample_sigmas")
        sigma = float(timestep[0])
        state = step_state(sigma, [sigma, 0.0] if sigmas is None else sigmas.tolist())

        def evaluate(region: Region) -> list[Tensor]:
            model_management.throw_exception_if_processing_interrupted()
            index = torch.tensor(region.frames, device=x.device)
            here = {
                FRAMES_KEY: region.frames,
                CORNER_KEY: (region.top, region.left),
                EXTENT_KEY: (region.height, region.width),
                SIZE_KEY: (x.shape[-2], x.shape[-1]),
            }
            part = {**model_options, "transformer_options": {**options, **here}}
            cut = [self._cut_all(cond, region, x) for cond in conds]
            return executor(model, cut, _crop(x[index], region), timestep[index], part)

        while True:
            regions = plan_regions(
                frames=len(x),
                height=x.shape[-2],
                width=x.shape[-1],
                shots=shots,
                windows=self._windows,
                tiles=self._tiles,
                step=state.step,
                steps=state.steps,
            )
            try:
                return blend(regions, evaluate, x)
            except model_management.OOM_EXCEPTION:
                if not self._shrink(x):
                    raise
            model_management.soft_empty_cache()

    def _shrink(self, x: Tensor) -> bool:
        """Halve the window, or else the tile; False when both are as small as they get."""
        self._controls.clear()
        reduced = smaller(self._windows, self._tiles, len(x), *x.shape[-2:])
        if reduced is None:
            return False
        self._windows, self._tiles = reduced
        logger.warning("out of memory; going on with %s", described(*reduced))
        return True

    def _cut_all(self, conds: list[dict[str, Any]] | None, region: Region, x: Tensor) -> list[dict[str, Any]] | None:
        if conds is None:
            return None
        cut = (self._cut(cond, region, x) for cond in conds)
        return [cond for cond in cut if cond is not None]

    def _cut(self, cond: dict[str, Any], region: Region, x: Tensor) -> dict[str, Any] | None:
        """Return a conditioning for one region; None where its shot or its area does not reach."""
        made_for = cond.get(CLIP_FRAMES_KEY, len(x))
        if made_for != len(x):
            raise SettingsError(
                f"the conditioning is for {made_for} frames, the latent has {len(x)}; describe the same frames"
            )
        if SPAN_KEY in cond and not any(cond[SPAN_KEY][0] <= frame < cond[SPAN_KEY][1] for frame in region.frames):
            return None
        result = dict(cond)
        if "area" in cond:
            area = _cut_area(cond["area"], region)
            if area is None:
                return None
            result["area"] = area
        if "mask" in cond:
            mask = _of_frames(cond["mask"], region, len(x))
            result["mask"] = _crop(mask, region) if mask.shape[-2:] == x.shape[-2:] else mask
        result["model_conds"] = {key: _cut_cond(value, region, x) for key, value in cond["model_conds"].items()}
        if cond.get("control") is not None:
            result["control"] = self._cut_control(cond["control"], region, x)
        return result

    def _cut_control(self, control: Any, region: Region, x: Tensor) -> Any:
        """Return a control with the hints of one region, and the controls chained before it.

        The same object is returned for every conditioning of a region: the host batches only those that share it. A
        shallow copy shares the network and what the host's `pre_run` prepared.
        """
        place = (region.frames, region.top, region.left, region.height, region.width)
        key = (id(control), place)
        if key in self._controls:
            return self._controls[key]
        # One region is evaluated after the other: what an earlier region prepared on the device is not used again in
        # this step, unless it was expensive.
        cheap = (k for k, kept in self._controls.items() if kept.vae is None or isinstance(kept, LatentHintControl))
        for other in [k for k in cheap if k[1] != place]:
            del self._controls[other]
        cut = copy.copy(control)
        if control.cond_hint_original is not None and not isinstance(control, LatentHintControl):
            cut.cond_hint_original = self._cut_hint(control, control.cond_hint_original, region, x)
        cut.extra_concat_orig = [self._cut_hint(control, extra, region, x) for extra in control.extra_concat_orig]
        cut.cond_hint = cut.extra_concat = None
        if hasattr(cut, "control_input"):
            cut.control_input = None
        for name in _CONTROL_CACHES:
            if isinstance(getattr(cut, name, None), dict):
                setattr(cut, name, {})
        if control.previous_controlnet is not None:
            cut.previous_controlnet = self._cut_control(control.previous_controlnet, region, x)
        self._controls[key] = cut
        return cut

    def _cut_hint(self, control: Any, hint: Tensor, region: Region, x: Tensor) -> Tensor:
        """Cut hints (n, C, H, W): frame i of the clip has hint i modulo n, as in the host."""
        height, width = x.shape[-2:]
        if (region.height, region.width) != (height, width):
            # Resized as a whole first: resizing every tile by itself would show at its borders.
            if id(hint) not in self._hints:
                size = width * _PIXELS_PER_LATENT, height * _PIXELS_PER_LATENT
                self._hints[id(hint)] = common_upscale(hint, *size, control.upscale_algorithm, "center")
            hint = _crop(self._hints[id(hint)], region, _PIXELS_PER_LATENT)
        if hint.shape[0] == 1:
            return hint
        return hint[[frame % hint.shape[0] for frame in region.frames]]


def _crop(tensor: Tensor, region: Region, scale: int = 1) -> Tensor:
    rows = slice(region.top * scale, (region.top + region.height) * scale)
    columns = slice(region.left * scale, (region.left + region.width) * scale)
    return tensor[..., rows, columns]


def _of_frames(tensor: Tensor, region: Region, count: int) -> Tensor:
    """Take a region's frames from what has one item per frame; anything else is for all frames."""
    if tensor.shape[0] != count or count == 1:
        return tensor
    return tensor[torch.tensor(region.frames, device=tensor.device)]


def _cut_cond(value: Any, region: Region, x: Tensor) -> Any:
    """Cut one of the host's conditioning objects: what has an item per frame, and a plane as large as the latent."""
    inner = getattr(value, "cond", None)
    if not isinstance(inner, Tensor) or inner.ndim == 0:
        return value
    cut = _of_frames(inner, region, len(x))
    if inner.ndim == x.ndim and inner.shape[-2:] == x.shape[-2:]:
        cut = _crop(cut, region)
    return value if cut is inner else value._copy_with(cut)


def _cut_area(area: Sequence[int], region: Region) -> tuple[int, int, int, int] | None:
    """Intersect an area (height, width, top, left) with a region, relative to it; None when they do not meet."""
    height, width, top, left = area[:4]
    first_row, first_column = max(top, region.top), max(left, region.left)
    last_row = min(top + height, region.top + region.height)
    last_column = min(left + width, region.left + region.width)
    if last_row <= first_row or last_column <= first_column:
        return None
    return last_row - first_row, last_column - first_column, first_row - region.top, first_column - region.left
