"""Attachments and transforms of the core in the host's MODEL.

Only extension points that the host documents are used: injections, additional models, wrappers and post-CFG functions
of a cloned `ModelPatcher`. No function of the host is replaced, so any sampler, LoRA loader and other pack's patch goes
on working on the MODEL.
"""

import copy
import uuid
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
from comfy import model_management
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import PatcherInjection, WrappersMP
from torch import Tensor, nn

from ....vldm_core.errors import SettingsError
from ....vldm_core.prior.attachment import Attached, Attachment
from ....vldm_core.prior.call import UNetCall, UNetInput, segments_of
from ....vldm_core.prior.unet import UNetLayoutError, UNetView, layout_of
from ....vldm_core.prior.unet_families import SUPPORTED
from ....vldm_core.sampling.cfg import ClassifierFreeGuidance
from ....vldm_core.sampling.schedule import NoiseSchedule
from ....vldm_core.sampling.state import StepState, X0Transform, step_state
from ....vldm_core.video.shots import Shot

# Keys of ours in the host's transformer options. Their values are tuples: the host merges lists by appending.
SHOTS_KEY = "vldm_shots"
FRAMES_KEY = "vldm_frames"
CORNER_KEY = "vldm_corner"
SIZE_KEY = "vldm_size"
EXTENT_KEY = "vldm_extent"
CONDITIONED_KEY = "vldm_conditioned"


def view_of(model: ModelPatcher) -> UNetView:
    """Return the view over a MODEL's UNet.

    Raises:
        UNetLayoutError: The MODEL has no UNet of Stable Diffusion 1.x, 2.x or XL.
    """
    return UNetView(model.model.diffusion_model)


def check_family(model: ModelPatcher, what: str) -> None:
    """Check that a MODEL is of a family that the nodes of the prior work on.

    Args:
        model: The MODEL.
        what: Name of the node, for the message.

    Raises:
        SettingsError: It is Flux, Stable Diffusion 3, a video model or another one.
    """
    try:
        layout_of(model.model.diffusion_model)
    except UNetLayoutError as error:
        raise SettingsError(
            f"{what} works with models of {SUPPORTED}; this one is {type(model.model).__name__}. Connect a model of "
            "these families"
        ) from error


def with_shots(model: ModelPatcher, shots: Sequence[Shot] | None) -> ModelPatcher:
    """Return a clone that knows the shots of the clip; None returns the MODEL as it is."""
    if shots is None:
        return model
    patched = model.clone()
    options = patched.model_options["transformer_options"] = dict(patched.model_options["transformer_options"])
    options[SHOTS_KEY] = tuple(shots)
    return patched


def compute_dtype(model: ModelPatcher) -> torch.dtype:
    """Return the dtype of the UNet's activations."""
    return model.model.manual_cast_dtype or model.model_dtype()


def with_attachment(
    model: ModelPatcher,
    attachment: Attachment,
    name: str,
    *,
    owner: ModelPatcher | None = None,
    whole_picture: bool = False,
) -> ModelPatcher:
    """Return a clone whose UNet carries an attachment while it is loaded.

    Args:
        model: The MODEL.
        attachment: Made for this MODEL's UNet. The host moves it between devices; its dtype becomes the UNet's.
        name: Short name for the log.
        owner: The host's model around the attachment's weights where others share them; None makes one.
        whole_picture: Whether the attachment has to know which part of the picture passes, so that prompts with areas
            of their own are refused.

    Raises:
        SettingsError: The attachment was made for another UNet.
    """
    # Asked once now, so that a wrong UNet fails in this node and not in the sampler.
    attachment.hooks(view_of(model))
    dtype = compute_dtype(model)
    attachment.to(dtype).eval().requires_grad_(False)
    key = f"vldm_{name}_{uuid.uuid4().hex[:8]}"
    living: dict[int, Attached] = {}

    def inject(patcher: ModelPatcher) -> None:
        unet = patcher.model.diffusion_model
        # Weights that are shared may have gone to a UNet of another precision in between.
        if any(parameter.dtype != dtype for parameter in attachment.parameters()):
            attachment.to(dtype)
        if id(unet) not in living:
            living[id(unet)] = attachment.attach(UNetView(unet))

    def eject(patcher: ModelPatcher) -> None:
        attached = living.pop(id(patcher.model.diffusion_model), None)
        if attached is not None:
            attached.remove()

    def run(executor: Callable[..., Tensor], x: Tensor, timesteps: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        context = kwargs["context"] if "context" in kwargs else args[0]
        bring(attachment, x.device)
        options = _transformer_options(args, kwargs)
        if whole_picture and tuple(x.shape[-2:]) != options.get(EXTENT_KEY, tuple(x.shape[-2:])):
            raise SettingsError(
                "a prompt acts on an area of the picture, and a restoration control cannot tell which; give the prompt "
                "a mask instead (Conditioning Set Mask)"
            )
        inputs = UNetInput(x=x, timesteps=timesteps, context=context)
        with attachment.during(unet_call(x, options, inputs)):
            return executor(x, timesteps, *args, **kwargs)

    def sampling(executor: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        attachment.forget()
        try:
            return executor(*args, **kwargs)
        finally:
            attachment.forget()

    patched = model.clone()
    offload = model_management.unet_offload_device()
    weights = owner or ModelPatcher(attachment, load_device=model.load_device, offload_device=offload)
    # 0 has the host measure again, after the dtype has changed.
    weights.size = 0
    if not any(weights.is_clone(other) for other in patched.get_additional_models()):
        patched.set_additional_models(key, [weights])
    # For those who ask what a MODEL carries.
    patched.set_attachments(key, attachment)
    patched.set_injections(key, [PatcherInjection(inject, eject)])
    patched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, key, run)
    patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, key, sampling)
    return patched


