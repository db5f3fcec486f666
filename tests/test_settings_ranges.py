"""Every setting that has a range refuses what lies outside it and what is not a number, and says which one and what."""

import dataclasses
import importlib
import pkgutil

import pytest

import vldm_core
from vldm_core.ageing.codec import CodecModel
from vldm_core.ageing.defects.blotches import BlotchModel
from vldm_core.ageing.defects.cinch_marks import CinchModel
from vldm_core.ageing.defects.cue_marks import CueModel
from vldm_core.ageing.defects.dirt import DirtModel
from vldm_core.ageing.defects.hair import HairModel
from vldm_core.ageing.defects.scratches import LineModel
from vldm_core.ageing.defects.splices import SpliceModel
from vldm_core.ageing.defects.stains import StainModel
from vldm_core.ageing.defects.tears import TearModel
from vldm_core.ageing.defects.texture_folder import SheetModel
from vldm_core.ageing.look.aperture import ApertureModel
from vldm_core.ageing.look.cadence import CadenceModel
from vldm_core.ageing.look.emulsion import EmulsionModel
from vldm_core.ageing.look.exposure import FlickerModel
from vldm_core.ageing.look.fading import FadingModel
from vldm_core.ageing.look.grain import GrainModel
from vldm_core.ageing.look.softness import SoftnessModel
from vldm_core.ageing.look.vignette import VignetteModel
from vldm_core.ageing.look.weave import WeaveModel
from vldm_core.ageing.mixing import MixingModel
from vldm_core.data.clean_shots import MaterialSettings
from vldm_core.data.degraded_clips import PairSettings
from vldm_core.data.structure import UprightSettings
from vldm_core.decode.chunks import ChunkSettings
from vldm_core.decode.colour import ColourSettings
from vldm_core.decode.fusion import FusionSettings
from vldm_core.decode.memory_fallback import DecodeSettings
from vldm_core.decode.regrain import RegrainSettings
from vldm_core.film.defect_map import LEAST_CONTRAST, MapSettings
from vldm_core.film.dirt.detection import DirtSettings
from vldm_core.film.fill.repair import DirtRepairSettings
from vldm_core.film.flicker.removal import FlickerSettings
from vldm_core.film.masks import MaskEdit
from vldm_core.film.motion.shot import MotionSettings
from vldm_core.film.scratches.repair.repair import ScratchRepairSettings
from vldm_core.film.scratches.settings import ScratchSettings
from vldm_core.film.splices.detection import SpliceSettings
from vldm_core.film.standing.detection import StandingSettings
from vldm_core.film.temporal.averaging import AveragingSettings
from vldm_core.film.temporal.neighbours import NeighbourSettings
from vldm_core.film.weave.stabilise import StabiliseSettings
from vldm_core.prerestore.image_model import FrameSettings
from vldm_core.prerestore.restore_images import ImageModelSettings
from vldm_core.prerestore.run import PreRestoreSettings
from vldm_core.prerestore.shipped import PreRestoration
from vldm_core.prior.controls.pasd.windows import PixelAttentionWindows
from vldm_core.prior.controls.settings import ControlSettings
from vldm_core.prior.finish import FinishSettings
from vldm_core.prior.onestep.run.settings import OneStepSettings
from vldm_core.prior.onestep.tiles import PublishedTiles
from vldm_core.prior.temporal.animatediff import MotionModuleSettings
from vldm_core.prior.temporal.attention import AttentionWindows
from vldm_core.reel.prior_company import ReelControl
from vldm_core.reel.resumable.run import RunSettings
from vldm_core.reel.with_prior.settings import PriorReelSettings
from vldm_core.sampling.cfg import CfgSettings
from vldm_core.sampling.consistency import ConsistencySettings
from vldm_core.sampling.guidance import GuidanceSettings
from vldm_core.sampling.noise.clip_noise import VideoNoiseSettings
from vldm_core.sampling.noise.freeinit import FreeInitSettings
from vldm_core.sampling.propagation import PropagationSettings
from vldm_core.sampling.regions.tiles import TileSettings
from vldm_core.sampling.regions.windows import WindowSettings
from vldm_core.sampling.start import StartSettings
from vldm_core.semantics.key_frames import KeyFrameSettings
from vldm_core.semantics.recognition.era import EraSettings
from vldm_core.semantics.recognition.tags import TagSettings
from vldm_core.semantics.table.sheet import SheetSettings
from vldm_core.video.flow import FlowSettings
from vldm_core.video.geometry import FitSettings
from vldm_core.video.shots import ShotSettings
from vldm_core.video.tiles import PictureTileSettings
from vldm_core.video.writing.encoding import WriteSettings

from .testers import Pair, Range, above, at_least, between, check_range, numeric_fields, share_below_one

