"""A tiny Stable Diffusion of the real classes, and a little material, for everything that is trained on a prior."""

from pathlib import Path

from vldm_core.training.diffusion.material import PriorMaterial
from vldm_core.training.diffusion.prior import TrainingPrior, training_prior
from vldm_core.training.prerestorer.examples import RepairedFilmSettings
from vldm_core.training.settings import TrainerSettings

from ..prior.tiny_pipeline import tiny_pipeline

TRAINER = TrainerSettings(
    steps=12, batch=2, rate=2e-3, warmup=3, average=0.8, checkpoint_every=5, validate_every=0, record_every=4
)
FILMS = RepairedFilmSettings(films=2, frames=4, height=64, width=64, presets={"heavy": 1.0})


def tiny_prior(prediction: str = "epsilon") -> TrainingPrior:
    return training_prior(tiny_pipeline(prediction=prediction))


def material(data: Path, cache: Path) -> PriorMaterial:
    return PriorMaterial(data=(data,), cache=cache, films=FILMS, validation_films=1)
