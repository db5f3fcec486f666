"""All trials in one run, from the weights of a small world that was trained before."""

import time
from dataclasses import dataclass
from pathlib import Path

from vldm_core.errors import SettingsError
from vldm_core.files.weights import WeightFileError
from vldm_core.prerestore.shipped import load_prerestorer
from vldm_core.progress import Progress, silent

from ..common.table import ReportTable, plain_tables
from .clips import damaged_clips, held_out_clips
from .evidence.control import try_control, try_damage_masks
from .evidence.era_lora import try_era_loras
from .evidence.finding import Finding
from .evidence.fusion import try_fusion
from .evidence.latent_head import try_latent_head
from .evidence.temporal import try_temporal_layers
from .sampling import restored_with_control
from .world.era_films import ERAS, make_era_films
from .world.films import world_material
from .world.models import open_world
from .world.parts_training import ERA, ERA_PICTURES, ROUTES

PARTS = ("temporal", "control", "masks", "lora", "latent", "fusion")


@dataclass(frozen=True, kw_only=True)
class PriorBenchmarkSettings:
    """What is tried, and how often.

    Attributes:
        parts: Of `PARTS`.
        clips: Held-out clips of each kind.
        seeds: Of the noise.
    """

    parts: tuple[str, ...] = PARTS
    clips: int = 12
    seeds: int = 2

    def __post_init__(self) -> None:
        if unknown := [part for part in self.parts if part not in PARTS]:
            raise SettingsError(f"there is no part {unknown[0]!r}; use some of {', '.join(PARTS)}")
        if self.clips < 1 or self.seeds < 1:
            raise SettingsError(f"{self.clips} clips and {self.seeds} seeds were asked for; use 1 or more of each")


@dataclass(frozen=True, kw_only=True)
class PriorReport:
    """The results of a run.

    Attributes:
        findings: One for each part.
        seconds: What the run took, films and latents that had to be made included.
    """

    findings: tuple[Finding, ...]
    seconds: float

    def summary(self) -> ReportTable:
        """Return what was aimed at and what was found."""
        return ReportTable(
            section="What was to be shown",
            title="",
            headings=("part", "aim", "found", ""),
            rows=tuple(
                (finding.part, claim.aim, claim.found, "✓" if claim.holds else "✗")
                for finding in self.findings
                for claim in finding.claims
            ),
        )

    def text(self) -> str:
        """Return everything as plain text."""
        return plain_tables([self.summary(), *(finding.table() for finding in self.findings)])


def run_prior_benchmark(
    data: Path,
    cache: Path,
    *,
    weights: Path,
    settings: PriorBenchmarkSettings | None = None,
    pictures: Path | None = None,
    progress: Progress = silent,
) -> PriorReport:
    """Try every part of the small world on held-out clips.

    Args:
        data: Folder with `clips`, `photos` and `film`.
        cache: Folder for clips and latents; what is there already is not made again.
        weights: Folder with the small world and its parts.
        settings: What is tried.
        pictures: Folder for pictures of what each part does; None makes none.
        progress: Called once per clip.

    Raises:
        FilmFileError: The data are not there.
        WeightFileError: A file of the small world is missing or does not fit.
    """
    settings = settings or PriorBenchmarkSettings()
    check_weights(weights, settings.parts)
    begun = time.monotonic()
    material = world_material(data, cache)
    material.check()
    world, network = open_world(weights), load_prerestorer()
    seeds, count = range(settings.seeds), settings.clips
    findings = []
    if "temporal" in settings.parts:
        clips = held_out_clips(material, network, count=count, progress=progress)
        findings.append(
            try_temporal_layers(world, clips, weights / "temporal.safetensors", seeds=seeds, progress=progress)
        )
    control = weights / "control.safetensors"
    heavy = []
    if {"control", "latent", "fusion"} & set(settings.parts):
        heavy = held_out_clips(material, network, count=count, heavy=True, progress=progress)
    if "control" in settings.parts:
        findings.append(try_control(world, heavy, control, seeds=seeds, progress=progress))
    if "masks" in settings.parts:
        damaged = damaged_clips(material.data, count=count)
        findings.append(try_damage_masks(world, damaged, control, seeds=seeds, progress=progress))
    if "lora" in settings.parts:
        findings.append(
            try_era_loras(
                world,
                make_era_films(data, cache / "eras", progress=progress),
                weights / "eras",
                cache / "era pictures",
                eras=ERAS,
                pictures=ERA_PICTURES,
                settings=ERA,
                progress=progress,
            )
        )
    if "latent" in settings.parts:
        findings.append(try_latent_head(world, heavy, weights / "prerestorer.safetensors", progress=progress))
    if "fusion" in settings.parts:
        sample, sampled_as = restored_with_control(world, control)
        files = {source: weights / f"fusion_{source}.safetensors" for source in ROUTES}
        findings.append(try_fusion(world, heavy, files, network, sample, sampled_as=sampled_as, progress=progress))
    if pictures is not None:
        for finding in findings:
            finding.write_picture(pictures)
    return PriorReport(findings=tuple(findings), seconds=time.monotonic() - begun)


def check_weights(folder: Path, parts: tuple[str, ...]) -> None:
    """Check that the files are there that parts need, before anything is made.

    Raises:
        WeightFileError: One is missing.
    """
    needed = ["unet", "vae"]
    needed += ["temporal"] if "temporal" in parts else []
    needed += ["control"] if {"control", "masks", "fusion"} & set(parts) else []
    needed += ["prerestorer"] if "latent" in parts else []
    needed += [f"fusion_{source}" for source in ROUTES] if "fusion" in parts else []
    missing = [name for name in needed if not (folder / f"{name}.safetensors").is_file()]
    if "lora" in parts and not (folder / "eras" / "eras.json").is_file():
        missing.append("eras/eras.json")
    if missing:
        raise WeightFileError(
            f"{folder} lacks {', '.join(missing)}; train the small world with python -m benchmarks world, or name the "
            "folder that it was trained into"
        )