# With the other settings at their defaults, which some ranges depend on.
RANGES: dict[type, dict[str, Range | Pair]] = {
    CodecModel: {
        "quality": Pair(between(1, 51)),
    },
    BlotchModel: {
        "rate": between(0, 20),
        "size": Pair(between(4, 400)),
        "opacity": Pair(between(0, 1)),
        "white_share": between(0, 1),
        "hard_share": between(0, 1),
    },
    CinchModel: {
        "rate": between(0, 20),
        "depth": Pair(between(0.5, 255)),
        "width": Pair(between(1, 50)),
        "length": Pair(between(0.01, 4)),
        "bright_share": between(0, 1),
        "steep_share": between(0, 1),
        "sheaf_share": between(0, 1),
        "largest_bend": between(0, 1),
        "largest_gaps": between(0, 0.9),
    },
    SheetModel: {
        "zoom": Pair(between(0.01, 10)),
        "opacity": Pair(between(0.01, 1)),
        "white_share": between(0, 1),
    },
    CueModel: {
        "rate": between(0, 0.2),
        "size": Pair(between(3, 100)),
        "scratched_share": between(0, 1),
    },
    DirtModel: {
        "rate": between(0, 500),
        "size": Pair(between(1, 200)),
        "median_size": between(2, 25),
        "spread": between(0, 2),
        "opacity": Pair(between(0, 1)),
        "lasting_share": between(0, 1),
        "cluster_share": between(0, 1),
    },
    HairModel: {
        "transient_rate": between(0, 20),
        "gate_count": between(0, 10),
        "length": Pair(between(4, 2000)),
        "width": Pair(between(0.5, 20)),
        "opacity": Pair(between(0, 1)),
        "white_share": between(0, 1),
        "sway": between(0, 20),
    },
    LineModel: {
        "count": between(0, 20),
        "depth": Pair(between(0.5, 255)),
        "width": Pair(between(1, 50)),
        "bright_share": between(0, 1),
        "double_edge_share": between(0, 1),
        "largest_tilt": between(0, 5),
        "jitter": between(0, 5),
        "largest_gaps": between(0, 0.9),
    },
    SpliceModel: {
        "rate": between(0, 0.5),
        "dropped": Pair(between(0, 48)),
        "jump": Pair(between(0, 60)),
        "thickness": Pair(between(0.5, 60)),
        "bright_share": between(0, 1),
    },
    StainModel: {
        "rate": between(0, 1),
        "area": Pair(between(0.001, 0.6)),
        "life": Pair(between(1, 200)),
        "opacity": Pair(between(0, 1)),
        "white_share": between(0, 1),
        "mould_share": between(0, 1),
    },
    TearModel: {
        "count": between(0, 10),
        "width": Pair(between(1, 50)),
        "white_share": between(0, 1),
        "ragged": between(0, 1),
        "largest_gaps": between(0, 0.9),
    },
    ApertureModel: {
        "border": Pair(between(0, 0.2)),
        "corner": Pair(between(0, 0.5)),
        "softness": between(0.5, 30),
        "roughness": between(0, 5),
        "level": between(0, 0.3),
    },
    CadenceModel: {
        "duplicates": between(0, 0.85),
        "missing": between(0, 0.5),
        "gap": Pair(between(1, 48)),
    },
    EmulsionModel: {
        "contrast": between(-0.5, 1),
        "halation": between(0, 0.5),
        "radius": between(0.5, 60),
    },
    FlickerModel: {
        "gain": between(0, 0.3),
        "gamma": between(0, 0.3),
        "spatial": between(0, 0.3),
        "rho": between(0, 0.98),
    },
    FadingModel: {
        "drift": between(0, 0.3),
        "drift_period": between(2, 1000000),
    },
    GrainModel: {
        "sigma": between(0, 40),
        "correlation": between(0.3, 10),
        "colour": between(0, 1),
    },
    SoftnessModel: {
        "blur": Pair(between(0, 10)),
        "scale": Pair(between(0.1, 1)),
    },
    VignetteModel: {
        "strength": Pair(between(0, 0.8)),
        "power": between(1, 8),
        "offset": between(0, 0.3),
    },
    WeaveModel: {
        "horizontal": between(0, 20),
        "vertical": between(0, 20),
        "rotation": between(0, 2),
        "rho": between(0, 0.98),
    },
    MixingModel: {
        "probability": between(0, 1),
        "share": Pair(between(0, 0.5)),
    },
    MaterialSettings: {
        "clip_share": between(0, 1),
        "clip_steps": at_least(1),
        "clip_move_share": between(0, 1),
        "locked_share": between(0, 1),
        "speed": Pair(above(0, 200)),
        "zoom_share": between(0, 1),
        "turn_share": between(0, 1),
        "shake_share": between(0, 1),
        "shake": Pair(above(0, 20)),
        "object_share": between(0, 1),
        "objects": at_least(1),
        "object_size": Pair(above(0, 1)),
        "object_speed": Pair(above(0, 200)),
        "upright_share": between(0, 1),
        "uprights": at_least(1),
        "shutter": Pair(above(0, 1)),
        "reduction": at_least(1),
        "grey_share": between(0, 1),
        "gamma": Pair(above(0, 5)),
        "film_lines": at_least(1),
        "photo_side": at_least(1),
        "memory": at_least(1),
    },
    UprightSettings: {
        "fence_share": between(0, 1),
        "spacing": Pair(between(0, 255)),
        "width": Pair(between(1e-3, 255)),
        "depth": Pair(between(1e-3, 255)),
        "slope": between(0, 255),
        "shade": between(0, 255),
    },
    PairSettings: {
        "frames": at_least(1),
        "height": at_least(16),
        "width": at_least(16),
        "windows": between(1, 1),
        "reel": at_least(1),
    },
    ChunkSettings: {
        "frames": between(1, 4096),
        "halo": between(0, 4096),
    },
    ColourSettings: {
        "strength": between(0, 1),
        "period": at_least(2),
    },
    FusionSettings: {
        "weight": between(0, 1),
        "cutoff": between(0.3, 128),
        "detail": between(0, 4),
        "grow": between(0, 64),
        "feather": between(0, 64),
    },
    DecodeSettings: {
        "halo": between(0, 4096),
    },
    RegrainSettings: {
        "strength": between(0, 2),
        "seed": at_least(0),
    },
    DirtSettings: {
        "certainty": share_below_one(),
        "min_size": at_least(1),
        "grow": between(0, 16),
        "lifetime": between(1, 3),
    },
    DirtRepairSettings: {
        "reach": between(1, 5),
        "feather": between(0, 8),
        "grain": between(0, 1),
    },
    AveragingSettings: {
        "strength": between(0, 1),
        "reach": between(0, 3),
        "keep_grain": between(0, 1),
    },
    NeighbourSettings: {
        "reach": between(1, 3),
    },
    FlickerSettings: {
        "strength": between(0, 1),
        "period": between(4, 1000),
        "flash": between(1.1, 10),
    },
    MapSettings: {
        "clean": between(0, 1 - LEAST_CONTRAST),
        "damaged": between(LEAST_CONTRAST, 1),
        "threshold": above(0, 1),
        "grow": between(0, 16),
    },
    MaskEdit: {
        "threshold": above(0, 1),
        "min_size": at_least(0),
        "grow": between(-128, 128),
        "hold": between(0, 100),
        "feather": between(0, 128),
    },
    RunSettings: {"length": at_least(1), "workers": at_least(1)},
    ScratchRepairSettings: {
        "rows": between(8, 400),
        "grain": between(0, 1),
    },
    ScratchSettings: {
        "sensitivity": between(10, 200),
        "min_depth": between(0, 255),
        "max_tilt": between(0, 10),
        "min_frames": between(2, 48),
        "grow": between(0, 20),
        "certainty": between(0, 1),
    },
    SpliceSettings: {
        "depth": between(4, 100),
        "coverage": between(0.6, 0.95),
    },
    StandingSettings: {
        "certainty": between(0.4, 1),
        "depth": between(2, 100),
    },
    StabiliseSettings: {
        "strength": between(0, 1),
        "period": between(4, 1000),
        "max_shift": between(0, 200),
        "max_angle": between(0, 5),
        "least_weave": between(0, 5),
    },
    FrameSettings: {
        "short_side": between(0, 4096),
    },
    ImageModelSettings: {
        "short_side": between(0, 4096),
        "strength": between(0, 1),
        "keep_grain": between(0, 1),
        "temporal": between(0, 0.9),
        "in_masks": between(0, 1),
    },
    PreRestoreSettings: {
        "strength": between(0, 1),
        "keep_grain": between(0, 1),
        "segment": between(1, 256),
        "lookahead": between(0, 256),
    },
    PreRestoration: {
        "strength": between(0, 1),
        "keep_grain": between(0, 1),
        "segment": between(1, 256),
        "lookahead": between(0, 256),
    },
    MotionSettings: {
        "working_side": at_least(64),
        "held_bytes": at_least(1),
    },
    MotionModuleSettings: {
        "strength": between(0, 10),
    },
    AttentionWindows: {
        "length": at_least(5),
        "stride": between(1, 15),
    },
    PriorReelSettings: {
        "most_frames": at_least(12),
        "fusion_weight": between(0, 1),
    },
    ControlSettings: {
        "strength": between(0, 10),
        "start": between(0, 1),
        "end": between(0, 1),
        "in_damage": between(0, 1),
        "reuse": between(1, 16),
        "pixel_window": at_least(0),
    },
    OneStepSettings: {
        "scored_frames": between(1, 1000),
    },
    PublishedTiles: {
        "size": at_least(64),
        "overlap": between(0, 95),
    },
    PixelAttentionWindows: {
        "seen": at_least(0),
    },
    ReelControl: {
        "strength": between(0, 10),
        "start": between(0, 1),
        "end": between(0, 1),
    },
    CfgSettings: {
        "scale": at_least(0),
        "rescale": between(0, 1),
    },
    ConsistencySettings: {
        "strength": between(0, 1),
        "end": between(0, 1),
        "grow": at_least(0),
    },
    GuidanceSettings: {
        "scale": at_least(0),
        "start": between(0, 1),
        "end": between(0, 1),
        "repeats": at_least(1),
    },
    VideoNoiseSettings: {
        "window": at_least(4),
        "stride": between(1, 16),
        "mix": between(0, 1),
    },
    FreeInitSettings: {
        "iterations": at_least(1),
        "spatial_cutoff": above(0, 2),
        "temporal_cutoff": above(0, 2),
        "order": at_least(1),
    },
    PropagationSettings: {
        "blend": between(0, 1),
    },
    TileSettings: {
        "size": at_least(64),
        "overlap": between(0, 63),
    },
    WindowSettings: {
        "length": at_least(5),
        "overlap": between(0, 15),
        "stride": between(1, 2),
    },
    StartSettings: {
        "added_noise_level": between(0, 999),
    },
    KeyFrameSettings: {
        "most": at_least(1),
        "change": between(0, 2),
        "contrast": at_least(0),
        "cleanest": above(0, 1),
        "spoilt": above(0, 1),
        "samples": at_least(1),
    },
    EraSettings: {
        "least": between(0, 1),
        "scale": above(0),
    },
    TagSettings: {
        "most": at_least(0),
        "least": between(0, 1),
        "margin": between(0, 2),
        "scale": above(0),
    },
    SheetSettings: {
        "width": at_least(540),
        "max_height": at_least(180),
        "text_size": between(8, 42),
        "key_frames": at_least(1),
        "lines": at_least(1),
    },
    FlowSettings: {
        "working_side": at_least(64),
        "spike_threshold": between(0, 255),
    },
    FinishSettings: {
        "fidelity": between(0, 1),
    },
    FitSettings: {
        "short_side": at_least(1),
        "multiple": at_least(1),
    },
    ShotSettings: {
        "threshold": share_below_one(zero=False),
        "min_length": at_least(2),
    },
    PictureTileSettings: {
        "size": at_least(16),
        "overlap": between(0, 30),
        "halo": between(0, 27),
    },
    WriteSettings: {
        "quality": between(0, 51),
    },
}
# Numbers that have no range, or one that only a model or a film decides.
FREE = {
    MotionSettings: {"copy_levels", "copy_peak"},
    # Odd numbers only.
    NeighbourSettings: {"box", "hole_margin"},
    GuidanceSettings: {"sigma_start", "sigma_end"},
    PriorReelSettings: {"steps", "strength", "seed"},
}


