"""The latent head of the pre-restorer: is it nearer to the clean latent than what the VAE makes of damaged frames?"""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from vldm_core.errors import SettingsError
from vldm_core.prerestore.network import KIND
from vldm_core.prerestore.run import PreRestoreSettings, pre_restore
from vldm_core.progress import Progress, silent
from vldm_core.training.diffusion.prior import TrainingPrior

from ..clips import HeldOutClip
from ..sampling import pictures
from ..scores import Mean, means, scores
from .finding import Claim, Finding

_HEAD, _DAMAGED = "latent head", "VAE on the damaged frames"
_REPAIRED, _RESTORED = "VAE on the repaired frames", "VAE on the pre-restored frames"
_MEASURE = "distance"


def try_latent_head(
    world: TrainingPrior, clips: Sequence[HeldOutClip], file: Path, *, progress: Progress = silent
) -> Finding:
    """Compare latents with those of the clean frames.

    Args:
        world: The model.
        clips: Held out, badly damaged.
        file: Of a pre-restorer with a latent head.
        progress: Called once per clip.

    Raises:
        SettingsError: The pre-restorer has no latent head.
    """
    network = KIND.load(file)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in (_DAMAGED, _REPAIRED, _RESTORED, _HEAD)}
    for number, clip in enumerate(clips):
        clean = world.latents(clip.target)
        latents = pre_restore(clip.repaired, network, PreRestoreSettings(keep_grain=0.0), masks=clip.masks)[1]
        if latents is None:
            raise SettingsError(f"{file} has no latent head; train one with a VAE")
        made = {
            _DAMAGED: world.latents(clip.damaged),
            _REPAIRED: world.latents(clip.repaired),
            _RESTORED: world.latents(clip.given),
            _HEAD: world.scale * latents,
        }
        for name, latent in made.items():
            found[name].append(
                {_MEASURE: _distance(latent, clean), **scores(pictures(world, latent, clip.given), clip)}
            )
        progress("latent head", number + 1, len(clips))
    figures: dict[str, dict[str, Mean]] = {name: means([each]) for name, each in found.items()}
    own, *others = (figures[name][_MEASURE].value for name in (_HEAD, _DAMAGED, _REPAIRED, _RESTORED))
    return Finding(
        part="Latent head",
        how=(
            f"{len(clips)} badly damaged clips; the head is given them repaired. L1 to the scaled latent of the clean "
            "frames."
        ),
        figures=figures,
        claims=(
            Claim(
                aim="nearer to the clean latent than the VAE on the damaged frame",
                found="{:.3f} against {:.3f} (repaired {:.3f}, pre-restored {:.3f})".format(own, *others),
                holds=own < others[0],
            ),
        ),
        headings={
            _MEASURE: "L1 to the clean latent",
            "psnr": "decoded: PSNR, dB",
            "ssim": "SSIM",
            "st_lpips": "ST-LPIPS",
            "flicker": "flicker, %",
            "warp": "warp error, levels",
        },
    )


def _distance(latent: Tensor, clean: Tensor) -> float:
    return float((latent - clean).abs().mean())
