"""Trains the pre-restoration network: its task for the trainer, and the run from a folder of clips and photographs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor, nn

from ...data.clean_shots import TrainingMaterial
from ...errors import SettingsError
from ...metrics.fidelity import psnr, ssim
from ...prerestore.alignment import alignments
from ...prerestore.network import KIND, SMALL, STATE_SCALE, PreRestorer, PreRestorerConfig
from ...progress import Progress, silent
from ...video.warping import consistency
from ..losses import charbonnier, gradient, multi_scale, temporal
from ..output import check_output
from ..trainer import Trainer, TrainerSettings, Validation, check_checkpoint, checkpoint_of
from .repaired_clips import RepairedClip, RepairedClips, RepairedFilmSettings, make_films

_SCALE_WEIGHTS = (1.0, 0.5, 0.25, 0.25)


@dataclass(frozen=True, kw_only=True)
class PreRestoreTrainingSettings:
    """How the network is trained.

    Attributes:
        trainer: Steps, rates and precision.
        films: The films that samples are cut from.
        validation_films: Films of validation files that the run is judged by.
        frames: Length of a sample.
        side: Height and width of a sample, px, a multiple of 8.
        gradient: Weight of the gradient loss beside the picture loss.
        temporal: Weight of the temporal loss.
        latent: Weight of the latent loss, where a VAE is given.
    """

    trainer: TrainerSettings = TrainerSettings(steps=3000, batch=6, rate=1.2e-3)
    films: RepairedFilmSettings = RepairedFilmSettings()
    validation_films: int = 6
    frames: int = 5
    side: int = 64
    gradient: float = 0.3
    temporal: float = 0.5
    latent: float = 0.1

    def __post_init__(self) -> None:
        for name in ("gradient", "temporal", "latent"):
            if getattr(self, name) < 0:
                raise SettingsError(f"the weight of the {name} loss is {getattr(self, name)}; use 0 or more")
        if self.validation_films < 1 or self.frames > self.films.frames:
            raise SettingsError(
                f"{self.validation_films} validation films and samples of {self.frames} frames of {self.films.frames}; "
                "use at least one film and samples no longer than films"
            )


class LatentTarget(nn.Module):
    """What the latent head is to give: the mean of the VAE's latent, unscaled.

    Args:
        vae: diffusers' `AutoencoderKL`; it is not trained.
    """

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.vae = vae.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, frames: Tensor) -> Tensor:
        """Return (B, T, 4, H/8, W/8) for frames (B, T, 3, H, W) in [0, 1]."""
        vae: Any = self.vae.to(frames.device)
        encoded = vae.encode(2 * frames.flatten(0, 1) - 1)
        return encoded.latent_dist.mode().unflatten(0, frames.shape[:2])


class PreRestoreTask:
    """What the trainer needs to know of the network.

    Args:
        module: The network.
        settings: Weights of the losses.
        films: Of validation, whole.
        latents: What the latent head is trained against; needed where the network has one.

    Raises:
        SettingsError: There is a latent head and nothing to train it against, or the other way round.
    """

    def __init__(
        self,
        module: PreRestorer,
        settings: PreRestoreTrainingSettings,
        films: Sequence[RepairedClip] = (),
        latents: LatentTarget | None = None,
    ) -> None:
        if module.config.latent is not (latents is not None):
            raise SettingsError(
                "a latent head needs a VAE to be trained against, and a VAE a latent head; "
                f"here are: head {module.config.latent}, VAE {latents is not None}"
            )
        self.module: nn.Module = module
        self._settings, self._films, self._latents = settings, films, latents

    def loss(self, module: nn.Module, batch: RepairedClip) -> tuple[Tensor, Mapping[str, Tensor]]:
        """See `trainer.Task`."""
        settings = self._settings
        ways = alignments(batch["backward"], batch["forward"], batch["masks"], scale=STATE_SCALE)
        decoded = module(batch["frames"], batch["masks"], *ways, nearby=batch["nearby"]).decoded
        pictures = [picture.float() for picture in decoded.pictures]
        parts = {
            "picture": multi_scale(pictures, batch["target"], _SCALE_WEIGHTS),
            "gradient": settings.gradient * gradient(pictures[0], batch["target"]),
        }
        trust = consistency(batch["backward"], batch["forward"]).float()
        parts["temporal"] = settings.temporal * temporal(pictures[0], batch["target"], batch["backward"], trust)
        if self._latents is not None:
            wanted = self._latents(batch["target"])
            parts["latent"] = settings.latent * charbonnier(decoded.latent.float(), wanted)
        return torch.stack(list(parts.values())).sum(), parts

    def validate(self, module: nn.Module) -> Validation:
        """See `trainer.Task`."""
        figures: dict[str, list[float]] = {"psnr": [], "psnr before": [], "ssim": [], "ssim before": []}
        pictures: dict[str, Tensor] = {}
        device = next(module.parameters()).device
        for number, film in enumerate(self._films):
            clip = {name: value[None].to(device) for name, value in film.items() if isinstance(value, Tensor)}
            ways = alignments(clip["backward"], clip["forward"], clip["masks"], scale=STATE_SCALE)
            decoded = module(clip["frames"], clip["masks"], *ways, nearby=clip["nearby"]).decoded
            made = decoded.pictures[0][0].float().cpu().clamp(0, 1)
            for name, frames in (("", made), (" before", film["frames"])):
                figures[f"psnr{name}"].append(float(psnr(frames, film["target"])))
                figures[f"ssim{name}"].append(float(ssim(frames, film["target"]) or 0.0))
            middle = len(made) // 2
            rows = film["frames"][middle], made[middle], film["target"][middle]
            pictures[f"film {number}: before, after, target"] = torch.cat(rows, dim=-1)
        return Validation(
            figures={name: sum(values) / len(values) for name, values in figures.items() if values}, pictures=pictures
        )


def _keep_channels_together(network: nn.Module) -> None:
    """Lay the weights of 2-D convolutions out as processors like them; those of 3-D ones have no such layout."""
    for weights in network.parameters():
        if weights.ndim == 4:
            weights.data = weights.data.contiguous(memory_format=torch.channels_last)


def train_prerestorer(
    data: Path,
    out: Path,
    cache: Path,
    *,
    config: PreRestorerConfig | None = None,
    settings: PreRestoreTrainingSettings | None = None,
    vae: nn.Module | None = None,
    resume: bool = False,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Progress = silent,
) -> PreRestorer:
    """Make films from a folder of clips and photographs and train on them.

    Args:
        data: Folder with films and pictures, or with `clips/` and `photos/`; at least two files, of which one or more
            are only validated on, see :mod:`..evaluation.split`.
        out: File to write; checkpoint and record lie beside it, in a folder with the suffix `.training`.
        cache: Folder for the films; those that are there already are not made again.
        config: Shape of the network; `SMALL` by default, without its latent head where there is no VAE.
        settings: How it is trained.
        vae: diffusers' `AutoencoderKL`, to train the latent head against.
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
    config = replace(config or SMALL, latent=vae is not None)
    if threads is not None:
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    trainer, folder = settings.trainer, out.with_suffix(".training")
    check_output(out, checkpoint_of(folder), resume=resume, overwrite=overwrite)
    description = {"network": asdict(config), "losses": [settings.gradient, settings.temporal, settings.latent]}
    description |= {"samples": [settings.frames, settings.side], "films": asdict(settings.films)}
    if resume:
        check_checkpoint(folder, trainer, description)
    material, kept_apart = TrainingMaterial(data), TrainingMaterial(data, validation=True)
    files = make_films(material, cache / "training", settings.films, progress=progress)
    kept = make_films(
        kept_apart,
        cache / "validation",
        replace(settings.films, films=settings.validation_films),
        progress=progress,
    )
    clips = RepairedClips(files, seed=trainer.seed, frames=settings.frames, side=settings.side, batch=trainer.batch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trainer.seed)
        network = PreRestorer(config)
    _keep_channels_together(network)
    task = PreRestoreTask(
        network, settings, [RepairedClips.whole(path) for path in kept], LatentTarget(vae) if vae is not None else None
    )
    run = Trainer(task, clips, trainer, folder, description=description)
    run.run(resume=resume, progress=progress)
    out.parent.mkdir(parents=True, exist_ok=True)
    KIND.save(network, out)
    return network
