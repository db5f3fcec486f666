"""Test material of the detection benchmark: clean shots, aged by the simulation with known truth.

Every shot is aged from its own fixed seed. The simulation draws each defect from its own counter, so ageing once more
without dirt and lines gives the same film, same grain, same flicker, same weave, without the local damage: that film is
what a repair is compared with. Grain comes last, so the same film with other grain, as a second print would show it,
and without any, tell how near a repair can come. Aged films are rounded to 8 bits, as scans are.
"""

import zlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from vldm_core.ageing import (
    BlotchModel,
    DirtModel,
    FlickerModel,
    GrainModel,
    HairModel,
    LineModel,
    ScratchLine,
    SimulationSettings,
    Simulator,
    WeaveModel,
    binary_truth,
    simulate,
)

from ...common.material import StoredClip, eight_bit, motion_of
from ..settings import DetectionBenchmarkSettings
from .shots import CleanClip
from .strata import LINE_DEPTHS, Stratum

_RIM = 0.05
"""Value of a soft mask from which a pixel counts as touched: 0.8 grey levels of dirt, 5 % of the depth of a line."""

_LOCAL_DAMAGE = {"lines": None, "blotches": None, "dirt": None, "hair": None}

_DIRT_MASKS = ("dirt", "hair", "blotches")
"""Masks of the simulation, in the order of `strata.DIRT_KINDS`."""


@dataclass(frozen=True, kw_only=True)
class AgedClip(StoredClip):
    """An aged shot and everything known about it.

    Attributes:
        name: Source and stratum.
        stratum: What the lines do, or which other defect is there besides.
        locked: Whether the scene stands still against the film: neither camera nor gate weave moves it.
        aged: (T, 3, H, W) in [0, 1], what a method gets to see.
        undamaged: The same film without dirt, hair, blotches and lines.
        steady: The same film without those and without flicker.
        dirt: (T, H, W) uint8: 0, or k + 1 where damage of the kind `DIRT_KINDS[k]` changed a pixel by 8 grey levels or
            more; the strongest where kinds overlap.
        lines: (T, H, W) uint8: 0, or k + 1 where the line of depth `LINE_DEPTHS[k]` has at least half its depth.
        faint: (T, H, W) bool: changed by local damage, but by less than counts as damage: rims, faint blotches.
        courses: (T, H, W) bool: the lines without their gaps, with their faint rims.
        flow: (T-1, 2, H, W) backward flow of the undamaged film.
        visible: (T-1, H, W) bool: where that flow is consistent with its opposite.
    """

    FILMS = ("aged", "undamaged", "steady")

    name: str
    stratum: Stratum
    locked: bool
    aged: Tensor
    undamaged: Tensor
    steady: Tensor
    dirt: Tensor
    lines: Tensor
    faint: Tensor
    courses: Tensor
    flow: Tensor
    visible: Tensor

    @property
    def damage(self) -> Tensor:
        """(T, H, W) bool: damage of any kind."""
        return (self.dirt > 0) | (self.lines > 0)


@dataclass(frozen=True, kw_only=True)
class AgedMaterial:
    """An aged clip with what tells how near to its undamaged film a repair can come.

    Attributes:
        clip: The aged clip.
        other_grain: The undamaged film with other grain, as another print of the same negative would show it: what a
            fill reaches that gets everything right but cannot know the grain, and looks like film.
        no_grain: The undamaged film without grain: what a fill reaches that averages grain away.
    """

    clip: AgedClip
    other_grain: Tensor
    no_grain: Tensor


@dataclass(frozen=True, kw_only=True)
class _AgeingPlan:
    """How a clean shot is aged: its name, the damage model and its seed, and the lines pinned in it."""

    name: str
    model: SimulationSettings
    seed: int
    lines: tuple[ScratchLine, ...]


def _plan(clean: CleanClip, stratum: Stratum, settings: DetectionBenchmarkSettings) -> _AgeingPlan:
    name = f"{clean.name}/{stratum}"
    seed = (settings.seed << 32) | zlib.crc32(name.encode())
    count, _, height, width = clean.frames.shape
    lines: tuple[ScratchLine, ...] = ()
    if stratum != "transient":
        lines = _pinned_lines(np.random.default_rng([settings.seed, seed & 0xFFFFFFFF]), stratum, count, height, width)
    model = SimulationSettings(
        camera_weave=WeaveModel() if stratum == "weave" else None,
        flicker=FlickerModel() if stratum == "flicker" else None,
        fading=None,
        lines=LineModel(count=0, pinned=lines),
        blotches=BlotchModel(),
        dirt=DirtModel(),
        # A hair caught in the gate stays for many frames: neither transient dirt nor a line, so it is left out.
        hair=HairModel(gate_count=0),
        grain=GrainModel(sigma=settings.grain),
    )
    return _AgeingPlan(name=name, model=model, seed=seed, lines=lines)


def aged_frames(clean: CleanClip, stratum: Stratum, settings: DetectionBenchmarkSettings) -> Tensor:
    """Age a clean shot as `age` does, (T, 3, H, W) in [0, 1], without what is known about it."""
    plan = _plan(clean, stratum, settings)
    return eight_bit(simulate(clean.frames, plan.model, plan.seed).frames)


