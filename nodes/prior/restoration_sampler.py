"""Sampling that restores: start, windows, guidance and noise in one node."""

from dataclasses import replace
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.sampling.cfg import CfgSettings, ClassifierFreeGuidance
from ...vldm_core.sampling.consistency import ConsistencySettings
from ...vldm_core.sampling.guidance import GuidanceSettings
from ...vldm_core.sampling.noise.clip_noise import MODES as NOISE_MODES
from ...vldm_core.sampling.regions.tiles import TileSettings
from ...vldm_core.sampling.regions.windows import WindowSettings
from ...vldm_core.sampling.restoration import Material, Restoration, RestorationSettings, default_restoration
from ..host.node_run import ImageBatch, NodeProgress, not_one_of
from ..host.prior.attachments import check_family, with_cfg, with_shots, with_transform
from ..host.prior.regions import with_regions
from ..host.prior.sampler import (
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
from .inputs import PIXELS_PER_LATENT, frames_of, mask_of, shots_input

AUTO = "auto"


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
