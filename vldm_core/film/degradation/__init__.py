"""Simulation of the damage that old films carry, with a mask per kind of defect."""

from vldm_core.film.degradation.blotches import BlotchModel
from vldm_core.film.degradation.dirt import DirtModel
from vldm_core.film.degradation.exposure import Exposure, FlickerModel
from vldm_core.film.degradation.fading import FadingModel
from vldm_core.film.degradation.grain import GrainModel
from vldm_core.film.degradation.hair import HairModel
from vldm_core.film.degradation.lines import LINE_KINDS, LineKind, LineModel, ScratchLine
from vldm_core.film.degradation.marks import TRUTH_THRESHOLD, VISIBLE_CHANGE, binary_truth
from vldm_core.film.degradation.settings import PRESETS, SimulationSettings
from vldm_core.film.degradation.simulator import MASK_KINDS, AgedFrame, Simulation, Simulator, simulate
from vldm_core.film.degradation.weave import Displacement, WeaveModel

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
