"""Settings of the cost benchmark."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vldm_core.errors import SettingsError

from ..common.settings import check_chosen, check_least, check_size

REPAIR = "repair"
RESTORE = "restore"
WITHOUT_NETWORK = "without network"

PARTS: Mapping[str, str] = {
    REPAIR: "detection and repair of frames in memory, as the detection benchmark's method `ours` does it",
    RESTORE: "`restore` with its defaults, from film file to film file",
    WITHOUT_NETWORK: "the same without the pre-restoration network",
}
"""What can be measured, by name."""

_MEGAPIXEL = 1_000_000

HERE = "here"
"""Name of this checkout in the figures."""

AGAINST = "against"
"""Name of the checkout that it is measured beside."""


@dataclass(frozen=True, kw_only=True)
class CostSettings:
    """What the cost benchmark measures.

    Attributes:
        sizes: Width and height of the films, pixels, each 64 or more.
        frames: Length of the film of every size, at least 4; one number holds for all sizes, none takes 16 frames up
            to a megapixel and 8 beyond.
        parts: What is measured, of `PARTS`.
        repeats: Timed runs of every part on every film, at least 1.
        against: Another checkout of this repository that is measured in the same run, by turns; None measures none.
    """

    sizes: tuple[tuple[int, int], ...] = ((480, 368), (2048, 1556))
    frames: tuple[int, ...] = ()
    parts: tuple[str, ...] = (REPAIR, RESTORE)
    repeats: int = 3
    against: Path | None = None

    def __post_init__(self) -> None:
        if not self.sizes:
            raise SettingsError("the cost benchmark has no size to measure; give one")
        for size in self.sizes:
            check_size(*size)
        if len(self.frames) not in (0, 1, len(self.sizes)) or min(self.frames, default=4) < 4:
            raise SettingsError(
                f"frames are {self.frames}; give one length of 4 or more for all sizes, or one for each of the "
                f"{len(self.sizes)} sizes"
            )
        check_chosen("parts", self.parts, PARTS)
        check_least(self, repeats=1)
        if self.against is not None and not (self.against / "vldm_core" / "__init__.py").is_file():
            raise SettingsError(f"{self.against} holds no vldm_core; give the folder of another checkout")

    @property
    def films(self) -> tuple[tuple[int, int, int], ...]:
        """Width, height and length of every film."""
        lengths = self.frames
        if not lengths:
            lengths = tuple(16 if width * height <= _MEGAPIXEL else 8 for width, height in self.sizes)
        elif len(lengths) == 1:
            lengths *= len(self.sizes)
        return tuple((*size, length) for size, length in zip(self.sizes, lengths, strict=True))
