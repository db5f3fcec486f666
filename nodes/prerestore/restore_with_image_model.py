"""Every frame through a restorer or an upscaler of stills."""

from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.prerestore.image_model import SMALLEST_TILE, output_size
from ...vldm_core.prerestore.restore_images import MOST_TEMPORAL, ImageModelSettings, restore_images
from ...vldm_core.stages.stage_frame import joined_masks
from ...vldm_core.video.shots import Shot
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image, mask_for
from ..host.prerestore import OUT_OF_MEMORY, image_model_on_device
from ..search import findable
from ..sockets import CATEGORY, IMAGES_TOOLTIP, SHOTS_TOOLTIP, Shots
from ..validation import one_error


@findable("upscale", "upscaler", "enlarge", "esrgan", "diffbir", "super resolution")
class RestoreWithImageModel(io.ComfyNode):
    """IMAGE, masks and UPSCALE_MODEL to IMAGE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        default = ImageModelSettings()
        return io.Schema(
            node_id="VLDM_RestoreWithImageModel",
            display_name="Restore With Image Model (upscale)",
            category=CATEGORY,
            description=(
                "Restores a film with a still-image model: DiffBIR's first stage, or any model that Load Upscale Model "
                "takes. Neighbouring frames are held together along the motion, and nothing is invented under masks."
            ),
            inputs=[
                io.UpscaleModel.Input(
                    "upscale_model",
                    tooltip="From Load Stage 1 Restorer or Load Upscale Model. Enlargement is taken back by default.",
                ),
                io.Image.Input("images", tooltip=IMAGES_TOOLTIP),
                io.Float.Input(
                    "strength",
                    default=default.strength,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Share of the model's change that is applied; 0 leaves the frames as they are.",
                ),
                io.Float.Input(
                    "keep_grain",
                    default=default.keep_grain,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip=(
                        "Share of the fine texture that the model takes off and that is put back. 0 is the cleanest, 1 "
                        "keeps the grain."
                    ),
                ),
                io.Float.Input(
                    "temporal",
                    default=default.temporal,
                    min=0.0,
                    max=MOST_TEMPORAL,
                    step=0.05,
                    tooltip=(
                        "Most that the restored frame before counts in a frame. Raise it when detail crawls, lower it "
                        "when what moves turns soft. 0 restores every frame by itself."
                    ),
                ),
                io.Float.Input(
                    "in_masks",
                    default=default.in_masks,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Share of the model's fine change under the masks. 0: only the tone of the surroundings.",
                ),
                io.Int.Input(
                    "short_side",
                    default=default.short_side,
                    min=0,
                    max=4096,
                    tooltip=(
                        "Smaller frames are enlarged to this many pixels on their shorter side before the model sees "
                        "them. DiffBIR uses 512. 0: as they are. Time and memory grow with the square."
                    ),
                ),
                io.Boolean.Input(
                    "keep_scale",
                    default=default.keep_scale,
                    tooltip="Keep the size the model gives, for example four times. Off: the size of the film.",
                ),
                io.Int.Input(
                    "tile_size",
                    default=default.tile or 0,
                    min=0,
                    max=4096,
                    step=64,
                    tooltip=(
                        "Largest side of a tile in pixels, from 128. 0: whole frames where memory allows. Smaller "
                        "needs less memory and shows the model less of the picture."
                    ),
                ),
                io.Mask.Input(
                    "dirt", optional=True, tooltip="Where dirt was repaired. One mask per frame, or one for all frames."
                ),
                io.Mask.Input(
                    "scratch",
                    optional=True,
                    tooltip="Where scratches were repaired. One mask per frame, or one for all frames.",
                ),
                Shots.Input("shots", optional=True, tooltip=SHOTS_TOOLTIP),
            ],
            outputs=[io.Image.Output("restored", display_name="images", tooltip="The restored frames.")],
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
        upscale_model: Any,
        images: ImageBatch,
        strength: float,
        keep_grain: float,
        temporal: float,
        in_masks: float,
        short_side: int,
        keep_scale: bool,
        tile_size: int,
        dirt: Tensor | None = None,
        scratch: Tensor | None = None,
        shots: tuple[Shot, ...] | None = None,
    ) -> io.NodeOutput:
        """Restore frame by frame into the output."""
        settings = ImageModelSettings(
            strength=strength,
            keep_grain=keep_grain,
            temporal=temporal,
            in_masks=in_masks,
            short_side=short_side,
            keep_scale=keep_scale,
            tile=tile_size or None,
        )
        frames = frames_from_image(images)
        height, width = frames.shape[-2:]
        restored = torch.empty(len(frames), *output_size(height, width, upscale_model.scale, settings), 3)
        with image_model_on_device(upscale_model, height, width, settings) as tile:
            restore_images(
                frames,
                upscale_model,
                settings,
                masks=joined_masks(mask_for(dirt, images, "dirt"), mask_for(scratch, images, "scratch")),
                shots=shots,
                tile=tile,
                output=restored.movedim(-1, 1),
                out_of_memory=OUT_OF_MEMORY,
                progress=NodeProgress(previews=True),
            )
        return io.NodeOutput(restored)
