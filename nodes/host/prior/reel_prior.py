"""A MODEL of the host as the prior of a whole reel: it restores the reel part by part, as the core's pipeline does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor, nn

from ....vldm_core.decode.fused_clip import TrainedFusion
from ....vldm_core.decode.memory_fallback import choose_plan, decode_within_memory
from ....vldm_core.errors import SettingsError
from ....vldm_core.prerestore.clip import OwnLatents
from ....vldm_core.prior.control_hint import ControlHint
from ....vldm_core.prior.controls.control import RestorationControl, check_needs
from ....vldm_core.prior.controls.material import ControlMaterial, damage_of
from ....vldm_core.prior.controls.settings import ControlSettings
from ....vldm_core.prior.finish import FinishSettings, finish_clip
from ....vldm_core.prior.lora.per_frame import ShotLora
from ....vldm_core.progress import Progress
from ....vldm_core.reel.resumable.keys import key_of
from ....vldm_core.reel.resumable.parts import facts_of
from ....vldm_core.sampling.restoration import Material, RestorationSettings
from ....vldm_core.video.geometry import FitSettings, fit, plan_fit
from ....vldm_core.video.shots import Shot
from ..prerestore import ManagedPreRestorer
from .attachments import check_family
from .conditioning import CLIP_FRAMES_KEY, SPAN_KEY
from .controls import HintEncoder, LoadedControl, latents_of, with_control
from .fusion import ReelFusion
from .model_key import described, model_key, vae_key
from .restoring import HostSampling, restored_latents
from .sampler import SAMPLERS, SCHEDULERS, scaled, schedule_of
from .vae import OUT_OF_MEMORY, check_latents, frames_in_memory, is_temporal, vae_decoder

if TYPE_CHECKING:
    from comfy.sd import VAE

_ONE_CLIP = "which was made for the frames of one clip; a reel is sampled part by part"


@dataclass(frozen=True, kw_only=True, eq=False)
class RestoredPart:
    """What the core takes from a prior.

    Attributes:
        frames: (T, 3, H, W), RGB, [0, 1], of the size that went in.
    """

    frames: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class HostPrior:
    """A MODEL with all that it needs to restore a film; the core calls it as it calls a `VideoRestorationPipeline`.

    Everything goes through the host's own sampling, so whatever is patched into the MODEL is in force.

    Attributes:
        model: The MODEL.
        positive: The host's CONDITIONING, one for all frames.
        negative: Likewise.
        vae: Encodes the film and decodes what was sampled.
        graph: Key of the part of the graph that has made all of these, from `graph_key`.
        controlnet: The host's CONTROL_NET that looks at the film itself, or None.
        control: A restoration control that does, or None.
        control_settings: How strongly.
    """

    model: ModelPatcher
    positive: Any
    negative: Any
    vae: "VAE"
    graph: str
    controlnet: Any = None
    control: LoadedControl | None = None
    control_settings: ControlSettings = field(default_factory=ControlSettings)
    _fusions: list[ReelFusion] = field(default_factory=list, init=False, repr=False)
    _heads: list[tuple[OwnLatents, ManagedPreRestorer]] = field(default_factory=list, init=False, repr=False)

    def check(self) -> None:
        """Refuse what cannot restore a reel, before any film is read.

        Raises:
            SettingsError: The MODEL is of another family, or something was made for the frames of one clip.
        """
        check_family(self.model, "Reel Prior")
        schedule_of(self.model)
        check_for_reels(self.model, positive=self.positive, negative=self.negative)
        if self.control is not None:
            check_needs(self.control.system, tokens=False, reference=False)

    def check_masks(self, *, marks: bool) -> None:
        """Accept any: without masks, all of the picture is damaged.

        Args:
            marks: Whether the repair tells where the film was damaged.
        """

    @cached_property
    def key(self) -> str:
        """Key of all that a result depends on beside the settings; the same after a restart of the host."""
        return key_of(
            graph=self.graph,
            model=model_key(self.model),
            vae=vae_key(self.vae),
            positive=described(self.positive),
            negative=described(self.negative),
            controlnet=described(self.controlnet),
            control=None if self.control is None else described(self.control.system),
            control_settings=facts_of(self.control_settings),
        )

    def drive(self, *, num_inference_steps: int, strength: float, sampler: str, noise_schedule: str) -> None:
        """Check how it will be asked to sample.

        Raises:
            SettingsError: There is no such sampler or scheduler, or no step.
        """
        for name, value, options in (("sampler", sampler, SAMPLERS), ("scheduler", noise_schedule, SCHEDULERS)):
            if value not in options:
                raise SettingsError(f"{name} is {value!r}; choose one of {', '.join(options)}")
        if num_inference_steps < 1 or not 0 < strength <= 1:
            raise SettingsError(f"steps are {num_inference_steps} at denoise {strength}; use 1 or more, and 0.01 to 1")

    def __call__(
        self,
        frames: Tensor,
        *,
        prompt: str,
        negative_prompt: str,
        settings: RestorationSettings,
        num_inference_steps: int,
        strength: float,
        sampler: str,
        noise_schedule: str,
        masks: Tensor | None,
        control: ControlHint | None,
        controls: tuple[Any, ...],
        temporal_decoder: nn.Module | None,
        feature_wrapping: nn.Module | None,
        trained_fusion: TrainedFusion | None,
        seed: int,
        fitting: FitSettings,
        finish: FinishSettings,
        first_frame: int,
        shot_start: int,
        progress: Progress,
        own_latents: OwnLatents | None = None,
    ) -> RestoredPart:
        """Restore a part of a shot.

        Args:
            frames: (T, 3, H, W), RGB, [0, 1].
            prompt: Empty: the CONDITIONING says what the film shows.
            negative_prompt: Likewise.
            settings: What makes the sampling a restoration.
            num_inference_steps: Steps that are taken, as the host's samplers count them.
            strength: How far the part is noised before, the host's denoise.
            sampler: One of `SAMPLERS`.
            noise_schedule: One of `SCHEDULERS`.
            masks: (T, H, W), 1 = damaged, or None.
            control: For `controlnet`, or None.
            controls: Empty: restoration controls are the host's, in `control`.
            temporal_decoder: None: `vae` decodes.
            feature_wrapping: None, likewise.
            trained_fusion: Pre-restores the frames, and gives the pictures in the place of the VAE's decoder alone.
            seed: Of all noise.
            fitting: How frames are brought to the model's size.
            finish: Decoding, colour, fusion, grain.
            first_frame: Number of the first frame in the film.
            shot_start: Frame at which the shot begins.
            progress: Called per step and frame; may raise to interrupt.
            own_latents: Pre-restores the frames, and gives the latents that sampling begins with and controls look at.
        """
        decoders = temporal_decoder, feature_wrapping
        if prompt or negative_prompt or controls or any(each is not None for each in decoders):
            raise SettingsError("a prior of the host takes prompts, controls and decoders from its graph")
        shots = (Shot(0, len(frames)),)
        plan = plan_fit(*frames.shape[-2:], fitting)
        fitted = fit(frames, plan)
        fitted_masks = None if masks is None else fit(masks, plan)
        came, fusion = fitted, self._fusion(trained_fusion)
        repaired = None if fitted_masks is None else (fitted_masks > 0.5).float()
        before = self._head(own_latents) or (None if fusion is None else fusion.restorer)
        own: Tensor | None = None
        if before is not None:
            fitted, latent = before.restored(came, repaired, progress)
            own = None if own_latents is None else latent
        samples = latents_of(fitted, self.vae, progress) if own is None else own
        model, positive, negative = self._controlled(fitted, own, fitted_masks, control, progress)
        material = Material(
            latent=scaled(self.model, samples),
            frames=fitted,
            masks=fitted_masks,
            shots=shots,
            first_frame=first_frame,
            shot_start=shot_start,
        )
        found = restored_latents(
            model,
            positive,
            negative,
            samples,
            material,
            settings,
            HostSampling(
                sampler=sampler, scheduler=noise_schedule, steps=num_inference_steps, denoise=strength, seed=seed
            ),
            vae=self.vae,
            progress=progress,
            step_done=lambda done, total: progress("sample", done, total),
        )
        check_latents(self.vae, found)
        if fusion is None:
            pictures = self._decoded(found, finish, shots, progress)
        else:
            pictures = fusion.after(came, found, self.vae, repaired, progress)
        made = finish_clip(
            pictures,
            finish,
            fitted=fitted,
            frames=frames,
            plan=plan,
            masks=fitted_masks,
            shots=shots,
            first_frame=first_frame,
            progress=progress,
        )
        return RestoredPart(frames=made.cpu())

    def _fusion(self, how: TrainedFusion | None) -> ReelFusion | None:
        """A fusion in the host's hands: the same for all parts of a reel."""
        if how is None:
            return None
        if not self._fusions or self._fusions[0].how is not how:
            self._fusions[:] = [ReelFusion(how)]
        return self._fusions[0]

    def _head(self, how: OwnLatents | None) -> ManagedPreRestorer | None:
        """A pre-restorer with latents of its own in the host's hands: the same for all parts of a reel."""
        if how is None:
            return None
        if not self._heads or self._heads[0][0] is not how:
            self._heads[:] = [(how, ManagedPreRestorer(how.network, how.settings))]
        return self._heads[0][1]

    def _decoded(self, latents: Tensor, finish: FinishSettings, shots: Sequence[Shot], progress: Progress) -> Tensor:
        chunks = choose_plan(
            finish.decode,
            temporal=is_temporal(self.vae),
            frames_in_memory=frames_in_memory(self.vae, latents),
            height=latents.shape[-2],
            width=latents.shape[-1],
        )
        return decode_within_memory(
            latents, vae_decoder(self.vae), chunks, shots=shots, out_of_memory=OUT_OF_MEMORY, progress=progress
        )

    def _controlled(
        self, fitted: Tensor, own: Tensor | None, masks: Tensor | None, hint: ControlHint | None, progress: Progress
    ) -> tuple[ModelPatcher, Any, Any]:
        """The MODEL and the CONDITIONINGs with what looks at this part of the film."""
        model, positive, negative = self.model, self.positive, self.negative
        if self.control is not None and self.control_settings.strength > 0:
            encode = HintEncoder(vae=self.vae, model=self.model, progress=progress)
            system = self.control.system
            if own is not None and system.hint == "latent":
                looked = scaled(self.model, own)
            else:
                looked = encode.hints(fitted, system.hint)
            material = ControlMaterial(
                hint=looked,
                damage=None if masks is None else damage_of(masks),
                reference=encode.references(system, None, looked, None, masks),
            )
            model = with_control(model, self.control, material, self.control_settings)
        if hint is not None:
            share = hint.start, hint.end
            net = self.controlnet.copy().set_cond_hint(fitted, hint.strength, share, vae=self.vae)
            positive, negative = _with_net(net, positive, negative)
        return model, positive, negative


