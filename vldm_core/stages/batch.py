"""The stages in order over frames in memory, without ComfyUI.

The functions here take a whole batch, cut it at its shots and run the streams of :mod:`vldm_core.stages.stream` shot by
shot; :mod:`vldm_core.reel` runs the same streams over a file.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from ..containment import Faults, Watch
from ..errors import SettingsError
from ..film.dirt.detection import RADIUS as DIRT_RADIUS
from ..film.dirt.detection import DirtSettings, dirt_probability
from ..film.fill.repair import DirtRepairSettings
from ..film.flicker.removal import FlickerSettings
from ..film.scratches.detection import LineMap, LineSettings, line_probability
from ..film.scratches.repair.repair import LineRepairSettings
from ..film.weave.stabilise import StabiliseSettings
from ..notices import Notices
from ..prerestore.contained import GivenFrame, contained_stream
from ..prerestore.network import PreRestorer
from ..prerestore.shipped import PreRestoration, load_prerestorer
from ..progress import Progress, Pulse, silent
from ..video.buffers.windows import window_size, windowed
from ..video.frames import check_frames
from ..video.luma import luma_array
from ..video.shots import Shot, ShotDetector, ShotSettings, covering_shots
from .analysis import AnalysisSettings, ShotAnalyser, ShotAnalysis, link_shots
from .stream import (
    StageFrame,
    damage,
    even_brightness,
    images,
    look_for_cut,
    mark_dirt,
    mark_lines,
    mend_dirt,
    mend_lines,
    spare,
    steady,
)


@dataclass(frozen=True, kw_only=True)
class DamageMasks:
    """Where the film is damaged.

    Attributes:
        dirt: (T, H, W), 1 = transient dirt, dust, hair or blotch.
        scratch: (T, H, W), 1 = persistent line scratch.
    """

    dirt: Tensor
    scratch: Tensor


@dataclass(frozen=True, kw_only=True)
class DamageProbability:
    """How likely the film is damaged, each pixel 0 … 1.

    Attributes:
        dirt: (T, H, W) of transient dirt, dust, hair or blotch.
        scratch: (T, H, W) of persistent line scratch.
    """

    dirt: Tensor
    scratch: Tensor


def _check_masks(frames: Tensor, **masks: Tensor | None) -> None:
    wanted = frames.shape[:1] + frames.shape[2:]
    for name, mask in masks.items():
        if mask is not None and mask.shape != wanted:
            raise SettingsError(
                f"the {name} mask is {tuple(mask.shape)}, the frames need {tuple(wanted)}; "
                "use the mask that was made from these frames"
            )


def detect_shots_in(
    frames: Tensor,
    settings: ShotSettings | None = None,
    progress: Progress = silent,
    *,
    notices: Notices | None = None,
    strict: bool = False,
) -> tuple[Shot, ...]:
    """Cut a batch into shots.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        settings: How a cut is told from flicker, flashes and dirt.
        progress: Called once per frame.
        notices: Takes what the stages have to say of single frames; None only logs it.
        strict: Stop at the first frame that a stage cannot do, instead of handing it on as it came with a notice.

    Raises:
        SettingsError: The frames have another layout.
        StageError: A stage failed in a frame, and the call is strict.
    """
    check_frames(frames)
    faults = Faults(notices, strict=strict)
    detector = ShotDetector(settings or ShotSettings())
    for index, frame in enumerate(frames):
        look_for_cut(detector, frame, index, faults)
        progress("detect shots", index + 1, len(frames))
    return detector.finish()


def analyse_shot(
    frames: Iterable[Tensor],
    settings: AnalysisSettings,
    height: int,
    width: int,
    *,
    faults: Faults | None = None,
    first: int = 0,
) -> ShotAnalysis:
    """Run the first pass over the frames of one shot; see `ShotAnalyser`."""
    analyser = ShotAnalyser(settings, height, width, faults=faults, first=first)
    for frame in frames:
        analyser.update(frame)
    return analyser.finish()


def _counted(frames: Tensor, pulse: Pulse) -> Iterator[Tensor]:
    for frame in frames:
        yield frame
        pulse.step()


def _stage_frames(frames: Tensor, shot: Shot) -> Iterator[StageFrame[None]]:
    return (StageFrame(image=frames[t], origin=None, number=t) for t in range(shot.first, shot.last))


def _collect(stream: Iterator[StageFrame[None]], pulse: Pulse) -> list[StageFrame[None]]:
    result = []
    for frame in stream:
        result.append(frame)
        pulse.step(frame.image)
    return result


def _found_lines(
    frames: Tensor, shots: Sequence[Shot], lines: LineSettings | None, pulse: Pulse, faults: Faults
) -> tuple[ShotAnalysis, ...]:
    """Look for scratches in every shot."""
    wanted = AnalysisSettings(lines=lines, flicker=None, stabilise=None)
    analyses = [
        analyse_shot(
            _counted(frames[shot.first : shot.last], pulse), wanted, *frames.shape[-2:], faults=faults, first=shot.first
        )
        for shot in shots
    ]
    return link_shots(analyses)


def detect_damage(
    frames: Tensor,
    *,
    shots: Iterable[Shot] | None = None,
    dirt: DirtSettings | None = None,
    lines: LineSettings | None = None,
    protect: Tensor | None = None,
    progress: Progress = silent,
    notices: Notices | None = None,
    strict: bool = False,
) -> DamageMasks:
    """Find transient dirt and persistent line scratches.

    Dirt is looked for with the scratches already undone, so that one is not taken for the other.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        shots: Shots that cover the frames; None is one shot.
        dirt: How to find dirt; None leaves the dirt mask empty.
        lines: How to find line scratches; None leaves the scratch mask empty.
        protect: (T, H, W); above 0.5 nothing is marked, and scratches are not undone for the search for dirt.
        progress: Called per frame.
        notices: Takes what the stages have to say of single frames; None only logs it.
        strict: Stop at the first frame that a stage cannot do, instead of handing it on as it came with a notice.

    Raises:
        SettingsError: The frames, the shots or the mask have another layout.
        StageError: A stage failed in a frame, and the call is strict.
    """
    check_frames(frames)
    count, _, height, width = frames.shape
    if protect is not None and protect.shape != (count, height, width):
        raise SettingsError(
            f"the protect mask is {tuple(protect.shape)}, the frames need {(count, height, width)}; "
            "make it from these frames"
        )
    size = window_size(height, width)
    analysing, finding = Pulse(progress, "find scratches", count), Pulse(progress, "find damage", count)
    found = DamageMasks(dirt=torch.zeros(count, height, width), scratch=torch.zeros(count, height, width))
    faults = Faults(notices, strict=strict)
    parts = covering_shots(shots, count)
    analyses = _found_lines(frames, parts, lines, analysing, faults)
    for shot, analysis in zip(parts, analyses, strict=True):
        stream = _stage_frames(frames, shot)
        protected = _protected(None if protect is None else protect[shot.first : shot.last], analysis)
        if analysis.lines is not None:
            stream = mark_lines(stream, analysis.lines, faults=faults)
            if protected is not None:
                stream = spare(stream, protected)
            if dirt is not None:
                stream = mend_lines(stream, LineRepairSettings(), size=size, beat=finding.beat, faults=faults)
        if dirt is not None:
            stream = mark_dirt(stream, dirt, size=size, beat=finding.beat, faults=faults)
            if protected is not None:
                stream = spare(stream, protected)
        for index, frame in enumerate(_collect(stream, finding), shot.first):
            if frame.dirt is not None:
                found.dirt[index] = frame.dirt
            if frame.scratch is not None:
                found.scratch[index] = frame.scratch
    return found


def _protected(protect: Tensor | None, analysis: ShotAnalysis) -> Iterable[Tensor] | None:
    """Where nothing is to be marked in each frame of a shot, (H, W) bool each; None is nowhere."""
    outside = analysis.picture.outside()
    if protect is None:
        return None if outside is None else [outside] * analysis.frame_count
    spared = protect.cpu() > 0.5
    return spared if outside is None else spared | outside


def damage_probability(
    frames: Tensor,
    *,
    shots: Iterable[Shot] | None = None,
    dirt: DirtSettings | None = None,
    lines: LineSettings | None = None,
    progress: Progress = silent,
    notices: Notices | None = None,
    strict: bool = False,
) -> DamageProbability:
    """Tell how likely every pixel is dirt or line scratch, for thresholds of one's own and for curves over all of them.

    Dirt is judged with those scratches undone that `detect_damage` would mark with the same settings.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        shots: Shots that cover the frames; None is one shot.
        dirt: How to find dirt; None leaves its probability 0.
        lines: How to find line scratches; None leaves theirs 0.
        progress: Called per frame.
        notices: Takes what the stages have to say of single frames; None only logs it.
        strict: Stop at the first frame that a stage cannot do, instead of handing it on as it came with a notice.

    Raises:
        SettingsError: The frames or shots have another layout.
        StageError: A stage failed in a frame, and the call is strict.
    """
    check_frames(frames)
    count, _, height, width = frames.shape
    size = window_size(height, width)
    analysing, judging = Pulse(progress, "find scratches", count), Pulse(progress, "judge damage", count)
    judged = DamageProbability(dirt=torch.zeros(count, height, width), scratch=torch.zeros(count, height, width))
    faults = Faults(notices, strict=strict)
    parts = covering_shots(shots, count)
    analyses = _found_lines(frames, parts, lines, analysing, faults)
    for shot, analysis in zip(parts, analyses, strict=True):
        stream = _stage_frames(frames, shot)
        outside = analysis.picture.outside()
        if analysis.lines is not None:
            found = analysis.lines
            watch = faults.watch("scratch marking")
            for index in range(shot.first, shot.last):

                def judge_lines(index: int = index, first: int = shot.first, lines: LineMap = found) -> Tensor:
                    return line_probability(lines, index - first, height, width, luma_array(frames[index]))

                if (plane := watch.frame(index, judge_lines)) is not None:
                    judged.scratch[index] = plane
            stream = mark_lines(stream, found, faults=faults)
            if outside is not None:
                judged.scratch[shot.first : shot.last].masked_fill_(outside, 0)
                stream = spare(stream, repeat(outside))
            stream = mend_lines(stream, LineRepairSettings(), size=size, beat=judging.beat, faults=faults)
        if dirt is None:
            continue
        dirt_watch = faults.watch("dirt marking", judging.beat)

        def judge(
            window: Sequence[StageFrame[None]], core: slice, watch: Watch = dirt_watch, dirt: DirtSettings = dirt
        ) -> list[Tensor | None]:
            def work(seen: slice, part: slice) -> Tensor:
                kept = slice(part.start - seen.start, part.stop - seen.start)
                return dirt_probability(images(window[seen]), dirt, keep=kept, progress=watch.beat)[kept]

            return watch.window([frame.number for frame in window], core, work, radius=DIRT_RADIUS)

        for index, plane in enumerate(windowed(stream, judge, size=size, radius=DIRT_RADIUS), shot.first):
            if plane is not None:
                judged.dirt[index] = plane if outside is None else plane.masked_fill(outside, 0)
            judging.step()
    return judged


def repair_damage(
    frames: Tensor,
    *,
    dirt: Tensor | None = None,
    scratch: Tensor | None = None,
    shots: Iterable[Shot] | None = None,
    dirt_settings: DirtRepairSettings | None = None,
    scratch_settings: LineRepairSettings | None = None,
    progress: Progress = silent,
    notices: Notices | None = None,
    strict: bool = False,
) -> Tensor:
    """Undo the damage that the masks mark; every pixel outside them leaves bit-equal.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        dirt: (T, H, W), 1 = fill from the neighbours in time; None repairs no dirt.
        scratch: (T, H, W), 1 = take the scratch's profile off; None repairs no scratch.
        shots: Shots that cover the frames; None is one shot.
        dirt_settings: How dirt is filled.
        scratch_settings: How scratches are undone.
        progress: Called per frame.
        notices: Takes what the stages have to say of single frames; None only logs it.
        strict: Stop at the first frame that a stage cannot do, instead of handing it on as it came with a notice.

    Returns:
        (T, 3, H, W).

    Raises:
        SettingsError: Frames, masks or shots do not fit each other.
        StageError: A stage failed in a frame, and the call is strict.
    """
    check_frames(frames)
    count, _, height, width = frames.shape
    _check_masks(frames, dirt=dirt, scratch=scratch)
    size = window_size(height, width)
    pulse = Pulse(progress, "repair", count)
    faults = Faults(notices, strict=strict)
    result = []
    for shot in covering_shots(shots, count):
        stream: Iterator[StageFrame[None]] = (
            StageFrame(
                image=frames[t],
                origin=None,
                number=t,
                dirt=None if dirt is None else dirt[t],
                scratch=None if scratch is None else scratch[t],
            )
            for t in range(shot.first, shot.last)
        )
        if scratch is not None:
            how = scratch_settings or LineRepairSettings()
            stream = mend_lines(stream, how, size=size, beat=pulse.beat, faults=faults)
        if dirt is not None:
            fill = dirt_settings or DirtRepairSettings()
            stream = mend_dirt(stream, fill, size=size, beat=pulse.beat, faults=faults)
        result += [frame.image for frame in _collect(stream, pulse)]
    return torch.stack(result)


def _over_shots(
    frames: Tensor,
    shots: Iterable[Shot] | None,
    settings: AnalysisSettings,
    change: Callable[[Iterator[StageFrame[None]], ShotAnalysis, Pulse], Iterator[StageFrame[None]]],
    phase: str,
    progress: Progress,
    faults: Faults,
) -> Tensor:
    """Analyse, then change, every shot."""
    check_frames(frames)
    count, _, height, width = frames.shape
    measuring, changing = Pulse(progress, f"{phase}: measure", count), Pulse(progress, phase, count)
    result = []
    for shot in covering_shots(shots, count):
        part = frames[shot.first : shot.last]
        analysis = analyse_shot(_counted(part, measuring), settings, height, width, faults=faults, first=shot.first)
        stream = change(_stage_frames(frames, shot), analysis, changing)
        result += [frame.image for frame in _collect(stream, changing)]
    return torch.stack(result)


def remove_flicker(
    frames: Tensor,
    *,
    shots: Iterable[Shot] | None = None,
    settings: FlickerSettings | None = None,
    progress: Progress = silent,
    notices: Notices | None = None,
    strict: bool = False,
) -> Tensor:
    """Even out brightness that changes from frame to frame; slow changes stay.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        shots: Shots that cover the frames; None is one shot.
        settings: Strength, spatial field and what counts as slow.
        progress: Called per frame.
        notices: Takes what the stages have to say of single frames; None only logs it.
        strict: Stop at the first frame that a stage cannot do, instead of handing it on as it came with a notice.

    Raises:
        SettingsError: The frames or shots have another layout.
        StageError: A stage failed in a frame, and the call is strict.
    """
    faults = Faults(notices, strict=strict)

    def change(stream: Iterator[StageFrame[None]], analysis: ShotAnalysis, _: Pulse) -> Iterator[StageFrame[None]]:
        if analysis.flicker is None:
            # What could not be measured is left as it came.
            return stream
        return even_brightness(stream, analysis.flicker, analysis.picture, faults=faults)

    wanted = AnalysisSettings(lines=None, flicker=settings or FlickerSettings(), stabilise=None)
    return _over_shots(frames, shots, wanted, change, "remove flicker", progress, faults)


def pre_restore_frames(
    frames: Tensor,
    *,
    dirt: Tensor | None = None,
    scratch: Tensor | None = None,
    shots: Iterable[Shot] | None = None,
    settings: PreRestoration | None = None,
    network: PreRestorer | None = None,
    progress: Progress = silent,
    notices: Notices | None = None,
    strict: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Take blur, noise and compression off by a network that looks along every shot, both ways.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        dirt: (T, H, W), 1 = repaired dirt: what is there is not carried to other frames. None marks nothing.
        scratch: (T, H, W), 1 = repaired scratch, likewise.
        shots: Shots that cover the frames; None is one shot.
        settings: Which network and how; defaults to `PreRestoration()`.
        network: On its device, in the place of the one that the settings name.
        progress: Called per frame.
        notices: Takes what the stages have to say of single frames; None only logs it.
        strict: Stop at the first frame that a stage cannot do, instead of handing it on as it came with a notice.

    Returns:
        (T, 3, H, W) in [0, 1], bars as they came; and latents (T, 4, h/8, w/8) in the VAE's unscaled units, where h and
        w are H and W rounded up to a multiple of 8; or None where the network has no latent head or could not do every
        frame.

    Raises:
        SettingsError: Frames, masks or shots do not fit each other.
        WeightFileError: The weights cannot be used.
        StageError: A stage failed in a frame, and the call is strict.
    """
    check_frames(frames)
    count = len(frames)
    _check_masks(frames, dirt=dirt, scratch=scratch)
    settings = settings or PreRestoration()
    network = network or load_prerestorer(settings)
    masks = damage(dirt, scratch)
    pulse = Pulse(progress, "pre-restore", count)
    result, latents = frames.clone(), []
    faults = Faults(notices, strict=strict)
    watch = faults.watch("pre-restoration", pulse.beat)
    only_picture = AnalysisSettings(lines=None, flicker=None, stabilise=None)
    for shot in covering_shots(shots, count):
        part = frames[shot.first : shot.last]
        picture = analyse_shot(part, only_picture, *frames.shape[-2:], faults=faults, first=shot.first).picture
        stream = (GivenFrame(frames[t], None if masks is None else masks[t], t) for t in range(shot.first, shot.last))
        for t, made in enumerate(contained_stream(stream, network, settings, watch=watch), shot.first):
            if made is not None:
                result[t] = picture.restricted(made.image, frames[t])
                if made.latent is not None:
                    latents.append(made.latent)
            pulse.step(result[t])
    return result, torch.stack(latents) if len(latents) == count else None


