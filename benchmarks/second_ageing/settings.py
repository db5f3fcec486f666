"""What the second ageing model draws from.

Sizes are in pixels of a frame of 480 lines and scale with the height; amounts are for a frame of 854×480. A range is
(least, most): drawn evenly, or evenly in the logarithm where that is said.
"""

from dataclasses import dataclass, field
from typing import Literal

Range = tuple[float, float]

Kind = Literal["dirt", "one-frame scratch", "persistent", "drifting", "blotch", "standing"]

KINDS: tuple[Kind, ...] = ("dirt", "one-frame scratch", "persistent", "drifting", "blotch", "standing")
"""Kinds of damage, each with its own mask. "standing" is what hangs in the gate or lies on the lens for many frames."""

LASTING: tuple[Kind, ...] = ("persistent", "drifting")
"""Kinds that are lines along the film."""


@dataclass(frozen=True, kw_only=True)
class DirtDraws:
    """Dirt, hair and lint: textures as they are, turned and scaled.

    Attributes:
        specks: Single marks in a frame, mean of a Poisson draw; drawn in the logarithm, once for a film.
        sprays: Groups of specks in a frame, likewise.
        hairs: Long hairs in a frame, likewise.
        speck_size: Pixels across a single mark, drawn in the logarithm.
        spray_size: Pixels across a group.
        hair_size: Pixels across a hair.
        bright_share: Share of marks that are brighter than the picture, drawn once for a film.
        two_frames: Share of marks that last two or three frames.
    """

    specks: Range = (10.0, 40.0)
    sprays: Range = (0.3, 1.2)
    hairs: Range = (0.2, 1.0)
    speck_size: Range = (3.0, 28.0)
    spray_size: Range = (60.0, 240.0)
    hair_size: Range = (40.0, 160.0)
    bright_share: Range = (0.2, 0.8)
    two_frames: float = 0.06


@dataclass(frozen=True, kw_only=True)
class ScratchDraws:
    """Scratches of one frame: lines that run off straight, slanted or bent, and torn ones from textures.

    Attributes:
        lines: Drawn lines in a frame, mean of a Poisson draw; drawn once for a film.
        torn: Textures of scratches in a frame, likewise.
        length: Of the height of the frame.
        slant: Degrees off upright of a slanted line at most; half of the lines are within `upright`.
        upright: Degrees off upright of the others at most.
        bend: Pixels by which a line bows at most.
        width: Pixels across, drawn in the logarithm.
        levels: Grey levels of depth, drawn in the logarithm.
        torn_size: Pixels across a texture.
    """

    lines: Range = (0.6, 1.4)
    torn: Range = (0.05, 0.25)
    length: Range = (0.25, 1.1)
    slant: float = 35.0
    upright: float = 4.0
    bend: float = 30.0
    width: Range = (1.0, 4.0)
    levels: Range = (14.0, 110.0)
    torn_size: Range = (80.0, 260.0)


@dataclass(frozen=True, kw_only=True)
class LineDraws:
    """Lines along the film, at rest in the gate or drifting.

    Attributes:
        persistent: Lines at rest, fewest and most.
        drifting: Drifting lines, fewest and most.
        depth: Grey levels, drawn in the logarithm.
        width: Pixels, standard deviation of the profile.
        wander: Pixels that a line at rest leaves its place by at most.
        drift: Pixels a frame, drawn in the logarithm.
        sway: Pixels that a line swings by, half of the drifting ones.
        period: Frames of a swing.
        tilt: Degrees off upright at most.
        gap_share: Share of the height that is missing.
        born_late: Share of lines that begin or end within the shot.
    """

    persistent: tuple[int, int] = (1, 3)
    drifting: tuple[int, int] = (1, 2)
    depth: Range = (3.0, 60.0)
    width: Range = (0.6, 1.9)
    wander: float = 0.5
    drift: Range = (0.05, 1.0)
    sway: Range = (1.0, 4.0)
    period: Range = (12.0, 40.0)
    tilt: float = 1.2
    gap_share: Range = (0.0, 0.3)
    born_late: float = 0.2