@pytest.mark.parametrize("settings", RANGES, ids=lambda settings: settings.__name__)
def test_a_setting_refuses_what_is_outside_its_range(settings: type) -> None:
    for name, allowed in RANGES[settings].items():
        check_range(settings, name, allowed)


def checked_classes() -> list[type]:
    """Return the settings of the package that check themselves; what describes a network's shape is no setting."""
    found = {}
    for module in pkgutil.walk_packages(vldm_core.__path__, "vldm_core."):
        # Their tests say their ranges.
        if module.name.startswith("vldm_core.training") or module.name.endswith("__main__"):
            continue
        for thing in vars(importlib.import_module(module.name)).values():
            if isinstance(thing, type) and dataclasses.is_dataclass(thing) and hasattr(thing, "__post_init__"):
                found[thing] = None
    return [
        thing
        for thing in found
        if thing.__module__.startswith("vldm_core")
        and not thing.__module__.startswith("vldm_core.training")
        and not thing.__name__.endswith("Config")
        and all(
            field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
            for field in dataclasses.fields(thing)
        )
    ]


def test_every_range_is_known_here() -> None:
    missing = {
        settings.__name__: names
        for settings in checked_classes()
        if (names := set(numeric_fields(settings)) - set(RANGES.get(settings, ())) - FREE.get(settings, set()))
    }
    assert not missing, f"say in RANGES from where to where these go: {missing}"
