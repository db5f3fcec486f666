"""What the processes of the pre-restoration benchmark do: prepare a clip, run the methods on it, make pictures."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vldm_core.metrics.before_after import labelled_row
from vldm_core.metrics.fidelity import texture
from vldm_core.metrics.temporal import flicker_index, warp_error
from vldm_core.prerestore.network import PreRestorer
from vldm_core.prerestore.shipped import PreRestoration, load_prerestorer
from vldm_core.stages.batch import remove_flicker
from vldm_core.video.flow import FlowSettings

from ..common.material import eight_bit, motion_of, read_film
from .material import AgedSource, DamagedClip, make_clip, repair
from .methods import (
    DAMAGED,
    DEFAULT,
    EVEN,
    FLICKERING,
    METHODS,
    NETWORK,
    NLM,
    PER_FRAME,
    REFERENCE,
    REPAIR,
    at_defaults,
    best_strength,
    non_local_means,
    over_time,
    per_frame,
)
from .scores import PictureFigures, picture_figures
from .settings import PreRestoreBenchmarkSettings

_FLOW = FlowSettings(quality="fast")


@dataclass(frozen=True, kw_only=True)
class MethodResult:
    """One method on one clip.

    Attributes:
        clip: Name of the clip.
        preset: What it was aged with.
        method: Name of the method, or `REFERENCE`.
        figures: What its film is worth.
        strength: h of the non-local means, or None.
    """

    clip: str
    preset: str
    method: str
    figures: PictureFigures
    strength: float | None = None


@dataclass(frozen=True, kw_only=True)
class RealFilmFigures:
    """The network at default settings on a real film after repair and flicker removal; there is no reference.

    Attributes:
        film: Its name.
        frames: Frames it has.
        flicker_before: Overall flicker index before the network, as a fraction.
        flicker_after: The same after the network.
        warp_error_before: Difference of neighbours along the flow of the film before the network, grey levels.
        warp_error_after: The same after the network, along the same flow.
        texture_before: Standard deviation of its fine texture, detail and grain together, grey levels.
        texture_after: The same after the network.
    """

    film: str
    frames: int
    flicker_before: float
    flicker_after: float
    warp_error_before: float | None
    warp_error_after: float | None
    texture_before: float
    texture_after: float


def network_of(weights: Path) -> PreRestorer:
    """Load the network that is measured, on the processor."""
    return load_prerestorer(PreRestoration(weights=weights, device="cpu"))


def prepare(source: AgedSource, settings: PreRestoreBenchmarkSettings, path: Path) -> list[MethodResult]:
    """Age and repair a source, store the clip, and score the films that need no more.

    Raises:
        FilmFileError: The source cannot be read.
    """
    make_clip(source, settings).save(path)
    # Scored as it will be read back, as the methods are.
    clip = DamagedClip.load(path)
    films = {name: getattr(clip, METHODS[name].film) for name in (DAMAGED, REPAIR, EVEN)}
    own = _result(clip, REFERENCE, clip.reference)
    own = replace(own, figures=replace(own.figures, psnr=None, ssim=None))
    return [own, *(_result(clip, name, film) for name, film in films.items())]


def run_non_local_means(path: Path) -> list[MethodResult]:
    """Run OpenCV's denoiser on a prepared clip."""
    clip = DamagedClip.load(path)
    strength = best_strength(clip)
    return [_result(clip, NLM, non_local_means(clip.even, strength), strength)]


def run_per_frame(path: Path, weights: Path) -> list[MethodResult]:
    """Run the network without time on a prepared clip."""
    clip = DamagedClip.load(path)
    return [_result(clip, PER_FRAME, per_frame(clip.even, clip.masks, network_of(weights)))]


def run_with_flicker(path: Path, weights: Path) -> list[MethodResult]:
    """Run the network on the film with its flicker of a prepared clip."""
    clip = DamagedClip.load(path)
    return [_result(clip, FLICKERING, over_time(clip.repaired, clip.masks, network_of(weights)))]


def run_network(path: Path, weights: Path, pictures: Path | None = None) -> list[MethodResult]:
    """Run the network on a prepared clip.

    Args:
        path: The clip.
        weights: File of the network.
        pictures: Folder for a picture of the middle frame, or None.
    """
    clip = DamagedClip.load(path)
    restored = over_time(clip.even, clip.masks, network_of(weights))
    defaults = at_defaults(clip.even, restored)
    if pictures is not None:
        films = {
            "damaged": clip.damaged,
            "repaired, flicker removed": clip.even,
            "pre-restored, no grain put back": restored,
            "pre-restored, default": defaults,
            "reference": clip.reference,
        }
        middle = len(clip.reference) // 2
        name = clip.name.replace("/", "-").replace(" ", "-")
        _write(pictures / f"{name}.png", {label: film[middle] for label, film in films.items()})
    return [_result(clip, NETWORK, restored), _result(clip, DEFAULT, defaults)]


def run_real_film(film: Path, weights: Path, pictures: Path, count: int) -> RealFilmFigures:
    """Repair a real film, take its flicker out, pre-restore it at default settings, and write pairs of pictures.

    Args:
        film: The film.
        weights: File of the network.
        pictures: Folder for the pictures.
        count: Frames to show, evenly spaced.

    Raises:
        FilmFileError: The film cannot be read.
    """
    repaired, masks = repair(read_film(film))
    repaired = eight_bit(remove_flicker(repaired, strict=True))
    restored = at_defaults(repaired, over_time(repaired, masks, network_of(weights)))
    for number in np.unique(np.linspace(0, len(repaired) - 1, min(count, len(repaired))).round().astype(int)):
        pair = {f"repaired, frame {number}": repaired[number], "pre-restored, default": restored[number]}
        _write(pictures / f"{film.stem}-{number:03d}.png", pair)
    flow, visible = motion_of(repaired, masks=masks, settings=_FLOW)
    empty = torch.zeros_like(repaired)
    return RealFilmFigures(
        film=film.stem,
        frames=len(repaired),
        flicker_before=flicker_index(repaired, flow, visible).overall,
        flicker_after=flicker_index(restored, flow, visible).overall,
        warp_error_before=warp_error(repaired, flow, visible),
        warp_error_after=warp_error(restored, flow, visible),
        # Beside nothing, all fine texture is foreign.
        texture_before=texture(repaired, empty).residue,
        texture_after=texture(restored, empty).residue,
    )


def _result(clip: DamagedClip, method: str, film: Tensor, strength: float | None = None) -> MethodResult:
    return MethodResult(
        clip=clip.name, preset=clip.preset, method=method, figures=picture_figures(clip, film), strength=strength
    )


def _write(path: Path, films: dict[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    row = labelled_row(list(films.values()), list(films))
    Image.fromarray((row * 255).round().byte().permute(1, 2, 0).numpy()).save(path)
