"""The training of the pre-restorer, from a folder of clips and photographs to its weights."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

import torch
from torch import nn

from ...data.clean_shots import TrainingMaterial
from ...errors import SettingsError
from ...prerestore.network import KIND, SMALL, PreRestorer, PreRestorerConfig
from ...progress import Progress, silent
from ..fingerprints import fingerprint
from ..run import TrainingRun
from .examples import RepairedClips, make_films
from .task import LatentTarget, PreRestoreTask, PreRestoreTrainingSettings


def train_prerestorer(
    data: Path,
    out: Path,
    cache: Path,
    *,
    config: PreRestorerConfig | None = None,
    settings: PreRestoreTrainingSettings | None = None,
    vae: nn.Module | None = None,
    start: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Progress = silent,
) -> PreRestorer:
    """Make films from a folder of clips and photographs and train on them.

    Args:
        data: Folder with films and pictures, or with `clips/` and `photos/`; at least two files, of which one or more
            are only validated on, see :mod:`vldm_core.data.split`.
        out: File to write; see `TrainingRun` for it and for what lies beside it.
        cache: Folder for the films; those that are there already are not made again.
        config: Shape of the network; `SMALL` by default, without its latent head where there is no VAE.
        settings: How it is trained.
        vae: diffusers' `AutoencoderKL`, to train the latent head against.
        start: File of a pre-restorer to begin with, whose shape the network then has; its latent head may be missing.
            None begins anew.
        resume: Go on from the checkpoint, if there is one.
        overwrite: Replace weights and checkpoint that are there.
        threads: Threads of torch and OpenCV; None leaves them as they are.
        progress: Called once per film and per step; may raise to interrupt.

    Returns:
        The network with averaged weights.

    Raises:
        SettingsError: The settings do not fit each other or the checkpoint, or something would be replaced unasked.
        FilmFileError: There is nothing to train on or to validate on. All of these before any film is made.
    """
    settings = settings or PreRestoreTrainingSettings()
    if settings.head_only and (start is None or vae is None):
        raise SettingsError("the latent head alone is trained on a finished pre-restorer and against a VAE; give both")
    begun = None if start is None else KIND.load(start)
    config = replace(config or SMALL if begun is None else begun.config, latent=vae is not None)
    run = TrainingRun(
        out=out,
        settings=settings.trainer,
        description={
            "task": "pre-restorer",
            "network": asdict(config),
            "losses": settings.description(),
            **({} if begun is None else {"start": fingerprint(begun)}),
        },
        resume=resume,
        overwrite=overwrite,
        threads=threads,
        progress=progress,
    )
    run.prepare()
    material, kept_apart = TrainingMaterial(data), TrainingMaterial(data, validation=True)
    films = replace(settings.films, films=settings.validation_films)
    files = make_films(material, cache / "training", settings.films, progress=progress)
    kept = make_films(kept_apart, cache / "validation", films, progress=progress)
    clips = RepairedClips(
        files, seed=run.settings.seed, frames=settings.frames, side=settings.side, batch=run.settings.batch
    )
    with run.start():
        network = PreRestorer(config)
    if begun is not None:
        _begin_with(network, begun)
    if settings.head_only:
        network.requires_grad_(False)
        assert network.latent is not None
        network.latent.requires_grad_(True)
    _keep_channels_together(network)
    latents = LatentTarget(vae) if vae is not None else None
    task = PreRestoreTask(network, settings, [RepairedClips.whole(path) for path in kept], latents)
    trained = cast(PreRestorer, run.train(task, clips))
    KIND.save(trained, out)
    return trained


def _begin_with(network: PreRestorer, begun: PreRestorer) -> None:
    """Take all weights over that both have: one may have a latent head that the other lacks."""
    known = network.state_dict()
    network.load_state_dict(known | {name: value for name, value in begun.state_dict().items() if name in known})


def _keep_channels_together(network: nn.Module) -> None:
    """Lay the weights of 2-D convolutions out as processors like them; those of 3-D ones have no such layout."""
    for weights in network.parameters():
        if weights.ndim == 4:
            weights.data = weights.data.contiguous(memory_format=torch.channels_last)
