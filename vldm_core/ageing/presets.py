"""Ready-made settings: three degrees of wear, and the looks of the decades and of two kinds of film."""

from collections.abc import Mapping
from types import MappingProxyType

from .codec import CodecModel
from .defects.blotches import BlotchModel
from .defects.cue_marks import CueModel
from .defects.dirt import DirtModel
from .defects.hair import HairModel
from .defects.scratches import LineModel
from .defects.splices import SpliceModel
from .defects.stains import StainModel
from .defects.tears import TearModel
from .look.aperture import ApertureModel
from .look.cadence import CadenceModel
from .look.emulsion import EmulsionModel
from .look.exposure import FlickerModel
from .look.fading import FadingModel
from .look.grain import GrainModel
from .look.softness import SoftnessModel
from .look.vignette import VignetteModel
from .look.weave import WeaveModel
from .mixing import MixingModel

Models = Mapping[str, object]
"""Models by the name of the attribute of `SimulationSettings` that they are for; the others keep their defaults."""


def _models(base: Models | None = None, /, **models: object) -> Models:
    """Return the models of a preset, or those of another with some changed; None leaves a defect out."""
    return MappingProxyType({**(base or {}), **models})


_WEAR: dict[str, Models] = {
    "light": _models(
        camera_weave=WeaveModel(horizontal=0.15, vertical=0.25, rotation=0.01),
        flicker=FlickerModel(gain=0.01, gamma=0.005, spatial=0.01),
        fading=FadingModel(contrast=(0.95, 0.95, 0.95), offset=(0.01, 0.01, 0.01), drift=0.01),
        lines=LineModel(count=0.6, depth=(2.0, 20.0), width=(1.0, 3.0)),
        blotches=BlotchModel(rate=0.03),
        dirt=DirtModel(rate=6.0, median_size=3.5),
        hair=HairModel(transient_rate=0.09, gate_count=0.06),
        grain=GrainModel(sigma=1.5, correlation=0.8),
    ),
    "worn": _models(),
    "heavy": _models(
        camera_weave=WeaveModel(horizontal=0.9, vertical=1.6, rotation=0.06),
        flicker=FlickerModel(gain=0.07, gamma=0.04, spatial=0.06, rho=0.5),
        fading=FadingModel(contrast=(0.75, 0.75, 0.75), offset=(0.06, 0.06, 0.06), drift=0.04),
        lines=LineModel(count=4.0),
        blotches=BlotchModel(rate=0.6, opacity=(0.1, 0.7)),
        dirt=DirtModel(rate=55.0, median_size=5.0, spread=0.7),
        hair=HairModel(transient_rate=0.9, gate_count=0.6),
        grain=GrainModel(sigma=6.0, correlation=1.6),
        scanner_weave=WeaveModel(horizontal=0.2, vertical=0.3, rotation=0.01),
    ),
}


def _tint(red: float, green: float, blue: float, contrast: float = 0.85, drift: float = 0.02) -> FadingModel:
    """Fading to one contrast with a density on each channel."""
    return FadingModel(contrast=(contrast,) * 3, offset=(red, green, blue), drift=drift)


