"""A restoration control: a side network that looks at the degraded picture, and the places of the UNet where it speaks.

A published system is a :class:`ControlSystem`: modules with the published weights, a way from the hint to features, and
places in the UNet that change with those features. :class:`RestorationControl` puts one on a UNet for one clip: it runs
the side network before every pass (or every few steps), cuts hints to windows and tiles, and weighs what the system
changes by step, frame and damage. Both hosts run the same code: everything hangs on canonical names of a `UNetView`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ...errors import SettingsError
from ..attachment import Attached, Attachment, Change
from ..call import CONDITIONED, UNetCall
from ..unet import UNetView
from ..unet_families import check_text
from .gain import Gain, gain_of, weighed
from .kept_embeddings import KeptEmbeddings
from .looks import Looks, Seen
from .material import ControlMaterial, HintKind
from .settings import ControlSettings

LATENT_CHANNELS = 4
"""Of Stable Diffusion's VAE."""

Features = Mapping[str, Tensor]
"""What a side network hands to the places, by a name of the system's own. The batch comes first."""

Need = Literal["none", "optional", "required"]
"""Whether a system takes something, and whether it works without."""

PlaceChange = Callable[[Tensor, Features], Tensor]
"""What a place makes of what passes it: (B, C, h, w) at a map, (B, h · w, C) at tokens."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ControlRequest:
    """What a side network is asked.

    Attributes:
        x: (B, 4, h, w), noisy latents as the UNet takes them; one per frame where the system reads no text, else one
            per chunk and frame.
        timesteps: (B,).
        context: (B, L, D), text conditioning.
        hint: (B, 4, h, w) or (B, 3, 8·h, 8·w).
        tokens: (B, n, d) or None.
        reference: (B, 4, h, w) or None.
        strength: The published factor on what the side network adds; 1 for systems that publish none.
        embedded: (B, C, h, w), what `ControlSystem.embed` made of the hint, for systems that embed it; None leaves it
            to `features`.
    """

    x: Tensor
    timesteps: Tensor
    context: Tensor
    hint: Tensor
    tokens: Tensor | None = None
    reference: Tensor | None = None
    strength: float = 1.0
    embedded: Tensor | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ControlPlace:
    """Where a system changes what passes the UNet.

    Attributes:
        module: The host's module.
        at: "output": what it gives. "picture": what it is given.
        change: See `PlaceChange`; it must not write into what it is given.
        tokens: Whether a picture passes as (B, h · w, C).
        scale: The latent's sides are divided by this here, rounded up.
        costly: Whether the change is layers of its own. Where one look serves several steps, what it added then is
            added again in their place.
    """

    module: nn.Module
    at: Literal["output", "picture"]
    change: PlaceChange
    tokens: bool = False
    scale: int = 1
    costly: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class ControlState:
    """What a control is doing in the running pass of the UNet.

    Attributes:
        features: What its system saw.
        gain: How much of its changes is kept.
        call: What the pass is about.
    """

    features: Features
    gain: Gain
    call: UNetCall


class ControlSystem(nn.Module):
    """Base of the published systems: their weights, and what they do with a UNet.

    Attributes:
        name: As published.
        hint: What it looks at.
        reads_text: Whether its features depend on the text or the noise of a chunk of conditioning; without, it looks
            once for each frame, and the places have one item for each frame for all chunks.
        scales_itself: Whether `strength` of a request is published and applied by `features`; without, all that the
            system changes is weighed by it.
        conditioned_alone: Whether it looks at the conditioned chunk only, with its text: one item for each frame, and
            the places have them once for all chunks.
        takes_tokens: Whether it looks at an embedding of the picture.
        takes_reference: Whether it looks at another, good picture of the scene.
        embeds: Whether a part of its work depends on the hint alone, see `embed`.
    """

    name: ClassVar[str]
    hint: ClassVar[HintKind]
    reads_text: ClassVar[bool] = True
    scales_itself: ClassVar[bool] = True
    conditioned_alone: ClassVar[bool] = False
    takes_tokens: ClassVar[Need] = "none"
    takes_reference: ClassVar[Need] = "none"
    embeds: ClassVar[bool] = False

    def accept(self, material: ControlMaterial) -> None:
        """Check what this system alone asks of a clip's material, once for each clip; most ask nothing.

        Raises:
            SettingsError: Something is missing or does not fit.
        """

    def seeing(self, positions: int) -> "ControlSystem":
        """Return this system with pixel attention over a square of so many positions a side, 0 for all.

        Most systems have none, and stay as they are.
        """
        return self

    def embed(self, hint: Tensor) -> Tensor:
        """Return what depends on the hint (F, 4, h, w) or (F, 3, 8·h, 8·w) alone: (F, C, h, w), for all steps."""
        raise NotImplementedError

    def features(self, request: ControlRequest) -> Features:
        """Look at the hint.

        Raises:
            SettingsError: Something that the system needs was not given.
        """
        raise NotImplementedError

    def places(self, view: UNetView) -> Iterable[ControlPlace]:
        """Return where the system changes the UNet, in the order in which the changes are to happen.

        Raises:
            SettingsError: The system was made for another UNet.
        """
        raise NotImplementedError

    def hooks(self, view: UNetView, now: Callable[[], "ControlState | None"]) -> list[RemovableHandle]:
        """Hook what no place can say, such as texts that differ in length between chunks.

        Args:
            view: The UNet.
            now: The state of the running pass; None while the control is off.
        """
        return []


def check_needs(system: ControlSystem, *, tokens: bool, reference: bool) -> None:
    """Check that a system gets what it needs and nothing that it would leave aside.

    Args:
        system: The system.
        tokens: Whether an embedding of the picture is given.
        reference: Whether a reference picture is given.

    Raises:
        SettingsError: It does not.
    """
    for what, need, given in (
        ("tokens", system.takes_tokens, tokens),
        ("a reference", system.takes_reference, reference),
    ):
        if need == "required" and not given:
            raise SettingsError(f"{system.name} needs {what}; give what its help page says")
        if need == "none" and given:
            raise SettingsError(f"{system.name} does not look at {what}; leave it out")


class RestorationControl(Attachment):
    """A system on a UNet, for one clip.

    Args:
        system: The system. Several clips may share it.
        material: What it looks at.
        settings: How strongly.

    Raises:
        SettingsError: The material does not fit the system.
    """

    within_frames: ClassVar[bool] = True

    def __init__(
        self, system: ControlSystem, material: ControlMaterial, settings: ControlSettings | None = None
    ) -> None:
        super().__init__()
        material.check(system.hint, system.name)
        system.accept(material)
        self.settings = settings or ControlSettings()
        self.system = system.seeing(self.settings.pixel_window)
        self.material = material
        self._looks = Looks(self.settings.reuse)
        self._embeddings = KeptEmbeddings()
        self._features: Features | None = None
        self._gain: Gain | None = None
        self._seen: Seen | None = None

    def attach(self, view: UNetView) -> Attached:
        """Hook the UNet until the result is removed.

        Raises:
            SettingsError: The system was made for another UNet.
        """
        attached = super().attach(view)
        attached.add(self.system.hooks(view, self._now))
        return attached

    def _now(self) -> ControlState | None:
        if self._features is None or self._gain is None:
            return None
        return ControlState(features=self._features, gain=self._gain, call=self._known_call())

    def hooks(self, view: UNetView) -> tuple[Sequence[tuple[nn.Module, Change]], Sequence[tuple[nn.Module, Change]]]:
        """Return the places where outputs change and those where inputs do, of one asking of the system."""
        # Places of one asking may hand something on to each other.
        places = list(self.system.places(view))
        return (
            [(p.module, self._change(p, number)) for number, p in enumerate(places) if p.at == "output"],
            [(p.module, self._change(p, number)) for number, p in enumerate(places) if p.at == "picture"],
        )

    def changes(self, view: UNetView) -> Iterable[tuple[nn.Module, Change]]:
        """Return the places where outputs change."""
        return self.hooks(view)[0]

    def input_changes(self, view: UNetView) -> Iterable[tuple[nn.Module, Change]]:
        """Return the places where inputs change."""
        return self.hooks(view)[1]

    @contextmanager
    def during(self, call: UNetCall) -> Iterator[None]:
        """Look at the hint, unless the control is off, and say what the forward passes inside this block are about."""
        before = self._features, self._gain, self._seen
        self._features = self._gain = self._seen = None
        factor = self.settings.at_step(call.progress)
        self._looks.at(call)
        try:
            with super().during(call):
                if self.settings.strength > 0 and factor > 0:
                    self._look(call, factor)
                yield
        except BaseException:
            # Out of memory, or interrupted: what was kept is memory that the next try needs, and not of its sampling.
            self.forget()
            raise
        finally:
            self._features, self._gain, self._seen = before

    def forget(self) -> None:
        """Forget what was seen in a sampling: it has ended, or another one begins."""
        self._looks.forget()
        self._embeddings.forget()

    def _look(self, call: UNetCall, factor: float) -> None:
        part = self.material.of(call)
        own = 1.0 if self.system.scales_itself else self.settings.strength
        frames = [factor * own * self.settings.at_frame(part.first_frame + frame) for frame in call.frames]
        if not any(frames):
            return
        self._gain = gain_of(frames, part.damage, self.settings.in_damage, chunks=len(call.chunks))
        self._seen = self._looks.known(call, self.system.reads_text)
        if self._seen is None:
            self._features = self.system.features(self._request(call, part))
            self._seen = self._looks.keep(self._features, call, self.system.reads_text)
        self._features = self._seen.features

    def _request(self, call: UNetCall, part: ControlMaterial) -> ControlRequest:
        assert call.inputs is not None
        given, frames = call.inputs, len(call.frames)
        count = len(call.chunks) if self.system.reads_text and not self.system.conditioned_alone else 1
        rows, text = slice(count * frames), given.context[: count * frames]
        if self.system.conditioned_alone:
            rows, text = self._conditioned(call)

        def each(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.repeat(count, *[1] * (tensor.ndim - 1))

        hint = each(part.hint)
        assert hint is not None
        embedded = None
        if self.system.embeds:
            embedded = each(self._embeddings.of(call, self.material.hint, lambda: self.system.embed(part.hint)))
        return ControlRequest(
            # Models that repair pictures (inpainting) take a mask and a picture behind the latent.
            x=given.x[rows, :LATENT_CHANNELS],
            timesteps=given.timesteps[rows],
            context=text,
            hint=hint,
            tokens=each(part.tokens),
            reference=each(part.reference),
            strength=self.settings.strength if self.system.scales_itself else 1.0,
            embedded=embedded,
        )

    @staticmethod
    def _conditioned(call: UNetCall) -> tuple[slice, Tensor]:
        """Return the rows of the conditioned chunk and its text.

        A host may run the unconditioned chunk alone, and before the other. Its latents are the same; the text is then
        the one that the host says, else its own.
        """
        assert call.inputs is not None
        given, frames = call.inputs, len(call.frames)
        if CONDITIONED in call.chunks:
            first = call.chunks.index(CONDITIONED) * frames
            rows = slice(first, first + frames)
            return rows, given.context[rows]
        rows = slice(frames)
        if call.conditioned is None:
            return rows, given.context[rows]
        text = call.conditioned.to(given.context)
        if len(text) not in (1, frames):
            text = text[torch.tensor(call.frames, device=text.device)]
        return rows, text.expand(frames, -1, -1)

    def _change(self, place: ControlPlace, number: int) -> Change:
        def change(passing: Tensor, call: UNetCall) -> Tensor:
            if self._features is None:
                return passing
            assert self._gain is not None
            assert self._seen is not None
            self._check_size(passing, place, call)
            changed = self._changed(passing, place, number, self._features, self._seen)
            return weighed(passing, changed, self._gain, tokens=place.tokens, scale=place.scale)

        return change

    def _check_size(self, passing: Tensor, place: ControlPlace, call: UNetCall) -> None:
        """Check that what passes a place is as large as what was seen for it."""
        assert call.inputs is not None
        height, width = (-(-side // place.scale) for side in call.inputs.x.shape[-2:])
        found = tuple(passing.shape[1:2] if place.tokens else passing.shape[-2:])
        if found != ((height * width,) if place.tokens else (height, width)):
            raise SettingsError(
                f"inside the model passes a picture of {'×'.join(map(str, reversed(found)))} positions where "
                f"{self.system.name} knows one of {width}×{height}; remove what scales it there, such as Deep Shrink "
                "(PatchModelAddDownscale)"
            )

    def _changed(self, passing: Tensor, place: ControlPlace, number: int, features: Features, seen: Seen) -> Tensor:
        """Return what a place makes of what passes it, anew or as it did after the last look."""
        # Without text, the rows of a batch may be other chunks than those of the look.
        kept = place.costly and self.settings.reuse > 1 and self.system.reads_text
        if kept and seen.again and number in seen.added:
            return passing + seen.added[number].to(passing)
        changed = place.change(passing, features)
        if kept:
            seen.added[number] = changed - passing
        return changed


def check_text_width(view: UNetView, width: int, system: str) -> None:
    """Check that a system was trained with the text of a UNet's family.

    Raises:
        SettingsError: It was not.
    """
    check_text(view, width, f"this file of {system}")
