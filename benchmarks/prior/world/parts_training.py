"""The training of everything that joins the small world, by the trainings of the package with small settings."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from vldm_core.decode.fusion_decoder import Source
from vldm_core.prerestore.shipped import SHIPPED, load_prerestorer
from vldm_core.progress import Progress, silent
from vldm_core.training.control_branch.run import train_control_branch
from vldm_core.training.control_branch.task import ControlTrainingSettings
from vldm_core.training.diffusion.material import PriorMaterial
from vldm_core.training.diffusion.objective import ObjectiveSettings
from vldm_core.training.era_lora.examples import EraPictureSettings
from vldm_core.training.era_lora.run import train_era_loras
from vldm_core.training.era_lora.task import LoraTrainingSettings
from vldm_core.training.fusion.run import train_fusion
from vldm_core.training.fusion.task import FusionTrainingSettings
from vldm_core.training.prerestorer.run import train_prerestorer
from vldm_core.training.prerestorer.task import PreRestoreTrainingSettings
from vldm_core.training.settings import TrainerSettings
from vldm_core.training.temporal_layers.run import train_temporal_layers
from vldm_core.training.temporal_layers.task import TemporalTrainingSettings

from ..sampling import restored_with_control
from .era_films import make_era_films
from .films import FILMS, FRAMES
from .models import SIDE, open_world

TEMPORAL = TemporalTrainingSettings(
    trainer=TrainerSettings(steps=500, batch=2, rate=1e-3, average=0.99, checkpoint_every=100, validate_every=0),
    objective=ObjectiveSettings(snr_limit=5.0),
    frames=FRAMES,
    heads=4,
    consistency=0.3,
    dropout=0.0,
)
CONTROL = ControlTrainingSettings(
    trainer=TrainerSettings(steps=500, batch=16, rate=1e-3, average=0.99, checkpoint_every=100, validate_every=0),
    objective=ObjectiveSettings(snr_limit=5.0),
    dropout=0.0,
)
ERA = LoraTrainingSettings(
    trainer=TrainerSettings(steps=120, batch=16, rate=1e-3, average=0.97, checkpoint_every=60, validate_every=0),
    objective=ObjectiveSettings(snr_limit=5.0),
    rank=8,
    # The texts of the small world name no eras.
    prompt="",
    dropout=0.0,
)
FUSION = FusionTrainingSettings(
    trainer=TrainerSettings(steps=300, batch=8, rate=1e-3, average=0.98, checkpoint_every=100, validate_every=0),
    side=64,
)
HEAD = PreRestoreTrainingSettings(
    trainer=TrainerSettings(steps=900, batch=1, rate=5e-4, average=0.99, checkpoint_every=300, validate_every=0),
    films=replace(FILMS, films=64),
    # Whole frames: the VAE normalises over all of a picture, so its latents of a part are others.
    side=SIDE,
    latent=1.0,
    head_only=True,
)
ERA_PICTURES = EraPictureSettings(pictures=128, validation_pictures=48, side=SIDE)

_HINTED_FILMS, _FUSION_FILMS = 96, 64
"""Films that the control and the fusions are trained on: each has to be pre-restored, and for a fusion sampled too."""

ROUTES: tuple[Source, ...] = get_args(Source)
"""Ways in which the prior's latents come into the fusion."""


@dataclass(frozen=True, kw_only=True)
class PartsTraining:
    """What all trainings of parts share.

    Attributes:
        weights: Folder with the small world; what is trained goes there, too.
        material: The films of the small world.
        data: Folder with `film`, for the eras.
        resume: Go on from checkpoints, and leave finished parts as they are.
        threads: Threads of torch; None leaves them as they are.
        progress: Called once per film and per step.
    """

    weights: Path
    material: PriorMaterial
    data: Path
    resume: bool = False
    threads: int | None = None
    progress: Progress = silent

    def temporal(self) -> None:
        """Train temporal layers."""
        train_temporal_layers(
            open_world(self.weights),
            self.material,
            self.weights / "temporal.safetensors",
            settings=TEMPORAL,
            resume=self.resume,
            threads=self.threads,
            progress=self.progress,
        )

    def control(self) -> None:
        """Train a control branch on pre-restored hints."""
        train_control_branch(
            open_world(self.weights),
            self._material(_HINTED_FILMS),
            self.weights / "control.safetensors",
            prerestorer=load_prerestorer(),
            settings=CONTROL,
            resume=self.resume,
            threads=self.threads,
            progress=self.progress,
        )

    def _material(self, films: int) -> PriorMaterial:
        return replace(self.material, films=replace(self.material.films, films=films), validation_films=6)

    def eras(self) -> None:
        """Train a LoRA for each of two eras."""
        train_era_loras(
            open_world(self.weights),
            make_era_films(self.data, self.material.cache / "eras", progress=self.progress),
            self.weights / "eras",
            self.material.cache / "era pictures",
            pictures=ERA_PICTURES,
            settings=ERA,
            resume=self.resume,
            threads=self.threads,
            progress=self.progress,
        )

    def prerestorer(self) -> None:
        """Train a latent head on the pre-restorer that ships."""
        train_prerestorer(
            self.data,
            self.weights / "prerestorer.safetensors",
            self.material.cache / "prerestorer",
            settings=HEAD,
            vae=open_world(self.weights).vae,
            start=SHIPPED,
            resume=self.resume,
            threads=self.threads,
            progress=self.progress,
        )

    def fusion(self, source: Source) -> None:
        """Train the fusion of one route, with a prior that the control branch steers."""
        world = open_world(self.weights)
        sample, sampled_as = restored_with_control(world, self.weights / "control.safetensors")
        train_fusion(
            world,
            self._material(_FUSION_FILMS),
            self.weights / f"fusion_{source}.safetensors",
            prerestorer=load_prerestorer(),
            sample=sample,
            sampled_as=sampled_as,
            settings=replace(FUSION, source=source),
            resume=self.resume,
            threads=self.threads,
            progress=self.progress,
        )
