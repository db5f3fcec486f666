"""Nodes that bring frames to a size the Stable Diffusion prior works on, and back."""

from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.video.geometry import FitPlan, FitSettings, fit, plan_fit, unfit
from ..host.node_run import ImageBatch, frames_from_image, image_from_frames, mask_for, not_one_of
from ..sockets import CATEGORY, Fit
from ..validation import one_error

_MODES = ("pad", "resize")


class FitForPrior(io.ComfyNode):
    """IMAGE to IMAGE of a size the prior works on."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        default = FitSettings()
        return io.Schema(
            node_id="VLDM_FitForPrior",
            display_name="Fit For Prior",
            category=CATEGORY,
            description=(
                "Brings frames to a size that Stable Diffusion works on: short side long enough, both sides divisible. "
                "Undo Fit leads back exactly."
            ),
            inputs=[
                io.Image.Input("images", tooltip="Frames in order; alpha is dropped."),
                io.Int.Input(
                    "short_side",
                    default=default.short_side,
                    min=64,
                    max=4096,
                    step=64,
                    tooltip=(
                        "Least length of the shorter side in pixels; smaller frames are enlarged. Memory grows with "
                        "its square."
                    ),
                ),
                io.Int.Input(
                    "multiple",
                    default=default.multiple,
                    min=8,
                    max=256,
                    step=8,
                    tooltip="Both sides become divisible by this. Stable Diffusion needs 64.",
                ),
                io.Combo.Input(
                    "mode",
                    options=list(_MODES),
                    default=default.mode,
                    tooltip="pad mirrors the border outwards and keeps every pixel; resize stretches slightly instead.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Damage, 1 = damaged, to be fitted like the frames; one per frame, or one for all frames.",
                ),
            ],
            outputs=[
                io.Image.Output("fitted", display_name="images", tooltip="The fitted frames."),
                Fit.Output("fit", display_name="fit", tooltip="How they were fitted, for Undo Fit."),
                io.Mask.Output(
                    "fitted_mask",
                    display_name="mask",
                    tooltip="The fitted mask, for Restoration Sampler; nothing where no mask is connected.",
                ),
            ],
        )

    @classmethod
    @one_error
    def validate_inputs(cls, mode: str | None = None) -> bool | str:
        """Check the combo, which the host does not."""
        return not_one_of("mode", mode, _MODES) or True

    @classmethod
    def execute(
        cls, images: ImageBatch, short_side: int, multiple: int, mode: str, mask: Tensor | None = None
    ) -> io.NodeOutput:
        """Plan and fit."""
        frames = frames_from_image(images)
        settings = FitSettings(short_side=short_side, multiple=multiple, mode=mode)  # type: ignore[arg-type]
        plan = plan_fit(*frames.shape[-2:], settings)
        masks = mask_for(mask, images, "mask")
        fitted_mask = None if masks is None else fit(masks, plan)
        return io.NodeOutput(image_from_frames(fit(frames, plan)), plan, fitted_mask)


class UndoFit(io.ComfyNode):
    """Fitted IMAGE back to its original size."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VLDM_UndoFit",
            display_name="Undo Fit",
            category=CATEGORY,
            description="Takes frames that Fit For Prior prepared back to their original size.",
            inputs=[
                io.Image.Input("images", tooltip="Frames of the fitted size, whatever was done to them since."),
                Fit.Input("fit", tooltip="From Fit For Prior."),
                io.Image.Input(
                    "before",
                    optional=True,
                    tooltip=(
                        "The frames as they went into Fit For Prior. With them only what changed since is brought "
                        "back, so an untouched picture leaves bit-equal even where it was resized."
                    ),
                ),
            ],
            outputs=[io.Image.Output("original", display_name="images", tooltip="The frames in their original size.")],
        )

    @classmethod
    def execute(cls, images: ImageBatch, fit: FitPlan, before: ImageBatch | None = None) -> io.NodeOutput:
        """Undo the fit."""
        original = None if before is None else frames_from_image(before, "before")
        return io.NodeOutput(image_from_frames(unfit(frames_from_image(images), fit, original)))
