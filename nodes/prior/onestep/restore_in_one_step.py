"""A clip restored in one step: fitted, encoded, one pass, decoded, colours, and back to its size."""

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ....vldm_core.decode.colour import ColourSettings
from ....vldm_core.prior.finish import FinishSettings
from ....vldm_core.video.geometry import FitSettings
from ....vldm_core.video.shots import covering_shots
from ...host.node_run import ImageBatch, NodeProgress, frames_from_image, image_from_frames, mask_for
from ...host.prior.onestep.clips import LoadedOneStep, restore_clip
from ...search import findable
from ...sockets import IMAGES_TOOLTIP, PRIOR_CATEGORY
from ...validation import one_error
from ..inputs import shots_input
from .inputs import (
    check_negative,
    model_inputs,
    negative_input,
    one_step_fault,
    one_step_inputs,
    one_step_settings,
    restorer_input,
)

_PHASES = {"measure": 0.02, "encode": 0.18, "sample": 0.5, "decode": 0.25, "colour": 0.05}


@findable("osediff", "pisa-sr", "s3diff", "hypir", "dloral", "one step", "film restoration", "super resolution")
class RestoreInOneStep(io.ComfyNode):
    """IMAGE clip to IMAGE clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VLDM_RestoreInOneStep",
            display_name="Restore in One Step",
            category=PRIOR_CATEGORY,
            description=(
                "Restores frames with a one-step restorer on Stable Diffusion 2.1-base, shot by shot: one pass of the "
                "UNet a frame, little more than encoding and decoding it. As many frames come out as went in, in their "
                "size."
            ),
            inputs=[
                io.Image.Input("images", tooltip=IMAGES_TOOLTIP),
                *model_inputs(),
                io.Conditioning.Input(
                    "positive",
                    tooltip="What the film shows: one text for all, or one per shot from Shot Conditioning.",
                ),
                restorer_input(),
                *one_step_inputs(
                    colours_over="shots",
                    keep_outside="Outside the mask the frames stay as they came, bit for bit; needs a mask.",
                ),
                negative_input(),
                io.Mask.Input(
                    "mask", optional=True, tooltip="Damage, 1 = damaged; one per frame, or one for all frames."
                ),
                shots_input(),
            ],
            outputs=[
                io.Image.Output("restored", display_name="images", tooltip="The restored frames, in their own size.")
            ],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls, encode: str | None = None, colour: str | None = None, tile: int | None = None, scores: str | None = None
    ) -> bool | str:
        """Check what the host does not."""
        return one_step_fault(encode, colour, tile, scores) or True

    @classmethod
    def execute(
        cls,
        images: ImageBatch,
        model: Any,
        vae: Any,
        positive: Any,
        one_step: LoadedOneStep,
        invention: float,
        seed: int,
        encode: str = "mean",
        short_side: int = FitSettings.short_side,
        tile: int = 0,
        colour: str = ColourSettings.method,
        keep_outside: bool = False,
        scores: str = "",
        negative: Any = None,
        mask: Tensor | None = None,
        shots: Any = None,
    ) -> io.NodeOutput:
        """Restore."""
        system = one_step.system
        check_negative(system, negative)
        frames = frames_from_image(images)
        settings = one_step_settings(
            invention=invention, encode=encode, tile=tile, keep_outside=keep_outside, scores=scores
        )
        made = restore_clip(
            model,
            vae,
            system,
            frames,
            settings,
            positive=positive,
            negative=positive if negative is None else negative,
            masks=mask_for(mask, images, "mask"),
            shots=covering_shots(shots, len(frames)),
            seed=seed,
            fitting=FitSettings(short_side=short_side),
            finish=FinishSettings(colour=ColourSettings(method=colour)),  # type: ignore[arg-type]
            progress=NodeProgress(_PHASES),
        )
        return io.NodeOutput(image_from_frames(made))
