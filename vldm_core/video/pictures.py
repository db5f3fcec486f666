"""Pictures that are held small and made large when someone looks at them.

A frame of a large film takes several times more room as floating point numbers than as the decoder gave it. What waits
in a stream is therefore a picture in this sense: it knows how to make its tensor, and gives the same one every time.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Picture(Protocol):
    """Something that can make one picture again and again; a `FilmFrame` is one."""

    def tensor(self) -> Tensor:
        """Return the picture, (3, H, W), RGB, [0, 1]; the same values every time. It must not be changed."""


@dataclass(frozen=True, eq=False)
class Whole:
    """A picture held as it is.

    Attributes:
        image: (3, H, W), RGB, [0, 1].
    """

    image: Tensor

    def tensor(self) -> Tensor:
        """Return the picture itself, without a copy."""
        return self.image


def picture_of(image: "Tensor | Picture") -> Picture:
    """Return a picture for a tensor (3, H, W); what is one already is given back."""
    return Whole(image) if isinstance(image, Tensor) else image
