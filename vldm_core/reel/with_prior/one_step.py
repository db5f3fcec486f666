"""A one-step restorer in the place of a pipeline: the reel calls it as it calls a `VideoRestorationPipeline`."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ...decode.wrapping.network import FeatureWrapping
from ...errors import SettingsError
from ...prior.attachment import Attachment
from ...prior.finish import FinishSettings
from ...prior.onestep.run.clip import OneStepOutput, check_one_step, restore_one_step
from ...prior.onestep.run.settings import OneStepSettings
from ...prior.onestep.system import OneStepSystem
from ...progress import Progress, silent
from ...sampling.restoration import RestorationSettings
from ...video.geometry import FitSettings
from ..resumable.keys import key_of
from ..resumable.parts import facts_of, pipeline_key


class OneStepPrior:
    """A pipeline whose clips are restored in one step.

    Scores of the damage are those of a part of a shot, the piece that is in memory at once.

    Args:
        pipeline: A `VideoRestorationPipeline`.
        system: The restorer.
        settings: How; those of a call about what is sampled in steps have no effect.
        files: Of the restorer, by which results are kept.

    Raises:
        SettingsError: The system does not go with the model or the settings.
    """

    controlnet = None

    def __init__(
        self, pipeline: Any, system: OneStepSystem, settings: OneStepSettings, *, files: Sequence[Path]
    ) -> None:
        check_one_step(pipeline, system, settings)
        self._files = tuple(files)
        self._pipeline, self._system, self._settings = pipeline, system, settings

    @property
    def unet(self) -> Any:
        """The model's UNet."""
        return self._pipeline.unet

    @property
    def vae(self) -> Any:
        """The model's VAE."""
        return self._pipeline.vae

    def attach(self, attachment: Attachment, name: str | None = None) -> None:
        """See `VideoRestorationPipeline`."""
        self._pipeline.attach(attachment, name)

    def detach(self, name: str) -> None:
        """See `VideoRestorationPipeline`."""
        self._pipeline.detach(name)

    @cached_property
    def key(self) -> str:
        """Key of all that a result depends on beside the settings of a call."""
        return key_of(
            pipeline=pipeline_key(self._pipeline),
            system=self._system.format.system,
            files=facts_of(self._files),
            settings=facts_of(self._settings),
        )

    def drive(self, **_how: Any) -> None:
        """Nothing is sampled in steps, so any steps and strength will do: they have no effect."""

    def __call__(
        self,
        frames: Tensor,
        *,
        prompt: str,
        negative_prompt: str,
        settings: RestorationSettings,
        num_inference_steps: int,
        strength: float,
        sampler: str,
        noise_schedule: str,
        masks: Tensor | None,
        control: Any,
        controls: tuple[Any, ...],
        temporal_decoder: nn.Module | None,
        feature_wrapping: FeatureWrapping | None,
        trained_fusion: object | None,
        seed: int,
        fitting: FitSettings,
        finish: FinishSettings,
        first_frame: int,
        shot_start: int,
        progress: Progress = silent,
    ) -> OneStepOutput:
        """Restore a part of a shot; of what is sampled in steps nothing counts. See :func:`.clip.restore_one_step`."""
        if control is not None or controls:
            raise SettingsError(
                f"{self._system.format.system} restores by itself; leave out ControlNets and restoration controls"
            )
        if trained_fusion is not None:
            raise SettingsError(f"{self._system.format.system} was not trained with a fusion; leave the fusion out")
        return restore_one_step(
            self._pipeline,
            self._system,
            frames,
            settings=self._settings,
            prompt=prompt,
            negative_prompt=negative_prompt,
            masks=masks,
            seed=seed,
            fitting=fitting,
            finish=finish,
            temporal_decoder=temporal_decoder,
            feature_wrapping=feature_wrapping,
            first_frame=first_frame,
            shot_start=shot_start,
            progress=progress,
        )
