"""How much a restoration changed a film, and whether it calmed it: the figures for one clip before and after."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from ..errors import SettingsError
from ..progress import Progress, silent
from ..video.flow import FlowSettings, estimate_flow
from ..video.frames import check_frames
from ..video.shots import Shot, covering_shots
from ..video.warping import consistency
from .fidelity import GREY_LEVELS, decibels
from .temporal import flicker_index, warp_error

# Half an 8-bit level: what rounds to another value in an 8-bit file has changed.
_CHANGED = 0.5 / GREY_LEVELS
# The figures are averages over the picture; finer flow would not change them, only the time they take.
_FLOW = FlowSettings(quality="fast")


@dataclass(frozen=True, kw_only=True)
class FilmComparison:
    """Figures of one clip before and after.

    Attributes:
        frames: Frames compared.
        psnr: Peak signal-to-noise ratio of after against before in dB; infinite when they are equal.
        largest_change: Largest change of any channel, in grey levels (0 … 255).
        changed_share: Share of the pixels that changed by at least half a grey level, 0 … 1.
        flicker_before: Flicker index before, as a fraction; None when not measured or no shot has three frames.
        flicker_after: The same after.
        warp_error_before: Mean difference of motion-compensated neighbours before, in grey levels; None when not
            measured or no pair of frames shows the same thing.
        warp_error_after: The same after.
        frame_change: Mean absolute change per frame, in grey levels.
    """

    frames: int
    psnr: float
    largest_change: float
    changed_share: float
    flicker_before: float | None
    flicker_after: float | None
    warp_error_before: float | None
    warp_error_after: float | None
    frame_change: tuple[float, ...]

    def lines(self) -> tuple[str, ...]:
        """Return the figures as short lines of text."""
        psnr = "identical" if math.isinf(self.psnr) else f"PSNR {self.psnr:.2f} dB"
        lines = [
            f"{self.frames} frames: {psnr}, {self.changed_share:.2%} of the pixels changed, "
            f"at most by {self.largest_change:.0f} grey levels"
        ]
        temporal = []
        if self.flicker_before is not None and self.flicker_after is not None:
            temporal.append(f"flicker {self.flicker_before:.2%} to {self.flicker_after:.2%}")
        if self.warp_error_before is not None and self.warp_error_after is not None:
            temporal.append(f"warp error {self.warp_error_before:.2f} to {self.warp_error_after:.2f} grey levels")
        if temporal:
            lines.append(", ".join(temporal))
        return tuple(lines)


def compare_films(
    before: Tensor,
    after: Tensor,
    *,
    shots: Iterable[Shot] | None = None,
    temporal: bool = True,
    progress: Progress = silent,
) -> FilmComparison:
    """Compare a clip before and after restoration.

    The temporal figures follow the motion of the restored clip, for both clips the same, and never cross a cut.

    Args:
        before: (T, 3, H, W), RGB, [0, 1].
        after: Same shape.
        shots: Shots that cover the frames; None is one shot.
        temporal: Also measure flicker and warp error, which takes an optical flow.
        progress: Called per frame.

    Raises:
        SettingsError: The clips differ in size or frame count, or the shots do not fit.
    """
    check_frames(before)
    if before.shape != after.shape:
        raise SettingsError(
            f"before is {_size(before)}, after is {_size(after)}; compare clips of the same size and frame count"
        )
    squares, largest, changed, changes = 0.0, 0.0, 0.0, []
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        difference = (new - old).abs()
        squares += float(difference.double().square().mean())
        largest = max(largest, float(difference.max()))
        changed += float((difference.amax(dim=0) >= _CHANGED).double().mean())
        changes.append(float(difference.mean()) * GREY_LEVELS)
        progress("compare", index + 1, len(before))
    count = len(before)
    flicker, warp = _temporal(before, after, covering_shots(shots, count), progress) if temporal else (None, None)
    return FilmComparison(
        frames=count,
        psnr=decibels(squares / count),
        largest_change=largest * GREY_LEVELS,
        changed_share=changed / count,
        flicker_before=flicker[0] if flicker else None,
        flicker_after=flicker[1] if flicker else None,
        warp_error_before=warp[0] if warp else None,
        warp_error_after=warp[1] if warp else None,
        frame_change=tuple(changes),
    )


Pair = tuple[float, float]


def _temporal(
    before: Tensor, after: Tensor, shots: tuple[Shot, ...], progress: Progress
) -> tuple[Pair | None, Pair | None]:
    """Return flicker and warp error, each before and after, averaged over the shots by their length."""
    flicker: list[tuple[int, Pair]] = []
    warp: list[tuple[int, Pair]] = []
    for shot in shots:
        old, new = before[shot.first : shot.last], after[shot.first : shot.last]
        pairs = len(new) - 1
        if pairs < 1:
            continue

        report = _within(shot, len(before), progress)
        flow = estimate_flow(new, settings=_FLOW, progress=report)
        visible = consistency(flow, estimate_flow(new, settings=_FLOW, direction="forward", progress=report))
        errors = warp_error(old, flow, visible), warp_error(new, flow, visible)
        if errors[0] is not None and errors[1] is not None:
            warp.append((pairs, (errors[0], errors[1])))
        if pairs >= 2:
            indices = [flicker_index(clip, flow, visible).overall for clip in (old, new)]
            flicker.append((pairs, (indices[0], indices[1])))
    return _mean(flicker), _mean(warp)


def _within(shot: Shot, frames: int, progress: Progress) -> Progress:
    """Return a callback that counts the frames of a shot as frames of the clip."""

    def report(phase: str, done: int, total: int | None, preview: Tensor | None = None) -> None:  # noqa: ARG001
        progress(phase, shot.first + done, frames, preview)

    return report


def _mean(weighted: list[tuple[int, Pair]]) -> Pair | None:
    total = sum(weight for weight, _ in weighted)
    if total == 0:
        return None
    first, second = (sum(weight * pair[i] for weight, pair in weighted) / total for i in (0, 1))
    return first, second


def _size(frames: Tensor) -> str:
    return f"{frames.shape[0]} frames of {frames.shape[-1]}×{frames.shape[-2]}"
