"""The training of a fusion, from a model, a pre-restorer and a folder of clips and photographs to a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from ...decode.fusion_decoder import KIND, FusionDecoder
from ...prerestore.network import PreRestorer
from ...prior.controls.control import ControlSystem
from ...prior.controls.use import ControlUse
from ...progress import Progress, silent
from ...sampling.cfg import CfgSettings
from ...sampling.restoration import RestorationSettings
from ..diffusion.material import PriorMaterial
from ..diffusion.prior import TrainingPrior
from ..fingerprints import fingerprint
from ..run import TrainingRun
from .examples import FusionExamples, FusionFilms, SampleClip, make_fusion_examples
from .task import FusionTask, FusionTrainingSettings, new_fusion, prior_of


def train_fusion(
    prior: TrainingPrior,
    material: PriorMaterial,
    out: Path,
    *,
    prerestorer: PreRestorer,
    sample: SampleClip,
    sampled_as: str,
    settings: FusionTrainingSettings | None = None,
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Progress = silent,
) -> FusionDecoder:
    """Train a fusion.

    Args:
        prior: The model.
        material: Films and pictures, and where examples are kept.
        out: File to write; see `TrainingRun` for it and for what lies beside it.
        prerestorer: Whose features are fused; the one that will be used with the fusion.
        sample: Runs the prior over a clip as it will be run when the fusion is used.
        sampled_as: Says how.
        settings: How it is trained.
        resume: Go on from the checkpoint, if there is one.
        overwrite: Replace weights and checkpoint that are there.
        threads: Threads of torch and OpenCV; None leaves them as they are.
        progress: Called once per film and per step; may raise to interrupt.

    Returns:
        The fusion with averaged weights.

    Raises:
        SettingsError: The settings do not fit each other or the checkpoint, or something would be replaced unasked.
        FilmFileError: There is nothing to train on or to validate on. All of these before any film is made.
    """
    settings = settings or FusionTrainingSettings()
    made_as = f"{prior.name}, {fingerprint(prerestorer)}, {sampled_as}"
    run = TrainingRun(
        out=out,
        settings=settings.trainer,
        description={"task": "fusion", "made as": made_as, "losses": settings.description()},
        resume=resume,
        overwrite=overwrite,
        threads=threads,
        progress=progress,
    )
    run.prepare()
    material.check()

    def examples(*, validation: bool) -> FusionFilms:
        files = material.make_films(validation=validation, progress=progress)
        folder = material.cache / ("validation" if validation else "training") / "fusion"
        return make_fusion_examples(
            files, prerestorer, sample, folder, made_as=made_as, frames=settings.frames, progress=progress
        )

    films, kept = examples(validation=False), examples(validation=True)
    trainer = settings.trainer
    samples = FusionExamples(films, side=settings.side, seed=trainer.seed, batch=trainer.batch)
    with run.start():
        fusion = new_fusion(settings.source, prerestorer, prior)
    task = FusionTask(fusion, prior_of(settings.source, prerestorer, prior), prior.pictures, settings, kept)
    trained = cast(FusionDecoder, run.train(task, samples))
    KIND.save(trained, out)
    return trained


def sample_with(
    pipeline: Any,
    *,
    strength: float,
    steps: int,
    cfg: float,
    seed: int = 0,
    prompt: str = "",
    controls: Sequence[ControlSystem] = (),
) -> tuple[SampleClip, str]:
    """Return what runs a pipeline over clips, image to image, and how to say it.

    Args:
        pipeline: `VideoRestorationPipeline`, with what is attached to it.
        strength: How far clips are noised, 0 … 1.
        steps: Of the whole schedule.
        cfg: Scale of the guidance by text; 1 is without.
        seed: Of the noise.
        prompt: What the clips show.
        controls: Restoration systems that steer it; the clip itself is their hint.
    """
    settings = RestorationSettings(cfg=CfgSettings(scale=cfg), consistency=None)
    uses = [ControlUse(system=system) for system in controls]

    def sample(frames: Tensor, masks: Tensor) -> Tensor:
        made = pipeline(
            frames,
            prompt=prompt,
            settings=settings,
            num_inference_steps=steps,
            strength=strength,
            seed=seed,
            masks=masks,
            controls=uses,
            fitting=None,
            output="latents",
        )
        return made.latents

    said = [f"strength {strength}, {steps} steps, cfg {cfg}, seed {seed}, prompt {prompt!r}"]
    joined = [*pipeline.attachments.values(), *controls]
    return sample, ", ".join([*said, *(f"{type(part).__name__} {fingerprint(part)}" for part in joined)])