def _with_net(net: Any, *conditionings: Any) -> list[Any]:
    """Add a control to every entry beside those that it has; one object for all, so that the host batches them."""
    chained: dict[int, Any] = {}

    def after(before: Any) -> Any:
        if id(before) not in chained:
            chained[id(before)] = net.copy().set_previous_controlnet(before)
        return chained[id(before)]

    return [
        [
            [tokens, {**options, "control": after(options.get("control")), "control_apply_to_uncond": False}]
            for tokens, options in conditioning
        ]
        for conditioning in conditionings
    ]


def check_for_reels(model: ModelPatcher, **conditionings: Any) -> None:
    """Refuse what was made for the frames of one clip.

    Args:
        model: The MODEL.
        **conditionings: The host's CONDITIONINGs by their names.

    Raises:
        SettingsError: Something was, or a CONDITIONING is empty.
    """
    _check_model(model)
    for name, conditioning in conditionings.items():
        _check_conditioning(name, conditioning)


def _check_model(model: ModelPatcher) -> None:
    """Refuse patches that belong to the frames of one clip."""
    for attachment in model.attachments.values():
        if isinstance(attachment, RestorationControl):
            raise SettingsError(
                f"this MODEL carries Apply Restoration Control, {_ONE_CLIP}: connect the control to Reel Prior itself"
            )
        if isinstance(attachment, ShotLora) and not attachment.for_all:
            raise SettingsError(
                f"this MODEL carries Shot LoRAs, {_ONE_CLIP}: put a LoRA loader of the host in their place"
            )
    if model.wrappers.get(WrappersMP.OUTER_SAMPLE, {}).get("vldm_noise"):
        raise SettingsError(
            f"this MODEL carries Video Noise, {_ONE_CLIP}: leave it out, Reel Prior has noise of its own"
        )
    after = model.model_options.get("sampler_post_cfg_function", ())
    if any(hasattr(function, "transform") for function in after):
        raise SettingsError(
            f"this MODEL carries Restoration Guidance, {_ONE_CLIP}: leave it out, Reel Prior has guidance of its own"
        )


def _check_conditioning(name: str, conditioning: Any) -> None:
    """Refuse what belongs to the frames of one clip."""
    if not conditioning:
        raise SettingsError(f"{name} is an empty CONDITIONING; connect a text encoder")
    for tokens, options in conditioning:
        single = isinstance(tokens, Tensor) and len(tokens) == 1 and not _of_frames(options)
        if not single or CLIP_FRAMES_KEY in options or SPAN_KEY in options:
            raise SettingsError(
                f"{name} has something for every frame or shot, {_ONE_CLIP}: connect a text for all, as from CLIP Text "
                "Encode"
            )


def _of_frames(options: Mapping[str, Any]) -> bool:
    mask = options.get("mask")
    if isinstance(mask, Tensor) and mask.ndim == 3 and len(mask) > 1:
        return True
    control = options.get("control")
    while control is not None:
        hint = getattr(control, "cond_hint_original", None)
        if isinstance(hint, Tensor) and len(hint) > 1:
            return True
        control = control.previous_controlnet
    return False
