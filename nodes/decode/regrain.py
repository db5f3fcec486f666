"""Grain like that of the film, added again."""

from comfy_api.latest import io

from ...vldm_core.decode.regrain import RegrainSettings, regrain
from ...vldm_core.video.shots import Shot
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image, image_from_frames
from ..search import findable
from ..sockets import CATEGORY, Shots

_SHOTS_TOOLTIP = "From Detect Shots, on the same frames: nothing is mixed across a cut. Unconnected: one shot."
_LARGEST_SEED = 2**53 - 1


@findable("grain", "film grain", "old film")
class Regrain(io.ComfyNode):
    """IMAGE to IMAGE with the grain of another."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        default = RegrainSettings()
        return io.Schema(
            node_id="VLDM_Regrain",
            display_name="Regrain",
            category=CATEGORY,
            description=(
                "Gives restored frames the grain of the film: its strength at every brightness, its size and its "
                "colour, measured per shot. Only what is missing is added."
            ),
            inputs=[
                io.Image.Input("images", tooltip="The restored frames; alpha is dropped."),
                io.Image.Input(
                    "source", tooltip="The film with its grain: same size, same frames, not denoised before."
                ),
                io.Float.Input(
                    "strength",
                    default=default.strength,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="1 is the grain of the source, 0 none, 2 twice as much.",
                ),
                io.Int.Input(
                    "seed",
                    default=default.seed,
                    min=0,
                    max=_LARGEST_SEED,
                    tooltip="Which grain. The same seed gives the same grain on the same frame of the film.",
                ),
                io.Int.Input(
                    "first_frame",
                    default=0,
                    min=0,
                    max=10_000_000,
                    tooltip="Number of the first of these frames in the film, when it is worked on in parts.",
                ),
                io.Boolean.Input(
                    "keep_present",
                    default=default.keep_present,
                    tooltip="Measure the grain that the frames still have, and add only what is missing.",
                ),
                Shots.Input("shots", optional=True, tooltip=_SHOTS_TOOLTIP),
            ],
            outputs=[io.Image.Output("grainy", display_name="images", tooltip="The frames with grain.")],
        )

    @classmethod
    def execute(
        cls,
        images: ImageBatch,
        source: ImageBatch,
        strength: float,
        seed: int,
        first_frame: int,
        keep_present: bool,
        shots: tuple[Shot, ...] | None = None,
    ) -> io.NodeOutput:
        """Measure the grain of every shot, then add what is missing."""
        grainy = regrain(
            frames_from_image(images),
            frames_from_image(source, "source"),
            RegrainSettings(strength=strength, seed=seed, keep_present=keep_present),
            shots=shots,
            first_frame=first_frame,
            progress=NodeProgress(phases=2),
        )
        return io.NodeOutput(image_from_frames(grainy))
