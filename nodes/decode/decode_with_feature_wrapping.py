"""Latents to frames, with the degraded film steering the decoder."""

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.decode.memory_fallback import DecodeSettings, choose_plan
from ...vldm_core.decode.wrapping.wrapped import PUBLISHED_FIDELITY, WrappedVAE, decode_wrapped
from ..host.models import CONTROL, file_state, model_files, model_path, no_such_file
from ..host.node_run import NodeProgress, frames_from_image
from ..host.prior.vae import (
    OUT_OF_MEMORY,
    check_latents,
    frames_in_memory,
    new_image,
    vae_decoder,
    vae_encoder,
    wrapping_model,
)
from ..search import findable
from ..sockets import CATEGORY
from ..validation import one_error
from .decode_video import SMALLEST_TILE


@findable("stablesr", "cfw", "controllable feature wrapping", "vae")
class DecodeWithFeatureWrapping(io.ComfyNode):
    """LATENT and the frames that it was made of to IMAGE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VLDM_DecodeWithFeatureWrapping",
            display_name="Decode With Feature Wrapping",
            category=CATEGORY,
            description=(
                "Decodes the latents of a film with StableSR's feature wrapping: what the VAE's encoder sees in the "
                "frames that went in is mixed into its decoder, so that edges, faces and letters come out as they were "
                "filmed. The published files are for non-commercial use."
            ),
            inputs=[
                io.Latent.Input("samples", tooltip="Latents, one per frame, in the order of the film."),
                io.Vae.Input("vae", tooltip="The VAE of Stable Diffusion 1.x or 2.x. That of SVD is not taken."),
                io.Image.Input(
                    "images",
                    tooltip="The frames that were encoded, of the same number and size: repaired or pre-restored.",
                ),
                io.Combo.Input(
                    "file",
                    options=model_files(CONTROL),
                    tooltip="A file in models/vldm_control: vqgan_cfw_00011.ckpt, for faces face_vqgan_cfw_00011.ckpt.",
                ),
                io.Float.Input(
                    "fidelity",
                    default=PUBLISHED_FIDELITY,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip=(
                        "How much the frames count. 0 decodes as Decode Video does, 1 keeps closest to the film. Lower "
                        "it where damage of the film comes back."
                    ),
                ),
                io.Int.Input(
                    "tile_size",
                    default=0,
                    min=0,
                    max=4096,
                    step=64,
                    tooltip=(
                        "Largest side of a tile in pixels, from 128. 0: whole pictures where memory allows. Smaller "
                        "needs less memory and lets the tone differ a little between tiles."
                    ),
                ),
            ],
            outputs=[io.Image.Output("decoded", display_name="images", tooltip="The decoded frames.")],
        )

    @classmethod
    @one_error
    def validate_inputs(cls, file: str | None = None, tile_size: int | None = None) -> bool | str:
        """Check that the file is there, which the host does not, and refuse tiles that are all overlap."""
        if tile_size is not None and 0 < tile_size < SMALLEST_TILE:
            return f"tile_size is {tile_size}; use 0 for automatic, or {SMALLEST_TILE} pixels or more"
        return no_such_file(file, CONTROL) or True

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: Any) -> str:
        """Decode again when the file has changed."""
        return file_state(file, CONTROL)

    @classmethod
    def execute(
        cls, samples: dict[str, Any], vae: Any, images: Tensor, file: str, fidelity: float, tile_size: int
    ) -> io.NodeOutput:
        """Decode chunk by chunk into the output."""
        latents: Tensor = samples["samples"]
        check_latents(vae, latents)
        frames = frames_from_image(vae.vae_encode_crop_pixels(images))
        layers = wrapping_model(vae, model_path(file, CONTROL))
        wrapped = WrappedVAE(vae.first_stage_model, layers.model, fidelity=fidelity)
        scale = vae.spacial_compression_decode()
        plan = choose_plan(
            DecodeSettings(tile=tile_size // scale if tile_size else None),
            temporal=False,
            frames_in_memory=frames_in_memory(vae, latents, layers),
            height=latents.shape[-2],
            width=latents.shape[-1],
        )
        decoded = new_image(vae, latents)
        decode_wrapped(
            latents,
            frames,
            wrapped,
            plan,
            decode=vae_decoder(vae, layers),
            encode=vae_encoder(vae, layers),
            output=decoded.movedim(-1, 1),
            out_of_memory=OUT_OF_MEMORY,
            progress=NodeProgress(previews=True),
        )
        return io.NodeOutput(decoded)
