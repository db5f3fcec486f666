"""One-step restorers on the host's networks: their changes are patches, which the host's memory management knows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from comfy import model_management
from comfy.model_patcher import ModelPatcher
from comfy.weight_adapter import LoRAAdapter
from torch import Tensor, nn

from .....vldm_core.decode.memory_fallback import choose_plan, decode_within_memory
from .....vldm_core.errors import SettingsError
from .....vldm_core.prior.call import UNetCall
from .....vldm_core.prior.finish import FinishSettings, finish_clip
from .....vldm_core.prior.onestep.changes import Change
from .....vldm_core.prior.onestep.networks import shapes_of, unet_layers, vae_layers
from .....vldm_core.prior.onestep.reading import read_one_step, report
from .....vldm_core.prior.onestep.run.checks import check_masks, check_settings, kept_outside
from .....vldm_core.prior.onestep.run.restore import OneStepClip, Predict, one_step
from .....vldm_core.prior.onestep.run.settings import OneStepSettings
from .....vldm_core.prior.onestep.system import OneStepSystem
from .....vldm_core.progress import Progress
from .....vldm_core.video.geometry import FitSettings, fit, plan_fit
from .....vldm_core.video.shots import Shot
from ..attachments import CORNER_KEY, FRAMES_KEY, SHOTS_KEY, SIZE_KEY, check_family, compute_dtype, view_of
from ..conditioning import CLIP_FRAMES_KEY, SPAN_KEY
from ..sampler import prediction_of
from ..vae import OUT_OF_MEMORY, check_latents, frames_in_memory, is_temporal, vae_decoder

if TYPE_CHECKING:
    from comfy.sd import VAE


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedOneStep:
    """A restorer that was read.

    Attributes:
        system: The system.
        about: What it is, in lines.
        files: That it was read from.
    """

    system: OneStepSystem
    about: str
    files: tuple[Path, ...] = ()


def load_one_step(paths: Sequence[Path]) -> LoadedOneStep:
    """Read a restorer.

    Raises:
        WeightFileError: A file is none of a known system, or does not fit; the message lists what.
    """
    system = read_one_step(paths)
    return LoadedOneStep(system=system, about=report(system.format), files=tuple(paths))


class ComfyHost:
    """The host's MODEL and VAE. What is patched into them, such as LoRAs and temporal layers, stays in force.

    Args:
        model: The MODEL.
        vae: The VAE.
        shots: Shots of the clip.
    """

    def __init__(self, model: ModelPatcher, vae: "VAE", shots: Sequence[Shot]) -> None:
        self._model, self._vae, self._shots = model, vae, tuple(shots)
        self.device: torch.device = model.load_device
        self.scale = float(model.model.latent_format.scale_factor)
        self.mixes = bool(model.attachments)

    @contextmanager
    def with_unet(self, change: Change) -> Iterator[Predict]:
        """See :class:`vldm_core.prior.onestep.run.restore.OneStepHost`."""
        patched = self._model.clone()
        patch(patched, change, unet_layers(view_of(patched)))
        dtype = compute_dtype(patched)

        def predict(call: UNetCall) -> Tensor:
            given = call.inputs
            assert given is not None
            shape = [len(given.x), *given.x.shape[1:]]
            beside = patched.get_nested_additional_models()
            model_management.load_models_gpu([patched, *beside], memory_required=patched.memory_required(shape))
            unet = patched.model.diffusion_model
            options = self._options(patched, call)
            with torch.no_grad():
                return unet(
                    given.x.to(self.device, dtype),
                    given.timesteps.to(self.device).float(),
                    context=given.context.to(self.device, dtype),
                    transformer_options=options,
                )

        yield predict

    def _options(self, patched: ModelPatcher, call: UNetCall) -> dict[str, Any]:
        options = dict(patched.model_options.get("transformer_options", {}))
        options["wrappers"] = {
            kind: {key: list(each) for key, each in held.items()} for kind, held in patched.wrappers.items()
        }
        options["cond_or_uncond"] = list(call.chunks)
        options[SHOTS_KEY], options[FRAMES_KEY] = self._shots, call.frames
        options[CORNER_KEY], options[SIZE_KEY] = call.corner, call.size
        return options

    @contextmanager
    def with_vae(self, change: Change) -> Iterator[Callable[[Tensor], Tensor]]:
        """See :class:`vldm_core.prior.onestep.run.restore.OneStepHost`."""
        vae = self._vae
        network = vae.first_stage_model
        patched = vae.patcher.clone()
        patch(patched, change, vae_layers(network))

        def moments(pictures: Tensor) -> Tensor:
            needed = vae.memory_used_encode(pictures.shape, vae.vae_dtype)
            model_management.load_models_gpu([patched], memory_required=needed, force_full_load=vae.disable_offload)
            with torch.no_grad():
                found = network.quant_conv(network.encoder(pictures.to(vae.device, vae.vae_dtype)))
            return found.to(self.device)

        yield moments


def patch(patcher: ModelPatcher, change: Change, layers: Mapping[str, nn.Module]) -> None:
    """Patch a change into a model of the host, after what is patched into it already.

    Args:
        patcher: A clone.
        change: The change.
        layers: The network's layers by their names in diffusers.
    """
    names = {id(module): name for name, module in patcher.model.named_modules()}

    def place(layer: str, kind: str) -> str:
        return f"{names[id(layers[layer])]}.{kind}"

    replaced = {}
    for key, tensor in change.replaced.items():
        layer, _, kind = key.rpartition(".")
        where = place(layer, kind)
        own = patcher.backup[where].weight if where in patcher.backup else getattr(layers[layer], kind)
        replaced[where] = _in_place_of(own.detach(), tensor)
    patcher.add_patches(replaced)
    for group in change.updates:
        patcher.add_patches(
            {
                # The host divides by the rank what it multiplies.
                place(layer, "weight"): LoRAAdapter(
                    set(), (update.up, update.down, update.scale * update.down.shape[0], None, None, None)
                )
                for layer, update in group.items()
            }
        )


def _in_place_of(own: Tensor, tensor: Tensor) -> tuple[str, tuple[Any, ...]]:
    """The host's patch that puts a tensor in the place of another, which may be smaller."""
    if own.numel() == tensor.numel():
        return "set", (tensor.reshape(own.shape),)
    padded = torch.zeros(tensor.shape)
    padded[tuple(slice(side) for side in own.shape)] = own.float().cpu()
    return "diff", (tensor.float() - padded, {"pad_weight": True})


