"""A restoration control in one call of the pipeline: checked before any model runs, then given what it looks at."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import SettingsError
from ...progress import Progress, silent
from ...sampling.restoration import Material
from ..unet import UNetView
from .control import ControlSystem, RestorationControl, check_needs
from .coser.cognition import CognitiveEncoder
from .coser.references import reference_frames
from .coser.system import CoserControl
from .material import PIXELS_PER_LATENT, ControlMaterial, damage_of
from .settings import ControlSettings

Fit = Callable[[Tensor], Tensor]
"""Pictures (N, 3, H, W) of the clip's size → those of the size that the models see, as the clip itself was fitted."""

Encode = Callable[[Tensor, str], Tensor]
"""Fitted pictures (N, 3, 8·h, 8·w) and the name of the phase → scaled latents (N, 4, h, w)."""


@dataclass(kw_only=True, eq=False)
class ShotLook:
    """What the parts of one long shot share, which are restored one after the other: what the first part chose.

    Attributes:
        reference: (1, 4, h, w), latent of the key frame; None before the first part.
        tokens: (1, n, d), tokens of a frame through CLIP; None before the first part.
    """

    reference: Tensor | None = None
    tokens: Tensor | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ControlUse:
    """What a system is to do in a clip of T frames.

    Attributes:
        system: The system, as :func:`.reading.read_control` gives it.
        settings: How strongly it acts.
        hint: (1 or T, 3, H, W), RGB, [0, 1], of the frames' size; None is the frames themselves.
        tokens: (1 or T, n, d), embedding of the picture; None without.
        clip: CoSeR's, in the place of tokens: `CLIPVisionModelWithProjection` of transformers, through which its
            cognitive encoder looks at the least damaged frame of each shot. It is on the device for that alone.
        references: (1 or T, 3, any, any), RGB, [0, 1], other pictures of the scene; scaled until they cover the frame.
            None takes a key frame where the system looks at references.
        key_frame: Whether, without references, the least damaged frame of each shot serves as one.
        shot: Shared by the parts of a shot that is too long to be restored at once: the key frame and the tokens of the
            first serve all. None where the clip holds whole shots.
    """

    system: ControlSystem
    settings: ControlSettings = field(default_factory=ControlSettings)
    hint: Tensor | None = None
    tokens: Tensor | None = None
    clip: Any = None
    references: Tensor | None = None
    key_frame: bool = True
    shot: ShotLook | None = None

    def prepared(self, frames: Tensor, size: tuple[int, int], view: UNetView) -> RestorationControl:
        """Check everything that can be checked before a model runs, and return the control without its pictures.

        Args:
            frames: (T, 3, H, W), as they came.
            size: Rows and columns of the latent that will be sampled.
            view: Of the UNet.

        Raises:
            SettingsError: The system does not fit the model, or what it is given does not fit the clip.
        """
        name, count = self.system.name, len(frames)
        for what, given, of_frames in (("hint", self.hint, True), ("references", self.references, False)):
            if given is None:
                continue
            shape = tuple(given.shape)
            wanted = tuple(frames.shape[-2:]) if of_frames else shape[-2:]
            if len(shape) != 4 or shape[0] not in (1, count) or shape[1:] != (3, *wanted):
                sides = ", ".join(map(str, wanted)) if of_frames else "height, width"
                raise SettingsError(f"the {what} of {name}: {shape}; give (1 or {count}, 3, {sides})")
        if self.tokens is not None and (self.tokens.ndim != 3 or len(self.tokens) not in (1, count)):
            raise SettingsError(
                f"the tokens of {name}: {tuple(self.tokens.shape)}; give (1 or {count}, tokens, channels)"
            )
        check_needs(self.system, tokens=self.tokens is not None, reference=self.references is not None or self._key)
        if self.clip is not None:
            if self.tokens is not None:
                raise SettingsError(f"{name} has tokens and a CLIP to make them with; leave one out")
            cognition_of(self.system)
        channels, factor = (4, 1) if self.system.hint == "latent" else (3, PIXELS_PER_LATENT)
        nothing = torch.zeros(())
        control = RestorationControl(
            self.system,
            ControlMaterial(
                hint=nothing.expand(1, channels, *(side * factor for side in size)),
                tokens=None if self.tokens is None else self.tokens.detach().float(),
                reference=nothing.expand(1, 4, *size) if self.references is not None or self._key else None,
            ),
            self.settings,
        )
        control.hooks(view)
        return control

    def look(
        self,
        control: RestorationControl,
        clip: Material,
        size: tuple[int, int],
        *,
        fitted: Fit,
        encode: Encode,
        progress: Progress = silent,
    ) -> None:
        """Give a prepared control its pictures.

        Args:
            control: From `prepared`.
            clip: What is known of the clip, fitted; with frames.
            size: Rows and columns of the frames before they were fitted.
            fitted: Fits pictures as the frames were.
            encode: Encodes fitted pictures.
            progress: Called for every frame that becomes tokens; may raise to interrupt.
        """
        assert clip.frames is not None
        hint = clip.frames if self.hint is None else fitted(self.hint.detach().float().cpu())
        tokens = control.material.tokens
        shot = self.shot or ShotLook()
        if self.clip is not None:
            tokens = shot.tokens if shot.tokens is not None else self._tokens(clip, hint, progress)
            shot.tokens = tokens[-1:]
        if self.system.hint == "latent":
            hint = clip.latent if self.hint is None else encode(hint, "encode hints")
        reference = None
        if self.references is not None:
            reference = encode(fitted(cover(self.references.detach().float().cpu(), *size)), "encode references")
        elif self._key and shot.reference is not None:
            reference = shot.reference.to(clip.latent)
        elif self._key:
            chosen = reference_frames(len(clip.latent), shots=clip.shots, damage=clip.masks)
            reference = clip.latent[list(chosen)]
            shot.reference = reference[-1:]
        control.material = ControlMaterial(
            hint=hint,
            damage=None if clip.masks is None else damage_of(clip.masks),
            tokens=tokens,
            reference=reference,
            first_frame=clip.first_frame,
        )
        control.material.check(self.system.hint, self.system.name)

    def _tokens(self, clip: Material, pictures: Tensor, progress: Progress) -> Tensor:
        of_frame: tuple[int, ...] = (0,)
        if len(pictures) > 1:
            of_frame = reference_frames(len(pictures), shots=clip.shots, damage=clip.masks)
        chosen, device = sorted(set(of_frame)), clip.latent.device
        encoder, models = cognition_of(self.system), []
        for model in (encoder, self.clip):
            models.append((model, next(model.parameters()).device))
            model.to(device)
        tokens = {}
        try:
            for done, frame in enumerate(chosen, start=1):
                tokens[frame] = encoder.look(pictures[frame : frame + 1].to(device), self.clip).float()
                progress("tokens", done, len(chosen))
        finally:
            for model, before in models:
                model.to(before)
        return torch.cat([tokens[frame] for frame in of_frame])

    @property
    def _key(self) -> bool:
        """Whether a key frame serves as reference."""
        return self.references is None and self.key_frame and self.system.takes_reference != "none"


def cognition_of(system: ControlSystem) -> CognitiveEncoder:
    """Return what makes tokens of frames through CLIP.

    Raises:
        SettingsError: The system has nothing of the kind.
    """
    if not isinstance(system, CoserControl):
        raise SettingsError(f"{system.name} does not look through CLIP; leave it out")
    if system.cognition is None:
        raise SettingsError(
            "the files of CoSeR hold no cognitive encoder, which makes tokens through CLIP; give its checkpoint with "
            "the encoder too, or leave CLIP out"
        )
    return system.cognition


def cover(pictures: Tensor, height: int, width: int) -> Tensor:
    """Scale pictures (N, 3, …) until they cover a size, and cut the middle out: (N, 3, height, width), [0, 1]."""
    rows, columns = pictures.shape[-2:]
    if (rows, columns) == (height, width):
        return pictures
    scale = max(height / rows, width / columns)
    scaled = [max(least, round(side * scale)) for side, least in ((rows, height), (columns, width))]
    made = functional.interpolate(pictures, size=scaled, mode="bicubic", antialias=True).clamp(0, 1)
    top, left = (scaled[0] - height) // 2, (scaled[1] - width) // 2
    return made[..., top : top + height, left : left + width]
