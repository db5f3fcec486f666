"""The sampler for restoration, and the settings behind its defaults."""

from dataclasses import replace
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.sampling.cfg import SCHEDULES as CFG_SCHEDULES
from ...vldm_core.sampling.cfg import CfgSettings, ClassifierFreeGuidance
from ...vldm_core.sampling.consistency import ConsistencySettings
from ...vldm_core.sampling.guidance import GuidanceSettings
from ...vldm_core.sampling.noise.clip_noise import MODES as NOISE_MODES
from ...vldm_core.sampling.noise.clip_noise import VideoNoiseSettings
from ...vldm_core.sampling.noise.freeinit import FreeInitSettings
from ...vldm_core.sampling.propagation import PropagationSettings
from ...vldm_core.sampling.regions.tiles import TileSettings
from ...vldm_core.sampling.regions.windows import FUSES, WindowSettings
from ...vldm_core.sampling.restoration import Material, Restoration, RestorationSettings, default_restoration
from ...vldm_core.sampling.start import MODES as START_MODES
from ...vldm_core.sampling.start import StartSettings
from ..host.node_run import ImageBatch, NodeProgress, not_one_of
from ..host.prior import check_family, with_cfg, with_shots, with_transform
from ..host.regions import with_regions
from ..host.sampler import (
    SAMPLERS,
    SCHEDULERS,
    begin_at,
    clip_latent,
    gradient_decoder,
    run_sampler,
    scaled,
    schedule_of,
    sigmas_of,
)
from ..sockets import PRIOR_CATEGORY
from ..sockets import Restoration as RestorationSocket
from ..validation import one_error
from .patches import PIXELS_PER_LATENT, SPACES, WEIGHTINGS, frames_of, mask_of, shots_input

AUTO = "auto"


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


