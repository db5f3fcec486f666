"""Temporal layers: do clips flicker less, at the same fidelity?"""

from collections.abc import Sequence
from pathlib import Path

from vldm_core.prior.temporal.files import read_temporal_layers
from vldm_core.progress import Progress, silent
from vldm_core.training.diffusion.prior import TrainingPrior
from vldm_core.wording import counted

from ..clips import HeldOutClip
from ..sampling import STEPS, Noise, sample
from ..scores import means, scores
from .finding import Claim, Figures, Finding

_STRENGTH = 0.5
_LEAST = 0.30
_NOISES: tuple[Noise, ...] = ("independent", "warped")
_ALONE, _WITH = "frame by frame", "with temporal layers"


def try_temporal_layers(
    world: TrainingPrior, clips: Sequence[HeldOutClip], file: Path, *, seeds: Sequence[int], progress: Progress = silent
) -> Finding:
    """Sample clips frame by frame and with temporal layers, on the same noise.

    Args:
        world: The model.
        clips: Held out.
        file: Of temporal layers.
        seeds: Of the noise; each clip is sampled with every one.
        progress: Called once per clip.
    """
    layers = read_temporal_layers(file)
    figures = {}
    rows = {"given": clips[0].given}
    total, done = 2 * len(_NOISES) * len(seeds) * len(clips), 0
    for noise in _NOISES:
        for attached in (False, True):
            if attached:
                world.pipeline.attach(layers, "temporal")
            try:
                by_seed = []
                for seed in seeds:
                    found = []
                    for clip in clips:
                        made = world.pictures(sample(world, clip.given, strength=_STRENGTH, seed=seed, noise=noise))
                        found.append(scores(made, clip))
                        if clip is clips[0] and seed == seeds[0]:
                            rows[f"{_WITH if attached else _ALONE}, {noise}"] = made
                        done += 1
                        progress("temporal layers", done, total)
                    by_seed.append(found)
            finally:
                if attached:
                    world.pipeline.detach("temporal")
            figures[f"{_WITH if attached else _ALONE}, {noise} noise"] = means(by_seed)
    return Finding(
        part="Temporal layers",
        how=(
            f"Image to image at strength {_STRENGTH}, {STEPS} steps; {counted(len(clips), 'clip')}, "
            f"{counted(len(seeds), 'seed')}."
        ),
        figures=figures,
        claims=tuple(_claim(figures, noise) for noise in _NOISES),
        rows=rows | {"target": clips[0].target},
    )


def _claim(figures: Figures, noise: str) -> Claim:
    alone, joined = (figures[f"{name}, {noise} noise"] for name in (_ALONE, _WITH))
    down = {name: 1 - joined[name].value / alone[name].value for name in ("flicker", "warp")}
    gain = joined["psnr"].value - alone["psnr"].value
    return Claim(
        aim=f"{noise} noise: flicker and warp error at least {_LEAST:.0%} less, at equal or better PSNR",
        found=f"flicker {-down['flicker']:+.0%}, warp error {-down['warp']:+.0%}, PSNR {gain:+.2f} dB",
        holds=min(down.values()) >= _LEAST and gain >= 0,
    )
