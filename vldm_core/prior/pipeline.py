"""The headless twin of the sampler nodes: a diffusers pipeline that restores a clip with Stable Diffusion.

It runs the attachments of :mod:`.prior` and the transforms of :mod:`.sampling` on diffusers' UNet, in the order in
which the nodes run them on the host's. Importing this module imports diffusers; :mod:`vldm_core` offers the
class without.
"""

import logging
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    DDPMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)
from diffusers.loaders import FromSingleFileMixin, StableDiffusionLoraLoaderMixin, TextualInversionLoaderMixin
from diffusers.schedulers import KarrasDiffusionSchedulers
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from ..decode.fused_clip import TrainedFusion, fuse_clip
from ..decode.wrapping.headless import wrap
from ..decode.wrapping.network import FeatureWrapping
from ..errors import SettingsError
from ..files.training_leftovers import harmless_globals
from ..prerestore.clip import OwnLatents, pre_restore_shots
from ..progress import Progress, silent
from ..sampling.restoration import Material, Restoration, RestorationSettings, default_restoration
from ..sampling.samplers import OWN_SAMPLERS
from ..sampling.schedule import Prediction
from ..video.frames import check_frames
from ..video.geometry import FitPlan, FitSettings, fit, plan_fit
from ..video.shots import Shot, covering_shots
from .attachment import Attachment
from .attachment_files import FOLDER, load_attachments, save_attachments
from .checkpoints.model_folder import refuse_code
from .checkpoints.single_file import checkpoint_configuration
from .checkpoints.tokens import check_tokenizer
from .clip_sampling import ClipSampling
from .coding.pictures import PictureCoder
from .coding.prompts import of_frames, prompt_of_each, text_features
from .control_hint import ControlHint as ControlHint
from .controls.control import RestorationControl
from .controls.use import ControlUse as ControlUse
from .denoiser import Control
from .finish import FinishSettings, finish_clip
from .schedulers import DrivenScheduler, another_scheduler, with_linear_betas, with_zero_terminal_snr
from .unet import UNetView

_LOG = logging.getLogger(__name__)

Sampler = Literal["scheduler", "uni_pc", "ddim", "ddpm", "spaced_ddpm", "edm_dpm++_3m_sde", "edm_dpm++_2m"]
SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)
NoiseScheduleChoice = Literal["auto", "model", "linear", "zero_snr"]
NOISE_SCHEDULES: tuple[NoiseScheduleChoice, ...] = get_args(NoiseScheduleChoice)
_OF_DIFFUSERS: dict[str, Any] = {"uni_pc": UniPCMultistepScheduler, "ddim": DDIMScheduler, "ddpm": DDPMScheduler}
MULTIPLE = 8
"""Pixels of the picture for a pixel of the latent."""

_FIT = FitSettings()


@dataclass(frozen=True, kw_only=True, eq=False)
class RestorationOutput:
    """What the pipeline returns; all on the CPU in float32.

    Attributes:
        latents: (T, 4, h, w), scaled, of the fitted size.
        frames: (T, 3, H, W), RGB, [0, 1], of the size that went in; None where only latents were asked for.
    """

    latents: Tensor
    frames: Tensor | None


