"""Nodes that cut a film into shots and undo its damage."""

from dataclasses import replace

from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.film.dirt.detection import DirtSettings
from ...vldm_core.film.fill.repair import DirtRepairSettings
from ...vldm_core.film.flicker.removal import FlickerSettings
from ...vldm_core.film.scratches.detection import LineSettings
from ...vldm_core.film.scratches.repair.repair import LineRepairSettings
from ...vldm_core.film.weave.stabilise import StabiliseSettings
from ...vldm_core.notices import Notices
from ...vldm_core.reel.restore import ReelSettings
from ...vldm_core.stages import batch as pipeline
from ...vldm_core.video.shots import Shot, ShotSettings
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image, image_from_frames, mask_for, told
from ..search import findable
from ..sockets import CATEGORY, IMAGES_TOOLTIP, SHOTS_TOOLTIP, Shots, settings_input, settings_output
from ..validation import one_error

_UNLINKED = object()


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


@findable("scratch", "dust", "dirt", "hair", "blotch", "inpaint", "clean", "old film", "film restoration")
class RepairDamage(io.ComfyNode):
    """IMAGE and masks to IMAGE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        default, lines = DirtRepairSettings(), LineRepairSettings()
        return io.Schema(
            node_id="VLDM_RepairDamage",
            display_name="Repair Damage (dirt, dust, scratches)",
            category=CATEGORY,
            description=(
                "Undoes the marked damage: dirt is filled from the neighbouring frames along the motion, a scratch's "
                "measured profile is subtracted so that the picture below it stays. Outside the masks nothing changes."
            ),
            inputs=[
                io.Image.Input("images", tooltip=IMAGES_TOOLTIP),
                io.Mask.Input(
                    "dirt", optional=True, tooltip="What to fill, 1 = fill; one mask per frame, or one for all frames."
                ),
                io.Mask.Input(
                    "scratch",
                    optional=True,
                    tooltip=(
                        "Where line scratches are taken off; one mask per frame, or one for all frames. Paint or "
                        "erase freely."
                    ),
                ),
                io.Float.Input(
                    "dirt_feather",
                    default=default.feather,
                    min=0.0,
                    max=8.0,
                    step=0.5,
                    tooltip=(
                        "Pixels over which the fill fades in, inside the mask, so its rim keeps some of the old "
                        "picture. Raise it when the seams show and the mask is wider than the damage."
                    ),
                ),
                io.Int.Input(
                    "scratch_rows",
                    default=lines.rows,
                    min=8,
                    max=400,
                    tooltip=(
                        "Rows over which a scratch is measured. Smaller follows a scratch that changes its strength "
                        "quickly, larger is steadier on faint ones."
                    ),
                ),
                Shots.Input("shots", optional=True, tooltip=SHOTS_TOOLTIP),
                io.Float.Input(
                    "dirt_grain",
                    default=default.grain,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    optional=True,
                    tooltip=(
                        "Share of the film's grain that filled places are given back. 1 looks like the surroundings, 0 "
                        "is the smoothest and measures best."
                    ),
                ),
                settings_input(),
            ],
            outputs=[
                io.Image.Output("repaired", display_name="images", tooltip="The repaired frames."),
                settings_output(),
            ],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls, images: object = None, dirt: object = _UNLINKED, scratch: object = _UNLINKED
    ) -> bool | str:
        """Refuse a repair without any mask."""
        if dirt is _UNLINKED and scratch is _UNLINKED:
            return "neither dirt nor scratch is connected; connect a mask from Detect Damage, or one of your own"
        return True

    @classmethod
    def execute(
        cls,
        images: ImageBatch,
        dirt_feather: float,
        scratch_rows: int,
        dirt: Tensor | None = None,
        scratch: Tensor | None = None,
        shots: tuple[Shot, ...] | None = None,
        dirt_grain: float = DirtRepairSettings.grain,
        settings: ReelSettings | None = None,
    ) -> io.NodeOutput:
        """Repair what the masks mark."""
        frames, notices = frames_from_image(images), Notices()
        dirt_repair = DirtRepairSettings(feather=dirt_feather, grain=dirt_grain)
        line_repair = LineRepairSettings(rows=scratch_rows)
        repaired = pipeline.repair_damage(
            frames,
            dirt=mask_for(dirt, images, "dirt"),
            scratch=mask_for(scratch, images, "scratch"),
            shots=shots,
            dirt_settings=dirt_repair,
            scratch_settings=line_repair,
            progress=NodeProgress(),
            notices=notices,
        )
        before = settings or replace(ReelSettings.no_stages(), dirt=DirtSettings(), lines=LineSettings())
        # What is found but not repaired here is not repaired in a reel either.
        chosen = replace(
            before,
            dirt=None if dirt is None else before.dirt,
            lines=None if scratch is None else before.lines,
            dirt_repair=dirt_repair,
            line_repair=line_repair,
        )
        return io.NodeOutput(image_from_frames(repaired), chosen, ui=told(notices))


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
class RemoveFlicker(io.ComfyNode):
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
                    tooltip="Also undo flicker that differs between parts of the frame. Off: the whole frame only.",
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


@findable("stabilize", "steady", "gate weave", "jitter", "shake", "old film")
class Stabilise(io.ComfyNode):
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
