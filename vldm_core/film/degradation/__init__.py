"""Simulation of the damage that old films carry, with a mask per kind of defect."""

from .blotches import BlotchModel
from .dirt import DirtModel
from .exposure import Exposure, FlickerModel
from .fading import FadingModel
from .grain import GrainModel
from .hair import HairModel
from .lines import LINE_KINDS, LineKind, LineModel, ScratchLine
from .marks import TRUTH_THRESHOLD, VISIBLE_CHANGE, binary_truth
from .settings import PRESETS, SimulationSettings
from .simulator import MASK_KINDS, AgedFrame, Simulation, Simulator, simulate
from .weave import Displacement, WeaveModel

__all__ = [
    "LINE_KINDS",
    "MASK_KINDS",
    "PRESETS",
    "TRUTH_THRESHOLD",
    "VISIBLE_CHANGE",
    "AgedFrame",
    "BlotchModel",
    "DirtModel",
    "Displacement",
    "Exposure",
    "FadingModel",
    "FlickerModel",
    "GrainModel",
    "HairModel",
    "LineKind",
    "LineModel",
    "ScratchLine",
    "Simulation",
    "SimulationSettings",
    "Simulator",
    "WeaveModel",
    "binary_truth",
    "simulate",
]
