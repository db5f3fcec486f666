"""Faults put into stages on purpose: a stage that raises, or gives NaN, for one frame that is told by its content."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from vldm_core.film.active_picture import PictureFinder
from vldm_core.film.flicker import removal
from vldm_core.prerestore import contained
from vldm_core.stages import analysis
from vldm_core.stages.single import averaging, dirt, flicker, scratches, weave
from vldm_core.video.shots import FilmCutDetector

MARK = 51 / 255
"""The marked frame is told by the values of its first pixel, which eight bits hold exactly."""
MESSAGE = "injected"


def marked(frames: Tensor, index: int) -> Tensor:
    """Mark one of frames (T, 3, H, W) in its first pixel."""
    result = frames.clone()
    result[index, :, 0, 0] = torch.tensor((MARK, 0.0, MARK))
    return result


def is_marked(image: Tensor) -> bool:
    return torch.allclose(image[:, 0, 0].float().cpu(), torch.tensor((MARK, 0.0, MARK)), atol=1e-6)


def _kept(frames: Tensor, keep: slice | None) -> list[int]:
    return [index for index in range(len(frames))[keep or slice(None)] if is_marked(frames[index])]


def _over_frames(real: Any, how: str) -> Any:
    """A stage over (T, 3, H, W) that fails where the marked frame is among those that are wanted."""

    def faulty(frames: Tensor, *rest: Any, keep: slice | None = None, **named: Any) -> Tensor:
        found = _kept(frames, keep)
        if found and how == "error":
            raise RuntimeError(MESSAGE)
        more = {} if keep is None else {"keep": keep}
        made = real(frames, *rest, **more, **named)
        if found:
            made = made.clone()
            made[found] = torch.nan
        return made

    return faulty


def _marking(real: Any, how: str) -> Any:
    def faulty(lines: Any, index: int, height: int, width: int, luma: Any) -> Tensor:
        made = real(lines, index, height, width, luma)
        if index != _marking_frame:
            return made
        if how == "error":
            raise RuntimeError(MESSAGE)
        return torch.full_like(made, torch.nan)

    return faulty


def _average(real: Any, how: str) -> Any:
    """Averaging that fails for the marked frame, told by its luma."""
    mark = 255 * MARK * (0.299 + 0.114)

    def faulty(neighbours: Any, index: int, *rest: Any, **named: Any) -> Any:
        made = real(neighbours, index, *rest, **named)
        if abs(float(neighbours.frames.luma[index][0, 0]) - mark) > 1e-3:
            return made
        if how == "error":
            raise RuntimeError(MESSAGE)
        return made * float("nan")

    return faulty


_marking_frame = 5


def _network(real: Any, how: str) -> Any:
    """The pre-restoration of a shot, of which all is spoilt from the marked frame on, as a state would spoil it."""

    def faulty(frames: Any, *rest: Any, **named: Any) -> Iterator[Any]:
        seen: list[bool] = []

        def given() -> Iterator[Any]:
            for image, mask in frames:
                picture = image if isinstance(image, Tensor) else image.tensor()
                seen.append(is_marked(picture))
                if seen[-1] and how == "error":
                    raise RuntimeError(MESSAGE)
                yield image, mask

        for number, made in enumerate(real(given(), *rest, **named)):
            yield made._replace(image=torch.full_like(made.image, torch.nan)) if any(seen[: number + 1]) else made

    return faulty


STAGES = {
    "scratch marking": (scratches, "scratch_mask", _marking),
    "scratch repair": (scratches, "repair_scratches", _over_frames),
    "dirt marking": (dirt, "detect_dirt", _over_frames),
    "dirt repair": (dirt, "repair_dirt", _over_frames),
    "flicker": (flicker, "apply_flicker", _over_frames),
    "averaging": (averaging, "averaged", _average),
    "pre-restoration": (contained, "pre_restore_stream", _network),
    "stabilise": (weave, "apply_stabilise", _over_frames),
}


def sabotage(monkeypatch: pytest.MonkeyPatch, stage: str, how: str) -> None:
    """Let a stage raise ("error") or give NaN ("nan") for the marked frame; scratch marking for frame 5 of a shot."""
    module, name, make = STAGES[stage]
    monkeypatch.setattr(module, name, make(getattr(module, name), how))


def sabotage_analysis(monkeypatch: pytest.MonkeyPatch, part: str, how: str, at: int) -> None:
    """Let a measurement of the first pass raise, or give NaN, for one frame of a shot."""
    calls = 0
    owner, name = {
        "motion analysis": (analysis, "measure_motion"),
        "flicker analysis": (removal, "reduce"),
        "scratch analysis": (analysis.ScratchAnalyser, "update"),
        "search for cuts": (FilmCutDetector, "process_rgb"),
        "search for the picture": (PictureFinder, "update"),
    }[part]
    real = getattr(owner, name)

    def faulty(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        # Motion is measured from the second frame on.
        if calls != at + (part != "motion analysis"):
            return real(*given, **named)
        if how == "error":
            raise RuntimeError(MESSAGE)
        if part == "motion analysis":
            made = real(*given, **named)
            return type(made)(**{**vars(made), "dx": float("nan")})
        return real(*given, **named) * float("nan")

    monkeypatch.setattr(owner, name, staticmethod(faulty) if name == "reduce" else faulty)
