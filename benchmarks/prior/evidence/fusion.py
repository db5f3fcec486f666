"""Fusion by three routes: is it better than the pre-restored picture, and than what the prior decodes to?"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from vldm_core.decode.fused_clip import TrainedFusion, fuse_clip
from vldm_core.decode.fusion_decoder import KIND, Source
from vldm_core.prerestore.network import PreRestorer
from vldm_core.progress import Progress, silent
from vldm_core.training.diffusion.prior import TrainingPrior
from vldm_core.training.fusion.examples import SampleClip

from ..clips import HeldOutClip
from ..sampling import pictures
from ..scores import HIGHER_IS_BETTER, MEASURES, Scores, means, scores
from .finding import Claim, Figures, Finding

_ALONE, _DECODED = "pre-restored alone", "decoded alone"


def try_fusion(
    world: TrainingPrior,
    clips: Sequence[HeldOutClip],
    files: Mapping[Source, Path],
    network: PreRestorer,
    sample: SampleClip,
    *,
    sampled_as: str,
    progress: Progress = silent,
) -> Finding:
    """Fuse clips by every route.

    Args:
        world: The model.
        clips: Held out, badly damaged.
        files: Fusion of each route.
        network: The pre-restorer that they were trained with.
        sample: Runs the prior, as for the training.
        sampled_as: Says how.
        progress: Called once per clip.
    """
    routes = {source: KIND.load(file) for source, file in files.items()}
    found: dict[str, list[Scores]] = {name: [] for name in (_ALONE, _DECODED, *map(_route, routes))}
    rows: dict[str, Tensor] = {}
    for number, clip in enumerate(clips):
        latents = sample(clip.given, clip.masks)
        shown = {_ALONE: clip.given, _DECODED: pictures(world, latents, clip.given)}
        for source, fusion in routes.items():
            shown[_route(source)] = fuse_clip(
                clip.repaired,
                latents / world.scale,
                TrainedFusion(fusion=fusion, network=network),
                decode=lambda some: world.pictures(world.scale * some),
                decoder=world.vae.decoder,
                masks=clip.masks,
            )
        for name, frames in shown.items():
            found[name].append(scores(frames, clip))
        if clip is clips[0]:
            rows = {"repaired": clip.repaired, **shown, "target": clip.target}
        progress("fusion", number + 1, len(clips))
    figures = {name: means([each]) for name, each in found.items()}
    return Finding(
        part="Fusion",
        how=f"{len(clips)} badly damaged clips, repaired and pre-restored; the prior at {sampled_as}.",
        figures=figures,
        claims=tuple(_claim(figures, _route(source)) for source in routes),
        rows=rows,
    )


def _route(source: str) -> str:
    return f"fused, route {source}"


def _claim(figures: Figures, route: str) -> Claim:
    better = [
        name
        for name in MEASURES
        if name in figures[route] and all(_better(figures, route, other, name) for other in (_ALONE, _DECODED))
    ]
    gains = {other: figures[route]["psnr"].value - figures[other]["psnr"].value for other in (_ALONE, _DECODED)}
    return Claim(
        aim=f"{route}: better than both alone in one measure at least",
        found=(
            f"better in {', '.join(MEASURES[name].split(',')[0] for name in better) or 'none'}; PSNR "
            f"{gains[_ALONE]:+.2f} dB over the pre-restored, {gains[_DECODED]:+.2f} dB over the decoded picture"
        ),
        holds=bool(better),
    )


def _better(figures: Figures, one: str, other: str, name: str) -> bool:
    apart = figures[one][name].value - figures[other][name].value
    return apart > 0 if name in HIGHER_IS_BETTER else apart < 0
