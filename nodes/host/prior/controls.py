"""Restoration controls in the host: one model that all nodes share, and its way into a MODEL."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from comfy import model_management
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ....vldm_core.errors import SettingsError
from ....vldm_core.prior.controls.control import ControlSystem, RestorationControl
from ....vldm_core.prior.controls.coser.references import reference_frames
from ....vldm_core.prior.controls.coser.system import CoserControl
from ....vldm_core.prior.controls.material import PIXELS_PER_LATENT, ControlMaterial, HintKind, for_frames
from ....vldm_core.prior.controls.reading import FoundControl, find_control, read_control
from ....vldm_core.prior.controls.settings import ControlSettings
from ....vldm_core.prior.controls.use import cover
from ....vldm_core.progress import Progress
from ....vldm_core.video.shots import Shot
from ..prerestore import encoded, encodes_pictures, managed
from .attachments import CONDITIONED_KEY, with_attachment
from .sampler import scaled

if TYPE_CHECKING:
    from comfy.sd import VAE

_CONDITIONED = "vldm_conditioned"


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedControl:
    """A restoration control that was read.

    Attributes:
        found: What its files are.
        system: The system.
        patcher: The host's model around its weights. Every node that uses the control shares it, so that the host moves
            and counts them once.
        cognition: Likewise around CoSeR's cognitive encoder; None where there is none.
    """

    found: FoundControl
    system: ControlSystem
    patcher: ModelPatcher
    cognition: ModelPatcher | None = None

    def for_references(self) -> "LoadedControl | None":
        """Return CoSeR's control as it makes reference pictures, with the same weights; None for other systems."""
        if not isinstance(self.system, CoserControl):
            return None
        return replace(self, system=self.system.for_generation())


def load_control(paths: Sequence[Path]) -> LoadedControl:
    """Read a restoration control and put it under the host's memory management.

    Args:
        paths: Its files or folders.

    Raises:
        WeightFileError: A part is missing, or does not fit; the message lists what.
    """
    found = find_control(paths)
    system = read_control(paths).eval().requires_grad_(False)
    weights = model_management.unet_dtype(model_params=sum(p.numel() for p in system.parameters()))
    # The layers are torch's own, which compute in the dtype of their weights.
    system.to(model_management.unet_manual_cast(weights, model_management.get_torch_device()) or weights)
    cognition = system.cognition if isinstance(system, CoserControl) else None
    return LoadedControl(
        found=found,
        system=system,
        patcher=managed(system),
        # It runs once for each shot, on few pictures, in the precision in which it lies in the file.
        cognition=None if cognition is None else managed(cognition.eval().requires_grad_(False)),
    )


def with_control(
    model: ModelPatcher, control: LoadedControl, material: ControlMaterial, settings: ControlSettings
) -> ModelPatcher:
    """Return a clone of a MODEL that samples under a restoration control; several may follow each other.

    Args:
        model: The MODEL.
        control: From `load_control`.
        material: What the control looks at, for the clip that will be sampled.
        settings: How strongly.

    Raises:
        SettingsError: The control was made for another family, or the material does not fit the system.
    """
    material.check_numbers(control.system.name)
    attachment = RestorationControl(control.system, material, settings)
    patched = with_attachment(model, attachment, "control", owner=control.patcher, whole_picture=True)

    def check(executor: Callable[..., Tensor], noise: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_clip(material, noise, control.system.name)
        return executor(noise, *args, **kwargs)

    patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, "vldm_control", check)
    if control.system.conditioned_alone:
        # One is enough for several controls.
        patched.remove_wrappers_with_key(WrappersMP.CALC_COND_BATCH, _CONDITIONED)
        patched.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, _CONDITIONED, with_conditioned_text)
    return patched


def with_conditioned_text(
    executor: Callable[..., list[Tensor]],
    model: Any,
    conds: list[list[dict[str, Any]] | None],
    x: Tensor,
    timestep: Tensor,
    model_options: dict[str, Any],
) -> list[Tensor]:
    """Tell every pass the text of the conditioned chunk: a host short of memory runs the other one alone, and first."""
    sigma = float(timestep[0])
    acting = [
        cond["model_conds"]["c_crossattn"].cond
        for cond in conds[0] or ()
        if "c_crossattn" in cond["model_conds"]
        and cond.get("timestep_start", sigma) >= sigma >= cond.get("timestep_end", sigma)
    ]
    options = dict(model_options.get("transformer_options", {}))
    if acting and CONDITIONED_KEY not in options:
        # Of several, the host puts the last first into a batch.
        options[CONDITIONED_KEY] = (acting[-1],)
    return executor(model, conds, x, timestep, {**model_options, "transformer_options": options})


