"""The pieces of work of the detection benchmark, each on one clip.

Each piece is a function of plain values and paths, so that any process can do it. No time is measured here; see `cost`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vldm_core.metrics.fidelity import psnr
from vldm_core.metrics.temporal import flicker_index

from .methods import KNOWN_MASK_REPAIRS, KNOWN_MASK_STRATA, METHODS, OURS, FilmMethod, Masks
from .scores import DetectionTally, RepairFigures, finite, reference_figures, repair_figures, tally_dirt, tally_lines
from .settings import DetectionBenchmarkSettings
from .sources.aged import AgedClip, age, with_grain
from .sources.shots import SceneLook, Source, clean_clip, look_of
from .sources.strata import Stratum

UNTOUCHED = "untouched"
UNDAMAGED = "undamaged"
OTHER_GRAIN = "other grain"
NO_GRAIN = "no grain"

REFERENCES = {
    UNTOUCHED: "the damaged film",
    OTHER_GRAIN: "the undamaged film with other grain: what a perfect fill that looks like film reaches",
    NO_GRAIN: "the undamaged film without grain: what a perfect fill that averages grain away reaches",
}
"""Rows of the repair tables that no method made."""


@dataclass(frozen=True, kw_only=True)
class DeflickerRow:
    """Our deflicker stage on one clip of the flicker stratum, after repair.

    Attributes:
        clip: Name of the clip.
        method: Name of the method that repaired it.
        flicker_before: Overall flicker index of the repaired film.
        flicker_after: The same after deflicker.
        local_before: Local flicker index of the repaired film.
        local_after: The same after deflicker.
        psnr_before: PSNR in dB of the repaired film against the film without damage and without flicker.
        psnr_after: The same after deflicker.
    """

    clip: str
    method: str
    flicker_before: float
    flicker_after: float
    local_before: float
    local_after: float
    psnr_before: float
    psnr_after: float


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipResult:
    """One method on one clip; `UNTOUCHED` and `UNDAMAGED` stand for the damaged film and the film without the damage.

    Attributes:
        clip: Name of the clip.
        stratum: Its stratum.
        locked: Whether its scene stands still against the film.
        method: Name of the method.
        dirt: What it found of the transient damage, or None where it did not look.
        lines: What it found of the lines, or None where it did not look.
        repair: The film that it made with its own masks, or None for a detector.
        known: Name of the repair → the film that it made with the true masks.
        deflicker: What its deflicker stage did, in the stratum of flicker.
    """

    clip: str
    stratum: Stratum
    locked: bool
    method: str
    dirt: DetectionTally | None = None
    lines: DetectionTally | None = None
    repair: RepairFigures | None = None
    known: dict[str, RepairFigures] = field(default_factory=dict)
    deflicker: DeflickerRow | None = None


@dataclass(frozen=True, kw_only=True)
class FalseAlarms:
    """Share of pixels that a detector marks on a clean clip, where every mark is wrong; None = does not look.

    Attributes:
        clip: Name of the clean clip, or "mean".
        group: What makes the clip hard; see `shots.CleanClip.group`.
        method: Name of the method.
        dirt: Share of pixels marked as dirt.
        lines: Share of pixels marked as line.
    """

    clip: str
    group: str
    method: str
    dirt: float | None
    lines: float | None


def prepare_aged(
    source: Source, stratum: Stratum, settings: DetectionBenchmarkSettings, path: Path
) -> list[ClipResult]:
    """Age a source, store the clip, and score the films that no method made.

    Raises:
        FilmFileError: The source cannot be read.
    """
    frames = settings.frames if stratum == "transient" else settings.line_frames
    clean = clean_clip(source, settings, frames=frames, look=look_of(stratum))
    material = age(clean, stratum, settings)
    material.clip.save(path)
    # Scored as it will be read back, as the methods are.
    clip = AgedClip.load(path)
    films = {UNTOUCHED: clip.aged, OTHER_GRAIN: material.other_grain, NO_GRAIN: material.no_grain}
    references = {name: reference_figures(clip, film) for name, film in films.items()}
    known = references if stratum in KNOWN_MASK_STRATA else {}
    place: dict[str, Any] = {"clip": clip.name, "stratum": clip.stratum, "locked": clip.locked}
    return [
        ClipResult(**place, method=UNTOUCHED, repair=references[UNTOUCHED], known=known),
        ClipResult(**place, method=UNDAMAGED, repair=reference_figures(clip, clip.undamaged)),
    ]


def prepare_clean(
    source: Source, look: SceneLook, grain: bool, settings: DetectionBenchmarkSettings, path: Path
) -> None:
    """Store the clean shot of a source, with grain or without.

    Raises:
        FilmFileError: The source cannot be read.
    """
    clean = clean_clip(source, settings, frames=settings.line_frames, look=look)
    if grain:
        clean = with_grain(clean, settings)
    torch.save({"name": clean.name, "group": clean.group, "frames": clean.frames}, path)


def run_aged(name: str, path: Path, repairing: bool = True) -> ClipResult:
    """Run one method on one aged clip with its own masks, and its deflicker stage.

    Args:
        name: The method.
        path: File of the clip.
        repairing: Whether the repair is wanted, too.
    """
    method, clip = METHODS[name], AgedClip.load(path)
    masks = _detected(method, clip)
    repair = deflicker = None
    if repairing and method.repair is not None:
        output = method.repair(clip.aged, masks)
        even = None
        if method.deflicker is not None and clip.stratum == "flicker":
            even = method.deflicker(output)
            deflicker = _score_deflicker(name, clip, output, even)
        repair = repair_figures(clip, output, masks, shown=even)
    return ClipResult(
        clip=clip.name,
        stratum=clip.stratum,
        locked=clip.locked,
        method=name,
        dirt=None if method.borrowed else tally_dirt(clip, masks),
        lines=None if method.borrowed else tally_lines(clip, masks),
        repair=repair,
        deflicker=deflicker,
    )


def run_known(name: str, path: Path) -> ClipResult:
    """Run the repair of one method on one aged clip with the true masks."""
    method, clip = METHODS[name], AgedClip.load(path)
    assert method.repair is not None
    truth = Masks(dirt=(clip.dirt > 0).float(), lines=(clip.lines > 0).float())
    output = method.repair(clip.aged, truth)
    # A filter without a mask changes what it likes, and is judged accordingly.
    figures = repair_figures(clip, output, None if method.detect is None else truth)
    owner = name if method.detectors is None else OURS
    known = {label: figures for label, repairer in KNOWN_MASK_REPAIRS.items() if repairer == owner}
    return ClipResult(clip=clip.name, stratum=clip.stratum, locked=clip.locked, method=name, known=known)


def run_clean(name: str, path: Path) -> FalseAlarms:
    """Run the detector of one method on one clean clip."""
    stored = torch.load(path, weights_only=True)
    detect = METHODS[name].detect
    assert detect is not None
    masks = detect(stored["frames"])
    return FalseAlarms(
        clip=stored["name"],
        group=stored["group"],
        method=name,
        dirt=None if masks.dirt is None else float(masks.dirt.mean()),
        lines=None if masks.lines is None else float(masks.lines.mean()),
    )


def _detected(method: FilmMethod, clip: AgedClip) -> Masks:
    if method.detect is None:
        return Masks()
    masks = method.detect(clip.aged)
    if method.soften is None:
        return masks
    soft = method.soften(clip.aged)
    return Masks(
        dirt=masks.dirt,
        lines=masks.lines,
        dirt_probability=soft.dirt_probability,
        scratch_probability=soft.scratch_probability,
    )


def _score_deflicker(name: str, clip: AgedClip, output: torch.Tensor, even: torch.Tensor) -> DeflickerRow:
    before, after = (flicker_index(frames, clip.flow, clip.visible) for frames in (output, even))
    return DeflickerRow(
        clip=clip.name,
        method=name,
        flicker_before=before.overall,
        flicker_after=after.overall,
        local_before=before.local,
        local_after=after.local,
        psnr_before=finite(psnr(output, clip.steady)) or 0.0,
        psnr_after=finite(psnr(even, clip.steady)) or 0.0,
    )
