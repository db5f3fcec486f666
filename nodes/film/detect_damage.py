"""Node that sees film damage."""

from dataclasses import replace

import torch
from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.film.defect_map import MapSettings, map_marks
from ...vldm_core.film.dirt.detection import LONGEST_LIFE, DirtSettings
from ...vldm_core.film.scratches.columns import parse_columns
from ...vldm_core.film.scratches.settings import ScratchSettings
from ...vldm_core.film.spared.settings import SparingSettings
from ...vldm_core.notices import Notices
from ...vldm_core.reel.restore import ReelSettings
from ...vldm_core.stages import batch as pipeline
from ...vldm_core.stages.settings import QUALITIES
from ...vldm_core.video.shots import Shot
from ..effort import (
    AUTO,
    FALLING,
    NO_LIMIT,
    NORMAL,
    advanced,
    column_fault,
    column_inputs,
    map_fault,
    map_inputs,
    quality_input,
    size_inputs,
    sparing_inputs,
)
from ..host.node_run import (
    ImageBatch,
    NodeProgress,
    frames_from_image,
    image_from_frames,
    mask_for,
    not_one_of,
    shown,
    told,
)
from ..search import findable
from ..sockets import CATEGORY, IMAGES_TOOLTIP, SHOTS_TOOLTIP, UNLINKED, Shots, settings_input, settings_output
from ..validation import one_error

_FIND = ("dirt and scratches", "dirt", "scratches")
_POLARITY = ("both", "dark", "bright")
_LOCKED = ("off", "cautious", "on")
_DETECTORS = (AUTO, "learned", "weight-free")
_AS_THE_LEVEL = 0
_PREVIEWS = ("overlay", "outline")
# Seconds of each phase for one frame of 480×360 on a processor core; only their relation counts.
_SCRATCHES, _DAMAGE = ("find scratches", 0.035), ("find damage", 0.52)


def shares_of(*, lines: bool) -> dict[str, float]:
    """Return the phases of a detection, each with its share of the time.

    Args:
        lines: Whether scratches are looked for.
    """
    costs = dict([*([_SCRATCHES] if lines else []), _DAMAGE])
    total = sum(costs.values())
    return {phase: cost / total for phase, cost in costs.items()}


