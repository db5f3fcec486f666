"""Which frame of a clip serves another as its reference.

The original makes a reference for every picture. In a film there is something better: another frame of the same shot
that is in good condition. (A photograph of the same scene is better still; the user gives it.) A reference serves the
frames of one shot alone, so nothing crosses a cut.
"""

from collections.abc import Sequence

from torch import Tensor

from ....errors import SettingsError
from ....video.shots import Shot


def reference_frames(
    frames: int,
    *,
    shots: Sequence[Shot] | None = None,
    damage: Tensor | None = None,
) -> tuple[int, ...]:
    """Return, for each frame, which frame it looks at: the least damaged of its shot, among equals the middle one.

    `latents[list(found)]` of the clip's latents (T, 4, h, w) is then the control's reference.

    Args:
        frames: Frames of the clip, T.
        shots: They cover the clip; None is one shot.
        damage: (T, H, W), 1 where damaged; None counts all frames as equal.

    Raises:
        SettingsError: The damage is that of another clip.
    """
    if damage is not None and len(damage) != frames:
        raise SettingsError(f"damage of {len(damage)} frames for a clip of {frames}; give one mask for each frame")
    worn = [0.0] * frames if damage is None else damage.flatten(1).float().mean(dim=1).tolist()
    found: list[int] = []
    for shot in shots or (Shot(0, frames),):
        own = range(shot.first, min(shot.last, frames))
        found += [_least_damaged(own, worn)] * len(own)
    return tuple(found)


def _least_damaged(frames: range, worn: Sequence[float]) -> int:
    middle = (frames.start + frames.stop - 1) / 2
    return min(frames, key=lambda frame: (worn[frame], abs(frame - middle)))