def check_one_step(
    model: ModelPatcher,
    vae: "VAE",
    system: OneStepSystem,
    settings: OneStepSettings,
    *,
    node: str = "Restore in One Step",
) -> None:
    """Check before any work that a system goes with MODEL, VAE and settings.

    Args:
        model: The MODEL.
        vae: The VAE.
        system: The restorer.
        settings: How.
        node: Who asks, for the messages.

    Raises:
        SettingsError: They are of another family, or predict something else than noise, or a layer is missing or of
            another size.
    """
    check_family(model, node)
    vae.throw_exception_if_invalid()
    if is_temporal(vae) or not hasattr(vae.first_stage_model, "quant_conv"):
        raise SettingsError(
            f"{node} encodes single pictures with a VAE of Stable Diffusion, and this one is "
            f"{type(vae.first_stage_model).__name__}; connect the VAE of the checkpoint"
        )
    check_settings(system, settings, prediction=prediction_of(model))
    system.check(shapes_of(unet_layers(view_of(model))), shapes_of(vae_layers(vae.first_stage_model)))


def restore_clip(
    model: ModelPatcher,
    vae: "VAE",
    system: OneStepSystem,
    frames: Tensor,
    settings: OneStepSettings,
    *,
    positive: Any,
    negative: Any,
    masks: Tensor | None,
    shots: Sequence[Shot],
    seed: int,
    fitting: FitSettings,
    finish: FinishSettings,
    first_frame: int = 0,
    progress: Progress,
) -> Tensor:
    """Restore a clip in one step.

    Args:
        model: The MODEL.
        vae: The VAE.
        system: The restorer.
        frames: (T, 3, H, W), RGB, [0, 1].
        settings: How.
        positive: The host's CONDITIONING, one for all frames or one per frame.
        negative: Likewise; only for systems that are guided.
        masks: (T, H, W), 1 = damaged, or None.
        shots: Shots that cover the clip.
        seed: Of a sampled encoding.
        fitting: How frames are brought to the model's size.
        finish: Decoding, colour, fusion and grain.
        first_frame: Number of the first frame in the film.
        progress: Called per frame and pass; may raise to interrupt.

    Returns:
        (T, 3, H, W), [0, 1], as many frames as came.

    Raises:
        SettingsError: Something does not go together.
    """
    check_one_step(model, vae, system, settings)
    check_masks(frames, masks, settings)
    plan = plan_fit(*frames.shape[-2:], fitting)
    fitted = fit(frames, plan)
    clip = OneStepClip(
        frames=fitted,
        film=frames,
        shots=shots,
        positive=texts_of("positive", positive, shots),
        negative=texts_of("negative", negative, shots),
    )
    with torch.no_grad():
        latents = one_step(clip, system, ComfyHost(model, vae, shots), settings, seed=seed, progress=progress)
        found = model.model.process_latent_out(latents)
        check_latents(vae, found)
        chunks = choose_plan(
            finish.decode,
            temporal=False,
            frames_in_memory=frames_in_memory(vae, found),
            height=found.shape[-2],
            width=found.shape[-1],
        )
        pictures = decode_within_memory(
            found, vae_decoder(vae), chunks, shots=shots, out_of_memory=OUT_OF_MEMORY, progress=progress
        )
    fitted_masks = None if masks is None else fit(masks, plan)
    made = finish_clip(
        pictures.cpu(), finish, fitted=fitted, frames=frames, plan=plan, masks=fitted_masks, shots=shots,
        first_frame=first_frame, progress=progress,
    )  # fmt: skip
    return kept_outside(made, frames, masks) if settings.keep_outside and masks is not None else made


