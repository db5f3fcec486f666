"""Everything between the nodes and ComfyUI: progress, interrupt, folders, pictures and films in the host's types.

Only the `host*.py` files touch ``comfy.*`` and ``folder_paths``; the core never does.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy.utils import ProgressBar
from comfy_api.latest import Input, InputImpl, io, ui
from PIL import Image as PILImage
from torch import Tensor

from ...vldm_core.errors import SettingsError
from ...vldm_core.notices import Notices
from ...vldm_core.reel.resumable.work_folder import SUFFIX as WORK_SUFFIX
from ...vldm_core.reel.resumable.work_folder import WorkFolder
from .live import show_live

_BAR_STEPS = 1000
_BAR_INTERVAL_S = 0.1
_PREVIEW_INTERVAL_S = 1.0
_PREVIEW_SIDE = 512
_SHOWN_FRAMES = 4
_WORK = "vldm_work"
"""Folder in the output folder, which stays when ComfyUI starts anew."""

# IMAGE, (T, H, W, C), RGB or RGBA, [0, 1].
ImageBatch = Tensor


class NodeProgress:
    """One progress bar on a node for all phases of its work; also the place where an interrupt strikes.

    The bar never runs back, and it is full when every phase is.

    Args:
        phases: How many phases, told apart by name, the work has: each gets the same share of the bar. Or the phases by
            name, each with its share of the time; a phase that is not among them does not move the bar.
        previews: Whether the latest finished frame is shown on the node. The frontend keeps showing it after the end,
            so this is for work that is long enough to be watched.
        ends_with_picture: The node shows a film or a picture of its own at the end, so that the live frames must make
            room for it.
    """

    def __init__(
        self, phases: int | Mapping[str, float] = 1, *, previews: bool = False, ends_with_picture: bool = False
    ) -> None:
        self._previews = previews
        self._ends_with_picture = ends_with_picture
        self._bar = ProgressBar(_BAR_STEPS)
        self._phases = phases
        self._done: dict[str, float] = {}
        self._steps = 0
        self._bar_time = self._preview_time = 0.0

    def __call__(self, phase: str, done: int, total: int | None, preview: Tensor | None = None) -> None:
        """See :class:`vldm_core.progress.Progress`; raises the host's interrupt."""
        throw_exception_if_processing_interrupted()
        if total:
            self._done[phase] = max(self._done.get(phase, 0.0), min(1.0, done / total))
        steps = max(self._steps, round(_BAR_STEPS * self._share()))
        now = time.monotonic()
        due = self._previews and preview is not None and now - self._preview_time >= _PREVIEW_INTERVAL_S
        # The last step is never left out, nor is a picture: nothing may come after it.
        if now - self._bar_time < _BAR_INTERVAL_S and not self._steps < steps == _BAR_STEPS and not due:
            return
        self._bar_time, self._steps = now, steps
        picture = None
        if due and preview is not None:
            self._preview_time = now
            picture = _pil_image(preview)
        if picture is not None and self._ends_with_picture:
            picture.thumbnail((_PREVIEW_SIDE, _PREVIEW_SIDE))
            show_live(picture)
            picture = None
        self._bar.update_absolute(steps, _BAR_STEPS, None if picture is None else ("JPEG", picture, _PREVIEW_SIDE))

    def _share(self) -> float:
        if isinstance(self._phases, int):
            return sum(self._done.values()) / max(self._phases, len(self._done))
        return sum(weight * self._done.get(phase, 0.0) for phase, weight in self._phases.items())


def _pil_image(frame: Tensor) -> PILImage.Image:
    levels = frame.detach().cpu().clamp(0, 1).mul(255).round().to(torch.uint8)
    return PILImage.fromarray(np.ascontiguousarray(levels.permute(1, 2, 0).numpy()))


def frames_from_image(images: ImageBatch, name: str = "images") -> Tensor:
    """Return an IMAGE as the core's frames: (T, H, W, C) to (T, 3, H, W), float32 on the CPU.

    Alpha is left out: film has none. A single channel becomes three equal ones.

    Args:
        images: (T, H, W, C), C = 1, 3 or 4.
        name: The node's input, for the message.

    Raises:
        SettingsError: The batch has another layout or no frame.
    """
    if images.ndim != 4 or images.shape[-1] not in (1, 3, 4) or 0 in images.shape:
        raise SettingsError(f"{name}: a batch of pictures (T, H, W, 3) is needed, got {tuple(images.shape)}")
    colour = images[..., :3].expand(-1, -1, -1, 3)
    return colour.movedim(-1, 1).to(device="cpu", dtype=torch.float32)


def image_from_frames(frames: Tensor) -> ImageBatch:
    """Return frames (T, 3, H, W) as an IMAGE (T, H, W, 3)."""
    return frames.movedim(1, -1).contiguous()


