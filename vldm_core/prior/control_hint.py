"""What a ControlNet looks at."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class ControlHint:
    """What the pipeline's ControlNet looks at.

    Attributes:
        hint: (1 or T, 3, H, W), [0, 1], of the frames' size.
        strength: Multiplies what the network adds.
        start: Share of the schedule at which it begins, 0 … 1.
        end: Share of the schedule at which it ends.
    """

    hint: Tensor
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0