class RestorationSampler(io.ComfyNode):
    """LATENT clip to LATENT clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        guidance, consistency = GuidanceSettings(), ConsistencySettings()
        return io.Schema(
            node_id="VLDM_RestorationSampler",
            display_name="Restoration Sampler",
            category=PRIOR_CATEGORY,
            description=(
                "Restores a clip with a Stable Diffusion model and keeps it the film it was: windows over long shots, "
                "noise that follows the motion, and a pull towards the pre-restored frames. Out of memory it goes on "
                "with smaller windows or tiles."
            ),
            inputs=[
                io.Model.Input("model", tooltip="A Stable Diffusion 1.x, 2.x or XL model, with any LoRA or patch."),
                io.Conditioning.Input(
                    "positive", tooltip="What the picture shows; one for all frames or one per frame."
                ),
                io.Conditioning.Input("negative", tooltip="What it shall not show. Not used with cfg 1."),
                io.Latent.Input("latent", tooltip="The pre-restored clip from VAE Encode, one item per frame."),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="Same seed, same result.",
                ),
                io.Int.Input(
                    "steps", default=20, min=1, max=1000, tooltip="Sampling steps; time grows with it. 15 to 50."
                ),
                io.Float.Input(
                    "cfg",
                    default=CfgSettings().scale,
                    min=0.0,
                    max=30.0,
                    step=0.1,
                    tooltip="How strongly the prompts guide. 1 is fastest: the negative prompt is left out.",
                ),
                io.Combo.Input("sampler_name", options=list(SAMPLERS), default="euler", tooltip="The sampling method."),
                io.Combo.Input(
                    "scheduler", options=list(SCHEDULERS), default="normal", tooltip="How noise falls over the steps."
                ),
                io.Float.Input(
                    "denoise",
                    default=0.4,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    tooltip=(
                        "How far the clip is noised before sampling. Low keeps more and adds less detail; above 0.6 "
                        "a model without control invents."
                    ),
                ),
                io.Float.Input(
                    "guidance",
                    default=guidance.scale,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="Pull towards the pre-restored clip in every step. 0 is off.",
                ),
                io.Float.Input(
                    "keep_undamaged",
                    default=consistency.strength,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How strictly the picture outside the damage mask is kept. Acts only with a mask.",
                ),
                io.Combo.Input(
                    "noise",
                    options=[AUTO, *NOISE_MODES],
                    default=AUTO,
                    tooltip=(
                        "Start noise. auto: warped where images are connected, else shared. warped: moves with the "
                        "picture. shared: partly the same in all frames. freenoise: for temporal layers."
                    ),
                ),
                io.Int.Input(
                    "window",
                    default=WindowSettings().length,
                    min=0,
                    max=1024,
                    tooltip="Frames sampled together; memory grows with it. 0 takes all at once.",
                ),
                io.Int.Input(
                    "overlap",
                    default=WindowSettings().overlap,
                    min=0,
                    max=1023,
                    tooltip="Frames that neighbouring windows share. More hides the joints and takes longer.",
                ),
                io.Int.Input(
                    "tile",
                    default=0,
                    min=0,
                    max=4096,
                    step=64,
                    tooltip="Side of a tile in pixels; memory grows with its square. 0 takes the whole picture.",
                ),
                io.Image.Input(
                    "images", optional=True, tooltip="The frames that went into VAE Encode: for their motion."
                ),
                io.Mask.Input("mask", optional=True, tooltip="Damage, 1 = damaged; needs images of the same size."),
                shots_input(),
                RestorationSocket.Input("settings", optional=True, tooltip="From Restoration Settings."),
                io.Vae.Input("vae", optional=True, tooltip="Only for guidance in space rgb."),
            ],
            outputs=[io.Latent.Output("restored", display_name="latent", tooltip="The restored clip, for a decoder.")],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls,
        sampler_name: str | None = None,
        scheduler: str | None = None,
        noise: str | None = None,
        window: int | None = None,
        overlap: int | None = None,
    ) -> bool | str:
        """Check what the host does not."""
        if window and overlap is not None and overlap >= window:
            return f"overlap is {overlap}; with window {window} use 0 to {window - 1}"
        return (
            not_one_of("sampler_name", sampler_name, SAMPLERS)
            or not_one_of("scheduler", scheduler, SCHEDULERS)
            or not_one_of("noise", noise, (AUTO, *NOISE_MODES))
            or True
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: Any,
        negative: Any,
        latent: dict[str, Any],
        images: ImageBatch | None = None,
        mask: Tensor | None = None,
        shots: Any = None,
        settings: RestorationSettings | None = None,
        vae: Any = None,
        **values: Any,
    ) -> io.NodeOutput:
        """Sample, as often as FreeInit asks."""
        check_family(model, "Restoration Sampler")
        samples = clip_latent(model, latent)
        frames = frames_of(images, samples)
        how = _settings(settings or default_restoration(), values, moving=frames is not None)
        schedule = schedule_of(model)
        material = Material(
            latent=scaled(model, samples),
            frames=frames,
            masks=mask_of(mask, images),
            shots=shots,
        )
        in_rgb = how.guidance is not None and how.guidance.space == "rgb" and how.guidance.scale > 0
        decode = gradient_decoder(vae, model) if in_rgb and vae is not None else None
        seed = values["seed"]
        restoration = Restoration(how, material, schedule, seed=seed, decode=decode, progress=NodeProgress())
        patched = with_regions(with_shots(model, shots), how.windows, how.tiles)
        if how.cfg.rescale > 0 or how.cfg.schedule != "constant":
            patched = with_cfg(patched, ClassifierFreeGuidance(how.cfg, schedule))
        for transform in restoration.transforms:
            patched = with_transform(patched, transform)
        sigmas = sigmas_of(model, values["scheduler"], values["steps"], values["denoise"])
        found: Tensor | None = None
        for index in range(how.rounds):
            last = None if found is None else scaled(model, found)
            start = restoration.start(float(sigmas[0]), last, index)
            found = run_sampler(
                patched,
                noise=begin_at(model, start, material.latent, sigmas),
                latent=samples,
                positive=positive,
                negative=negative,
                cfg=how.cfg.scale,
                sampler=values["sampler_name"],
                sigmas=sigmas,
                seed=seed,
                step_noise=restoration.step_noise,
            )
        return io.NodeOutput({**latent, "samples": found})


def _settings(base: RestorationSettings, values: dict[str, Any], *, moving: bool) -> RestorationSettings:
    """Join the sampler's own widgets with the expert settings."""
    window, tile, mode = values["window"], values["tile"] // PIXELS_PER_LATENT, values["noise"]
    windows = base.windows or WindowSettings()
    tiles = base.tiles or TileSettings()
    if mode == AUTO:
        mode = "warped" if moving else "shared"
    # Frames with noise of their own, for freenoise.
    alone = window or base.noise.window
    return replace(
        base,
        windows=replace(windows, length=window, overlap=values["overlap"]) if window else None,
        tiles=replace(tiles, size=tile, overlap=min(tiles.overlap, tile // 4)) if tile else None,
        noise=replace(base.noise, mode=mode, window=alone, stride=min(base.noise.stride, alone)),
        cfg=replace(base.cfg, scale=values["cfg"]),
        guidance=replace(base.guidance or GuidanceSettings(), scale=values["guidance"]),
        consistency=replace(base.consistency or ConsistencySettings(), strength=values["keep_undamaged"]),
        # Without the pictures nothing is known of the motion; the tooltip says so.
        propagation=base.propagation if moving else None,
    )