# Silent film was shot by hand on orthochromatic stock without a backing, and has been copied since. The strengths of
# flicker, weave, grain and dirt lie in the ranges measured on real films of the time, strongest first.
_SILENT = _models(
    camera_weave=WeaveModel(horizontal=0.7, vertical=1.3, rotation=0.05, rho=0.4),
    vignette=VignetteModel(strength=(0.25, 0.4)),
    flicker=FlickerModel(gain=0.06, gamma=0.03, spatial=0.05, rho=0.35),
    emulsion=EmulsionModel(response="orthochromatic", contrast=0.55, halation=0.2, radius=8),
    fading=_tint(0.05, 0.05, 0.05, contrast=0.85),
    aperture=ApertureModel(border=(0.0, 0.03), corner=(0.04, 0.09)),
    lines=LineModel(count=3.0),
    tears=TearModel(count=0.2),
    blotches=BlotchModel(rate=0.5, opacity=(0.1, 0.6)),
    stains=StainModel(rate=0.02),
    dirt=DirtModel(rate=45, median_size=5.0, spread=0.65),
    hair=HairModel(transient_rate=0.5, gate_count=0.33),
    splices=SpliceModel(rate=1 / 150),
    grain=GrainModel(sigma=6.5, correlation=1.6, density=True),
    scanner_weave=WeaveModel(horizontal=0.3, vertical=0.5, rotation=0.01),
    lens=SoftnessModel(blur=(0.9, 1.6), scale=(0.7, 1.0)),
    softness=SoftnessModel(blur=(0.3, 0.6), scale=(0.8, 1.0)),
)

# Sound film: motor-driven cameras, panchromatic stock, better copies.
_SOUND = _models(
    camera_weave=WeaveModel(horizontal=0.3, vertical=0.5, rotation=0.02),
    vignette=VignetteModel(strength=(0.1, 0.25)),
    flicker=FlickerModel(gain=0.025, gamma=0.01, spatial=0.025, rho=0.4),
    emulsion=EmulsionModel(response="panchromatic", contrast=0.35, halation=0.08),
    fading=_tint(0.03, 0.03, 0.03, contrast=0.92),
    aperture=ApertureModel(border=(0.0, 0.012), corner=(0.02, 0.05)),
    lines=LineModel(count=1.5),
    tears=TearModel(count=0.05),
    blotches=BlotchModel(rate=0.15),
    stains=StainModel(rate=0.004),
    dirt=DirtModel(rate=20),
    hair=HairModel(transient_rate=0.3, gate_count=0.2),
    splices=SpliceModel(rate=1 / 400),
    cues=CueModel(),
    grain=GrainModel(sigma=4.0, correlation=1.3, density=True),
    scanner_weave=WeaveModel(horizontal=0.15, vertical=0.25, rotation=0.01),
    lens=SoftnessModel(blur=(0.4, 0.9), scale=(1.0, 1.0)),
    softness=SoftnessModel(blur=(0.3, 0.5), scale=(0.85, 1.0)),
)

# Seen today mostly through a video transfer: fields, and the codec of a disc.
_VIDEO = _models(
    _SOUND,
    emulsion=EmulsionModel(contrast=0.15, halation=0.06),
    flicker=FlickerModel(gain=0.01, gamma=0.005, spatial=0.02, rho=0.4),
    fading=FadingModel(contrast=(0.72, 0.88, 0.84), offset=(-0.01, 0.05, 0.03), drift=0.02),
    lines=LineModel(count=0.9, depth=(2.0, 40.0)),
    tears=None,
    stains=None,
    dirt=DirtModel(rate=9, median_size=3.8),
    grain=GrainModel(sigma=3.5, correlation=1.0, colour=0.6, density=True),
    mixing=MixingModel(kind="fields", probability=0.1),
    softness=SoftnessModel(blur=(0.4, 0.7), scale=(0.7, 0.9)),
    codec=CodecModel(codec="mpeg2", quality=(3, 9)),
)

