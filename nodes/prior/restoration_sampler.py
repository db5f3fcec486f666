"""Sampling that restores: start, windows, guidance and noise in one node."""

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.sampling.restoration import Material, RestorationSettings, default_restoration
from ..host.node_run import ImageBatch, NodeProgress
from ..host.prior.attachments import check_family
from ..host.prior.restoring import HostSampling, restored_latents
from ..host.prior.sampler import clip_latent, scaled
from ..sockets import PRIOR_CATEGORY
from ..sockets import Restoration as RestorationSocket
from ..validation import one_error
from .inputs import frames_of, mask_of, shots_input
from .sampling_inputs import joined_settings, sampling_fault, sampling_inputs


class RestorationSampler(io.ComfyNode):
    """LATENT clip to LATENT clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VLDM_RestorationSampler",
            display_name="Restoration Sampler",
            category=PRIOR_CATEGORY,
            description=(
                "Restores a clip with a Stable Diffusion model and keeps it the film it was: windows over long shots, "
                "noise that follows the motion, and a pull towards the pre-restored frames. Out of memory it goes on "
                "with smaller windows or tiles."
            ),
            inputs=[
                io.Model.Input("model", tooltip="A Stable Diffusion 1.x, 2.x or XL model, with any LoRA or patch."),
                io.Conditioning.Input(
                    "positive", tooltip="What the picture shows; one for all frames or one per frame."
                ),
                io.Conditioning.Input("negative", tooltip="What it shall not show. Not used with cfg 1."),
                io.Latent.Input("latent", tooltip="The pre-restored clip from VAE Encode, one item per frame."),
                *sampling_inputs(another_seed=True),
                io.Image.Input(
                    "images", optional=True, tooltip="The frames that went into VAE Encode: for their motion."
                ),
                io.Mask.Input("mask", optional=True, tooltip="Damage, 1 = damaged; needs images of the same size."),
                shots_input(),
                RestorationSocket.Input("settings", optional=True, tooltip="From Restoration Settings."),
                io.Vae.Input("vae", optional=True, tooltip="Only for guidance in space rgb."),
            ],
            outputs=[io.Latent.Output("restored", display_name="latent", tooltip="The restored clip, for a decoder.")],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls,
        sampler_name: str | None = None,
        scheduler: str | None = None,
        noise: str | None = None,
        window: int | None = None,
        overlap: int | None = None,
    ) -> bool | str:
        """Check what the host does not."""
        return sampling_fault(sampler_name, scheduler, noise, window, overlap) or True

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: Any,
        negative: Any,
        latent: dict[str, Any],
        images: ImageBatch | None = None,
        mask: Tensor | None = None,
        shots: Any = None,
        settings: RestorationSettings | None = None,
        vae: Any = None,
        **values: Any,
    ) -> io.NodeOutput:
        """Sample, as often as FreeInit asks."""
        check_family(model, "Restoration Sampler")
        samples = clip_latent(model, latent)
        frames = frames_of(images, samples)
        how = joined_settings(settings or default_restoration(), values, moving=frames is not None)
        material = Material(
            latent=scaled(model, samples),
            frames=frames,
            masks=mask_of(mask, images),
            shots=shots,
        )
        sampling = HostSampling(
            sampler=values["sampler_name"],
            scheduler=values["scheduler"],
            steps=values["steps"],
            denoise=values["denoise"],
            seed=values["seed"],
        )
        found = restored_latents(
            model, positive, negative, samples, material, how, sampling, vae=vae, progress=NodeProgress()
        )
        return io.NodeOutput({**latent, "samples": found})
