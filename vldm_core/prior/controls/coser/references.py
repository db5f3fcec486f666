"""Which picture each frame of a clip looks at as its reference.

The original makes a reference for every picture. In a film there is something better: another frame of the same shot
that is in good condition, or a photograph of the same scene. A reference serves the frames of one shot alone, so
nothing crosses a cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ....errors import SettingsError
from ....video.shots import Shot

NO_REFERENCE = -1
"""In place of a reference's number: this frame has none, and hard attention is left out for it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class References:
    """Reference pictures of a clip.

    Attributes:
        latents: (R, 4, h, w), scaled as the UNet takes them, as large as the frames' latents.
        of_frame: Number of each frame's reference, or `NO_REFERENCE`.
    """

    latents: Tensor
    of_frame: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.latents.ndim != 4 or not self.of_frame:
            raise SettingsError(
                f"references are latents (R, 4, h, w) for at least one frame; got {tuple(self.latents.shape)} for "
                f"{len(self.of_frame)} frames"
            )
        wrong = [number for number in self.of_frame if not NO_REFERENCE <= number < len(self.latents)]
        if wrong:
            raise SettingsError(f"there are {len(self.latents)} references, but a frame asks for number {wrong[0]}")

    @classmethod
    def given(cls, latents: Tensor, frames: int) -> "References":
        """Return references that the user gives: one for all frames, or one for each.

        Raises:
            SettingsError: There are more than one and not one for each frame.
        """
        if len(latents) == 1:
            return cls(latents=latents, of_frame=(0,) * frames)
        if len(latents) != frames:
            raise SettingsError(f"{len(latents)} references for {frames} frames; give one for all or one for each")
        return cls(latents=latents, of_frame=tuple(range(frames)))

    @classmethod
    def from_key_frames(
        cls,
        latents: Tensor,
        *,
        shots: Sequence[Shot] | None = None,
        key_frames: Sequence[int] = (),
        damage: Tensor | None = None,
    ) -> "References":
        """Return references out of the clip itself: for each frame the nearest key frame of its shot.

        Args:
            latents: (T, 4, h, w) of all frames, scaled as the UNet takes them.
            shots: They cover the clip; None is one shot.
            key_frames: Frames that stand for their shots, such as the sharpest. A shot without one is represented by
                its least damaged frame, among equals by the one nearest to its middle.
            damage: (T, H, W), 1 where damaged; None counts all frames as equal.

        Raises:
            SettingsError: A key frame is not in the clip, or the damage is that of another clip.
        """
        frames = len(latents)
        if damage is not None and len(damage) != frames:
            raise SettingsError(f"damage of {len(damage)} frames for a clip of {frames}; give one mask for each frame")
        outside = [frame for frame in key_frames if not 0 <= frame < frames]
        if outside:
            raise SettingsError(f"key frame {outside[0]} is not in the clip of {frames} frames")
        worn = [0.0] * frames if damage is None else damage.flatten(1).float().mean(dim=1).tolist()
        chosen: list[int] = []
        of_frame: list[int] = []
        for shot in shots or (Shot(0, frames),):
            own = range(shot.first, min(shot.last, frames))
            keys = sorted({key for key in key_frames if key in own}) or [_least_damaged(own, worn)]
            of_frame += [len(chosen) + _nearest(frame, keys) for frame in own]
            chosen += keys
        return cls(latents=latents[chosen], of_frame=tuple(of_frame))


def _least_damaged(frames: range, worn: Sequence[float]) -> int:
    middle = (frames.start + frames.stop - 1) / 2
    return min(frames, key=lambda frame: (worn[frame], abs(frame - middle)))


def _nearest(frame: int, keys: Sequence[int]) -> int:
    return min(range(len(keys)), key=lambda number: abs(keys[number] - frame))
