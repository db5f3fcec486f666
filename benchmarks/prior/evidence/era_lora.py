"""LoRAs by era: does each know its own era better than no LoRA, and than the other's?"""

from collections.abc import Sequence
from pathlib import Path

from vldm_core.prior.lora.eras import read_era_loras
from vldm_core.progress import Progress, silent
from vldm_core.training.diffusion.objective import Objective
from vldm_core.training.diffusion.prior import TrainingPrior
from vldm_core.training.era_lora.examples import EraPictureSettings
from vldm_core.training.era_lora.reels import era_reels
from vldm_core.training.era_lora.run import MAP, era_latents
from vldm_core.training.era_lora.task import LoraTask, LoraTrainingSettings

from ..scores import Mean
from .finding import Claim, Finding

_NONE = "no LoRA"


def try_era_loras(
    world: TrainingPrior,
    films: Path,
    folder: Path,
    cache: Path,
    *,
    eras: Sequence[str],
    pictures: EraPictureSettings,
    settings: LoraTrainingSettings,
    progress: Progress = silent,
) -> Finding:
    """Judge every LoRA on the validation pictures of every era, on the same noise.

    Args:
        world: The model.
        films: Folder with a subfolder for each era.
        folder: With the LoRAs and their map.
        cache: For pictures and latents.
        eras: Which.
        pictures: How they were cut for the training.
        settings: Of the training.
        progress: Called once per picture.
    """
    reels, loras = era_reels(films), read_era_loras(folder / MAP)
    objective = Objective(world.schedule, world.prediction, settings.objective)
    task = LoraTask(world.unet, objective, settings, world.texts([settings.prompt, ""]))
    held_out = {
        era: era_latents(world, reels[era], era, cache, pictures, validation=True, progress=progress) for era in eras
    }
    figures: dict[str, dict[str, Mean]] = {}
    for name in (_NONE, *eras):
        if name != _NONE:
            world.pipeline.load_lora_weights(folder / loras[name].file, adapter_name="era")
        try:
            row = {era: task.judge(world.unet, kept) for era, kept in held_out.items()}
        finally:
            if name != _NONE:
                world.pipeline.unload_lora_weights()
        figures[name if name == _NONE else f"LoRA of {name}"] = {
            era: Mean(value=value, spread=0.0) for era, value in row.items()
        }
    claims = []
    for era in eras:
        own, none = figures[f"LoRA of {era}"][era].value, figures[_NONE][era].value
        others = min(figures[f"LoRA of {other}"][era].value for other in eras if other != era)
        claims.append(
            Claim(
                aim=f"{era}: validation loss lower than without a LoRA and than with another era's",
                found=f"{own:.4f} against {none:.4f} and {others:.4f}",
                holds=own < min(none, others),
            )
        )
    return Finding(
        part="LoRAs by era",
        how=(
            f"Loss on {pictures.validation_pictures} pictures of an era's validation films, at {settings.levels} "
            "levels of noise, the same noise for all."
        ),
        figures=figures,
        claims=tuple(claims),
        headings={era: f"loss on {era}" for era in eras},
    )
