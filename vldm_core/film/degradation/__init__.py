"""Simulation of the damage that old films carry, with a mask per kind of defect."""

from .aperture import ApertureModel
from .blotches import BlotchModel
from .cadence import CadenceModel, Timeline
from .codec import CodecModel
from .cues import CueModel
from .dirt import DirtModel
from .emulsion import EmulsionModel
from .exposure import Exposure, FlickerModel
from .fading import FadingModel
from .grain import GrainModel
from .hair import HairModel
from .lines import LINE_KINDS, LineKind, LineModel, ScratchLine
from .marks import TRUTH_THRESHOLD, VISIBLE_CHANGE, binary_truth
from .mixing import MixingModel
from .presets import PRESETS
from .sequence import Simulation, age_span, age_stream, simulate
from .settings import DEFECTS, SimulationSettings
from .simulator import MASK_KINDS, AgedFrame, Simulator
from .softness import SoftnessModel
from .splices import Splice, SpliceModel
from .stains import Stain, StainModel
from .tears import TearModel
from .texture_folder import TextureFolder
from .vignette import VignetteModel
from .weave import Displacement, WeaveModel

__all__ = [
    "DEFECTS",
    "LINE_KINDS",
    "MASK_KINDS",
    "PRESETS",
    "TRUTH_THRESHOLD",
    "VISIBLE_CHANGE",
    "AgedFrame",
    "ApertureModel",
    "BlotchModel",
    "CadenceModel",
    "CodecModel",
    "CueModel",
    "DirtModel",
    "Displacement",
    "EmulsionModel",
    "Exposure",
    "FadingModel",
    "FlickerModel",
    "GrainModel",
    "HairModel",
    "LineKind",
    "LineModel",
    "MixingModel",
    "ScratchLine",
    "Simulation",
    "SimulationSettings",
    "Simulator",
    "SoftnessModel",
    "Splice",
    "SpliceModel",
    "Stain",
    "StainModel",
    "TearModel",
    "TextureFolder",
    "Timeline",
    "VignetteModel",
    "WeaveModel",
    "age_span",
    "age_stream",
    "binary_truth",
    "simulate",
]
