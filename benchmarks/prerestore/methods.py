"""The methods that the pre-restoration benchmark compares: our network in several ways, and OpenCV's denoiser."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from vldm_core.metrics.fidelity import psnr
from vldm_core.prerestore.network import PreRestorer
from vldm_core.prerestore.run import PreRestoreSettings, apply, pre_restore

from .material import DamagedClip

Film = Literal["damaged", "repaired", "even"]
"""The films of a `DamagedClip` that a method may begin with."""

REFERENCE = "reference"
DAMAGED = "damaged"
REPAIR = "repair"
EVEN = "repair, flicker removal"
NLM = "NLM over time"
PER_FRAME = "network per frame"
NETWORK = "network"
DEFAULT = "network, default settings"
FLICKERING = "network, flicker left in"

FULL = PreRestoreSettings(strength=1.0, keep_grain=0.0)
"""All that the network takes off."""

NLM_STRENGTHS = (3.0, 5.0, 8.0)
"""Filter strengths h of the non-local means, grey levels."""

_NLM_FRAMES, _NLM_PATCH, _NLM_SEARCH = 5, 7, 21


@dataclass(frozen=True, kw_only=True)
class PreRestoreMethod:
    """A way to make a film, or a film to compare with.

    Attributes:
        description: One line for the report.
        film: Film of the clip that it begins with; its own figures are the method's input.
    """

    description: str
    film: Film


METHODS: Mapping[str, PreRestoreMethod] = {
    DAMAGED: PreRestoreMethod(description="the film as it comes, no repair", film="damaged"),
    REPAIR: PreRestoreMethod(description="our detection and repair alone", film="repaired"),
    EVEN: PreRestoreMethod(
        description="the same and our flicker removal, as in the film stages; what the methods below begin with",
        film="even",
    ),
    NLM: PreRestoreMethod(
        description=(
            f"OpenCV fastNlMeansDenoisingColoredMulti over {_NLM_FRAMES} frames, patch {_NLM_PATCH}, "
            f"search {_NLM_SEARCH}; for every clip the h of {', '.join(f'{h:g}' for h in NLM_STRENGTHS)} with the best "
            "PSNR on its middle frame"
        ),
        film="even",
    ),
    PER_FRAME: PreRestoreMethod(description="the network without time: every frame is a shot of its own", film="even"),
    NETWORK: PreRestoreMethod(description="the network at strength 1 without grain put back", film="even"),
    DEFAULT: PreRestoreMethod(
        description=f"the same at strength {PreRestoreSettings().strength:g} with "
        f"{PreRestoreSettings().keep_grain:.0%} of the fine texture put back",
        film="even",
    ),
    FLICKERING: PreRestoreMethod(
        description="the network at strength 1 after repair alone, so that it gets the flicker, too", film="repaired"
    ),
}
"""Name → what it is, in the order of the report."""


def over_time(frames: Tensor, masks: Tensor, network: PreRestorer) -> Tensor:
    """Run the network at full strength over a shot.

    Args:
        frames: (T, 3, H, W) in [0, 1].
        masks: (T, H, W), 1 = repaired.
        network: In evaluation mode.
    """
    return pre_restore(frames, network, FULL, masks=masks)[0]


def per_frame(frames: Tensor, masks: Tensor, network: PreRestorer) -> Tensor:
    """Run the network at full strength over frames that know nothing of each other."""
    singles = zip(frames.split(1), masks.split(1), strict=True)
    return torch.cat([pre_restore(frame, network, FULL, masks=mask)[0] for frame, mask in singles])


def at_defaults(frames: Tensor, restored: Tensor) -> Tensor:
    """Apply the default strength and grain to what the network made at full strength.

    It equals a run at the defaults but where a pixel was clipped to [0, 1].

    Args:
        frames: (T, 3, H, W), the input of the network.
        restored: Same shape, its output at full strength.
    """
    defaults = PreRestoreSettings()
    pairs = zip(frames, restored, strict=True)
    return torch.stack([apply(image, picture - image, defaults) for image, picture in pairs])


def non_local_means(frames: Tensor, strength: float, numbers: range | None = None) -> Tensor:
    """Denoise with OpenCV's non-local means over neighbouring frames; the film is mirrored at its ends.

    Args:
        frames: (T, 3, H, W) in [0, 1].
        strength: h, grey levels, for luma and colour.
        numbers: Frames to denoise; None is all.

    Returns:
        (frames to denoise, 3, H, W) in [0, 1].
    """
    half, count = _NLM_FRAMES // 2, len(frames)
    levels = (frames * 255).round().byte().permute(0, 2, 3, 1).numpy()
    pictures = [np.ascontiguousarray(picture[..., ::-1]) for picture in levels]
    made = []
    for number in numbers or range(count):
        around = [pictures[there_and_back(number + step, count)] for step in range(-half, half + 1)]
        clean = cv2.fastNlMeansDenoisingColoredMulti(
            around, half, _NLM_FRAMES, None, strength, strength, _NLM_PATCH, _NLM_SEARCH
        )
        made.append(torch.from_numpy(np.ascontiguousarray(clean[..., ::-1].transpose(2, 0, 1))).float() / 255)
    return torch.stack(made)


def best_strength(clip: DamagedClip) -> float:
    """Return the strength of the non-local means that comes nearest to the reference in the middle of a clip."""
    middle = len(clip.even) // 2
    one = range(middle, middle + 1)
    reference = clip.reference[one.start : one.stop]
    return max(NLM_STRENGTHS, key=lambda h: psnr(non_local_means(clip.even, h, one), reference))


def there_and_back(number: int, count: int) -> int:
    """Return which of `count` frames is number `number` of a film that turns around at both ends."""
    period = max(1, 2 * (count - 1))
    return min(number % period, period - number % period)
