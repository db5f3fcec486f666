"""Latents to frames: any VAE, in chunks and tiles within the memory there is."""

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.decode.memory_fallback import DecodeSettings, choose_plan, decode_within_memory
from ...vldm_core.video.shots import Shot
from ..host.node_run import NodeProgress
from ..host.prior.vae import OUT_OF_MEMORY, check_latents, frames_in_memory, is_temporal, new_image, vae_decoder
from ..sockets import CATEGORY, Shots
from ..validation import one_error

_SHOTS_TOOLTIP = "From Detect Shots, on the same frames: nothing is mixed across a cut. Unconnected: one shot."
SMALLEST_TILE = 128
"""Pixels below which a tile is mostly border."""


class DecodeVideo(io.ComfyNode):
    """LATENT to IMAGE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        default = DecodeSettings()
        return io.Schema(
            node_id="VLDM_DecodeVideo",
            display_name="Decode Video",
            category=CATEGORY,
            description=(
                "Decodes the latents of a film, at memory that does not grow with its length. The VAE of Stable Video "
                "Diffusion decodes latents of SD 1.x and 2.x with less flicker; its chunks overlap so that they do not "
                "show."
            ),
            inputs=[
                io.Latent.Input("samples", tooltip="Latents, one per frame, in the order of the film."),
                io.Vae.Input(
                    "vae",
                    tooltip=(
                        "The VAE of the model, or that of Stable Video Diffusion for SD 1.x and 2.x latents, which "
                        "also looks at the neighbouring frames."
                    ),
                ),
                io.Int.Input(
                    "chunk_frames",
                    default=default.frames or 0,
                    min=0,
                    max=256,
                    tooltip=(
                        "Frames decoded at a time. 0: one for an image VAE, up to 24 for a temporal one, as memory "
                        "allows. More needs more memory; a temporal VAE then repeats less work."
                    ),
                ),
                io.Int.Input(
                    "halo",
                    default=default.halo,
                    min=0,
                    max=32,
                    tooltip=(
                        "Frames on each side that a temporal VAE decodes along and throws away. Below 4 the borders of "
                        "the chunks begin to show; more costs time. An image VAE needs none and ignores it."
                    ),
                ),
                io.Int.Input(
                    "tile_size",
                    default=8 * (default.tile or 0),
                    min=0,
                    max=4096,
                    step=64,
                    tooltip=(
                        "Largest side of a tile in pixels, from 128. 0: whole pictures where memory allows. Smaller "
                        "needs less memory and lets the tone differ a little between tiles."
                    ),
                ),
                Shots.Input("shots", optional=True, tooltip=_SHOTS_TOOLTIP),
            ],
            outputs=[io.Image.Output("decoded", display_name="images", tooltip="The decoded frames.")],
        )

    @classmethod
    @one_error
    def validate_inputs(cls, tile_size: int | None = None) -> bool | str:
        """Refuse tiles that are all overlap."""
        if tile_size is not None and 0 < tile_size < SMALLEST_TILE:
            return f"tile_size is {tile_size}; use 0 for automatic, or {SMALLEST_TILE} pixels or more"
        return True

    @classmethod
    def execute(
        cls,
        samples: dict[str, Any],
        vae: Any,
        chunk_frames: int,
        halo: int,
        tile_size: int,
        shots: tuple[Shot, ...] | None = None,
    ) -> io.NodeOutput:
        """Decode chunk by chunk into the output."""
        latents: Tensor = samples["samples"]
        check_latents(vae, latents)
        scale = vae.spacial_compression_decode()
        settings = DecodeSettings(
            frames=chunk_frames or None, halo=halo, tile=tile_size // scale if tile_size else None
        )
        plan = choose_plan(
            settings,
            temporal=is_temporal(vae),
            frames_in_memory=frames_in_memory(vae, latents),
            height=latents.shape[-2],
            width=latents.shape[-1],
        )
        images = new_image(vae, latents)
        decode_within_memory(
            latents,
            vae_decoder(vae),
            plan,
            shots=shots,
            output=images.movedim(-1, 1),
            out_of_memory=OUT_OF_MEMORY,
            progress=NodeProgress(previews=True),
        )
        return io.NodeOutput(images)
