"""Brightness that changes from frame to frame, removed."""

from dataclasses import replace

from comfy_api.latest import io

from ...vldm_core.film.flicker.removal import FlickerSettings
from ...vldm_core.notices import Notices
from ...vldm_core.reel.restore import ReelSettings
from ...vldm_core.stages import batch as pipeline
from ...vldm_core.video.shots import Shot
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image, image_from_frames, told
from ..search import findable
from ..sockets import CATEGORY, IMAGES_TOOLTIP, SHOTS_TOOLTIP, Shots, settings_input, settings_output


def flash_input() -> io.Float.Input:
    """The widget for the size of a flash that is no flicker."""
    return io.Float.Input(
        "flash",
        default=FlickerSettings.flash,
        min=1.1,
        max=10.0,
        step=0.05,
        optional=True,
        tooltip=(
            "Light that changes by more than this factor, up or down, and comes back belongs to the story and stays: "
            "lightning, a strobe, a gunshot. Lower keeps weaker flashes, 10 evens out all of them."
        ),
    )


@findable("deflicker", "flicker", "brightness", "old film", "film restoration")
class RemoveFlickerNode(io.ComfyNode):
    """IMAGE to IMAGE of even brightness."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        default = FlickerSettings()
        return io.Schema(
            node_id="VLDM_RemoveFlicker",
            display_name="Remove Flicker",
            category=CATEGORY,
            description=(
                "Evens out brightness and contrast that change from frame to frame, in the whole picture and in "
                "parts of it. Fades, light that changes slowly, lightning and strobes stay."
            ),
            inputs=[
                io.Image.Input("images", tooltip=IMAGES_TOOLTIP),
                io.Float.Input(
                    "strength",
                    default=default.strength,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Share of the measured flicker that is taken out; 0 leaves the frames as they are.",
                ),
                io.Boolean.Input(
                    "spatial",
                    default=default.spatial,
                    tooltip="Also even out flicker that differs between parts of the frame. Off: the whole frame only.",
                ),
                io.Float.Input(
                    "period",
                    default=default.period,
                    min=4.0,
                    max=1000.0,
                    step=1.0,
                    tooltip=(
                        "Changes that take longer than this many frames belong to the film and stay. Higher takes out "
                        "slower pumping, lower spares slow changes of light."
                    ),
                ),
                Shots.Input("shots", optional=True, tooltip=SHOTS_TOOLTIP),
                flash_input(),
                settings_input(),
            ],
            outputs=[
                io.Image.Output("steady", display_name="images", tooltip="The frames with even brightness."),
                settings_output(),
            ],
        )

    @classmethod
    def execute(
        cls,
        images: ImageBatch,
        strength: float,
        spatial: bool,
        period: float,
        shots: tuple[Shot, ...] | None = None,
        flash: float = FlickerSettings.flash,
        settings: ReelSettings | None = None,
    ) -> io.NodeOutput:
        """Measure the flicker of every shot, then take it out."""
        how = FlickerSettings(strength=strength, spatial=spatial, period=period, flash=flash)
        frames, notices = frames_from_image(images), Notices()
        result = pipeline.remove_flicker(
            frames, shots=shots, settings=how, progress=NodeProgress(phases=2), notices=notices
        )
        chosen = replace(settings or ReelSettings.no_stages(), flicker=how)
        return io.NodeOutput(image_from_frames(result), chosen, ui=told(notices))
