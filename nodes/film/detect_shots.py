"""Where one take ends and the next begins."""

from dataclasses import replace

from comfy_api.latest import io

from ...vldm_core.notices import Notices
from ...vldm_core.reel.restore import ReelSettings
from ...vldm_core.stages import batch as pipeline
from ...vldm_core.video.shots import ShotSettings
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image, told
from ..search import findable
from ..sockets import CATEGORY, IMAGES_TOOLTIP, Shots, settings_output


@findable("cut", "scene", "shot boundary", "old film")
class DetectShots(io.ComfyNode):
    """IMAGE to shots."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        default = ShotSettings()
        return io.Schema(
            node_id="VLDM_DetectShots",
            display_name="Detect Shots",
            category=CATEGORY,
            description=(
                "Finds the cuts, so that the stages after it never mix two scenes. Flicker, flashes and bursts of dirt "
                "do not count as cuts."
            ),
            inputs=[
                io.Image.Input("images", tooltip=IMAGES_TOOLTIP),
                io.Float.Input(
                    "threshold",
                    default=default.threshold,
                    min=0.01,
                    max=0.99,
                    step=0.01,
                    tooltip=(
                        "How unlike the frames on both sides of a cut must be. Lower finds more cuts between similar "
                        "pictures and may cut very fast motion apart."
                    ),
                ),
                io.Int.Input(
                    "min_length",
                    default=default.min_length,
                    min=2,
                    max=1000,
                    tooltip=(
                        "What is over sooner, in frames, counts as a flash and not as a shot, unless it shows a "
                        "picture of its own for two frames or more."
                    ),
                ),
            ],
            outputs=[
                Shots.Output("shots", display_name="shots", tooltip="The shots, for the other film nodes."),
                io.String.Output(
                    "report", display_name="report", tooltip="First and last frame of every shot, as text."
                ),
                settings_output(),
            ],
        )

    @classmethod
    def execute(cls, images: ImageBatch, threshold: float, min_length: int) -> io.NodeOutput:
        """Cut the batch into shots."""
        notices = Notices()
        how = ShotSettings(threshold=threshold, min_length=min_length)
        shots = pipeline.detect_shots_in(frames_from_image(images), how, NodeProgress(), notices=notices)
        report = "\n".join(f"shot {n}: frames {shot.first} to {shot.last - 1}" for n, shot in enumerate(shots, 1))
        chosen = replace(ReelSettings.no_stages(), shots=how)
        return io.NodeOutput(shots, report, chosen, ui=told(notices, {"text": (report,)}))