def check_clip(material: ControlMaterial, latent: Tensor, system: str) -> None:
    """Check that hints are of the clip that is to be sampled.

    Args:
        material: The hints.
        latent: (T, 4, h, w).
        system: For the message.

    Raises:
        SettingsError: They are of another clip.
    """
    factor = PIXELS_PER_LATENT if material.hint.shape[1] == latent.shape[1] else 1
    height, width = (side * factor for side in material.hint.shape[-2:])
    frames, wanted = len(material.hint), tuple(side * PIXELS_PER_LATENT for side in latent.shape[-2:])
    if frames == 1 and material.frames not in (1, len(latent)):
        raise SettingsError(
            f"{system}: Apply Restoration Control has a reference, tokens or masks for {material.frames} frames, the "
            f"latent has {len(latent)}; give one for all, or one per frame"
        )
    if frames not in (1, len(latent)) or (height, width) != wanted:
        raise SettingsError(
            f"{system}: Apply Restoration Control has {frames} images of {width}×{height}, the latent stands for "
            f"{len(latent)} of {wanted[1]}×{wanted[0]}; connect the images that went into VAE Encode"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class HintEncoder:
    """How pictures of a clip become what a control looks at.

    Attributes:
        vae: Needed for latents.
        model: The MODEL whose latents they become.
        progress: Called while frames are encoded; may raise to interrupt.
    """

    vae: "VAE | None"
    model: ModelPatcher
    progress: Progress

    def hints(self, frames: Tensor, kind: HintKind) -> Tensor:
        """Return frames as a system looks at them.

        Args:
            frames: (T, 3, H, W), RGB, [0, 1].
            kind: Latents or the frames themselves.

        Returns:
            (T, 4, H/8, W/8), scaled, or the frames.

        Raises:
            SettingsError: The sides are not divisible by 8, or there is no VAE that fits.
        """
        height, width = frames.shape[-2:]
        if height % PIXELS_PER_LATENT or width % PIXELS_PER_LATENT:
            raise SettingsError(
                f"the pictures are {width}×{height}; a control needs sides divisible by {PIXELS_PER_LATENT}: put Fit "
                "For Prior before it"
            )
        if kind == "pixels":
            return frames
        if self.vae is None:
            raise SettingsError("this control looks at latents; connect the VAE of the model to vae")
        return scaled(self.model, latents_of(frames, self.vae, self.progress))

    def references(
        self,
        system: ControlSystem,
        pictures: Tensor | None,
        hint: Tensor,
        shots: Sequence[Shot] | None,
        masks: Tensor | None,
    ) -> Tensor | None:
        """Return the reference of every frame, (T, 4, h, w), scaled; None where the system takes none.

        Args:
            system: The system.
            pictures: (n, 3, any, any), given by the user, one for all frames, one for each shot or one for each frame,
                scaled until they cover the frame; None takes the least damaged frame of each shot.
            hint: From `hints`.
            shots: They cover the clip; None is one shot.
            masks: (T, H, W), 1 where damaged.

        Raises:
            SettingsError: There are neither one, nor as many pictures as shots, nor as many as frames.
        """
        if system.takes_reference == "none":
            return None
        factor = PIXELS_PER_LATENT if system.hint == "latent" else 1
        if pictures is not None:
            found = self.hints(cover(pictures, *(side * factor for side in hint.shape[-2:])), "latent")
            return for_frames(found, len(hint), shots, "reference pictures")
        latents = hint if system.hint == "latent" else self.hints(hint, "latent")
        return latents[list(reference_frames(len(latents), shots=shots, damage=masks))]


def given_hints(model: ModelPatcher, latent: dict[str, Any], frames: Tensor, system: ControlSystem) -> Tensor:
    """Return a LATENT as a system looks at it, (1 or T, 4, h, w), scaled.

    Args:
        model: The MODEL that it is for.
        latent: Of the frames, such as a pre-restorer with latents of its own gives.
        frames: (T, 3, 8·h, 8·w).
        system: The system.

    Raises:
        SettingsError: The system looks at no latents, or they are of other frames.
    """
    if system.hint != "latent":
        raise SettingsError(f"{system.name} looks at the images themselves; leave latent out")
    samples: Tensor = latent["samples"]
    wanted = tuple(side // PIXELS_PER_LATENT for side in frames.shape[-2:])
    if samples.ndim != 4 or samples.shape[1] != 4 or tuple(samples.shape[-2:]) != wanted:
        raise SettingsError(
            f"latent is {tuple(samples.shape)}; of images of {frames.shape[-1]}×{frames.shape[-2]} it is (frames, 4, "
            f"{wanted[0]}, {wanted[1]}): connect the latents of the same frames"
        )
    return scaled(model, samples)


def latents_of(frames: Tensor, vae: "VAE", progress: Progress) -> Tensor:
    """Encode frames (T, 3, H, W) with an image VAE, a few at a time; (T, 4, H/8, W/8), unscaled.

    Raises:
        SettingsError: The VAE is of another kind.
    """
    vae.throw_exception_if_invalid()
    if not encodes_pictures(vae) or vae.latent_channels != 4:
        raise SettingsError(
            f"vae gives latents of {vae.latent_channels} channels and {vae.latent_dim} dimensions; connect the VAE of "
            "a Stable Diffusion 1.x or 2.x model"
        )
    latents = encoded(vae, frames.movedim(1, -1), progress)
    wanted = tuple(side // PIXELS_PER_LATENT for side in frames.shape[-2:])
    if tuple(latents.shape[-2:]) != wanted:
        raise SettingsError(
            f"vae makes latents of {latents.shape[-1]}×{latents.shape[-2]} for images of "
            f"{frames.shape[-1]}×{frames.shape[-2]}; connect the VAE of a Stable Diffusion 1.x or 2.x model"
        )
    return latents


def shots_of(shots: Sequence[Shot] | None, images: int) -> Sequence[Shot] | None:
    """Return the shots of the images; None where a single one stands for all frames.

    Raises:
        SettingsError: The shots are of other frames.
    """
    if shots is None or images == 1:
        return None
    if shots[-1].last != images:
        raise SettingsError(
            f"the shots cover {shots[-1].last} frames, there are {images} images; detect the shots on the same frames"
        )
    return shots


def first_tokens(conditioning: Sequence[Sequence[Any]] | None) -> Tensor | None:
    """Return the tensor of a CONDITIONING's first entry, (1 or T, n, d); None where nothing is connected."""
    if conditioning is None:
        return None
    if not conditioning or not isinstance(conditioning[0][0], torch.Tensor):
        raise SettingsError("tokens is an empty CONDITIONING; connect what a tagger or the control's encoder gave")
    return conditioning[0][0]