@findable("scratch", "dust", "dirt", "hair", "blotch", "mask", "clean", "old film", "film restoration")
class DetectDamage(io.ComfyNode):
    """IMAGE to masks."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        dirt, lines = DirtSettings(), ScratchSettings()
        return io.Schema(
            node_id="VLDM_DetectDamage",
            display_name="Detect Damage (dirt, dust, scratches)",
            category=CATEGORY,
            description=(
                "Marks film damage: dirt that is there for a frame or two, and line scratches that stay at the same "
                "place over many frames. Shows the frames with most damage: dirt red, scratches cyan."
            ),
            inputs=[
                io.Image.Input("images", tooltip=IMAGES_TOOLTIP),
                io.Combo.Input(
                    "find",
                    options=list(_FIND),
                    default=_FIND[0],
                    tooltip="What to look for; the other mask stays empty.",
                ),
                quality_input(
                    "Level of effort. fast: a quicker search, for a look or a long reel; normal: for most films; best: "
                    "looks longest. The help page says what each does."
                ),
                io.Combo.Input(
                    "dirt_polarity",
                    options=list(_POLARITY),
                    default=dirt.polarity,
                    optional=True,
                    tooltip="Dark is dirt on the print, bright is dirt on the negative; restrict it to spare the rest.",
                ),
                advanced(
                    io.Float.Input(
                        "dirt_certainty",
                        default=dirt.certainty,
                        min=0.0,
                        max=0.99,
                        step=0.01,
                        optional=True,
                        tooltip=(
                            "How sure it must be, 0 to 1, that it is dirt and not something that moves. Lower finds "
                            "more dirt, with more false positives on moving objects; higher has fewer and misses faint "
                            "dirt."
                        ),
                    )
                ),
                *size_inputs(),
                advanced(
                    io.Int.Input(
                        "dirt_grow",
                        default=dirt.grow,
                        min=0,
                        max=16,
                        optional=True,
                        tooltip=(
                            "Pixels by which dirt is marked wider on every side, to cover its soft edge. Raise it when "
                            "a rim stays."
                        ),
                    )
                ),
                advanced(
                    io.Int.Input(
                        "dirt_lifetime",
                        default=_AS_THE_LEVEL,
                        min=_AS_THE_LEVEL,
                        max=LONGEST_LIFE,
                        optional=True,
                        tooltip=(
                            "Frames for which dirt may stay in place and is still found; 1 is fastest, 0 is as quality "
                            "has it."
                        ),
                    )
                ),
                advanced(
                    io.Combo.Input(
                        "scratch_detector",
                        options=list(_DETECTORS),
                        default=AUTO,
                        optional=True,
                        tooltip=(
                            "What tells scratches from the scene. learned: neural, motion and a small network that "
                            "judges what a line looks like, also where nothing moves; weight-free: classical, motion "
                            "alone; auto: as quality has it."
                        ),
                    )
                ),
                advanced(
                    io.Float.Input(
                        "scratch_certainty",
                        default=lines.certainty,
                        min=0.0,
                        max=1.0,
                        step=0.01,
                        optional=True,
                        tooltip=(
                            "Neural detector (learned) only: how sure it must be, 0 to 1, that a line is a scratch. "
                            "Lower finds more and takes more of the scene for scratches."
                        ),
                    )
                ),
                advanced(
                    io.Float.Input(
                        "scratch_threshold",
                        default=lines.sensitivity,
                        min=10.0,
                        max=200.0,
                        step=1.0,
                        optional=True,
                        tooltip=(
                            "Evidence a scratch must gather over up to 48 frames, in standard deviations. Lower finds "
                            "fainter scratches and takes more edges of the scene for them. The neural detector "
                            "(learned) looks from half of it on."
                        ),
                    )
                ),
                advanced(
                    io.Float.Input(
                        "scratch_min_depth",
                        default=lines.min_depth,
                        min=0.0,
                        max=64.0,
                        step=0.1,
                        optional=True,
                        tooltip=(
                            "Grey levels (of 255) by which a scratch must be darker or brighter than its surroundings. "
                            "Higher leaves faint scratches alone."
                        ),
                    )
                ),
                advanced(
                    io.Float.Input(
                        "scratch_grow",
                        default=lines.grow,
                        min=0.0,
                        max=20.0,
                        step=0.5,
                        optional=True,
                        tooltip="Pixels by which a scratch is marked wider on each side than it can be seen.",
                    )
                ),
                advanced(
                    io.Combo.Input(
                        "locked_shots",
                        options=list(_LOCKED),
                        default=lines.locked_shots,
                        optional=True,
                        tooltip=(
                            "Classical detector (weight-free) only. Where the scene does not move at all, motion "
                            "cannot tell a scratch from an upright edge. off: take none; cautious: take lines that run "
                            "evenly from top to bottom; on: take every line."
                        ),
                    )
                ),
                *column_inputs(),
                *sparing_inputs(),
                advanced(
                    io.Combo.Input(
                        "preview_style",
                        options=list(_PREVIEWS),
                        default=_PREVIEWS[0],
                        optional=True,
                        tooltip=("overlay: paint over the damage; outline: draw around it, so that it stays in sight."),
                    )
                ),
                advanced(
                    io.Boolean.Input(
                        "judge_probability",
                        default=False,
                        optional=True,
                        tooltip="Also give the output probability; it comes of the same work.",
                    )
                ),
                *map_inputs(),
                Shots.Input("shots", optional=True, tooltip=SHOTS_TOOLTIP),
                io.Mask.Input(
                    "protect",
                    optional=True,
                    tooltip="Where nothing is ever marked, 1 = protected; one mask per frame, or one for all frames.",
                ),
                io.Mask.Input(
                    "defect_map",
                    optional=True,
                    tooltip=(
                        "Damage that is known from elsewhere, such as an infrared scan, a film's alpha channel or "
                        "masks you edited: trusted, and marked as dirt. One per frame, or one for all frames."
                    ),
                ),
                settings_input(),
            ],
            outputs=[
                io.Mask.Output(
                    "dirt",
                    display_name="dirt",
                    tooltip="One mask per frame, 1 = dirt, dust, hair, blotch, seam of a splice.",
                ),
                io.Mask.Output("scratch", display_name="scratch", tooltip="One mask per frame, 1 = line scratch."),
                io.Image.Output(
                    "preview",
                    display_name="preview",
                    tooltip="The frames with dirt in red and scratches in cyan; as large in memory as the images.",
                ),
                io.Mask.Output(
                    "probability",
                    display_name="probability",
                    tooltip=(
                        "How likely every pixel is damaged, 0 to 1, the larger of dirt and scratch; with "
                        "judge_probability off, the two masks together."
                    ),
                ),
                settings_output(),
            ],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls,
        find: str | None = None,
        quality: str | None = None,
        dirt_polarity: str | None = None,
        locked_shots: str | None = None,
        scratch_detector: str | None = None,
        scratch_polarity: str | None = None,
        scratch_columns: str | None = None,
        scratch_excluded: str | None = None,
        falling: str | None = None,
        preview_style: str | None = None,
        map_clean: float | None = None,
        map_damaged: float | None = None,
        map_only: bool | None = None,
        defect_map: object = UNLINKED,
    ) -> bool | str:
        """Check the combos, which the host does not, and what does not go together."""
        return (
            not_one_of("find", find, _FIND)
            or not_one_of("quality", quality, QUALITIES)
            or not_one_of("dirt_polarity", dirt_polarity, _POLARITY)
            or not_one_of("locked_shots", locked_shots, _LOCKED)
            or not_one_of("scratch_detector", scratch_detector, _DETECTORS)
            or not_one_of("scratch_polarity", scratch_polarity, _POLARITY)
            or not_one_of("falling", falling, FALLING)
            or column_fault(scratch_columns, scratch_excluded)
            or not_one_of("preview_style", preview_style, _PREVIEWS)
            or map_fault(map_clean, map_damaged, only=map_only, linked=defect_map is not UNLINKED)
            or True
        )

    @classmethod
    def execute(
        cls,
        images: ImageBatch,
        find: str,
        quality: str = NORMAL,
        dirt_polarity: str = DirtSettings.polarity,
        dirt_certainty: float = DirtSettings.certainty,
        dirt_min_size: int = DirtSettings.min_size,
        dirt_max_size: int = NO_LIMIT,
        dirt_grow: int = DirtSettings.grow,
        dirt_lifetime: int = _AS_THE_LEVEL,
        scratch_detector: str = AUTO,
        scratch_certainty: float = ScratchSettings.certainty,
        scratch_threshold: float = ScratchSettings.sensitivity,
        scratch_min_depth: float = ScratchSettings.min_depth,
        scratch_grow: float = ScratchSettings.grow,
        locked_shots: str = ScratchSettings.locked_shots,
        scratch_polarity: str = ScratchSettings.polarity,
        scratch_columns: str = "",
        scratch_excluded: str = "",
        spare_graphics: bool = SparingSettings.graphics,
        falling: str = SparingSettings.falling,
        preview_style: str = _PREVIEWS[0],
        judge_probability: bool = False,
        map_clean: float = MapSettings.clean,
        map_damaged: float = MapSettings.damaged,
        map_threshold: float = MapSettings.threshold,
        map_grow: int = MapSettings.grow,
        map_only: bool = False,
        shots: tuple[Shot, ...] | None = None,
        protect: Tensor | None = None,
        defect_map: Tensor | None = None,
        settings: ReelSettings | None = None,
    ) -> io.NodeOutput:
        """Detect, and paint what was found."""
        frames = frames_from_image(images)
        level = ReelSettings.of_quality(quality)
        assert level.dirt is not None and level.lines is not None, "every level looks for damage"
        dirt = replace(
            level.dirt,
            polarity=dirt_polarity,  # type: ignore[arg-type]
            certainty=dirt_certainty,
            min_size=dirt_min_size,
            max_size=dirt_max_size or None,
            grow=dirt_grow,
            lifetime=dirt_lifetime or level.dirt.lifetime,
        )
        lines = replace(
            level.lines,
            detector=level.lines.detector if scratch_detector == AUTO else scratch_detector,  # type: ignore[arg-type]
            certainty=scratch_certainty,
            sensitivity=scratch_threshold,
            min_depth=scratch_min_depth,
            grow=scratch_grow,
            locked_shots=locked_shots,  # type: ignore[arg-type]
            polarity=scratch_polarity,  # type: ignore[arg-type]
            forced=parse_columns(scratch_columns),
            excluded=parse_columns(scratch_excluded),
        )
        wanted = replace(
            settings or ReelSettings.no_stages(),
            dirt=dirt if "dirt" in find else None,
            lines=lines if "scratches" in find else None,
            standing=level.standing if "dirt" in find else None,
            splices=level.splices if "dirt" in find else None,
            spare=SparingSettings(graphics=spare_graphics, falling=falling),  # type: ignore[arg-type]
            motion=level.motion,
        )
        reading = MapSettings(clean=map_clean, damaged=map_damaged, threshold=map_threshold, grow=map_grow)
        given = mask_for(defect_map, images, "defect_map")
        found, judged = pipeline.look_for_damage(
            frames,
            wanted,
            shots=shots,
            given_dirt=None if given is None else map_marks(given, reading),
            alone=map_only,
            protect=mask_for(protect, images, "protect"),
            probability=judge_probability,
            progress=NodeProgress(shares_of(lines=wanted.lines is not None)),
            notices=(notices := Notices()),
        )
        painted = pipeline.overlay(frames, found.dirt, found.scratch, style=preview_style)  # type: ignore[arg-type]
        preview = image_from_frames(painted)
        damage = found.dirt.mean(dim=(1, 2)) + found.scratch.mean(dim=(1, 2))
        probability = torch.maximum(judged.dirt, judged.scratch)
        shown_frames = told(notices, shown(preview, damage))
        return io.NodeOutput(found.dirt, found.scratch, preview, probability, wanted, ui=shown_frames)