def texts_of(name: str, conditioning: Any, shots: Sequence[Shot]) -> list[Tensor]:
    """Return the text of each shot, (1, L, C), from a CONDITIONING.

    Raises:
        SettingsError: It is empty, has several texts at once, or is made for another number of frames.
    """
    if not conditioning:
        raise SettingsError(f"{name} is an empty CONDITIONING; connect a text encoder")
    frames = shots[-1].last
    spans = [options.get(SPAN_KEY) for _, options in conditioning]
    if all(span is not None for span in spans):
        held = {span: tokens for span, (tokens, _) in zip(spans, conditioning, strict=True)}
        missing = next((shot for shot in shots if (shot.first, shot.last) not in held), None)
        if missing is not None:
            raise SettingsError(f"{name} has no text for the shot at frame {missing.first}; detect the shots once")
        return [held[(shot.first, shot.last)] for shot in shots]
    if len(conditioning) != 1:
        raise SettingsError(
            f"{name} has {len(conditioning)} texts at once, and one step reads one; leave out Conditioning Combine"
        )
    tokens, options = conditioning[0]
    if options.get(CLIP_FRAMES_KEY, frames) != frames or len(tokens) not in (1, frames):
        raise SettingsError(
            f"{name} is made for {options.get(CLIP_FRAMES_KEY, len(tokens))} frames, the clip has {frames}; make it "
            "from the same frames"
        )
    return [tokens[:1] if len(tokens) == 1 else tokens[shot.first : shot.first + 1] for shot in shots]