class VideoRestorationPipeline(
    DiffusionPipeline, FromSingleFileMixin, StableDiffusionLoraLoaderMixin, TextualInversionLoaderMixin
):
    """Restores a clip with a Stable Diffusion 1.x or 2.x model.

    It has the loaders of diffusers' own pipelines (`from_pretrained`, `from_single_file`, `load_lora_weights`,
    `load_textual_inversion`, `enable_model_cpu_offload`), and takes the folders of Stable Diffusion pipelines.

    Args:
        vae: Encodes frames and decodes latents.
        text_encoder: Reads prompts.
        tokenizer: Cuts prompts into tokens.
        unet: The denoiser, with 4 input channels.
        scheduler: One of `prior.schedulers.SCHEDULERS`. PNDM, which many folders name, is replaced by Euler on the same
            noise schedule: it keeps raw outputs of several steps, so it cannot follow x0.
        controlnet: Optional control.
    """

    model_cpu_offload_seq = "text_encoder->unet->vae"
    _optional_components: ClassVar[list[str]] = ["controlnet"]

    vae: Any
    text_encoder: Any
    tokenizer: Any
    unet: Any
    scheduler: Any
    controlnet: Any
    _execution_device: torch.device

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel,
        scheduler: KarrasDiffusionSchedulers,
        controlnet: ControlNetModel | None = None,
    ) -> None:
        super().__init__()
        if type(scheduler).__name__ == "PNDMScheduler":
            _LOG.info("PNDM cannot follow x0; Euler takes its place")
            scheduler = EulerDiscreteScheduler.from_config(scheduler.config)  # type: ignore[attr-defined]
        self.register_modules(  # type: ignore[attr-defined]
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            scheduler=scheduler,
            controlnet=controlnet,
        )
        self._attachments: dict[str, Attachment] = {}

    @property
    def attachments(self) -> dict[str, Attachment]:
        """The attachments by name."""
        return dict(self._attachments)

    def attach(self, attachment: Attachment, name: str | None = None) -> None:
        """Let temporal layers, motion modules or a LoRA per frame join the UNet in every call.

        Args:
            attachment: It takes the UNet's device and type.
            name: A word, also the name of its file; one of a name is kept. None names it after its class.

        Raises:
            SettingsError: It was made for another UNet, or the name is no word.
        """
        name = name or type(attachment).__name__.lower()
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise SettingsError(f"an attachment cannot be named {name!r}; use letters, digits, - and _")
        list(attachment.changes(UNetView(self.unet)))
        self._attachments[name] = attachment

    def detach(self, name: str) -> None:
        """Take an attachment away again.

        Raises:
            SettingsError: There is none of that name.
        """
        if name not in self._attachments:
            raise SettingsError(f"there is no attachment {name!r}; there are {', '.join(self._attachments) or 'none'}")
        del self._attachments[name]

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> None:
        """Write a folder that `from_pretrained` reads, attachments included.

        A LoRA with a strength per frame belongs to one clip and is not saved.
        """
        super().save_pretrained(save_directory, *args, **kwargs)  # type: ignore[misc]
        save_attachments(self._attachments, Path(save_directory) / FOLDER)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: Any, **kwargs: Any
    ) -> "VideoRestorationPipeline":
        """Read a folder of this class or of a Stable Diffusion pipeline.

        A model of the Hugging Face Hub is looked for in the local cache, and fetched only with
        ``local_files_only=False``. Attachments are read from folders only.

        Raises:
            VLDMError: The folder holds code.
        """
        kwargs.setdefault("local_files_only", True)
        refuse_code(Path(pretrained_model_name_or_path))
        pipeline = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        for name, attachment in load_attachments(Path(pretrained_model_name_or_path) / FOLDER).items():
            pipeline.attach(attachment, name)
        return pipeline

    @classmethod
    def from_single_file(  # type: ignore[override]
        cls, pretrained_model_link_or_path: Any, *, prediction: Prediction | None = None, **kwargs: Any
    ) -> "VideoRestorationPipeline":
        """Read a checkpoint in the original layout; what it does not say of itself ships with the package.

        Args:
            pretrained_model_link_or_path: The file. A link is fetched from the network.
            prediction: What the network predicts; None takes it from the file, see :mod:`.prior.families`.
            **kwargs: As in diffusers, among them `config`, a folder with another configuration and tokenizer.

        Raises:
            WeightFileError: The file is no checkpoint of Stable Diffusion 1.x or 2.x.
        """
        path = Path(pretrained_model_link_or_path)
        if not path.is_file():
            return super().from_single_file(pretrained_model_link_or_path, **kwargs)
        own = {"config", "original_config", "original_config_file"} & kwargs.keys()
        with ExitStack() as stack:
            if not own:
                kwargs["config"] = str(stack.enter_context(checkpoint_configuration(path, prediction=prediction)))
            kwargs.setdefault("local_files_only", True)
            stack.enter_context(torch.serialization.safe_globals(harmless_globals()))
            return super().from_single_file(str(path), **kwargs)

    @torch.no_grad()
    def __call__(
        self,
        frames: Tensor,
        *,
        prompt: str | Sequence[str] = "",
        negative_prompt: str | Sequence[str] = "",
        settings: RestorationSettings | None = None,
        num_inference_steps: int = 20,
        strength: float = 0.4,
        sampler: Sampler = "scheduler",
        noise_schedule: NoiseScheduleChoice = "auto",
        seed: int = 0,
        shots: Sequence[Shot] | None = None,
        masks: Tensor | None = None,
        control: ControlHint | None = None,
        controls: Sequence[ControlUse] = (),
        fitting: FitSettings | None = _FIT,
        finish: FinishSettings | None = None,
        temporal_decoder: nn.Module | None = None,
        feature_wrapping: FeatureWrapping | None = None,
        trained_fusion: TrainedFusion | None = None,
        own_latents: OwnLatents | None = None,
        first_frame: int = 0,
        shot_start: int | None = None,
        output: Literal["frames", "latents"] = "frames",
        progress: Progress = silent,
    ) -> RestorationOutput:
        """Restore a clip.

        Everything is checked before the first model runs. Frames stay on the CPU; models see what they work on.

        Args:
            frames: (T, 3, H, W), RGB, [0, 1], the pre-restored clip.
            prompt: What the picture shows: one for the clip, or one per shot.
            negative_prompt: What it shall not show, likewise. Not used with a cfg scale of 1.
            settings: Windows, noise, start, guidance and the rest; None is
                :func:`.prior.clip_sampling.default_restoration`.
            num_inference_steps: Steps of the whole schedule.
            strength: How far the clip is noised, 0 … 1: ⌊steps · strength⌋ steps are run, as in diffusers'
                image-to-image pipelines. The sampler node's S steps at denoise d are ⌊S / d⌋ steps at strength d here.
            sampler: "scheduler": the pipeline's. "uni_pc", "ddim" and "ddpm": diffusers', on the scheduler's noise
                schedule. "spaced_ddpm": that of DiffBIR 1 and 2, likewise. "edm_dpm++_3m_sde" and "edm_dpm++_2m":
                those of DiffBIR 2.1, see :mod:`.sampling.edm`.
            noise_schedule: "auto": betas that rise linearly where motion modules are attached, which were trained with
                them, else the model's own. "model": the model's own. "linear": always linear. "zero_snr": the model's
                own with pure noise as its last step, for models that were fine-tuned so and whose scheduler does not
                say it.
            seed: Same seed, same result.
            shots: Shots that cover the clip; None is one shot. Only whether a film is monochrome (`finish.colour`) and
                the grain of shots too short to measure are decided over all of them.
            masks: (T, H, W), 1 = damaged; what is not damaged is kept (`settings.consistency`).
            control: For the ControlNet; None leaves it out.
            controls: Restoration controls, which mix; each is on the UNet for the length of this call. Masks tell them
                where their hint is a guess.
            fitting: How frames are brought to a size that the model knows; None wants sides divisible by 8.
            finish: Decoding, colour, fusion and grain.
            temporal_decoder: From :func:`.decode.temporal_vae.load_temporal_decoder`; None decodes with `vae`.
            feature_wrapping: From :func:`.decode.wrapping.network.read_feature_wrapping`: the frames steer the decoder,
                as far as `finish.fidelity` says; None decodes without. Not together with a temporal decoder.
            trained_fusion: The frames are pre-restored by it before they go into the prior, and the result comes from
                it; None decodes. Not together with another decoder.
            own_latents: The frames are pre-restored by it before they go into the prior, and sampling begins with the
                latents of its head, which restoration controls without a hint of their own look at, too. None encodes
                the frames.
            first_frame: Number of the first frame in the film; noise and grain depend on it.
            shot_start: Film frame at which the first shot begins, where the frames begin inside it; None is
                `first_frame`.
            output: "latents" leaves decoding out.
            progress: Called per frame and per pass of the UNet; may raise to interrupt.

        Returns:
            Latents and frames.

        Raises:
            SettingsError: An argument does not fit the others or the models, or memory runs out even with the smallest
                windows and tiles.
        """
        settings, finish = settings or default_restoration(), finish or FinishSettings()
        frames = frames.detach().float().cpu()
        check_frames(frames)
        parts = covering_shots(shots, len(frames))
        if output not in ("frames", "latents"):
            raise SettingsError(f"output is {output!r}; use frames or latents")
        plan = self.fitting_plan(frames, fitting)
        self._check_material(frames, masks, control)
        if output == "frames":
            finish.check(masks=masks is not None)
        wrapped = wrap(self.vae, feature_wrapping, fidelity=finish.fidelity, temporal_decoder=temporal_decoder)
        if trained_fusion is not None and not (temporal_decoder is None and feature_wrapping is None):
            raise SettingsError(
                "a trained fusion gives the pictures itself; leave temporal VAE and feature wrapping out"
            )
        prompts, negatives = (
            prompt_of_each(prompt, parts, "prompt"),
            prompt_of_each(negative_prompt, parts, "negative prompt"),
        )
        drive = self.drive(
            num_inference_steps=num_inference_steps, strength=strength, sampler=sampler, noise_schedule=noise_schedule
        )
        view = UNetView(self.unet)
        size = plan.fitted_height // MULTIPLE, plan.fitted_width // MULTIPLE
        prepared = [use.prepared(frames, size, view) for use in controls]
        if not drive.sigmas and strength > 0:
            _LOG.warning(
                "strength %s runs no step of %d: the clip is only encoded and decoded", strength, num_inference_steps
            )

        fitted = fit(frames, plan)
        fitted_masks = None if masks is None else fit(masks.detach().float().cpu(), plan)
        came = fitted
        repaired = None if fitted_masks is None else (fitted_masks > 0.5).float()
        if trained_fusion is not None:
            trained_fusion.fusion.to(self._execution_device)
        before = own_latents or trained_fusion
        own: Tensor | None = None
        if before is not None:
            before.network.to(self._execution_device)
            fitted, made = pre_restore_shots(
                came, before.network, before.settings, masks=repaired, shots=parts, progress=progress
            )
            own = made if own_latents is not None else None
        coder = self.coder
        with ExitStack() as stack:
            stack.callback(self.maybe_free_model_hooks)  # type: ignore[attr-defined]
            positive, negative = self.encode_prompts(prompts, negatives, parts)
            material = Material(
                latent=coder.latents(fitted, progress) if own is None else coder.scaled(own),
                frames=fitted,
                masks=fitted_masks,
                shots=parts,
                first_frame=first_frame,
                shot_start=shot_start,
            )
            # Encoded before the controls take their memory.
            self._look(controls, prepared, material, plan, progress)
            attachments = (*self._attachments.values(), *prepared)
            for attachment in attachments:
                attachment.to(device=self._execution_device, dtype=self.unet.dtype)
                stack.enter_context(attachment.attached(view))
            found = material.latent
            if drive.sigmas:
                restoration = Restoration(
                    settings,
                    material,
                    drive.schedule,
                    seed=seed,
                    decode=coder.decode_with_gradient(),
                    progress=progress,
                )
                found = ClipSampling(
                    unet=self.unet,
                    restoration=restoration,
                    settings=settings,
                    drive=drive,
                    own=OWN_SAMPLERS.get(sampler),
                    positive=positive,
                    negative=negative,
                    shots=parts,
                    attachments=attachments,
                    controls=self._controls(control, plan),
                    seed=seed,
                    first_frame=first_frame,
                    progress=progress,
                ).sample(found)
            latents = found.float().cpu()
            if output == "latents":
                return RestorationOutput(latents=latents, frames=None)
            if trained_fusion is not None:
                pictures = fuse_clip(
                    came,
                    latents / coder.scale,
                    trained_fusion,
                    decode=lambda some: coder.decode()(some * coder.scale),
                    decoder=self.vae.decoder,
                    masks=repaired,
                    shots=parts,
                    progress=progress,
                )
            else:
                pictures = coder.pictures(
                    latents,
                    fitted,
                    finish.decode,
                    parts,
                    wrapped=wrapped,
                    temporal_decoder=temporal_decoder,
                    progress=progress,
                )
        result = finish_clip(
            pictures,
            finish,
            fitted=fitted,
            frames=frames,
            plan=plan,
            masks=fitted_masks,
            shots=parts,
            first_frame=first_frame,
            progress=progress,
        )
        return RestorationOutput(latents=latents, frames=result)

    def drive(
        self,
        *,
        num_inference_steps: int,
        strength: float,
        sampler: Sampler = "scheduler",
        noise_schedule: NoiseScheduleChoice = "auto",
    ) -> DrivenScheduler:
        """Check the models and how they are to be sampled, and return the schedule.

        Raises:
            SettingsError: The model is not of the Stable Diffusion 1.x or 2.x family, the scheduler is not supported,
                or a number is out of range.
        """
        if sampler not in SAMPLERS:
            raise SettingsError(f"sampler is {sampler!r}; use one of {', '.join(SAMPLERS)}")
        unet, latent = self.unet.config, self.vae.config.latent_channels
        if unet.in_channels != latent or getattr(unet, "addition_embed_type", None) is not None:
            raise SettingsError(
                f"the UNet takes {unet.in_channels} channels for latents of {latent}, or conditioning beside the text; "
                "use a text-to-image model of Stable Diffusion 1.x or 2.x"
            )
        check_tokenizer(self.tokenizer, self.text_encoder)
        if noise_schedule not in NOISE_SCHEDULES:
            raise SettingsError(f"noise schedule is {noise_schedule!r}; use one of {', '.join(NOISE_SCHEDULES)}")
        trained = any(attachment.linear_schedule for attachment in self._attachments.values())
        linear = noise_schedule == "linear" or (noise_schedule == "auto" and trained)
        scheduler = with_linear_betas(self.scheduler) if linear else self.scheduler
        if kind := _OF_DIFFUSERS.get(sampler):
            scheduler = another_scheduler(kind, scheduler)
        if noise_schedule == "zero_snr":
            scheduler = with_zero_terminal_snr(scheduler)
        return DrivenScheduler(scheduler, steps=num_inference_steps, strength=strength)

    def fitting_plan(self, frames: Tensor, fitting: FitSettings | None) -> FitPlan:
        """Plan how frames (T, 3, H, W) are brought to the model's size; None wants sides divisible by 8.

        Raises:
            SettingsError: They are not, or the settings are not for latents.
        """
        height, width = frames.shape[-2:]
        if fitting is None:
            if height % MULTIPLE or width % MULTIPLE:
                raise SettingsError(
                    f"frames are {width}×{height}; give sides divisible by {MULTIPLE}, or settings to fit them with"
                )
            fitting = FitSettings(short_side=1, multiple=MULTIPLE)
        elif fitting.multiple % MULTIPLE:
            raise SettingsError(f"fitting to multiples of {fitting.multiple}; the latent needs multiples of {MULTIPLE}")
        return plan_fit(height, width, fitting)

    def _check_material(
        self,
        frames: Tensor,
        masks: Tensor | None,
        control: ControlHint | None,
    ) -> None:
        count, _, height, width = frames.shape
        if masks is not None and masks.shape != (count, height, width):
            raise SettingsError(f"masks are {tuple(masks.shape)}, the frames need {(count, height, width)}")
        if control is not None:
            if self.controlnet is None:
                raise SettingsError("a control hint was given, but the pipeline has no controlnet; load it with one")
            if (
                control.hint.ndim != 4
                or control.hint.shape[0] not in (1, count)
                or control.hint.shape[-2:]
                != (
                    height,
                    width,
                )
            ):
                raise SettingsError(
                    f"the control hint is {tuple(control.hint.shape)}; give (1 or {count}, 3, {height}, {width})"
                )

    def encode_prompts(
        self, prompts: Sequence[str], negatives: Sequence[str], shots: Sequence[Shot]
    ) -> tuple[Tensor, Tensor]:
        """Read every text once.

        Args:
            prompts: One for all shots, or one for each.
            negatives: Likewise.
            shots: The shots.

        Returns:
            (1, L, C) for one text, (T, L, C) for one per shot, of both.
        """
        texts = list(dict.fromkeys((*prompts, *negatives)))
        converted = [self.maybe_convert_prompt(text, self.tokenizer) for text in texts]
        found = text_features(converted, self.tokenizer, self.text_encoder, self._execution_device)
        table = dict(zip(texts, found, strict=True))
        positive, negative = (of_frames([table[text] for text in chosen], shots) for chosen in (prompts, negatives))
        return positive, negative

    @property
    def coder(self) -> PictureCoder:
        """Pictures to latents and back."""
        return PictureCoder(vae=self.vae, device=self._execution_device)

    def _look(
        self,
        uses: Sequence[ControlUse],
        controls: Sequence[RestorationControl],
        material: Material,
        plan: FitPlan,
        progress: Progress,
    ) -> None:
        def encode(pictures: Tensor, phase: str) -> Tensor:
            return self.coder.latents(pictures, progress, phase)

        for use, control in zip(uses, controls, strict=True):
            use.look(
                control,
                material,
                (plan.height, plan.width),
                fitted=lambda frames: fit(frames, plan),
                encode=encode,
                progress=progress,
            )

    def _controls(self, control: ControlHint | None, plan: FitPlan) -> tuple[Control, ...]:
        if control is None:
            return ()
        hint = fit(control.hint.detach().float().cpu(), plan)
        return (
            Control(net=self.controlnet, hint=hint, strength=control.strength, start=control.start, end=control.end),
        )
