"""Training material: clean moving shots, and the same shots aged with known truth."""

from .material import MaterialSettings, TrainingMaterial

__all__ = ["MaterialSettings", "TrainingMaterial"]
