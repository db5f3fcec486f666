"""Clean moving shots, the same shots aged with known truth, and which files are kept for validation."""

from .clean_shots import MaterialSettings, TrainingMaterial
from .degraded_clips import CleanTarget, DegradedClips, Pair, PairSettings
from .samples import NumberedSamples

__all__ = [
    "CleanTarget",
    "DegradedClips",
    "MaterialSettings",
    "NumberedSamples",
    "Pair",
    "PairSettings",
    "TrainingMaterial",
]