def bring(module: nn.Module, device: torch.device) -> None:
    """Move to a device what the host left elsewhere: short of memory, it loads layers that are not its own in part."""
    if any(tensor.device != device for tensor in chain(module.parameters(), module.buffers())):
        module.to(device)


def _transformer_options(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Find the options in a diffusion-model call: context, y, control, transformer_options."""
    return kwargs["transformer_options"] if "transformer_options" in kwargs else args[3]


def unet_call(x: Tensor, options: dict[str, Any], inputs: UNetInput | None = None) -> UNetCall:
    """Tell from the host's transformer options what a forward pass is about.

    Args:
        x: (N · F, C, h, w), chunks of conditioning after each other.
        options: The host's transformer options. Frames come from our windows, from the host's own context windows, or
            are the whole batch.
        inputs: What the UNet is given.

    Raises:
        SettingsError: The batch is no clip, or the shots are of another clip.
    """
    chunks = tuple(int(chunk) for chunk in options.get("cond_or_uncond", (0,)))
    frames = frames_of_pass(x.shape[0], len(chunks), options)
    shots = options.get(SHOTS_KEY)
    sigma = float(options["sigmas"][0]) if "sigmas" in options else None
    progress = None
    if sigma is not None and "sample_sigmas" in options:
        state = step_state(sigma, options["sample_sigmas"].tolist())
        progress = state.step / state.steps
    return UNetCall(
        frames=frames,
        chunks=chunks,
        segments=segments_of(frames, shots),
        sigma=sigma,
        progress=progress,
        corner=options.get(CORNER_KEY, (0, 0)),
        size=options.get(SIZE_KEY),
        inputs=inputs,
        prompts=tuple(options.get("uuids", ())),
        conditioned=options.get(CONDITIONED_KEY, (None,))[0],
    )


def frames_of_pass(batch: int, chunks: int, options: dict[str, Any]) -> tuple[int, ...]:
    """Return which frames of the clip a chunk of a batch holds, in order.

    Args:
        batch: Items, chunks of conditioning after each other.
        chunks: How many.
        options: The host's transformer options.

    Raises:
        SettingsError: The shots are of another clip.
    """
    if FRAMES_KEY in options:
        return options[FRAMES_KEY]
    window = options.get("context_window")
    if window is not None:
        return tuple(window.index_list)
    count = batch // chunks
    shots = options.get(SHOTS_KEY)
    if shots is not None and shots[-1].last != count:
        raise SettingsError(
            f"the shots cover {shots[-1].last} frames, the latent has {count}; detect the shots on the same frames"
        )
    return tuple(range(count))


def state_of(arguments: dict[str, Any]) -> StepState:
    """Return where in the schedule a post-CFG call of the host is."""
    options = arguments["model_options"].get("transformer_options", {})
    sigma = float(arguments["sigma"][0])
    schedule = options.get("sample_sigmas")
    return step_state(sigma, [sigma, 0.0] if schedule is None else schedule.tolist())


def with_transform(model: ModelPatcher, transform: X0Transform) -> ModelPatcher:
    """Return a clone whose every prediction of x0 passes through a transform, after CFG.

    The transform sees the whole clip, whatever windows or tiles made it.
    """
    patched = model.clone()

    def after_cfg(arguments: dict[str, Any]) -> Tensor:
        return transform(arguments["denoised"], arguments["input"], state_of(arguments))

    after_cfg.transform = transform  # type: ignore[attr-defined]
    patched.set_model_sampler_post_cfg_function(after_cfg)
    return patched


def with_cfg(model: ModelPatcher, guidance: ClassifierFreeGuidance) -> ModelPatcher:
    """Return a clone whose conditioned and unconditioned predictions are joined by the core's CFG.

    It comes before whatever else is patched in after CFG, and takes the place of what is in the host's one slot for CFG
    itself, such as RescaleCFG. It does not use that slot: the host wants the difference to the noisy x there and takes
    it from x again, which at a sigma of 10 000 leaves x0 accurate to 0.001 only.
    """
    patched = model.clone()

    def join(arguments: dict[str, Any]) -> Tensor:
        x = arguments["input"]
        return guidance(arguments["cond_denoised"], arguments["uncond_denoised"], x, state_of(arguments))

    others = patched.model_options.get("sampler_post_cfg_function", [])
    patched.model_options["sampler_post_cfg_function"] = [join, *others]
    return patched


def with_noise(model: ModelPatcher, make: Callable[[tuple[int, ...], int], Tensor]) -> ModelPatcher:
    """Return a clone whose sampling starts from other noise, whichever sampler node starts it.

    Noise that is all zero stays: the sampler was told to add none.

    Args:
        model: The MODEL.
        make: (shape, seed) to unit noise.
    """
    patched = model.clone()

    def outer(executor: Callable[..., Tensor], noise: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        seed = kwargs["seed"] if "seed" in kwargs else args[-1]
        if bool(noise.any()):
            noise = make(tuple(noise.shape), int(seed or 0)).to(noise)
        return executor(noise, *args, **kwargs)

    patched.remove_wrappers_with_key(WrappersMP.OUTER_SAMPLE, "vldm_noise")
    patched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, "vldm_noise", outer)
    return patched


def with_schedule(model: ModelPatcher, schedule: NoiseSchedule) -> ModelPatcher:
    """Return a clone that samples with another noise schedule than its own."""
    sampling = copy.deepcopy(model.get_model_object("model_sampling"))
    sampling.set_sigmas(schedule.sigmas.float())
    patched = model.clone()
    patched.add_object_patch("model_sampling", sampling)
    return patched
