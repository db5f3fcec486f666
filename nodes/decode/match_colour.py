"""The colours of the film for what the prior made."""

from comfy_api.latest import io

from ...vldm_core.decode.colour import ColourSettings, match_colour
from ...vldm_core.video.shots import Shot
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image, image_from_frames, not_one_of
from ..sockets import CATEGORY, Shots
from ..validation import one_error

_SHOTS_TOOLTIP = "From Detect Shots, on the same frames: nothing is mixed across a cut. Unconnected: one shot."
_METHODS = ("off", "wavelet", "adain", "lab")
_STATISTICS = ("shot", "frame")
_MONOCHROME = ("auto", "on", "off")


class MatchColour(io.ComfyNode):
    """IMAGE to IMAGE with the colours of another."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        default = ColourSettings()
        return io.Schema(
            node_id="VLDM_MatchColour",
            display_name="Match Colour",
            category=CATEGORY,
            description=(
                "Gives frames the colours of the film they come from, measured over whole shots, so that the flicker "
                "of the film does not come back with them. Black and white film stays exactly black and white."
            ),
            inputs=[
                io.Image.Input("images", tooltip="The frames to correct; alpha is dropped."),
                io.Image.Input(
                    "reference",
                    tooltip="The film with the right colours: same size, same frames. It may flicker or be soft.",
                ),
                io.Combo.Input(
                    "method",
                    options=list(_METHODS),
                    default=default.method,
                    tooltip=(
                        "wavelet: tone and colour of each region of the picture; adain: mean and contrast of each "
                        "channel; lab: the whole distribution of lightness and colour; off: only monochrome."
                    ),
                ),
                io.Combo.Input(
                    "statistics",
                    options=list(_STATISTICS),
                    default=default.statistics,
                    tooltip=(
                        "shot: measured over each shot, so that flicker stays out. frame: every frame by itself, as "
                        "usual elsewhere, which brings the flicker of the reference back."
                    ),
                ),
                io.Float.Input(
                    "strength",
                    default=default.strength,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Share of the correction that is applied; 0 applies none.",
                ),
                io.Int.Input(
                    "period",
                    default=default.period,
                    min=2,
                    max=1000,
                    tooltip=(
                        "For wavelet over shots: changes of colour that take longer than about this many frames are "
                        "followed, such as fades. Lower follows faster and lets more flicker through."
                    ),
                ),
                io.Boolean.Input(
                    "lightness",
                    default=default.lightness,
                    tooltip="For lab: match brightness and contrast too. Off: colours only.",
                ),
                io.Combo.Input(
                    "monochrome",
                    options=list(_MONOCHROME),
                    default=default.monochrome,
                    tooltip=(
                        "auto: make the result exactly grey when the reference has no colour. on: always. off: never; "
                        "for tinted film."
                    ),
                ),
                Shots.Input("shots", optional=True, tooltip=_SHOTS_TOOLTIP),
            ],
            outputs=[io.Image.Output("matched", display_name="images", tooltip="The frames with corrected colours.")],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls, method: str | None = None, statistics: str | None = None, monochrome: str | None = None
    ) -> bool | str:
        """Check the combos, which the host does not."""
        return (
            not_one_of("method", method, _METHODS)
            or not_one_of("statistics", statistics, _STATISTICS)
            or not_one_of("monochrome", monochrome, _MONOCHROME)
            or True
        )

    @classmethod
    def execute(
        cls,
        images: ImageBatch,
        reference: ImageBatch,
        method: str,
        statistics: str,
        strength: float,
        period: int,
        lightness: bool,
        monochrome: str,
        shots: tuple[Shot, ...] | None = None,
    ) -> io.NodeOutput:
        """Measure every shot, then correct it."""
        settings = ColourSettings(
            method=method,  # type: ignore[arg-type]
            statistics=statistics,  # type: ignore[arg-type]
            strength=strength,
            period=period,
            lightness=lightness,
            monochrome=monochrome,  # type: ignore[arg-type]
        )
        matched = match_colour(
            frames_from_image(images),
            frames_from_image(reference, "reference"),
            settings,
            shots=shots,
            progress=NodeProgress(phases=2),
        )
        return io.NodeOutput(image_from_frames(matched))
