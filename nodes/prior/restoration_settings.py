"""Everything that makes a sampling a restoration, as one settings object."""

from typing import Any

from comfy_api.latest import io

from ...vldm_core.sampling.cfg import SCHEDULES as CFG_SCHEDULES
from ...vldm_core.sampling.cfg import CfgSettings
from ...vldm_core.sampling.consistency import ConsistencySettings
from ...vldm_core.sampling.guidance import GuidanceSettings
from ...vldm_core.sampling.noise.clip_noise import VideoNoiseSettings
from ...vldm_core.sampling.noise.freeinit import FreeInitSettings
from ...vldm_core.sampling.propagation import PropagationSettings
from ...vldm_core.sampling.regions.tiles import TileSettings
from ...vldm_core.sampling.regions.windows import FUSES, WindowSettings
from ...vldm_core.sampling.restoration import RestorationSettings
from ...vldm_core.sampling.start import MODES as START_MODES
from ...vldm_core.sampling.start import StartSettings
from ..host.node_run import not_one_of
from ..sockets import PRIOR_CATEGORY
from ..sockets import Restoration as RestorationSocket
from ..validation import one_error
from .restoration_guidance import SPACES, WEIGHTINGS


class RestorationSettingsNode(io.ComfyNode):
    """The knobs that the sampler does not show."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        noise, start, cfg = VideoNoiseSettings(), StartSettings(), CfgSettings()
        guidance, consistency, freeinit = GuidanceSettings(), ConsistencySettings(), FreeInitSettings()
        windows, propagation = WindowSettings(), PropagationSettings()
        return io.Schema(
            node_id="VLDM_RestorationSettings",
            display_name="Restoration Settings",
            category=PRIOR_CATEGORY,
            description="Expert settings for Restoration Sampler. Unconnected, the sampler uses the values shown here.",
            inputs=[
                io.Combo.Input(
                    "start",
                    options=list(START_MODES),
                    default=start.mode,
                    tooltip=(
                        "What sampling begins with. latent: the noised clip. added_noise: the same noised once more, "
                        "which leaves a weaker trace. noise: noise alone, for models with control."
                    ),
                ),
                io.Int.Input(
                    "added_noise_level",
                    default=start.added_noise_level,
                    min=0,
                    max=999,
                    tooltip="added_noise only: timestep of the second noise. Lower adds less.",
                ),
                io.Float.Input(
                    "noise_mix",
                    default=noise.mix,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Noise shared only: share of the common noise. 1 gives all frames the same.",
                ),
                io.Combo.Input(
                    "cfg_schedule",
                    options=list(CFG_SCHEDULES),
                    default=cfg.schedule,
                    tooltip="constant, or diffbir: from about 1 at the first step to 1 + cfg at the last.",
                ),
                io.Float.Input(
                    "cfg_rescale",
                    default=cfg.rescale,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Takes back the contrast that a high cfg adds. 0 is off, 0.7 usual.",
                ),
                io.Combo.Input(
                    "guidance_space",
                    options=list(SPACES),
                    default=guidance.space,
                    tooltip=(
                        "Where the difference to the pre-restored frames is measured. rgb needs images and vae and "
                        "takes several times as long."
                    ),
                ),
                io.Combo.Input(
                    "guidance_weighting",
                    options=list(WEIGHTINGS),
                    default="mse",
                    tooltip="mse: everywhere alike. edges: less where there is texture; needs images.",
                ),
                io.Float.Input(
                    "guidance_end",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Share of the steps after which the guidance stops. Lower leaves detail to the model.",
                ),
                io.Float.Input(
                    "keep_until",
                    default=consistency.end,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Share of the schedule up to which the undamaged picture is kept.",
                ),
                io.Int.Input(
                    "keep_margin",
                    default=consistency.grow,
                    min=0,
                    max=32,
                    tooltip="Latent pixels (8 picture pixels each) by which the damage mask is widened.",
                ),
                io.Float.Input(
                    "propagation",
                    default=propagation.blend,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Share of the neighbouring frame, moved along the motion, late on. Needs images.",
                ),
                io.Combo.Input(
                    "window_fuse",
                    options=list(FUSES),
                    default=windows.fuse,
                    tooltip="How much a frame counts in a window: most in the middle, the same, or less in overlaps.",
                ),
                io.Boolean.Input(
                    "move",
                    default=windows.move,
                    tooltip="Shift windows and tiles from step to step, so that no joint stays in one place.",
                ),
                io.Int.Input(
                    "freeinit_rounds",
                    default=1,
                    min=1,
                    max=10,
                    tooltip=(
                        "Samples so often, each time from the low frequencies of the last result: steadier, as many "
                        f"times slower. 1 is off, {freeinit.iterations} usual."
                    ),
                ),
            ],
            outputs=[RestorationSocket.Output("settings", display_name="settings", tooltip="For Restoration Sampler.")],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls,
        start: str | None = None,
        cfg_schedule: str | None = None,
        guidance_space: str | None = None,
        guidance_weighting: str | None = None,
        window_fuse: str | None = None,
    ) -> bool | str:
        """Check the combos, which the host does not."""
        return (
            not_one_of("start", start, START_MODES)
            or not_one_of("cfg_schedule", cfg_schedule, CFG_SCHEDULES)
            or not_one_of("guidance_space", guidance_space, SPACES)
            or not_one_of("guidance_weighting", guidance_weighting, WEIGHTINGS)
            or not_one_of("window_fuse", window_fuse, FUSES)
            or True
        )

    @classmethod
    def execute(cls, **values: Any) -> io.NodeOutput:
        """Build the settings. The end of the guidance is a share of the schedule until the sampler knows the model."""
        settings = RestorationSettings(
            windows=WindowSettings(fuse=values["window_fuse"], move=values["move"]),
            tiles=TileSettings(move=values["move"]),
            noise=VideoNoiseSettings(mix=values["noise_mix"]),
            start=StartSettings(mode=values["start"], added_noise_level=values["added_noise_level"]),
            cfg=CfgSettings(schedule=values["cfg_schedule"], rescale=values["cfg_rescale"]),
            guidance=GuidanceSettings(
                space=values["guidance_space"],
                weighting=values["guidance_weighting"],
                end=values["guidance_end"],
            ),
            consistency=ConsistencySettings(end=values["keep_until"], grow=values["keep_margin"]),
            propagation=PropagationSettings(blend=values["propagation"]),
            freeinit=FreeInitSettings(iterations=values["freeinit_rounds"]) if values["freeinit_rounds"] > 1 else None,
        )
        return io.NodeOutput(settings)
