"""Pre-restoration: the video network between repair and the prior."""

from dataclasses import replace
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.notices import Notices
from ...vldm_core.prerestore.network import SCALE
from ...vldm_core.prerestore.shipped import SHIPPED, PreRestoration
from ...vldm_core.reel.restore import ReelSettings
from ...vldm_core.stages import batch as pipeline
from ...vldm_core.video.shots import Shot
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image, image_from_frames, mask_for, told
from ..host.prerestore import blocked, encoded, encodes_pictures, on_device, prerestorer_model
from ..search import findable
from ..sockets import CATEGORY, IMAGES_TOOLTIP, SHOTS_TOOLTIP, PreRestorer, Shots, settings_input, settings_output


@findable("denoise", "degrain", "grain", "deblur", "sharpen", "noise", "compression", "old film", "film restoration")
class PreRestoreNode(io.ComfyNode):
    """IMAGE and masks to IMAGE and LATENT."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VLDM_PreRestore",
            display_name="Pre-Restore",
            category=CATEGORY,
            description=(
                "Takes blur, noise, grain and compression off with a small video network that looks along every shot, "
                "both ways. What it gives needs no more, or is a better start for Stable Diffusion."
            ),
            inputs=[
                io.Image.Input("images", tooltip=IMAGES_TOOLTIP),
                *strength_inputs(),
                PreRestorer.Input(
                    "prerestorer", optional=True, tooltip="From Load Pre-Restorer. Unconnected: the network that ships."
                ),
                io.Mask.Input(
                    "dirt",
                    optional=True,
                    tooltip="Where dirt was repaired: nothing is taken from there for other frames. One per frame.",
                ),
                io.Mask.Input(
                    "scratch",
                    optional=True,
                    tooltip="Where scratches were repaired: nothing is taken from there for other frames.",
                ),
                Shots.Input("shots", optional=True, tooltip=SHOTS_TOOLTIP),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip=(
                        "Encodes the result for the latent output, where the network has no latents of its own; the "
                        "one that ships has none."
                    ),
                ),
                settings_input(),
            ],
            outputs=[
                io.Image.Output("restored", display_name="images", tooltip="The pre-restored frames."),
                io.Latent.Output(
                    "latents",
                    display_name="latent",
                    tooltip="For a sampler. Needs sides divisible by 8, and a VAE or a network with own latents.",
                ),
                settings_output(),
            ],
        )

    @classmethod
    def execute(
        cls,
        images: ImageBatch,
        strength: float,
        keep_grain: float,
        prerestorer: Any = None,
        dirt: Tensor | None = None,
        scratch: Tensor | None = None,
        shots: tuple[Shot, ...] | None = None,
        vae: Any = None,
        settings: ReelSettings | None = None,
    ) -> io.NodeOutput:
        """Restore shot by shot, then encode where the network has no latents of its own."""
        frames = frames_from_image(images)
        height, width = frames.shape[-2:]
        how = PreRestoration(strength=strength, keep_grain=keep_grain)
        model = prerestorer or prerestorer_model(SHIPPED)
        progress, notices = NodeProgress(phases=1 if vae is None else 2), Notices()
        restored, latents = pipeline.pre_restore_frames(
            frames,
            dirt=mask_for(dirt, images, "dirt"),
            scratch=mask_for(scratch, images, "scratch"),
            shots=shots,
            settings=how,
            network=on_device(model, height, width, how),
            progress=progress,
            notices=notices,
        )
        result = image_from_frames(restored)
        chosen = replace(settings or ReelSettings.no_stages(), prerestore=how)
        if reason := _no_latent(height, width, own=latents is not None, vae=vae):
            return io.NodeOutput(result, blocked(reason), chosen, ui=told(notices))
        if latents is None:
            latents = encoded(vae, result, progress)
        return io.NodeOutput(result, {"samples": latents}, chosen, ui=told(notices))


def strength_inputs(prefix: str = "", *, optional: bool = False) -> list[io.Input]:
    """Return the two inputs that say how a pre-restorer is applied.

    Args:
        prefix: Of the name of the first.
        optional: Whether they may be left out.
    """
    default = PreRestoration()
    return [
        io.Float.Input(
            f"{prefix}strength",
            default=default.strength,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=optional,
            tooltip="Share of the network's change that is applied; 0 leaves the frames as they are.",
        ),
        io.Float.Input(
            "keep_grain",
            default=default.keep_grain,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=optional,
            tooltip=(
                "Share of the fine texture that the network takes off and that is put back. 0 is the cleanest, 1 keeps "
                "the grain and takes only coarser faults."
            ),
        ),
    ]


def _no_latent(height: int, width: int, *, own: bool, vae: Any) -> str | None:
    """Return why there can be no latents, or None."""
    if height % SCALE or width % SCALE:
        return (
            f"Pre-Restore has no latents of frames of {width}×{height}: both sides must be divisible by {SCALE}. Put "
            "Fit For Prior before it, or use its images"
        )
    if own:
        return None
    if vae is None:
        return (
            "this pre-restorer has no latents of its own: connect a VAE to Pre-Restore, or encode its images with VAE "
            "Encode"
        )
    if not encodes_pictures(vae):
        return "the VAE of Pre-Restore does not give one latent per picture; connect that of a Stable Diffusion model"
    return None