def stabilise(
    frames: Tensor,
    *,
    shots: Iterable[Shot] | None = None,
    settings: StabiliseSettings | None = None,
    progress: Progress = silent,
    notices: Notices | None = None,
    strict: bool = False,
) -> Tensor:
    """Take gate weave out and keep camera moves.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        shots: Shots that cover the frames; None is one shot.
        settings: Strength, limits and what counts as a camera move.
        progress: Called per frame.
        notices: Takes what the stages have to say of single frames; None only logs it.
        strict: Stop at the first frame that a stage cannot do, instead of handing it on as it came with a notice.

    Raises:
        SettingsError: The frames or shots have another layout.
        StageError: A stage failed in a frame, and the call is strict.
    """
    size = window_size(*frames.shape[-2:])
    faults = Faults(notices, strict=strict)

    def change(stream: Iterator[StageFrame[None]], analysis: ShotAnalysis, pulse: Pulse) -> Iterator[StageFrame[None]]:
        if analysis.weave is None:
            return stream
        return steady(stream, analysis.weave, size=size, picture=analysis.picture, beat=pulse.beat, faults=faults)

    wanted = AnalysisSettings(lines=None, flicker=None, stabilise=settings or StabiliseSettings())
    return _over_shots(frames, shots, wanted, change, "stabilise", progress, faults)


def overlay(
    frames: Tensor,
    dirt: Tensor,
    scratch: Tensor,
    *,
    strength: float = 0.7,
    style: Literal["overlay", "outline"] = "overlay",
) -> Tensor:
    """Paint the masks over the frames: dirt red, scratches cyan.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        dirt: (T, H, W), 0 … 1.
        scratch: (T, H, W), 0 … 1.
        strength: Opacity of the paint, 0 … 1.
        style: "overlay" paints the marks, "outline" a line of one pixel around them, so that the damage stays in sight.
    """
    result = frames
    for mask, colour in ((dirt, (1.0, 0.1, 0.1)), (scratch, (0.0, 0.9, 1.0))):
        alpha = mask.to(frames)[:, None]
        if style == "outline":
            alpha = max_pool2d((alpha > 0.5).to(frames), 3, 1, 1) * (alpha <= 0.5)
        alpha = alpha * strength
        result = result * (1 - alpha) + frames.new_tensor(colour)[None, :, None, None] * alpha
    return result
