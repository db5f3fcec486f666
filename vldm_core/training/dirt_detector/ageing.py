"""How the shots are aged that the dirt detector learns from."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ...ageing import (
    BlotchModel,
    CadenceModel,
    CinchModel,
    CodecModel,
    DirtModel,
    FadingModel,
    FlickerModel,
    GrainModel,
    HairModel,
    LineModel,
    SheetModel,
    SimulationSettings,
    SoftnessModel,
    WeaveModel,
)
from ...ageing.validation import require_ranges

Span = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class DirtAgeing:
    """Share of shots that have each defect, and from how much to how much of it.

    The ranges hold what real films were measured to have and reach beyond it on both sides, since a network is sure
    only of what lies well within its examples. Spans are drawn log-uniformly unless it says otherwise; shares are of
    all shots, or of the dirty ones for what is dirt. Lengths are for 480 lines and are multiplied by `zoom`.

    Attributes:
        zoom: Factor on lengths: films have more or fewer lines than these shots.
        weave_share: Shots that weave in the camera gate.
        weave_horizontal: Standard deviation, px.
        weave_vertical: The same.
        weave_rotation: Standard deviation, degrees.
        lens_share: Shots with a soft lens.
        flicker_share: Shots that flicker.
        flicker_gain: Standard deviation of the gain.
        flicker_gamma: Of the logarithm of gamma.
        flicker_spatial: Of the gain field.
        fading_share: Faded shots.
        fading_contrast: Factor on the density; uniform.
        fading_offset: Density that is added; uniform.
        scratch_share: Shots with scratches that last, which are not dirt.
        scratch_count: Scratches seen in a frame.
        cinch_share: Shots with scratches of one frame.
        cinch_rate: Of these per frame.
        cinch_faintest: Depth of the faintest, deviations of the grain; none is fainter than 4 grey levels.
        blotch_share: Shots with blotches.
        blotch_rate: Blotches per frame.
        blotch_faintest: Change that the faintest make on mid-grey, deviations of the grain; at least 4 grey levels.
        blotch_densest: Opacity of the strongest.
        dirt_rate: Particles per frame.
        dirt_size: Median of the diameter, px.
        faint_share: Shots whose faintest dirt has an opacity of 0.15 and not of 0.4.
        lasting: Share of particles that stay for two or three frames.
        hair_share: Shots with hair.
        hair_rate: Hairs per frame.
        sheet_share: Shots with whole scans of damage, where a folder of shapes is given.
        sheet_rate: Scans of each kind per frame.
        mixed_share: Shots whose damage mixes with the picture in all the ways and not as on film alone.
        grain_sigma: Strength, grey levels.
        grain_correlation: Length, px.
        density_share: Shots whose grain disturbs the density and not the brightness.
        scanner_share: Shots that weave in the scanner gate, dirt and all.
        cadence_share: Shots with repeated frames.
        softness_share: Softly scanned shots.
        codec_share: Compressed shots.
        jpeg_share: Share of these whose frames are compressed one by one.
    """

    zoom: Span = (0.6, 2.2)
    weave_share: float = 0.5
    weave_horizontal: Span = (0.1, 1.2)
    weave_vertical: Span = (0.15, 1.8)
    weave_rotation: Span = (0.005, 0.06)
    lens_share: float = 0.3
    flicker_share: float = 0.6
    flicker_gain: Span = (0.008, 0.08)
    flicker_gamma: Span = (0.004, 0.04)
    flicker_spatial: Span = (0.008, 0.06)
    fading_share: float = 0.3
    fading_contrast: Span = (0.7, 1.0)
    fading_offset: Span = (0.0, 0.08)
    scratch_share: float = 0.35
    scratch_count: Span = (0.5, 4.0)
    cinch_share: float = 0.7
    cinch_rate: Span = (0.5, 4.0)
    cinch_faintest: float = 0.9
    blotch_share: float = 0.7
    blotch_rate: Span = (0.4, 3.0)
    blotch_faintest: float = 2.0
    blotch_densest: Span = (0.2, 1.0)
    dirt_rate: Span = (5.0, 60.0)
    dirt_size: Span = (3.0, 6.0)
    faint_share: float = 0.4
    lasting: Span = (0.03, 0.2)
    hair_share: float = 0.6
    hair_rate: Span = (0.2, 2.0)
    sheet_share: float = 0.5
    sheet_rate: Span = (0.15, 1.2)
    mixed_share: float = 0.6
    grain_sigma: Span = (0.8, 8.0)
    grain_correlation: Span = (0.8, 2.2)
    density_share: float = 0.5
    scanner_share: float = 0.2
    cadence_share: float = 0.06
    softness_share: float = 0.4
    codec_share: float = 0.35
    jpeg_share: float = 0.3

    def __post_init__(self) -> None:
        spans = [name for name, value in asdict(self).items() if isinstance(value, tuple)]
        uniform = ("fading_contrast", "fading_offset")
        require_ranges("ageing", self, 500, logarithmic=[name for name in spans if name not in uniform])


_FAINTEST = 4.0  # grey levels
_FILM_ONLY = (1.0, 0.0, 0.0)


def draw_ageing(
    stream: np.random.Generator,
    ageing: DirtAgeing,
    textures: Path | None,
    *,
    clean_share: float,
    texture_share: float,
) -> SimulationSettings:
    """Draw how a shot is aged.

    Args:
        stream: Random stream.
        ageing: Shares and ranges.
        textures: Folder of scanned shapes, see `SimulationSettings.textures`.
        clean_share: Share of shots without dirt.
        texture_share: Share of shots whose dirt has the shapes of the folder.
    """

    def happens(share: float) -> bool:
        return bool(stream.random() < share)

    def spread(span: Span) -> float:
        low, high = span
        return float(low * (high / low) ** stream.random())

    zoom = spread(ageing.zoom)
    dirty = not happens(clean_share)
    opacity = (0.15, 1.0) if happens(ageing.faint_share) else (0.4, 1.0)
    grain = spread(ageing.grain_sigma)
    blends = tuple(float(share) for share in stream.dirichlet((1, 1, 1))) if happens(ageing.mixed_share) else _FILM_ONLY
    shaped = textures is not None and dirty
    sheets = (
        SheetModel(
            rates=tuple(spread(ageing.sheet_rate) for _ in range(4)),  # type: ignore[arg-type]
            zoom=(0.25 * zoom, 1.0 * zoom),
            opacity=(0.1 if happens(ageing.faint_share) else 0.3, 1.0),
            white_share=stream.uniform(0.2, 0.8),
            blends=blends,
        )
        if shaped and happens(ageing.sheet_share)
        else None
    )
    return SimulationSettings(
        camera_weave=WeaveModel(
            horizontal=spread(ageing.weave_horizontal) * zoom,
            vertical=spread(ageing.weave_vertical) * zoom,
            rotation=spread(ageing.weave_rotation),
        )
        if happens(ageing.weave_share)
        else None,
        lens=SoftnessModel(blur=(0.4, 1.6), scale=(0.7, 1.0)) if happens(ageing.lens_share) else None,
        flicker=FlickerModel(
            gain=spread(ageing.flicker_gain), gamma=spread(ageing.flicker_gamma), spatial=spread(ageing.flicker_spatial)
        )
        if happens(ageing.flicker_share)
        else None,
        fading=FadingModel(
            contrast=(stream.uniform(*ageing.fading_contrast),) * 3, offset=(stream.uniform(*ageing.fading_offset),) * 3
        )
        if happens(ageing.fading_share)
        else None,
        lines=LineModel(count=spread(ageing.scratch_count), shares=(0.65, 0.35, 0.0))
        if happens(ageing.scratch_share)
        else None,
        blotches=BlotchModel(
            rate=spread(ageing.blotch_rate),
            size=(10 * zoom, 90 * zoom),
            # Opacity changes mid-grey by half of itself.
            opacity=_rising(2 * max(_FAINTEST, ageing.blotch_faintest * grain) / 255, spread(ageing.blotch_densest)),
            hard_share=stream.uniform(0, 0.6),
            blends=blends,
        )
        if dirty and happens(ageing.blotch_share)
        else None,
        dirt=DirtModel(
            rate=spread(ageing.dirt_rate),
            size=(2.0 * min(zoom, 1.0), 25.0 * zoom),
            median_size=spread(ageing.dirt_size) * zoom,
            opacity=opacity,
            lasting_share=spread(ageing.lasting),
            blends=blends,
        )
        if dirty
        else None,
        hair=HairModel(
            transient_rate=spread(ageing.hair_rate), gate_count=0, width=(1.0 * zoom, 2.4 * zoom), blends=blends
        )
        if dirty and happens(ageing.hair_share)
        else None,
        cinches=CinchModel(
            rate=spread(ageing.cinch_rate),
            depth=_rising(max(_FAINTEST, ageing.cinch_faintest * grain), 100.0),
            width=(1.0, 4.0 * max(zoom, 1.0)),
            bright_share=stream.uniform(0.2, 0.9),
            blends=blends,
        )
        if dirty and happens(ageing.cinch_share)
        else None,
        grain=GrainModel(
            sigma=grain,
            correlation=spread(ageing.grain_correlation) * zoom,
            density=happens(ageing.density_share),
        ),
        scanner_weave=WeaveModel(horizontal=0.3, vertical=0.5, rotation=0.01)
        if happens(ageing.scanner_share)
        else None,
        cadence=CadenceModel(duplicates=0.25, regular=happens(0.5)) if happens(ageing.cadence_share) else None,
        softness=SoftnessModel(blur=(0.3, 1.0), scale=(0.7, 1.0)) if happens(ageing.softness_share) else None,
        codec=_draw_codec(stream, ageing.jpeg_share) if happens(ageing.codec_share) else None,
        sheets=sheets,
        textures=textures if sheets is not None or happens(texture_share) else None,
    )


def _rising(low: float, high: float) -> Span:
    return min(low, high), high


def _draw_codec(stream: np.random.Generator, jpeg_share: float) -> CodecModel:
    if stream.random() < jpeg_share:
        return CodecModel(codec="jpeg", quality=(50, 95))
    return CodecModel(codec="h264", quality=(14, 28))
