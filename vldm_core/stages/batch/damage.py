"""Damage found in frames in memory: masks, and how sure the detectors are."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...containment import Faults
from ...errors import SettingsError
from ...film.dirt.detection import DirtSettings
from ...film.scratches.settings import ScratchSettings
from ...notices import Notices
from ...progress import Progress, Pulse, silent
from ...video.shots import Shot
from ..plan import StagePlan
from ..settings import GivenUse, StageSettings
from .shots import Batch


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


def detect_damage(
    frames: Tensor,
    *,
    shots: Iterable[Shot] | None = None,
    dirt: DirtSettings | None = None,
    lines: ScratchSettings | None = None,
    protect: Tensor | None = None,
    progress: Progress = silent,
    notices: Notices | None = None,
    strict: bool = False,
) -> DamageMasks:
    """Find transient dirt and persistent line scratches.

    Dirt is looked for with the scratches already repaired, so that one is not taken for the other.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        shots: Shots that cover the frames; None is one shot.
        dirt: How to find dirt; None leaves the dirt mask empty.
        lines: How to find line scratches; None leaves the scratch mask empty.
        protect: (T, H, W); above 0.5 nothing is marked, and scratches are not repaired for the search for dirt.
        progress: Called per frame.
        notices: Takes what the stages have to say of single frames; None only logs it.
        strict: Stop at the first frame that a stage cannot do, instead of handing it on as it came with a notice.

    Raises:
        SettingsError: The frames, the shots or the mask have another layout.
        StageError: A stage failed in a frame, and the call is strict.
    """
    batch = Batch(frames=frames, shots=shots, protect=protect, faults=Faults(notices, strict=strict))
    return _found(batch, _settings(dirt, lines), progress)[0]


def damage_probability(
    frames: Tensor,
    *,
    shots: Iterable[Shot] | None = None,
    dirt: DirtSettings | None = None,
    lines: ScratchSettings | None = None,
    protect: Tensor | None = None,
    progress: Progress = silent,
    notices: Notices | None = None,
    strict: bool = False,
) -> DamageProbability:
    """Tell how likely every pixel is dirt or line scratch, for thresholds of one's own and for curves over all of them.

    Dirt is judged with those scratches repaired that `detect_damage` would mark with the same settings.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        shots: Shots that cover the frames; None is one shot.
        dirt: How to find dirt; None leaves its probability 0.
        lines: How to find line scratches; None leaves theirs 0.
        protect: (T, H, W); above 0.5 the probability is 0, and scratches are not repaired for the search for dirt.
        progress: Called per frame.
        notices: Takes what the stages have to say of single frames; None only logs it.
        strict: Stop at the first frame that a stage cannot do, instead of handing it on as it came with a notice.

    Raises:
        SettingsError: The frames, the shots or the mask have another layout.
        StageError: A stage failed in a frame, and the call is strict.
    """
    return find_damage(
        frames,
        shots=shots,
        dirt=dirt,
        lines=lines,
        protect=protect,
        progress=progress,
        notices=notices,
        strict=strict,
    )[1]


def find_damage(
    frames: Tensor,
    *,
    shots: Iterable[Shot] | None = None,
    dirt: DirtSettings | None = None,
    lines: ScratchSettings | None = None,
    protect: Tensor | None = None,
    progress: Progress = silent,
    notices: Notices | None = None,
    strict: bool = False,
) -> tuple[DamageMasks, DamageProbability]:
    """Find damage and tell how likely it is, in one pass; see `detect_damage` and `damage_probability`."""
    batch = Batch(frames=frames, shots=shots, protect=protect, faults=Faults(notices, strict=strict))
    masks, judged = _found(batch, _settings(dirt, lines), progress, probability=True)
    assert judged is not None
    return masks, judged


def look_for_damage(
    frames: Tensor,
    settings: StageSettings,
    *,
    shots: Iterable[Shot] | None = None,
    given_dirt: Tensor | None = None,
    alone: bool = False,
    protect: Tensor | None = None,
    probability: bool = False,
    progress: Progress = silent,
    notices: Notices | None = None,
    strict: bool = False,
) -> tuple[DamageMasks, DamageProbability]:
    """Find damage as the settings of a film say, beside what is known of it from elsewhere.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        settings: How dirt and scratches are looked for; their other stages do not matter.
        shots: Shots that cover the frames; None is one shot.
        given_dirt: (T, H, W), 1 = known to be dirt, or None.
        alone: Whether no dirt is looked for besides.
        protect: (T, H, W); above 0.5 nothing is marked.
        probability: Whether to tell how likely damage is; else that is 0 or 1, as the masks say.
        progress: Called per frame.
        notices: Takes what the stages have to say of single frames; None only logs it.
        strict: Stop at the first frame that a stage cannot do, instead of handing it on as it came with a notice.

    Raises:
        SettingsError: The frames, the shots or a mask have another layout, or dirt is given and the search for it off.
        StageError: A stage failed in a frame, and the call is strict.
    """
    if given_dirt is not None and settings.dirt is None:
        raise SettingsError("there is a map of dirt, but dirt is not asked for; ask for it, or leave the map out")
    batch = Batch(frames=frames, shots=shots, dirt=given_dirt, protect=protect, faults=Faults(notices, strict=strict))
    use: GivenUse = "ignored" if given_dirt is None else "alone" if alone else "added"
    wanted = replace(
        _settings(settings.dirt, settings.lines),
        motion=settings.motion,
        line_repair=settings.line_repair,
        standing=settings.standing,
        splices=settings.splices,
        spare=settings.spare,
        given_dirt=use,
    )
    masks, judged = _found(batch, wanted, progress, probability=probability)
    return masks, judged or DamageProbability(dirt=masks.dirt, scratch=masks.scratch)


def _settings(dirt: DirtSettings | None, lines: ScratchSettings | None) -> StageSettings:
    return replace(StageSettings.no_stages(), dirt=dirt, lines=lines)


def _found(
    batch: Batch, settings: StageSettings, progress: Progress, *, probability: bool = False
) -> tuple[DamageMasks, DamageProbability | None]:
    """Run the plan as far as it finds damage, and collect what it finds."""
    plan = StagePlan.from_settings(settings).to_marks(probability=probability)
    count, _, height, width = batch.frames.shape
    kinds = [name for kind in ("dirt", "scratch") for name in (kind, *([f"{kind}_probability"] if probability else []))]
    found = {kind: torch.zeros(count, height, width) for kind in kinds}
    measuring = Pulse(progress, "find scratches", count)
    for index, frame in enumerate(batch.run(plan, Pulse(progress, "find damage", count), measuring)):
        for kind, planes in found.items():
            if (plane := getattr(frame, kind)) is not None:
                planes[index] = plane
    masks = DamageMasks(dirt=found["dirt"], scratch=found["scratch"])
    if not probability:
        return masks, None
    return masks, DamageProbability(dirt=found["dirt_probability"], scratch=found["scratch_probability"])
