"""Grain and compression, taken off by averaging along the motion."""

from dataclasses import replace

from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.film.temporal.averaging import AveragingSettings
from ...vldm_core.notices import Notices
from ...vldm_core.reel.restore import ReelSettings
from ...vldm_core.stages import batch as pipeline
from ...vldm_core.stages.settings import QUALITIES
from ...vldm_core.video.shots import Shot
from ..effort import NORMAL, advanced, quality_input
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image, image_from_frames, mask_for, not_one_of, told
from ..search import findable
from ..sockets import CATEGORY, IMAGES_TOOLTIP, SHOTS_TOOLTIP, Shots, settings_input, settings_output
from ..validation import one_error


def averaging_inputs(prefix: str = "") -> list[io.Input]:
    """Return the inputs that say how frames are averaged.

    Args:
        prefix: Of their names.
    """
    default = AveragingSettings()
    return [
        io.Float.Input(
            f"{prefix}strength",
            default=default.strength,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            tooltip="Share of the change that is applied; 0 leaves the frames as they are.",
        ),
        io.Float.Input(
            f"{prefix}keep_grain",
            default=default.keep_grain,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            tooltip="Share of the film's grain that is kept, 0 to 1. 0 is the calmest picture, 1 keeps all of it.",
        ),
    ]


def missed_damage_input() -> io.Boolean.Input:
    """Return the switch for damage that nobody has marked."""
    return io.Boolean.Input(
        "missed_damage",
        default=AveragingSettings.missed_damage,
        optional=True,
        tooltip="Also take off small things that a frame shows against all its neighbours, where nothing was marked.",
    )


@findable("denoise", "degrain", "grain", "noise", "compression", "temporal", "old film", "film restoration")
class ReduceGrain(io.ComfyNode):
    """IMAGE and masks to IMAGE with less grain."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VLDM_ReduceGrain",
            display_name="Reduce Grain (averaging)",
            category=CATEGORY,
            description=(
                "Takes grain, noise and compression off: every frame is averaged with its neighbours, brought to it "
                "along the motion. Where no neighbour shows the same, the frame stays as it is."
            ),
            inputs=[
                io.Image.Input("images", tooltip=IMAGES_TOOLTIP),
                *averaging_inputs(),
                quality_input(
                    "Level of effort. fast: fewer neighbours and a quicker look at motion; normal: for most films; "
                    "best: looks longest. The help page says what each does."
                ),
                advanced(missed_damage_input()),
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
                settings_input(),
            ],
            outputs=[
                io.Image.Output("calmer", display_name="images", tooltip="The frames with less grain."),
                settings_output(),
            ],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls, strength: float | None = None, keep_grain: float | None = None, quality: str | None = None
    ) -> bool | str:
        """Check the level, which the host does not."""
        return not_one_of("quality", quality, QUALITIES) or True

    @classmethod
    def execute(
        cls,
        images: ImageBatch,
        strength: float = AveragingSettings.strength,
        keep_grain: float = AveragingSettings.keep_grain,
        quality: str = NORMAL,
        missed_damage: bool = AveragingSettings.missed_damage,
        dirt: Tensor | None = None,
        scratch: Tensor | None = None,
        shots: tuple[Shot, ...] | None = None,
        settings: ReelSettings | None = None,
    ) -> io.NodeOutput:
        """Average every shot along its motion."""
        frames, notices = frames_from_image(images), Notices()
        level = ReelSettings.of_quality(quality)
        how = replace(
            level.average or AveragingSettings(), strength=strength, keep_grain=keep_grain, missed_damage=missed_damage
        )
        result = pipeline.average_frames(
            frames,
            dirt=mask_for(dirt, images, "dirt"),
            scratch=mask_for(scratch, images, "scratch"),
            shots=shots,
            settings=how,
            motion=level.motion,
            progress=NodeProgress(),
            notices=notices,
        )
        chosen = replace(settings or ReelSettings.no_stages(), average=how, motion=level.motion)
        return io.NodeOutput(image_from_frames(result), chosen, ui=told(notices))