@dataclass(frozen=True, kw_only=True)
class BlotchDraws:
    """Blotches: patches of noise of several sizes, and textures of stains.

    Attributes:
        count: In a frame, mean of a Poisson draw; drawn once for a film.
        size: Pixels across, drawn in the logarithm.
        density: Of see-through blotches, on the scale of optical density.
        levels: Grey levels of see-through blotches that add or take away.
        opaque: Share that hides the picture.
        two_frames: Share that lasts two or three frames.
    """

    count: Range = (0.6, 1.6)
    size: Range = (18.0, 110.0)
    density: Range = (0.04, 0.3)
    levels: Range = (10.0, 55.0)
    opaque: float = 0.25
    two_frames: float = 0.1


@dataclass(frozen=True, kw_only=True)
class StandingDraws:
    """Hairs in the gate and marks on the lens, at one place of the frame.

    Attributes:
        hairs: Hairs that reach in from the border, fewest and most.
        spots: Marks on the lens, fewest and most.
        hair_size: Pixels across.
        spot_size: Pixels across.
        levels: Grey levels by which marks on the lens darken, blurred as they are.
        sway: Pixels by which a hair swings.
    """

    hairs: tuple[int, int] = (0, 1)
    spots: tuple[int, int] = (0, 2)
    hair_size: Range = (40.0, 120.0)
    spot_size: Range = (6.0, 24.0)
    levels: Range = (12.0, 60.0)
    sway: float = 0.4


@dataclass(frozen=True, kw_only=True)
class CarrierDraws:
    """What the whole frame goes through.

    Attributes:
        black: Grey level of the scene's black after printing.
        white: Grey level of its white.
        gamma: Exponent of the print.
        weave: Pixels, standard deviation of the sideways place of the scene; upright it is a half more.
        jump: Share of frames at which the scene jumps by up to three times that.
        gain: Standard deviation of the brightness of a frame, as a share.
        bow: Standard deviation of the exponent of a frame.
        field: Standard deviation of the brightness of a part of a frame, as a share.
        grain: Grey levels, standard deviation in the mid-tones after the scan.
        clump: Pixels, standard deviation of the coarser half of the grain, not scaled with the height.
        scan: Pixels, standard deviation of the blur of the scan, not scaled with the height.
        crf: Constant rate factor of H.264, fewest and most; three films in four are coded so.
        jpeg: Quality of the others, coded as single pictures.
    """

    black: Range = (6.0, 26.0)
    white: Range = (214.0, 246.0)
    gamma: Range = (0.85, 1.2)
    weave: Range = (0.2, 0.9)
    jump: float = 0.04
    gain: Range = (0.0, 0.045)
    bow: Range = (0.0, 0.04)
    field: Range = (0.0, 0.03)
    grain: Range = (2.0, 6.0)
    clump: Range = (0.8, 1.4)
    scan: Range = (0.4, 0.8)
    crf: tuple[int, int] = (18, 23)
    jpeg: tuple[int, int] = (85, 95)


@dataclass(frozen=True, kw_only=True)
class Visibility:
    """From which change on a pixel counts as damaged. The change is that of the scanned picture without grain.

    Attributes:
        levels: Grey levels of dirt, scratches of one frame and standing marks.
        line_share: Share of the depth that a line has at that height; lines are seen along their length, even where a
            single pixel is below the grain.
        line_levels: Grey levels that a line needs at least.
        grain_sigmas: Standard deviations of the grain at that grey level that a blotch needs.
        rim: Grey levels from which on a pixel is neither damaged nor free of damage.
    """

    levels: float = 8.0
    line_share: float = 0.5
    line_levels: float = 2.0
    grain_sigmas: float = 3.0
    rim: float = 1.0


@dataclass(frozen=True, kw_only=True)
class SecondAgeing:
    """All draws of the second ageing model.

    Attributes:
        dirt: Of dirt, hair and lint.
        scratches: Of scratches of one frame.
        lines: Of lines along the film.
        blotches: Of blotches.
        standing: Of what stays at one place of the frame.
        carrier: Of what the whole frame goes through.
        visibility: From which change on a pixel counts.
    """

    dirt: DirtDraws = field(default_factory=DirtDraws)
    scratches: ScratchDraws = field(default_factory=ScratchDraws)
    lines: LineDraws = field(default_factory=LineDraws)
    blotches: BlotchDraws = field(default_factory=BlotchDraws)
    standing: StandingDraws = field(default_factory=StandingDraws)
    carrier: CarrierDraws = field(default_factory=CarrierDraws)
    visibility: Visibility = field(default_factory=Visibility)