def mask_for(mask: Tensor | None, images: ImageBatch, name: str) -> Tensor | None:
    """Return a MASK as one mask per frame, (T, H, W).

    Args:
        mask: (T, H, W), or (1, H, W) or (H, W) for all frames; None stays None.
        images: The frames it belongs to.
        name: The node's input, for the message.

    Raises:
        SettingsError: Size or frame count differ.
    """
    if mask is None:
        return None
    count, height, width = images.shape[:3]
    batch = mask if mask.ndim == 3 else mask[None]
    if batch.shape[1:] != (height, width) or batch.shape[0] not in (1, count):
        raise SettingsError(
            f"{name}: the mask has {batch.shape[0]} frames of {batch.shape[-1]}×{batch.shape[-2]}, the images have "
            f"{count} of {width}×{height}; use a mask made from these images, or one mask of the same size for all"
        )
    return batch.expand(count, -1, -1).to(device="cpu", dtype=torch.float32)


def shown(images: ImageBatch, weights: Tensor | None = None) -> ui.PreviewImage:
    """Return a few frames to show on the node, in order.

    Args:
        images: (T, H, W, 3).
        weights: (T,) how much each frame deserves to be shown; None spreads them evenly.
    """
    count = len(images)
    if weights is None:
        chosen = torch.linspace(0, count - 1, min(count, _SHOWN_FRAMES)).round().long()
    else:
        chosen = weights.topk(min(count, _SHOWN_FRAMES)).indices.sort().values
    return ui.PreviewImage(images[chosen])


def told(notices: Notices, shown: ui.PreviewImage | dict[str, Any] | None = None) -> dict[str, Any] | None:
    """Return what a node shows with what its stages had to say of single frames, summed up, one line each.

    Args:
        notices: Already logged as they came.
        shown: What the node shows besides.

    Returns:
        For a node's ``ui``; None where there is nothing to show.
    """
    result = {} if shown is None else dict(shown if isinstance(shown, dict) else shown.as_dict())
    if lines := notices.summary():
        result["text"] = (*result.get("text", ()), *(f"warning: {line}" for line in lines))
    return result or None


@dataclass(frozen=True, kw_only=True)
class NewFile:
    """A file name in one of the host's folders that is not taken yet.

    Attributes:
        path: Where to write.
        shown: How the host's frontend finds it.
    """

    path: Path
    shown: ui.SavedResult

    def __str__(self) -> str:
        """Where it is, as a user of the host looks for it: its folder there and its name."""
        return "/".join(part for part in (self.shown.type.value, self.shown.subfolder, self.shown.filename) if part)


def new_file(prefix: str, suffix: str, folder: io.FolderType) -> NewFile:
    """Choose a numbered name the way the host's Save nodes do.

    Args:
        prefix: File name prefix, with subfolders and the host's ``%date%`` tokens.
        suffix: With the dot.
        folder: Output or temp.
    """
    root = folder_paths.get_output_directory() if folder is io.FolderType.output else folder_paths.get_temp_directory()
    full, name, counter, subfolder, _ = folder_paths.get_save_image_path(prefix, root)
    file = f"{name}_{counter:05}_{suffix}"
    return NewFile(path=Path(full) / file, shown=ui.SavedResult(file, subfolder, folder))


def work_folder(key: str | None) -> WorkFolder | None:
    """Where what is finished of a film is kept until all of it is; None for a film that lies in memory.

    Args:
        key: Of the film.
    """
    if key is None:
        return None
    folder = Path(folder_paths.get_output_directory()) / _WORK
    folder.mkdir(parents=True, exist_ok=True)
    return WorkFolder(folder / f"{key}{WORK_SUFFIX}")


@contextlib.contextmanager
def mask_file(mask: Tensor, name: str) -> Iterator[Path]:
    """Keep one MASK as a picture, white where it is above 0.5, for as long as it is needed.

    Args:
        mask: (H, W) or (1, H, W), [0, 1].
        name: Name of the input, for messages.

    Raises:
        SettingsError: It holds more than one mask.
    """
    picture = mask[None] if mask.ndim == 2 else mask
    if len(picture) != 1:
        raise SettingsError(f"{name} holds {len(picture)} masks; give one mask, which counts for the whole film")
    folder = folder_paths.get_temp_directory()
    Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="vldm-mask-") as own:
        path = Path(own) / f"{name}.png"
        white = (picture[0] > 0.5).to(torch.uint8) * 255
        PILImage.fromarray(white.cpu().numpy()).save(path)
        yield path


def video_from_file(path: Path) -> Input.Video:
    """Return a finished file as a VIDEO."""
    return InputImpl.VideoFromFile(str(path))


def not_one_of(name: str, value: object, options: tuple[str, ...]) -> str | None:
    """Return a message when a combo holds none of its options; the host does not check V3 combos itself."""
    if value is None or value in options:
        return None
    return f"{name} is {value!r}; choose one of {', '.join(options)}"
