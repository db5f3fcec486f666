"""What a pickle that runs code looks like."""

from pathlib import Path
from typing import Any


class Hostile:
    """Leaves a mark when it is unpickled: nothing that is refused may have run.

    Args:
        mark: File that appears then.
    """

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)
