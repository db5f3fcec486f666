"""Dirt and scratches, repaired where masks say they are."""

from dataclasses import replace

from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.film.fill.repair import DirtRepairSettings
from ...vldm_core.film.scratches.repair.repair import ScratchRepairSettings
from ...vldm_core.notices import Notices
from ...vldm_core.reel.restore import ReelSettings
from ...vldm_core.stages import batch as pipeline
from ...vldm_core.stages.settings import QUALITIES
from ...vldm_core.video.shots import Shot
from ..effort import NORMAL, advanced, quality_input
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image, image_from_frames, mask_for, not_one_of, told
from ..search import findable
from ..sockets import CATEGORY, IMAGES_TOOLTIP, SHOTS_TOOLTIP, UNLINKED, Shots, settings_input, settings_output
from ..validation import one_error


@findable("scratch", "dust", "dirt", "hair", "blotch", "inpaint", "clean", "old film", "film restoration")
class RepairDamage(io.ComfyNode):
    """IMAGE and masks to IMAGE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        default, lines = DirtRepairSettings(), ScratchRepairSettings()
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
                quality_input(
                    "Level of effort. fast: fewer neighbours and a quicker look at motion; normal: for most films; "
                    "best: looks longest. The help page says what each does."
                ),
                advanced(
                    io.Float.Input(
                        "dirt_feather",
                        default=default.feather,
                        min=0.0,
                        max=8.0,
                        step=0.5,
                        optional=True,
                        tooltip=(
                            "Pixels over which the fill fades in, inside the mask, so its rim keeps some of the old "
                            "picture. Raise it when the seams show and the mask is wider than the damage."
                        ),
                    )
                ),
                advanced(
                    io.Float.Input(
                        "dirt_grain",
                        default=default.grain,
                        min=0.0,
                        max=1.0,
                        step=0.05,
                        optional=True,
                        tooltip=(
                            "Share of the film's grain that filled places are given back. 1 looks like the "
                            "surroundings, 0 is the smoothest and measures best."
                        ),
                    )
                ),
                advanced(
                    io.Int.Input(
                        "scratch_rows",
                        default=lines.rows,
                        min=8,
                        max=400,
                        optional=True,
                        tooltip=(
                            "Rows over which a scratch is measured. Smaller follows a scratch that changes its "
                            "strength quickly, larger is steadier on faint ones."
                        ),
                    )
                ),
                Shots.Input("shots", optional=True, tooltip=SHOTS_TOOLTIP),
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
        cls,
        images: object = None,
        dirt: object = UNLINKED,
        scratch: object = UNLINKED,
        quality: str | None = None,
    ) -> bool | str:
        """Refuse a repair without any mask, and check the level, which the host does not."""
        if dirt is UNLINKED and scratch is UNLINKED:
            return "neither dirt nor scratch is connected; connect a mask from Detect Damage, or one of your own"
        return not_one_of("quality", quality, QUALITIES) or True

    @classmethod
    def execute(
        cls,
        images: ImageBatch,
        dirt: Tensor | None = None,
        scratch: Tensor | None = None,
        quality: str = NORMAL,
        dirt_feather: float = DirtRepairSettings.feather,
        dirt_grain: float = DirtRepairSettings.grain,
        scratch_rows: int = ScratchRepairSettings.rows,
        shots: tuple[Shot, ...] | None = None,
        settings: ReelSettings | None = None,
    ) -> io.NodeOutput:
        """Repair what the masks mark."""
        frames, notices = frames_from_image(images), Notices()
        level = ReelSettings.of_quality(quality)
        dirt_repair = replace(level.dirt_repair, feather=dirt_feather, grain=dirt_grain)
        line_repair = replace(level.line_repair, rows=scratch_rows)
        repaired = pipeline.repair_damage(
            frames,
            dirt=mask_for(dirt, images, "dirt"),
            scratch=mask_for(scratch, images, "scratch"),
            shots=shots,
            dirt_settings=dirt_repair,
            scratch_settings=line_repair,
            motion=level.motion,
            progress=NodeProgress(),
            notices=notices,
        )
        found = {"dirt": level.dirt, "lines": level.lines, "standing": level.standing, "splices": level.splices}
        before = settings or replace(ReelSettings.no_stages(), **found)
        # What is found but not repaired here is not repaired in a reel either.
        chosen = replace(
            before,
            dirt=None if dirt is None else before.dirt,
            lines=None if scratch is None else before.lines,
            standing=None if dirt is None else before.standing,
            splices=None if dirt is None else before.splices,
            dirt_repair=dirt_repair,
            line_repair=line_repair,
            motion=level.motion,
        )
        return io.NodeOutput(image_from_frames(repaired), chosen, ui=told(notices))
