"""Whether a frame encoder and a text encoder belong to one CLIP.

Zero-shot words need both in one space. Sizes that agree prove nothing: a text encoder without its projection, as in
Stable Diffusion 1.x checkpoints, gives features of the right size that have nothing to do with pictures. So the pair is
put to a test with pictures whose content is known: plain colours. Every CLIP tells them apart by name; features of two
spaces agree by chance only.
"""

import torch
from torch import Tensor

from ...errors import SettingsError
from .features import FrameEncoder, TextEncoder, checked_features

COLOURS = {
    "red": (0.9, 0.05, 0.05),
    "green": (0.05, 0.6, 0.1),
    "blue": (0.1, 0.15, 0.85),
    "yellow": (1.0, 0.9, 0.1),
    "orange": (1.0, 0.5, 0.0),
    "purple": (0.5, 0.1, 0.6),
    "black": (0.0, 0.0, 0.0),
    "white": (1.0, 1.0, 1.0),
}
"""The test pictures, RGB, [0, 1], by name."""

_SIDE = 224
# Of eight. By chance five or more are right once in a thousand times.
_LEAST_RIGHT = 5


def colour_cards() -> Tensor:
    """Return the test pictures, (8, 3, 224, 224)."""
    return torch.tensor(list(COLOURS.values()))[:, :, None, None].expand(-1, -1, _SIDE, _SIDE)


def colour_names() -> list[str]:
    """Return the texts that belong to them."""
    return [f"a plain {name} background" for name in COLOURS]


def check_shared_space(frames: FrameEncoder, texts: TextEncoder) -> None:
    """Check that features of frames and of texts can be compared.

    Raises:
        SettingsError: They are of different sizes, empty, or do not agree on plain colours.
    """
    seen = checked_features(frames(colour_cards()), len(COLOURS))
    said = checked_features(texts(colour_names()), len(COLOURS))
    if seen.shape[1] != said.shape[1]:
        raise SettingsError(
            f"the pictures' features have {seen.shape[1]} numbers and the texts' {said.shape[1]}, so they are not of "
            "one CLIP; use a CLIP folder, or a CLIP Vision and a CLIP that were trained together"
        )
    right = named_rightly(seen, said)
    if right < _LEAST_RIGHT:
        raise SettingsError(
            f"CLIP and CLIP Vision named {right} of {len(COLOURS)} plain colours rightly, so their features are not of "
            "one space; a Stable Diffusion 1.x checkpoint's text encoder has no projection into it: use a CLIP folder, "
            "or a CLIP Vision and a CLIP with projection that were trained together"
        )


def named_rightly(seen: Tensor, said: Tensor) -> int:
    """Count the pictures that their own text fits best.

    What all pictures or all texts have in common is left out first: one text that fits everything says nothing.

    Args:
        seen: (N, D), features of pictures, each of length 1.
        said: (N, D), features of their texts in the same order.
    """
    likeness = seen @ said.T
    likeness = likeness - likeness.mean(0, keepdim=True) - likeness.mean(1, keepdim=True)
    best = likeness.max(1).values
    # A tie is no recognition.
    alone = (likeness == best[:, None]).sum(1) == 1
    return int((alone & (likeness.diagonal() == best)).sum())