def age(clean: CleanClip, stratum: Stratum, settings: DetectionBenchmarkSettings) -> AgedMaterial:
    """Age a clean shot: dirt, hair, blotches, grain, three lines, and what the stratum adds."""
    plan = _plan(clean, stratum, settings)
    model, seed, lines = plan.model, plan.seed, plan.lines
    count, _, height, width = clean.frames.shape
    aged = simulate(clean.frames, model, seed)
    no_grain = simulate(clean.frames, replace(model, **_LOCAL_DAMAGE, grain=None), seed).frames
    undamaged = steady = eight_bit(_grained(no_grain, model, seed))
    if model.flicker is not None:
        even = simulate(clean.frames, replace(model, **_LOCAL_DAMAGE, grain=None, flicker=None), seed).frames
        steady = eight_bit(_grained(even, model, seed))
    transient = torch.stack([aged.masks[kind] for kind in _DIRT_MASKS])
    strongest, kind = transient.max(dim=0)
    dirt = torch.where(binary_truth(strongest), kind + 1, 0).to(torch.uint8)
    labels, courses = _line_truth(lines, seed, count, height, width)
    # Where a bright line crosses white, or a dark one black, nothing can be seen of it.
    labels[~binary_truth(aged.masks["lines"])] = 0
    flow, visible = motion_of(undamaged)
    clip = AgedClip(
        name=plan.name,
        stratum=stratum,
        locked=clean.locked and stratum != "weave",
        aged=eight_bit(aged.frames),
        undamaged=undamaged,
        steady=steady,
        dirt=dirt,
        lines=labels,
        faint=(torch.maximum(strongest, aged.masks["lines"]) > _RIM) & (dirt == 0) & (labels == 0),
        courses=courses,
        flow=flow,
        visible=visible,
    )
    return AgedMaterial(
        clip=clip,
        other_grain=eight_bit(_grained(no_grain, model, seed + 1)),
        no_grain=eight_bit(no_grain),
    )


def with_grain(clean: CleanClip, settings: DetectionBenchmarkSettings) -> CleanClip:
    """Return a clean shot as film without damage: with grain, in 8 bits."""
    model = SimulationSettings(grain=GrainModel(sigma=settings.grain))
    frames = eight_bit(_grained(clean.frames, model, zlib.crc32(clean.name.encode())))
    return replace(clean, name=f"{clean.name}, with grain", frames=frames)


def _grained(frames: Tensor, model: SimulationSettings, seed: int) -> Tensor:
    """Give frames the grain that a simulation with this seed would give them as its last step."""
    simulator = Simulator(model.only("grain"), seed, *frames.shape[-2:])
    return torch.stack([simulator.frame(index, frame).frame for index, frame in enumerate(frames)])


def _line_truth(
    lines: tuple[ScratchLine, ...], seed: int, count: int, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Label the pixels of each line, (T, H, W) uint8, and draw the courses of all without their gaps, bool."""
    labels = torch.zeros(count, height, width, dtype=torch.uint8)
    courses = torch.zeros(count, height, width, dtype=torch.bool)
    for number, line in enumerate(lines):
        alone = _lines_only(seed, height, width, line)
        whole = _lines_only(seed, height, width, replace(line, gaps=0.0))
        for index in range(count):
            labels[index][binary_truth(alone.line_masks(index)[line.kind])] = number + 1
            courses[index] |= whole.line_masks(index)[line.kind] > _RIM
    return labels, courses


def _pinned_lines(
    stream: np.random.Generator, stratum: Stratum, count: int, height: int, width: int
) -> tuple[ScratchLine, ...]:
    """One line of each depth, apart from each other and from the border, with tilt, gaps and uneven depth."""
    places = (np.arange(len(LINE_DEPTHS)) + stream.uniform(0.25, 0.75, len(LINE_DEPTHS))) / len(LINE_DEPTHS)
    order = stream.permutation(len(LINE_DEPTHS))
    lines = []
    for number, depth in enumerate(LINE_DEPTHS):
        drifting = stratum == "drifting"
        lines.append(
            ScratchLine(
                key=int(stream.integers(1 << 32)),
                kind="drifting" if drifting else "fixed",
                x=float(places[order[number]] * width),
                depth=depth * float(stream.choice([-1, 1])),
                width=max(1.0, float(stream.uniform(1.5, 3.5)) * height / 480),
                tilt=float(stream.uniform(-1, 1)),
                first=0,
                last=count,
                drift=float(stream.uniform(0.1, 0.6) * stream.choice([-1, 1])) if drifting else 0.0,
                jitter=0.5 * height / 480,
                gaps=float(stream.uniform(0, 0.3)),
            )
        )
    return tuple(lines)


def _lines_only(seed: int, height: int, width: int, line: ScratchLine) -> Simulator:
    settings = replace(SimulationSettings().only("lines"), lines=LineModel(count=0, pinned=(line,)))
    return Simulator(settings, seed, height, width)