_ERAS: dict[str, Models] = {
    # The first films: perforated by hand, cranked without a register pin, and the oldest prints of all.
    "1890s": _models(
        _SILENT,
        camera_weave=WeaveModel(horizontal=0.9, vertical=1.7, rotation=0.06, rho=0.35),
        flicker=FlickerModel(gain=0.07, gamma=0.035, spatial=0.06, rho=0.3),
        lines=LineModel(count=3.5),
        tears=TearModel(count=0.25),
        blotches=BlotchModel(rate=0.6, opacity=(0.1, 0.65)),
        stains=StainModel(rate=0.03),
        dirt=DirtModel(rate=50, median_size=5.2, spread=0.65),
        grain=GrainModel(sigma=7.0, correlation=1.7, density=True),
        lens=SoftnessModel(blur=(1.0, 1.8), scale=(0.65, 0.95)),
    ),
    "1900s": _SILENT,
    # Copied for sound-film projectors at 24 frames a second from 16, with every other frame twice.
    "1910s": _models(
        _SILENT,
        camera_weave=WeaveModel(horizontal=0.6, vertical=1.1, rotation=0.04, rho=0.4),
        flicker=FlickerModel(gain=0.05, gamma=0.025, spatial=0.04, rho=0.4),
        fading=_tint(0.0, 0.06, 0.16, contrast=0.85),
        tears=TearModel(count=0.15),
        dirt=DirtModel(rate=35, median_size=5.0),
        grain=GrainModel(sigma=6.0, correlation=1.5, density=True),
        cadence=CadenceModel(duplicates=1 / 3),
    ),
    "1920s": _models(
        _SILENT,
        camera_weave=WeaveModel(horizontal=0.5, vertical=0.9, rotation=0.03),
        vignette=VignetteModel(strength=(0.2, 0.35)),
        flicker=FlickerModel(gain=0.04, gamma=0.02, spatial=0.035, rho=0.4),
        emulsion=EmulsionModel(response="orthochromatic", contrast=0.5, halation=0.18),
        fading=_tint(0.0, 0.03, 0.09, contrast=0.9),
        lines=LineModel(count=2.5),
        tears=TearModel(count=0.1),
        blotches=BlotchModel(rate=0.35),
        stains=StainModel(rate=0.015),
        dirt=DirtModel(rate=30),
        grain=GrainModel(sigma=5.0, correlation=1.5, density=True),
        lens=SoftnessModel(blur=(0.7, 1.3), scale=(0.8, 1.0)),
    ),
    "1930s": _models(
        _SOUND,
        flicker=FlickerModel(gain=0.03, gamma=0.012, spatial=0.03, rho=0.4),
        lines=LineModel(count=2.0),
        dirt=DirtModel(rate=25),
        grain=GrainModel(sigma=4.5, correlation=1.4, density=True),
    ),
    "1940s": _SOUND,
    # Three-colour film printed in dyes: dense and warm, registered a little apart.
    "1950s": _models(
        _SOUND,
        emulsion=EmulsionModel(contrast=0.3, halation=0.08),
        flicker=FlickerModel(gain=0.018, gamma=0.008, spatial=0.02, rho=0.4),
        fading=FadingModel(contrast=(0.92, 0.96, 0.9), offset=(-0.02, 0.02, 0.07), drift=0.02),
        lines=LineModel(count=1.2),
        dirt=DirtModel(rate=14, median_size=4.0),
        grain=GrainModel(sigma=3.0, correlation=1.2, colour=0.4, density=True),
    ),
    # Eastman colour, whose cyan dye fades first: the picture turns pink and flat.
    "1960s": _models(
        _SOUND,
        emulsion=EmulsionModel(contrast=0.2, halation=0.05),
        flicker=FlickerModel(gain=0.012, gamma=0.006, spatial=0.02, rho=0.4),
        fading=FadingModel(contrast=(0.6, 0.85, 0.8), offset=(-0.02, 0.07, 0.04), drift=0.03),
        lines=LineModel(count=1.2),
        stains=None,
        dirt=DirtModel(rate=12, median_size=4.0),
        grain=GrainModel(sigma=3.0, correlation=1.1, colour=0.5, density=True),
    ),
    "1970s": _VIDEO,
    # Dyes that last, finer grain, cleaner laboratories.
    "1980s": _models(
        _VIDEO,
        flicker=FlickerModel(gain=0.01, gamma=0.004, spatial=0.015, rho=0.4),
        fading=FadingModel(contrast=(0.88, 0.95, 0.93), offset=(0.0, 0.02, 0.015), drift=0.01),
        lines=LineModel(count=0.7, depth=(2.0, 35.0)),
        dirt=DirtModel(rate=6, median_size=3.6),
        grain=GrainModel(sigma=3.0, correlation=1.0, colour=0.6, density=True),
    ),
    "1990s": _models(
        _VIDEO,
        camera_weave=WeaveModel(horizontal=0.15, vertical=0.25, rotation=0.01),
        flicker=FlickerModel(gain=0.01, gamma=0.003, spatial=0.01, rho=0.4),
        fading=FadingModel(contrast=(0.95, 0.98, 0.97), offset=(0.005, 0.01, 0.01), drift=0.005),
        lines=LineModel(count=0.4, depth=(2.0, 30.0)),
        dirt=DirtModel(rate=5, median_size=3.4),
        splices=None,
        grain=GrainModel(sigma=2.5, correlation=0.9, colour=0.5, density=True),
        softness=SoftnessModel(blur=(0.3, 0.6), scale=(0.75, 0.95)),
    ),
    # Reversal film of tiny frames in warm colours, dirty, with hair in the gate, filmed off a wall.
    "8mm amateur": _models(
        _SOUND,
        camera_weave=WeaveModel(horizontal=0.9, vertical=1.5, rotation=0.06),
        vignette=VignetteModel(strength=(0.25, 0.4)),
        flicker=FlickerModel(gain=0.04, gamma=0.015, spatial=0.05, rho=0.5),
        emulsion=EmulsionModel(contrast=0.45, halation=0.15),
        fading=FadingModel(contrast=(0.85, 0.95, 0.9), offset=(-0.03, 0.04, 0.1), drift=0.04),
        aperture=ApertureModel(border=(0.01, 0.05), corner=(0.06, 0.1), softness=5, roughness=1.2),
        lines=LineModel(count=3.0, width=(1.0, 4.0)),
        blotches=BlotchModel(rate=0.3),
        stains=StainModel(rate=0.01),
        dirt=DirtModel(rate=40, median_size=5.5, white_share=0.3),
        hair=HairModel(transient_rate=0.6, gate_count=0.4, width=(1.5, 3.5)),
        splices=SpliceModel(rate=1 / 120, dropped=(1, 4), thickness=(3, 8)),
        cues=None,
        grain=GrainModel(sigma=7.5, correlation=2.0, colour=0.5, density=True),
        cadence=CadenceModel(duplicates=0.25),
        mixing=MixingModel(kind="blend", probability=0.15),
        lens=SoftnessModel(blur=(1.3, 2.0), scale=(0.6, 0.8)),
        softness=SoftnessModel(blur=(0.4, 0.8), scale=(0.6, 0.85)),
        codec=CodecModel(codec="h264", quality=(18, 28)),
    ),
    # Duplicated many times in haste: steep, coarse, scratched, and compressed for an archive's web page.
    "newsreel": _models(
        _SOUND,
        camera_weave=WeaveModel(horizontal=0.5, vertical=0.9, rotation=0.04),
        flicker=FlickerModel(gain=0.035, gamma=0.015, spatial=0.03, rho=0.4),
        emulsion=EmulsionModel(response="panchromatic", contrast=0.9, halation=0.1),
        lines=LineModel(count=4.0),
        tears=TearModel(count=0.12),
        blotches=BlotchModel(rate=0.3),
        dirt=DirtModel(rate=40),
        splices=SpliceModel(rate=1 / 90),
        grain=GrainModel(sigma=6.0, correlation=1.6, density=True),
        lens=SoftnessModel(blur=(0.8, 1.4), scale=(0.7, 0.9)),
        softness=SoftnessModel(blur=(0.3, 0.6), scale=(0.75, 0.95)),
        codec=CodecModel(codec="h264", quality=(18, 28)),
    ),
}

PRESET_MODELS: Mapping[str, Models] = MappingProxyType({**_WEAR, **_ERAS})
"""The models of every preset by its name, see `settings.PRESETS`."""
