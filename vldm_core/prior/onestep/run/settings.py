"""How a clip goes through a one-step restorer."""

from dataclasses import dataclass
from typing import Literal

from ....errors import SettingsError
from ....sampling.regions.windows import WindowSettings
from ..tiles import PublishedTiles

_WINDOWS = WindowSettings()


@dataclass(frozen=True, kw_only=True)
class OneStepSettings:
    """How a clip is restored; None of a value is as the system's authors have it.

    Attributes:
        invention: 0 … 1: how much is added that the film does not show, for systems with such a dial. PiSA-SR: 0 is its
            adapters for pixels alone, in one pass; 1 those for meaning too. DLoRAL: 0 is its adapters for consistency
            alone, 1 those for quality too.
        guidance: How strongly the texts guide, 1 or more; only S3Diff is guided.
        tiles: How large latents are parted; None as published.
        encode: "mean" takes the middle of what the VAE says a picture may be; "sample" draws from it, with one noise
            for all frames of a shot. The programs draw anew for every picture, so that frames of a film flicker.
        scores: (blur, noise), 0 … 1 each, for S3Diff; None measures them, one pair for a shot.
        scored_frames: Frames of a shot that are measured, evenly spread over it; the middle of their scores counts.
        keep_outside: Whether what lies outside the masks leaves as it came, bit for bit; only with masks.
        windows: Frames that pass the UNet together where temporal layers are attached.
    """

    invention: float | None = None
    guidance: float | None = None
    tiles: PublishedTiles | None = None
    encode: Literal["mean", "sample"] = "mean"
    scores: tuple[float, float] | None = None
    scored_frames: int = 8
    keep_outside: bool = False
    windows: WindowSettings = _WINDOWS

    def __post_init__(self) -> None:
        if self.invention is not None and not _within(self.invention, 0, 1):
            raise SettingsError(f"invention is {self.invention!r}; use 0 to 1")
        if self.guidance is not None and not _within(self.guidance, 1, 20):
            raise SettingsError(f"guidance is {self.guidance!r}; use 1 to 20")
        if self.encode not in ("mean", "sample"):
            raise SettingsError(f"encode is {self.encode!r}; use mean or sample")
        if self.scores is not None and (len(self.scores) != 2 or not all(_within(each, 0, 1) for each in self.scores)):
            raise SettingsError(f"scores are {self.scores!r}; give two numbers from 0 to 1, of blur and of noise")
        if isinstance(self.scored_frames, bool) or not 1 <= self.scored_frames <= 1000:
            raise SettingsError(f"scored_frames is {self.scored_frames!r}; use 1 to 1000")


def _within(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
