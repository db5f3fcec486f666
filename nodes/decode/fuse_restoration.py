"""What the prior made and the pre-restored picture, put together."""

from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.decode.fusion import FusionSettings, fuse
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image, image_from_frames, mask_for, not_one_of
from ..sockets import CATEGORY, UNLINKED
from ..validation import one_error

_FUSION_MODES = ("off", "weight", "frequency", "mask")


class FuseRestoration(io.ComfyNode):
    """Decoded IMAGE and pre-restored IMAGE to one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        default = FusionSettings()
        return io.Schema(
            node_id="VLDM_FuseRestoration",
            display_name="Fuse Restoration",
            category=CATEGORY,
            description=(
                "Joins what the prior made with the film that went into it: a mean of both, the structure of the film "
                "with the detail of the prior, or the prior in damaged places only."
            ),
            inputs=[
                io.Image.Input("images", tooltip="The decoded frames; alpha is dropped."),
                io.Image.Input(
                    "restored", tooltip="The frames that went into the prior, of the same size and in the same order."
                ),
                io.Combo.Input(
                    "mode",
                    options=list(_FUSION_MODES),
                    default=default.mode,
                    tooltip=(
                        "off: the decoded frames as they are; weight: a mean of both; frequency: structure and tone of "
                        "the film, detail of the prior; mask: the prior inside the mask, the film bit-equal elsewhere."
                    ),
                ),
                io.Float.Input(
                    "weight",
                    default=default.weight,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Share of the fused picture; 0 is the restored film. Lower it when the prior invents.",
                ),
                io.Float.Input(
                    "cutoff",
                    default=default.cutoff,
                    min=0.3,
                    max=128.0,
                    step=0.1,
                    tooltip=(
                        "For frequency: sigma in pixels of the blur that separates structure from detail. Larger takes "
                        "more from the prior."
                    ),
                ),
                io.Float.Input(
                    "detail",
                    default=default.detail,
                    min=0.0,
                    max=4.0,
                    step=0.05,
                    tooltip="For frequency: gain on the detail of the prior; above 1 sharpens.",
                ),
                io.Int.Input(
                    "grow",
                    default=default.grow,
                    min=0,
                    max=64,
                    tooltip="For mask: pixels by which it is widened. At least as much as feather covers all damage.",
                ),
                io.Float.Input(
                    "feather",
                    default=default.feather,
                    min=0.0,
                    max=64.0,
                    step=0.5,
                    tooltip="For mask: pixels over which the prior takes over, inside the widened mask.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="For mask: 1 = damaged; one mask per frame, or one for all frames.",
                ),
            ],
            outputs=[io.Image.Output("fused", display_name="images", tooltip="The fused frames.")],
        )

    @classmethod
    @one_error
    def validate_inputs(cls, mode: str | None = None, mask: object = UNLINKED) -> bool | str:
        """Check the combo, and that the mask is there when it is needed."""
        if mode == "mask" and mask is UNLINKED:
            return "mode is 'mask' but no mask is connected; connect the damage mask, or choose another mode"
        return not_one_of("mode", mode, _FUSION_MODES) or True

    @classmethod
    def execute(
        cls,
        images: ImageBatch,
        restored: ImageBatch,
        mode: str,
        weight: float,
        cutoff: float,
        detail: float,
        grow: int,
        feather: float,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        """Fuse frame by frame."""
        settings = FusionSettings(
            mode=mode,  # type: ignore[arg-type]
            weight=weight,
            cutoff=cutoff,
            detail=detail,
            grow=grow,
            feather=feather,
        )
        fused = fuse(
            frames_from_image(images),
            frames_from_image(restored, "restored"),
            settings,
            mask=mask_for(mask, images, "mask") if mode == "mask" else None,
            progress=NodeProgress(),
        )
        return io.NodeOutput(image_from_frames(fused))
