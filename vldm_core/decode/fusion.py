"""Put the decoded picture and the pre-restored one together, so that the prior adds and does not replace.

The pre-restored picture (the film with its damage undone) is faithful but soft; what comes out of the prior is sharp
but partly invented. Three ways to take the best of both:

- *weight*: the mean of the two with a weight;
- *frequency*: structure and tone of the film, detail of the prior: low(film) + gain · (decoded − low(decoded)), with a
  Gaussian low-pass;
- *mask*: the prior only where the film was damaged, the film everywhere else, bit for bit.

Every frame is fused by itself and in the same way, so fusion adds no flicker.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import SettingsError
from ..progress import Progress, silent
from ..video.blending import gaussian, takeover

_MODES = ("off", "weight", "frequency", "mask")


@dataclass(frozen=True, kw_only=True)
class FusionSettings:
    """How two pictures become one.

    Attributes:
        mode: "off" is the decoded picture as it is; see the module for the others.
        weight: Share of the fused picture against the pre-restored one, 0 … 1: in mode "weight" of the decoded picture,
            in "frequency" of its detail, in "mask" of the fill. 0 is the pre-restored picture.
        cutoff: Sigma in pixels of the low-pass of "frequency". What is coarser comes from the pre-restored picture.
        detail: Gain on the decoded detail in "frequency", 0 … 4.
        grow: Pixels by which the mask is widened before it is used.
        feather: Pixels over which the decoded picture takes over, inside the widened mask.
    """

    mode: Literal["off", "weight", "frequency", "mask"] = "frequency"
    weight: float = 1.0
    cutoff: float = 4.0
    detail: float = 1.0
    grow: int = 4
    feather: float = 4.0

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            raise SettingsError(f"fusion mode is {self.mode!r}; use one of {', '.join(_MODES)}")
        if not 0 <= self.weight <= 1:
            raise SettingsError(f"fusion weight is {self.weight}; use 0 … 1")
        if not 0.3 <= self.cutoff <= 128:
            raise SettingsError(f"fusion cutoff is {self.cutoff}; use 0.3 … 128 pixels")
        if not 0 <= self.detail <= 4:
            raise SettingsError(f"fusion detail is {self.detail}; use 0 … 4")
        if not 0 <= self.grow <= 64:
            raise SettingsError(f"fusion grow is {self.grow}; use 0 … 64 pixels")
        if not 0 <= self.feather <= 64:
            raise SettingsError(f"fusion feather is {self.feather}; use 0 … 64 pixels")


def fuse(
    decoded: Tensor,
    restored: Tensor,
    settings: FusionSettings | None = None,
    *,
    mask: Tensor | None = None,
    progress: Progress = silent,
) -> Tensor:
    """Fuse decoded frames with pre-restored ones.

    Args:
        decoded: (T, 3, H, W), RGB, [0, 1], what the prior made.
        restored: Same shape: what went into the prior.
        settings: Mode and weights.
        mask: (T, H, W), above 0.5 is damaged; needed in mode "mask" and not used in the others.
        progress: Called once per frame.

    Returns:
        (T, 3, H, W), in [0, 1]. In mode "mask" every pixel outside the widened mask is bit-equal to ``restored``.

    Raises:
        SettingsError: Shapes differ, or the mask is missing.
    """
    settings = settings or FusionSettings()
    if decoded.shape != restored.shape or decoded.ndim != 4:
        raise SettingsError(
            f"decoded frames {tuple(decoded.shape)} and pre-restored ones {tuple(restored.shape)} must be alike, "
            "(T, 3, H, W); bring them to one size and length first"
        )
    if settings.mode == "mask" and (mask is None or mask.shape != decoded.shape[:1] + decoded.shape[2:]):
        seen = "missing" if mask is None else str(tuple(mask.shape))
        raise SettingsError(
            f"the mask is {seen}, fusion in mode 'mask' needs {tuple(decoded.shape[:1] + decoded.shape[2:])}; "
            "connect the damage mask, or use another mode"
        )
    if settings.mode == "off":
        return decoded
    result = torch.empty_like(restored)
    for t in range(len(decoded)):
        result[t] = fuse_frame(decoded[t], restored[t], settings, None if mask is None else mask[t])
        progress("fuse", t + 1, len(decoded), result[t])
    return result


def fuse_frame(decoded: Tensor, restored: Tensor, settings: FusionSettings, mask: Tensor | None = None) -> Tensor:
    """Fuse one frame; see `fuse`.

    Args:
        decoded: (3, H, W).
        restored: (3, H, W).
        settings: Mode and weights.
        mask: (H, W), in mode "mask".
    """
    if settings.mode == "off":
        return decoded
    if settings.mode == "weight":
        return torch.lerp(restored, decoded.to(restored), settings.weight)
    if settings.mode == "frequency":
        detail = decoded.to(restored) - gaussian(decoded.to(restored), settings.cutoff)
        fused = gaussian(restored, settings.cutoff) + settings.detail * detail
        return torch.lerp(restored, fused.clamp(0, 1), settings.weight)
    assert mask is not None
    share = takeover(mask, settings.grow, settings.feather).to(restored) * settings.weight
    fused = restored + share * (decoded.to(restored) - restored)
    # Adding nothing can still change a bit; where the mask ends the film must not.
    return torch.where(share >= 1, decoded.to(restored), torch.where(share > 0, fused, restored))
