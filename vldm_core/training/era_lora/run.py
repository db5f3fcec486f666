"""The training of LoRAs by era, from a model and films sorted by era to files and the map that names them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...errors import SettingsError
from ...files.temporary import written_whole
from ...prior.lora.eras import EraLoras, read_era_loras
from ...progress import Progress, silent
from ..diffusion.latent_films import LatentClips, LatentFilms, make_latents
from ..diffusion.objective import Objective
from ..diffusion.prior import TrainingPrior
from ..run import TrainingRun
from .adapter import LoraLayout, add_lora, save_lora, take_lora_off
from .examples import EraPictureSettings, make_pictures
from .reels import EraReels, era_reels
from .task import LoraTask, LoraTrainingSettings

MAP = "eras.json"
"""Name of the map that says which file is which era's; the Era node and `--era-map` read it."""


def train_era_loras(
    prior: TrainingPrior,
    data: Path,
    out: Path,
    cache: Path,
    *,
    eras: Sequence[str] = (),
    pictures: EraPictureSettings | None = None,
    settings: LoraTrainingSettings | None = None,
    layout: LoraLayout = "kohya",
    checkpointing: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Progress = silent,
) -> EraLoras:
    """Train a LoRA for each era, one after the other.

    Args:
        prior: The model; it has no LoRA on it afterwards, and is in the precision of the training.
        data: See `era_reels`.
        out: Folder for the files, ERA.safetensors, and the map of eras.
        cache: Folder for pictures and latents.
        eras: Which to train; none named is all.
        pictures: How pictures are cut.
        settings: How the LoRAs are trained.
        layout: Names of the tensors in the files.
        checkpointing: Run the UNet's blocks again for the gradients instead of keeping what they computed.
        resume: Go on from the checkpoints; eras that are finished are not trained again.
        overwrite: Replace files and checkpoints that are there.
        threads: Threads of torch and OpenCV; None leaves them as they are.
        progress: Called once per picture and per step; may raise to interrupt.

    Returns:
        The map of all eras that the folder has files of.

    Raises:
        SettingsError: An era is not there, or a file would be replaced unasked; before anything is trained.
        FilmFileError: There are no films.
    """
    settings, pictures = settings or LoraTrainingSettings(), pictures or EraPictureSettings()
    found = chosen_eras(era_reels(data), eras)
    runs = {
        era: TrainingRun(
            out=out / f"{file_name(era)}.safetensors",
            settings=settings.trainer,
            description={"task": "LoRA", "era": era, "prior": prior.name, "losses": settings.description()},
            resume=resume,
            overwrite=overwrite,
            threads=threads,
            progress=progress,
        )
        for era in found
    }
    finished = {era for era, run in runs.items() if resume and run.out.is_file()}
    for era, run in runs.items():
        if era not in finished:
            run.prepare()
    out.mkdir(parents=True, exist_ok=True)
    for era, run in runs.items():
        if era not in finished:
            _train(prior, found[era], era, run, cache, pictures, settings, layout, checkpointing, progress)
        _note(out, era, run.out)
    return read_era_loras(out / MAP)


def chosen_eras(found: Mapping[str, EraReels], eras: Sequence[str]) -> dict[str, EraReels]:
    """Return the eras that were asked for.

    Raises:
        SettingsError: One is not there.
    """
    if missing := [era for era in eras if era not in found]:
        raise SettingsError(f"there are no films of the era {missing[0]!r}; there are films of {', '.join(found)}")
    return {era: reels for era, reels in found.items() if not eras or era in eras}


def file_name(era: str) -> str:
    """Return the name of an era's file, without suffix: letters that every file system has."""
    return "".join(letter if letter.isalnum() else "_" for letter in era)


def era_latents(
    prior: TrainingPrior,
    reels: EraReels,
    era: str,
    cache: Path,
    pictures: EraPictureSettings,
    *,
    validation: bool,
    progress: Progress = silent,
) -> LatentFilms:
    """Cut pictures of an era and encode them; what is there already is not made again."""
    part = "validation" if validation else "training"
    folder = cache / file_name(era) / part
    chosen = reels.validation if validation else reels.training
    files = make_pictures(chosen, folder / "pictures", pictures, validation=validation, progress=progress)
    return make_latents(files, prior, folder, progress=progress)


def _train(
    prior: TrainingPrior,
    reels: EraReels,
    era: str,
    run: TrainingRun,
    cache: Path,
    pictures: EraPictureSettings,
    settings: LoraTrainingSettings,
    layout: LoraLayout,
    checkpointing: bool,
    progress: Progress,
) -> None:
    given = [
        era_latents(prior, reels, era, cache, pictures, validation=kept, progress=progress) for kept in (False, True)
    ]
    trainer = settings.trainer
    clips = LatentClips(given[0], frames=1, seed=trainer.seed, batch=trainer.batch)
    texts = prior.texts([settings.prompt.format(era=era), ""])
    prior.make_ready(precision=trainer.precision, checkpointing=checkpointing)
    with run.start():
        add_lora(prior.unet, rank=settings.rank, alpha=settings.alpha, layers=settings.layers)
    try:
        objective = Objective(prior.schedule, prior.prediction, settings.objective)
        trained = run.train(LoraTask(prior.unet, objective, settings, texts, given[1], decode=prior.pictures), clips)
        save_lora(trained, run.out, alpha=settings.alpha, layout=layout)
    finally:
        take_lora_off(prior.unet)


def _note(out: Path, era: str, file: Path) -> None:
    """Write an era's file into the map; strengths that a person has set stay."""
    path = out / MAP
    table = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    table.setdefault(era, {"strength": 1.0})["file"] = file.name
    with written_whole(path) as part:
        part.write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
