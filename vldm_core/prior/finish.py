"""From latents to frames again: decode, colour, fusion; grain comes last, at the size of the film."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ..decode.colour import ColourSettings, match_colour
from ..decode.fusion import FusionSettings, fuse
from ..decode.memory_fallback import DecodeSettings
from ..decode.regrain import RegrainSettings, regrain
from ..decode.wrapping.wrapped import PUBLISHED_FIDELITY, check_fidelity
from ..errors import SettingsError
from ..progress import Progress, silent
from ..video.geometry import FitPlan, unfit
from ..video.shots import Shot


@dataclass(frozen=True, kw_only=True)
class FinishSettings:
    """What happens to a clip after sampling; None leaves a stage out.

    Attributes:
        decode: How the latents are decoded.
        colour: Gives the picture the colours of the film.
        fusion: Joins the picture with the film that went in.
        grain: Gives the picture the grain of the film that went in.
        fidelity: How much the film counts where the decoder is wrapped, 0 … 1; without feature wrapping it does
            nothing.
    """

    decode: DecodeSettings = field(default_factory=DecodeSettings)
    colour: ColourSettings | None = field(default_factory=ColourSettings)
    fusion: FusionSettings | None = None
    grain: RegrainSettings | None = None
    fidelity: float = PUBLISHED_FIDELITY

    def __post_init__(self) -> None:
        check_fidelity(self.fidelity)

    def check(self, *, masks: bool) -> None:
        """Check that what the settings need is there.

        Raises:
            SettingsError: Fusion by mask without masks.
        """
        if self.fusion is not None and self.fusion.mode == "mask" and not masks:
            raise SettingsError("fusion in mode 'mask' needs masks; give them, or use another mode")


def finish_clip(
    pictures: Tensor,
    settings: FinishSettings,
    *,
    fitted: Tensor,
    frames: Tensor,
    plan: FitPlan,
    masks: Tensor | None = None,
    shots: Sequence[Shot] | None = None,
    first_frame: int = 0,
    progress: Progress = silent,
) -> Tensor:
    """Lead decoded pictures back to the film.

    Args:
        pictures: (T, 3, H', W'), decoded.
        settings: Which stages.
        fitted: (T, 3, H', W'), what went into the prior.
        frames: (T, 3, H, W), the same before it was fitted.
        plan: How it was fitted.
        masks: (T, H', W'), 1 = damaged.
        shots: Shots that cover the clip.
        first_frame: Number of the first frame in the film, for the grain.
        progress: Called per frame and stage.

    Returns:
        (T, 3, H, W), [0, 1].
    """
    # Colour before fusion, so that what fusion takes from the film stays as it is.
    if settings.colour is not None and settings.colour.method != "off":
        pictures = match_colour(pictures, fitted, settings.colour, shots=shots, progress=progress)
    if settings.fusion is not None:
        pictures = fuse(pictures, fitted, settings.fusion, mask=masks, progress=progress)
    result = unfit(pictures, plan, frames)
    if settings.grain is not None:
        # Grain is measured in pixels, so it comes after the way back to the size of the film.
        result = regrain(result, frames, settings.grain, shots=shots, first_frame=first_frame, progress=progress)
    return result
