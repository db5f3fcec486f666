"""How the shots are aged that the scratch detector learns from: known scratches, and what else old film has."""

from dataclasses import dataclass

import numpy as np

from ...ageing import (
    BlotchModel,
    DirtModel,
    FlickerModel,
    GrainModel,
    LineModel,
    ScratchLine,
    SimulationSettings,
    WeaveModel,
)
from ...ageing.randomness import log_uniform
from ...ageing.validation import require_ranges, require_within

Span = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class ScratchAgeing:
    """Share of shots that have each defect, and how much of it.

    Spans are drawn uniformly unless it says otherwise. Lengths are in px of the frame; those for 480 lines scale with
    its height.

    Attributes:
        scratched_share: Share of shots with scratches.
        most_scratches: Largest number of scratches in a shot.
        drifting_share: Share of scratches that drift.
        drift: Speed of these, px a frame, either way.
        late_share: Share of scratches that begin within the shot; as many end within it.
        partial_share: Share of scratches that do not run through the whole height.
        partial_length: Share of the height that these take.
        depth: Median depth, grey levels.
        depth_spread: Standard deviation of its logarithm.
        depth_limits: Smallest and largest depth, grey levels.
        width: Full width at half depth, px at 480 lines.
        tilt: Standard deviation, degrees from upright.
        largest_tilt: Degrees.
        groove_share: Share of scratches with rims of opposite sign.
        jitter: Largest deviation from the course, px at 480 lines.
        gaps: Share of a scratch that is missing.
        margin: Share of the width on each side in which no scratch lies.
        weave_share: Share of shots that weave, which moves the scene and not the scratches.
        weave: Standard deviation across and down, px at 480 lines.
        weave_rotation: Standard deviation, degrees.
        weave_correlation: Of neighbouring frames.
        flicker_share: Share of shots that flicker.
        blotch_share: Share of shots with blotches.
        dirt_share: Share of shots with dirt.
        grain_share: Share of grainy shots.
        grain: Strength of their grain, grey levels; log-uniform.
        least_grain: Strength in the others: no film is without.
    """

    scratched_share: float = 0.75
    most_scratches: int = 6
    drifting_share: float = 0.25
    drift: Span = (0.05, 0.8)
    late_share: float = 0.2
    partial_share: float = 0.1
    partial_length: Span = (0.5, 1.0)
    depth: float = 8.0
    depth_spread: float = 0.7
    depth_limits: Span = (2.0, 60.0)
    width: Span = (1.2, 4.0)
    tilt: float = 0.7
    largest_tilt: float = 3.0
    groove_share: float = 0.2
    jitter: float = 0.5
    gaps: Span = (0.0, 0.35)
    margin: float = 0.04
    weave_share: float = 0.45
    weave: Span = (0.05, 1.5)
    weave_rotation: Span = (0.0, 0.05)
    weave_correlation: Span = (0.0, 0.9)
    flicker_share: float = 0.4
    blotch_share: float = 0.2
    dirt_share: float = 0.3
    grain_share: float = 0.9
    grain: Span = (1.0, 6.0)
    least_grain: float = 0.3

    def __post_init__(self) -> None:
        require_ranges("ageing", self, 255, logarithmic=("grain", "depth"))
        require_within("ageing most_scratches", self.most_scratches, 1, 20)
        require_within("ageing margin", self.margin, 0, 0.4)


def draw_scratches(
    stream: np.random.Generator, ageing: ScratchAgeing, frames: int, height: int, width: int, *, least_frames: int
) -> tuple[ScratchLine, ...]:
    """Draw the scratches of a shot.

    Args:
        stream: Random stream.
        ageing: How many, and what they look like.
        frames: Length of the shot.
        height: Of its frames, px.
        width: The same.
        least_frames: Shortest time for which a scratch is there, frames.
    """
    if stream.random() >= ageing.scratched_share:
        return ()
    scratches = []
    for _ in range(int(stream.integers(1, ageing.most_scratches + 1))):
        moving = stream.random() < ageing.drifting_share
        first, last = 0, frames
        if stream.random() < ageing.late_share:
            first = int(stream.integers(0, max(1, frames - least_frames)))
        if stream.random() < ageing.late_share:
            last = int(stream.integers(min(frames - 1, first + least_frames), frames + 1))
        top, bottom = 0.0, 1.0
        if stream.random() < ageing.partial_share:
            length = stream.uniform(*ageing.partial_length)
            top = stream.uniform(0, 1 - length)
            bottom = top + length
        depth = float(np.exp(stream.normal(np.log(ageing.depth), ageing.depth_spread)))
        scratches.append(
            ScratchLine(
                key=int(stream.integers(1 << 32)),
                kind="drifting" if moving else "fixed",
                x=float(stream.uniform(ageing.margin, 1 - ageing.margin) * width),
                depth=float(np.clip(depth, *ageing.depth_limits) * stream.choice([-1, 1])),
                width=max(1.0, float(stream.uniform(*ageing.width)) * height / 480),
                tilt=float(np.clip(stream.normal(0, ageing.tilt), -ageing.largest_tilt, ageing.largest_tilt)),
                first=first,
                last=last,
                profile="double_edge" if stream.random() < ageing.groove_share else "single",
                drift=float(stream.uniform(*ageing.drift) * stream.choice([-1, 1])) if moving else 0.0,
                jitter=ageing.jitter * height / 480,
                gaps=float(stream.uniform(*ageing.gaps)),
                top=top,
                bottom=bottom,
            )
        )
    return tuple(scratches)


def draw_ageing(
    stream: np.random.Generator, ageing: ScratchAgeing, scratches: tuple[ScratchLine, ...]
) -> SimulationSettings:
    """Draw how a shot is aged whose scratches are given."""
    weave = WeaveModel(
        horizontal=float(stream.uniform(*ageing.weave)),
        vertical=float(stream.uniform(*ageing.weave)),
        rotation=float(stream.uniform(*ageing.weave_rotation)),
        rho=float(stream.uniform(*ageing.weave_correlation)),
    )
    return SimulationSettings(
        camera_weave=weave if stream.random() < ageing.weave_share else None,
        flicker=FlickerModel() if stream.random() < ageing.flicker_share else None,
        fading=None,
        lines=LineModel(count=0, pinned=scratches),
        blotches=BlotchModel() if stream.random() < ageing.blotch_share else None,
        dirt=DirtModel() if stream.random() < ageing.dirt_share else None,
        hair=None,
        grain=GrainModel(sigma=_draw_grain(stream, ageing)),
    )


def _draw_grain(stream: np.random.Generator, ageing: ScratchAgeing) -> float:
    if stream.random() >= ageing.grain_share:
        return ageing.least_grain
    return log_uniform(stream, *ageing.grain)
