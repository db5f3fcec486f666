"""The control branch: is a badly damaged clip nearer to the truth than by image to image alone?"""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from vldm_core.prior.controls.control import ControlSystem
from vldm_core.prior.controls.reading import read_control
from vldm_core.prior.controls.settings import ControlSettings
from vldm_core.prior.controls.use import ControlUse
from vldm_core.progress import Progress, silent
from vldm_core.training.diffusion.prior import TrainingPrior
from vldm_core.wording import counted

from ..clips import HeldOutClip
from ..sampling import STEPS, pictures, sample
from ..scores import Scores, means, psnr_inside, scores
from .finding import Claim, Figures, Finding

_STRENGTHS = (0.3, 0.6, 1.0)
_DAMAGE_STRENGTH = 0.8
_TRUST = (1.0, 0.5, 0.0)
_IN, _OUT = "inside", "outside"


def try_control(
    world: TrainingPrior, clips: Sequence[HeldOutClip], file: Path, *, seeds: Sequence[int], progress: Progress = silent
) -> Finding:
    """Sample badly damaged clips with and without the control, in equal steps.

    Args:
        world: The model.
        clips: Held out, badly damaged.
        file: Of a control branch.
        seeds: Of the noise; each clip is sampled with every one.
        progress: Called once per clip.
    """
    use = ControlUse(system=_system(file))
    figures = {"pre-restored alone": means([[scores(clip.given, clip) for clip in clips]])}
    rows = {"repaired": clips[0].repaired, "pre-restored": clips[0].given}
    total, done = 2 * len(_STRENGTHS) * len(seeds) * len(clips), 0
    for strength in _STRENGTHS:
        for name, controls in (("alone", ()), ("with control", (use,))):
            by_seed = []
            for seed in seeds:
                found = []
                for clip in clips:
                    latents = sample(world, clip.given, strength=strength, seed=seed, controls=controls)
                    made = pictures(world, latents, clip.given)
                    found.append(scores(made, clip))
                    if clip is clips[0] and seed == seeds[0]:
                        rows[f"{name}, strength {strength}"] = made
                    done += 1
                    progress("control", done, total)
                by_seed.append(found)
            figures[f"image to image {name}, strength {strength}"] = means(by_seed)
    return Finding(
        part="Control branch",
        how=(
            f"Badly damaged clips, repaired and pre-restored; {STEPS} steps, {counted(len(clips), 'clip')}, "
            f"{counted(len(seeds), 'seed')}."
        ),
        figures=figures,
        claims=tuple(_claim(figures, strength) for strength in _STRENGTHS),
        rows=rows | {"target": clips[0].target},
    )


def _claim(figures: Figures, strength: float) -> Claim:
    alone, controlled = (figures[f"image to image {name}, strength {strength}"] for name in ("alone", "with control"))
    gain = controlled["psnr"].value - alone["psnr"].value
    found, holds = f"PSNR {gain:+.2f} dB", gain > 0
    if "st_lpips" in alone:
        nearer = controlled["st_lpips"].value - alone["st_lpips"].value
        found, holds = f"{found}, ST-LPIPS {nearer:+.3f}", holds and nearer < 0
    return Claim(aim=f"strength {strength}: better PSNR and ST-LPIPS than without control", found=found, holds=holds)


def try_damage_masks(
    world: TrainingPrior, clips: Sequence[HeldOutClip], file: Path, *, seeds: Sequence[int], progress: Progress = silent
) -> Finding:
    """Sample clips whose damage is still in the hint, with a control that is trusted there more or less.

    Args:
        world: The model.
        clips: Held out, with their damage in them and exact masks of it.
        file: Of a control branch.
        seeds: Of the noise; each clip is sampled with every one.
        progress: Called once per clip.
    """
    system = _system(file)
    figures = {"as it came": means([[_inside_and_outside(clip.given, clip) for clip in clips]])}
    rows = {"as it came": clips[0].given}
    total, done = len(_TRUST) * len(seeds) * len(clips), 0
    for trust in _TRUST:
        use = ControlUse(system=system, settings=ControlSettings(in_damage=trust))
        by_seed = []
        for seed in seeds:
            found = []
            for clip in clips:
                latents = sample(
                    world, clip.given, strength=_DAMAGE_STRENGTH, seed=seed, controls=(use,), masks=clip.masks
                )
                made = pictures(world, latents, clip.given)
                found.append(_inside_and_outside(made, clip))
                if clip is clips[0] and seed == seeds[0]:
                    rows[_trusted(trust)] = made
                done += 1
                progress("damage masks", done, total)
            by_seed.append(found)
        figures[_trusted(trust)] = means(by_seed)
    everywhere = figures[_trusted(1.0)]
    claims = []
    for trust in _TRUST[1:]:
        inside, outside = (figures[_trusted(trust)][name].value - everywhere[name].value for name in (_IN, _OUT))
        claims.append(
            Claim(
                aim=f"{_trusted(trust)}: better in damage than trusted everywhere",
                found=f"PSNR in damage {inside:+.2f} dB, elsewhere {outside:+.2f} dB",
                holds=inside > 0,
            )
        )
    return Finding(
        part="Damage masks",
        how=(
            f"The hint holds the damage itself, unrepaired; strength {_DAMAGE_STRENGTH}, {STEPS} steps, {len(clips)} "
            f"clips, {counted(len(seeds), 'seed')}."
        ),
        figures=figures,
        claims=tuple(claims),
        rows=rows | {"target": clips[0].target},
        headings={_IN: "PSNR in damage, dB", _OUT: "PSNR elsewhere, dB"},
    )


def _trusted(trust: float) -> str:
    return f"control trusted {trust:.0%} in damage"


def _inside_and_outside(frames: Tensor, clip: HeldOutClip) -> Scores:
    found = {_IN: psnr_inside(frames, clip, clip.masks), _OUT: psnr_inside(frames, clip, 1 - clip.masks)}
    return {name: value for name, value in found.items() if value is not None}


def _system(file: Path) -> ControlSystem:
    return read_control([file])
