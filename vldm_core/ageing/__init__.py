"""Simulation of the damage that old films carry, with a mask per kind of defect."""

from .codec import CodecModel
from .defects.blotches import BlotchModel
from .defects.cinch_marks import CinchModel
from .defects.cue_marks import CueModel
from .defects.dirt import DirtModel
from .defects.hair import HairModel
from .defects.marks import TRUTH_THRESHOLD, VISIBLE_CHANGE, binary_truth
from .defects.scratches import LINE_KINDS, LineKind, LineModel, ScratchLine
from .defects.splices import Splice, SpliceModel
from .defects.stains import Stain, StainModel
from .defects.tears import TearModel
from .defects.texture_folder import SheetModel, TextureFolder
from .look.aperture import ApertureModel
from .look.cadence import CadenceModel, Timeline
from .look.emulsion import EmulsionModel
from .look.exposure import Exposure, FlickerModel
from .look.fading import FadingModel
from .look.grain import GrainModel
from .look.softness import SoftnessModel
from .look.vignette import VignetteModel
from .look.weave import Displacement, WeaveModel
from .mixing import MixingModel
from .sequence import Simulation, age_span, age_stream, simulate
from .settings import DEFECTS, PRESETS, SimulationSettings
from .simulator import MASK_KINDS, AgedFrame, Simulator

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
    "CinchModel",
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
    "SheetModel",
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
