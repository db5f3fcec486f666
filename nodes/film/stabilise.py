"""Gate weave, steadied."""

from dataclasses import replace

from comfy_api.latest import io

from ...vldm_core.film.weave.stabilise import StabiliseSettings
from ...vldm_core.notices import Notices
from ...vldm_core.reel.restore import ReelSettings
from ...vldm_core.stages import batch as pipeline
from ...vldm_core.video.shots import Shot
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image, image_from_frames, told
from ..search import findable
from ..sockets import CATEGORY, IMAGES_TOOLTIP, SHOTS_TOOLTIP, Shots, settings_input, settings_output


@findable("stabilize", "steady", "gate weave", "jitter", "shake", "old film")
class StabiliseNode(io.ComfyNode):
    """IMAGE to IMAGE without gate weave."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        default = StabiliseSettings()
        return io.Schema(
            node_id="VLDM_Stabilise",
            display_name="Stabilise",
            category=CATEGORY,
            description=(
                "Takes gate weave out: the small jumps and turns of the whole picture. Camera moves stay, and nothing "
                "is cropped: the uncovered border is filled."
            ),
            inputs=[
                io.Image.Input("images", tooltip=IMAGES_TOOLTIP),
                io.Float.Input(
                    "strength",
                    default=default.strength,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Share of the weave that is taken out; 0 leaves the frames as they are.",
                ),
                io.Float.Input(
                    "period",
                    default=default.period,
                    min=4.0,
                    max=1000.0,
                    step=1.0,
                    tooltip=(
                        "Movements that take longer than this many frames are the camera's own and stay. Higher takes "
                        "out slower weave, lower spares quick camera moves."
                    ),
                ),
                io.Float.Input(
                    "max_shift",
                    default=default.max_shift,
                    min=0.0,
                    max=200.0,
                    step=0.5,
                    tooltip="Largest correction in pixels, up, down and sideways. Lower it when a frame jumps.",
                ),
                Shots.Input("shots", optional=True, tooltip=SHOTS_TOOLTIP),
                settings_input(),
            ],
            outputs=[
                io.Image.Output("stable", display_name="images", tooltip="The steadied frames, same size."),
                settings_output(),
            ],
        )

    @classmethod
    def execute(
        cls,
        images: ImageBatch,
        strength: float,
        period: float,
        max_shift: float,
        shots: tuple[Shot, ...] | None = None,
        settings: ReelSettings | None = None,
    ) -> io.NodeOutput:
        """Measure the weave of every shot, then take it out."""
        frames, notices = frames_from_image(images), Notices()
        how = StabiliseSettings(strength=strength, period=period, max_shift=max_shift)
        result = pipeline.stabilise(frames, shots=shots, settings=how, progress=NodeProgress(phases=2), notices=notices)
        chosen = replace(settings or ReelSettings.no_stages(), stabilise=how)
        return io.NodeOutput(image_from_frames(result), chosen, ui=told(notices))
