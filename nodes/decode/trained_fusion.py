"""What a prior made and the film that went into it, put together by a trained network."""

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.decode.fused_clip import TrainedFusion, fuse_clip
from ...vldm_core.errors import VLDMError
from ...vldm_core.prerestore.run import PreRestoreSettings
from ...vldm_core.prerestore.shipped import SHIPPED
from ...vldm_core.video.shots import Shot
from ..host.models import FUSION, file_state, model_files, model_path, no_such_file
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image, image_from_frames, mask_for
from ..host.prerestore import on_device, prerestorer_model
from ..host.prior.fusion import check_fusion, fusion_model, network_on_device
from ..host.prior.vae import check_latents, vae_decoder
from ..search import findable
from ..sockets import CATEGORY, SHOTS_TOOLTIP, PreRestorer, Shots
from ..validation import one_error


@findable("fuse", "fusion", "z0", "cfw", "decode", "old film")
class TrainedFusionNode(io.ComfyNode):
    """LATENT and the repaired frames to IMAGE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VLDM_TrainedFusion",
            display_name="Trained Fusion",
            category=CATEGORY,
            description=(
                "Brings what Stable Diffusion made back into the pre-restored film, by a network that you trained with "
                "train fusion. It takes over what the film agrees with; at weight 0 the film stays as it is."
            ),
            inputs=[
                io.Latent.Input("samples", tooltip="What the sampler made, one latent per frame, in order."),
                io.Vae.Input("vae", tooltip="The VAE of the model, on which the fusion was trained."),
                io.Image.Input(
                    "images",
                    tooltip="The repaired frames that went into Pre-Restore, of the same size; not its result.",
                ),
                io.Combo.Input(
                    "file",
                    options=model_files(FUSION),
                    tooltip="A .safetensors file of train fusion in models/vldm_fusion.",
                ),
                io.Float.Input(
                    "weight",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Share that is taken over from Stable Diffusion; 0 is the pre-restored film.",
                ),
                io.Float.Input(
                    "keep_grain",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="As at Pre-Restore. Fusions are trained without grain.",
                ),
                PreRestorer.Input(
                    "prerestorer",
                    optional=True,
                    tooltip="The one that the fusion was trained with. Unconnected: the network that ships.",
                ),
                io.Mask.Input(
                    "dirt", optional=True, tooltip="Where dirt was repaired, as at Pre-Restore. One per frame."
                ),
                io.Mask.Input("scratch", optional=True, tooltip="Where scratches were repaired, as at Pre-Restore."),
                Shots.Input("shots", optional=True, tooltip=SHOTS_TOOLTIP),
            ],
            outputs=[io.Image.Output("fused", display_name="images", tooltip="The fused frames.")],
        )

    @classmethod
    @one_error
    def validate_inputs(cls, file: str | None = None) -> bool | str:
        """Look at the header of the file, so that a wrong one is refused before anything runs."""
        if missing := no_such_file(file, FUSION):
            return missing
        if file is not None:
            try:
                check_fusion(model_path(file, FUSION))
            except VLDMError as error:
                return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: Any) -> str:
        """Fuse again when the file has changed."""
        return file_state(file, FUSION)

    @classmethod
    def execute(
        cls,
        samples: dict[str, Any],
        vae: Any,
        images: ImageBatch,
        file: str,
        weight: float,
        keep_grain: float,
        prerestorer: Any = None,
        dirt: Tensor | None = None,
        scratch: Tensor | None = None,
        shots: tuple[Shot, ...] | None = None,
    ) -> io.NodeOutput:
        """Pre-restore once more, shot by shot, and fuse a few frames at a time."""
        latents: Tensor = samples["samples"]
        check_latents(vae, latents)
        frames = frames_from_image(images)
        given = mask_for(dirt, images, "dirt"), mask_for(scratch, images, "scratch")
        masks = [mask for mask in given if mask is not None]
        settings = PreRestoreSettings(keep_grain=keep_grain)
        layers = fusion_model(model_path(file, FUSION))
        model = prerestorer or prerestorer_model(SHIPPED)
        height, width = frames.shape[-2:]
        network = on_device(model, height, width, settings)
        how = TrainedFusion(fusion=network_on_device(layers, frames), network=network, settings=settings, weight=weight)
        fused = fuse_clip(
            frames,
            latents,
            how,
            decode=vae_decoder(vae, layers, model),
            decoder=vae.first_stage_model.decoder,
            masks=masks[0].maximum(masks[-1]) if masks else None,
            shots=shots,
            progress=NodeProgress(),
        )
        return io.NodeOutput(image_from_frames(fused))
