"""Training material: clean moving shots, and the same shots aged with known truth."""

from ..data.clean_shots import MaterialSettings, TrainingMaterial
from ..data.degraded_clips import DegradedClips, Pair, PairSettings, Target

__all__ = ["DegradedClips", "MaterialSettings", "Pair", "PairSettings", "Target", "TrainingMaterial"]
