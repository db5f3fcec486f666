"""What a control looks at, for a whole clip, and the part of it that one pass of the UNet sees.

Everything has one item for all frames or one for each, so hints, masks, references and embeddings follow windows and
stop at cuts with the frames they belong to. What lies on the picture's grid is cut with the tile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ...containment import NotFiniteError, check_finite
from ...errors import SettingsError
from ...sampling.consistency import latent_mask
from ...video.shots import Shot
from ..call import UNetCall

PIXELS_PER_LATENT = 8

HintKind = Literal["latent", "pixels"]
"""What a system looks at: the VAE's latent of the degraded picture, or the picture itself."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ControlMaterial:
    """What a control looks at. T is the number of frames of the clip.

    Attributes:
        hint: Degraded, or repaired, frames: (1 or T, 4, h, w) scaled latents, or (1 or T, 3, 8·h, 8·w), RGB, [0, 1].
        damage: (1 or T, h, w), [0, 1], from :func:`damage_of`; None where nothing is damaged.
        tokens: (1 or T, n, d) embedding of the picture (SeeSR's from a tagger, CoSeR's language tokens); None without.
        reference: (1 or T, 4, h, w) scaled latents of another, good picture of the scene (CoSeR); None without.
        first_frame: Number of the clip's first frame in the film.
    """

    hint: Tensor
    damage: Tensor | None = None
    tokens: Tensor | None = None
    reference: Tensor | None = None
    first_frame: int = 0

    def check(self, kind: HintKind, system: str) -> None:
        """Check that the parts fit each other and a system.

        Raises:
            SettingsError: They do not.
        """
        channels, factor = (4, 1) if kind == "latent" else (3, PIXELS_PER_LATENT)
        if self.hint.ndim != 4 or self.hint.shape[1] != channels or any(side % factor for side in self.hint.shape[-2:]):
            raise SettingsError(
                f"{system} needs a hint (frames, {channels}, height, width); got {tuple(self.hint.shape)}"
            )
        size = tuple(side // factor for side in self.hint.shape[-2:])
        for name, part, dimensions in (("damage", self.damage, 3), ("reference", self.reference, 4)):
            if part is not None and (part.ndim != dimensions or tuple(part.shape[-2:]) != size):
                raise SettingsError(f"the control's {name} is {tuple(part.shape)}; its latent is {size[0]}×{size[1]}")
        if self.tokens is not None and self.tokens.ndim != 3:
            raise SettingsError(f"the control's tokens are {tuple(self.tokens.shape)}; give (frames, tokens, channels)")
        counts = {len(part) for part in (self.hint, self.damage, self.tokens, self.reference) if part is not None}
        if len(counts - {1}) > 1:
            raise SettingsError(
                f"the control's parts are for {', '.join(map(str, sorted(counts)))} frames; give one number"
            )

    def check_numbers(self, system: str) -> None:
        """Check that all values are finite, where the clip is all that is asked for.

        A reel hands frames on as they came instead, and goes on.

        Raises:
            SettingsError: They are not.
        """
        parts = {"hint": self.hint, "damage": self.damage, "embedding": self.tokens, "reference": self.reference}
        for name, part in parts.items():
            for frame, values in enumerate(() if part is None else part):
                try:
                    check_finite(values)
                except NotFiniteError as error:
                    raise SettingsError(
                        f"the {name} of {system} holds values that are not finite (NaN) in frame {frame}; look at what "
                        "made it. A VAE in half precision does that: run it in float32"
                    ) from error

    @property
    def frames(self) -> int:
        """Frames of the clip that it is for; 1 where it is the same for all."""
        return max(len(part) for part in (self.hint, self.damage, self.tokens, self.reference) if part is not None)

    def of(self, call: UNetCall) -> "ControlMaterial":
        """Return the part for the frames and the rectangle of one pass, one item for each frame, where the UNet runs.

        Raises:
            SettingsError: The clip of the call has another size or length.
        """
        if call.inputs is None:
            raise SettingsError("a control needs to know what the UNet is given; pass `inputs` with the call")
        x = call.inputs.x
        factor = self._factor
        whole = call.size or tuple(x.shape[-2:])
        if tuple(side // factor for side in self.hint.shape[-2:]) != tuple(whole):
            raise SettingsError(
                f"the control looks at a picture of {self.hint.shape[-1]}×{self.hint.shape[-2]}, the latent is "
                f"{whole[1]}×{whole[0]}; give hints of the same frames"
            )

        def part(tensor: Tensor | None, scale: int | None) -> Tensor | None:
            if tensor is None:
                return None
            if scale is not None:
                top, left = (scale * place for place in call.corner)
                height, width = (scale * side for side in x.shape[-2:])
                # Cut before frames are chosen, which copies: a tile of a large picture is a small part of it.
                tensor = tensor[..., top : top + height, left : left + width]
            return _of_frames(tensor, call.frames).to(x)

        hint = part(self.hint, factor)
        assert hint is not None
        return ControlMaterial(
            hint=hint,
            damage=part(self.damage, 1),
            tokens=part(self.tokens, None),
            reference=part(self.reference, 1),
            first_frame=self.first_frame,
        )

    @property
    def _factor(self) -> int:
        return 1 if self.hint.shape[1] == 4 else PIXELS_PER_LATENT


def damage_of(masks: Tensor) -> Tensor:
    """Bring damage masks (T, 8·h, 8·w), 1 = damaged, to the latent's grid (T, h, w).

    A latent pixel is as damaged as the worst of the pixels that it stands for: the encoder looked at all of them, and a
    scratch two pixels wide is not to be diluted.
    """
    height, width = (side // PIXELS_PER_LATENT for side in masks.shape[-2:])
    return latent_mask(masks, height, width, grow=0)


def for_frames(given: Tensor, frames: int, shots: Sequence[Shot] | None, what: str) -> Tensor:
    """Give every frame its own of what was given once, for each shot or for each frame.

    Args:
        given: (n, …), one for all frames, one for each of them, or one for each shot.
        frames: Of the clip.
        shots: Its shots, which cover it; None is one.
        what: Name of what was given, several of them, in messages.

    Returns:
        (1 or frames, …).

    Raises:
        SettingsError: There are neither one, nor as many as shots, nor as many as frames.
    """
    if len(given) in (1, frames):
        return given
    if shots and len(given) == len(shots):
        return given.repeat_interleave(torch.tensor([len(shot) for shot in shots]), dim=0)
    raise SettingsError(
        f"there are {len(given)} {what} for {frames} frames in {len(shots or ()) or 1} shots; give one, one for each "
        "shot, or one for each frame"
    )


def _of_frames(tensor: Tensor, frames: tuple[int, ...]) -> Tensor:
    if len(tensor) == 1:
        return tensor.expand(len(frames), *tensor.shape[1:])
    if max(frames) >= len(tensor):
        raise SettingsError(f"the control has {len(tensor)} hints, the clip has frame {max(frames)}; give one for each")
    return tensor[torch.tensor(frames, device=tensor.device)]
