"""Node that sees film damage."""

from dataclasses import replace
from typing import Any, get_args

import torch
from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.film.dirt.detection import LONGEST_LIFE, Detector, DirtSettings
from ...vldm_core.film.scratches.detection import ScratchSettings
from ...vldm_core.notices import Notices
from ...vldm_core.reel.restore import ReelSettings
from ...vldm_core.stages import batch as pipeline
from ...vldm_core.video.shots import Shot
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
from ..sockets import CATEGORY, IMAGES_TOOLTIP, SHOTS_TOOLTIP, Shots, settings_input, settings_output
from ..validation import one_error

_FIND = ("dirt and scratches", "dirt", "scratches")
_POLARITY = ("both", "dark", "bright")
_LOCKED = ("off", "cautious", "on")
_DETECTORS = get_args(Detector)
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
                io.Float.Input(
                    "dirt_threshold",
                    default=dirt.threshold,
                    min=2.0,
                    max=128.0,
                    step=0.5,
                    tooltip=(
                        "Classical detector (weight-free) only: grey levels (of 255) by which dirt must stand out from "
                        "the frames around it. Lower finds fainter dirt and marks more undamaged picture."
                    ),
                ),
                io.Float.Input(
                    "dirt_certainty",
                    default=dirt.certainty,
                    min=0.0,
                    max=0.99,
                    step=0.01,
                    tooltip=(
                        "How sure it must be, 0 to 1, that it is dirt and not something that moves. Lower finds more "
                        "dirt, with more false positives on moving objects; higher has fewer and misses faint dirt."
                    ),
                ),
                io.Int.Input(
                    "dirt_grow",
                    default=dirt.grow,
                    min=0,
                    max=16,
                    tooltip=(
                        "Pixels by which dirt is marked wider on every side, to cover its soft edge. Raise it when a "
                        "rim stays."
                    ),
                ),
                io.Combo.Input(
                    "dirt_polarity",
                    options=list(_POLARITY),
                    default=dirt.polarity,
                    tooltip="Dark is dirt on the print, bright is dirt on the negative; restrict it to spare the rest.",
                ),
                io.Float.Input(
                    "scratch_threshold",
                    default=lines.sensitivity,
                    min=10.0,
                    max=200.0,
                    step=1.0,
                    tooltip=(
                        "Evidence a scratch must gather over up to 48 frames, in standard deviations. Lower finds "
                        "fainter scratches and takes more edges of the scene for them. The neural detector (learned) "
                        "looks from half of it on."
                    ),
                ),
                io.Float.Input(
                    "scratch_min_depth",
                    default=lines.min_depth,
                    min=0.0,
                    max=64.0,
                    step=0.1,
                    tooltip=(
                        "Grey levels (of 255) by which a scratch must be darker or brighter than its surroundings. "
                        "Higher leaves faint scratches alone."
                    ),
                ),
                io.Combo.Input(
                    "locked_shots",
                    options=list(_LOCKED),
                    default=lines.locked_shots,
                    tooltip=(
                        "Classical detector (weight-free) only. Where the scene does not move at all, motion cannot "
                        "tell a scratch from an upright edge. off: take none; cautious: take lines that run evenly "
                        "from top to bottom; on: take every line."
                    ),
                ),
                Shots.Input("shots", optional=True, tooltip=SHOTS_TOOLTIP),
                io.Combo.Input(
                    "dirt_detector",
                    options=list(_DETECTORS),
                    default=dirt.detector,
                    optional=True,
                    tooltip=(
                        "What tells dirt from moving objects. learned: neural, a small network that ships with the "
                        "pack, pixel by pixel; weight-free: classical, a few measures of every spot."
                    ),
                ),
                io.Int.Input(
                    "dirt_min_size",
                    default=dirt.min_size,
                    min=1,
                    max=1000,
                    optional=True,
                    tooltip="Spots of fewer pixels are left alone. Higher spares grain and misses small dust.",
                ),
                io.Int.Input(
                    "dirt_lifetime",
                    default=dirt.lifetime,
                    min=1,
                    max=LONGEST_LIFE,
                    optional=True,
                    tooltip="Frames for which dirt may stay in place and is still found. 1 is fastest.",
                ),
                io.Combo.Input(
                    "scratch_detector",
                    options=list(_DETECTORS),
                    default=lines.detector,
                    optional=True,
                    tooltip=(
                        "What tells scratches from the scene. learned: neural, motion and a small network that judges "
                        "what a line looks like, also where nothing moves; weight-free: classical, motion alone."
                    ),
                ),
                io.Float.Input(
                    "scratch_certainty",
                    default=lines.certainty,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    tooltip=(
                        "Neural detector (learned) only: how sure it must be, 0 to 1, that a line is a scratch. Lower "
                        "finds more and takes more of the scene for scratches."
                    ),
                ),
                io.Float.Input(
                    "scratch_grow",
                    default=lines.grow,
                    min=0.0,
                    max=20.0,
                    step=0.5,
                    optional=True,
                    tooltip="Pixels by which a scratch is marked wider on each side than it can be seen.",
                ),
                io.Combo.Input(
                    "preview_style",
                    options=list(_PREVIEWS),
                    default=_PREVIEWS[0],
                    optional=True,
                    tooltip="overlay: paint over the damage; outline: draw around it, so that it stays in sight.",
                ),
                io.Boolean.Input(
                    "judge_probability",
                    default=False,
                    optional=True,
                    tooltip="Also give the output probability; it comes of the same work.",
                ),
                io.Mask.Input(
                    "protect",
                    optional=True,
                    tooltip="Where nothing is ever marked, 1 = protected; one mask per frame, or one for all frames.",
                ),
                settings_input(),
            ],
            outputs=[
                io.Mask.Output(
                    "dirt", display_name="dirt", tooltip="One mask per frame, 1 = dirt, dust, hair, blotch."
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
        dirt_polarity: str | None = None,
        locked_shots: str | None = None,
        dirt_detector: str | None = None,
        scratch_detector: str | None = None,
        preview_style: str | None = None,
    ) -> bool | str:
        """Check the combos, which the host does not."""
        return (
            not_one_of("find", find, _FIND)
            or not_one_of("dirt_polarity", dirt_polarity, _POLARITY)
            or not_one_of("locked_shots", locked_shots, _LOCKED)
            or not_one_of("dirt_detector", dirt_detector, _DETECTORS)
            or not_one_of("scratch_detector", scratch_detector, _DETECTORS)
            or not_one_of("preview_style", preview_style, _PREVIEWS)
            or True
        )

    @classmethod
    def execute(
        cls,
        images: ImageBatch,
        find: str,
        dirt_threshold: float,
        dirt_certainty: float,
        dirt_grow: int,
        dirt_polarity: str,
        scratch_threshold: float,
        scratch_min_depth: float,
        locked_shots: str,
        shots: tuple[Shot, ...] | None = None,
        dirt_detector: str = DirtSettings.detector,
        dirt_min_size: int = DirtSettings.min_size,
        dirt_lifetime: int = DirtSettings.lifetime,
        scratch_detector: str = ScratchSettings.detector,
        scratch_certainty: float = ScratchSettings.certainty,
        scratch_grow: float = ScratchSettings.grow,
        preview_style: str = _PREVIEWS[0],
        judge_probability: bool = False,
        protect: Tensor | None = None,
        settings: ReelSettings | None = None,
    ) -> io.NodeOutput:
        """Detect, and paint what was found."""
        frames = frames_from_image(images)
        spared = mask_for(protect, images, "protect")
        dirt = DirtSettings(
            threshold=dirt_threshold,
            certainty=dirt_certainty,
            grow=dirt_grow,
            polarity=dirt_polarity,  # type: ignore[arg-type]
            detector=dirt_detector,  # type: ignore[arg-type]
            min_size=dirt_min_size,
            lifetime=dirt_lifetime,
        )
        lines = ScratchSettings(
            sensitivity=scratch_threshold,
            min_depth=scratch_min_depth,
            locked_shots=locked_shots,  # type: ignore[arg-type]
            detector=scratch_detector,  # type: ignore[arg-type]
            certainty=scratch_certainty,
            grow=scratch_grow,
        )
        dirt_wanted, lines_wanted = dirt if "dirt" in find else None, lines if "scratches" in find else None
        asked: dict[str, Any] = {
            "shots": shots,
            "dirt": dirt_wanted,
            "lines": lines_wanted,
            "protect": spared,
            "progress": NodeProgress(shares_of(lines=lines_wanted is not None)),
            "notices": (notices := Notices()),
        }
        if judge_probability:
            found, judged = pipeline.find_damage(frames, **asked)
            probability = torch.maximum(judged.dirt, judged.scratch)
        else:
            found = pipeline.detect_damage(frames, **asked)
            probability = torch.maximum(found.dirt, found.scratch)
        painted = pipeline.overlay(frames, found.dirt, found.scratch, style=preview_style)  # type: ignore[arg-type]
        preview = image_from_frames(painted)
        damage = found.dirt.mean(dim=(1, 2)) + found.scratch.mean(dim=(1, 2))
        chosen = replace(settings or ReelSettings.no_stages(), dirt=dirt_wanted, lines=lines_wanted)
        shown_frames = told(notices, shown(preview, damage))
        return io.NodeOutput(found.dirt, found.scratch, preview, probability, chosen, ui=shown_frames)
