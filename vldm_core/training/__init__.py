"""Training material: clean moving shots, and the same shots aged with known truth."""

from .material import MaterialSettings, TrainingMaterial
from .pairs import DegradedClips, Pair, PairSettings, Target

__all__ = ["DegradedClips", "MaterialSettings", "Pair", "PairSettings", "Target", "TrainingMaterial"]
