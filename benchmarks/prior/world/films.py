"""The films of the small world, in memory: clean, and aged and repaired."""

from collections.abc import Sequence
from pathlib import Path

from vldm_core.arrays import ByteArray
from vldm_core.training.example_files import read


class Films:
    """Films of `training.prerestorer.examples.make_films`, read once.

    Args:
        files: Of films, all of one size and length.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = tuple(files)
        self._held: dict[int, dict[str, ByteArray]] = {}

    def __len__(self) -> int:
        return len(self.files)

    def target(self, number: int) -> ByteArray:
        """Return the clean film, (T, 3, H, W)."""
        return self._film(number)["target"]

    def frames(self, number: int) -> ByteArray:
        """Return the aged and repaired film, (T, 3, H, W)."""
        return self._film(number)["frames"]

    def masks(self, number: int) -> ByteArray:
        """Return where it was repaired, (T, H, W)."""
        return self._film(number)["masks"]

    def _film(self, number: int) -> dict[str, ByteArray]:
        if number not in self._held:
            self._held[number] = read(self.files[number], ("frames", "target", "masks"))
        return self._held[number]
