"""The knobs of a sampling that restores, as every node has them that samples."""

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ...vldm_core.sampling.cfg import CfgSettings
from ...vldm_core.sampling.consistency import ConsistencySettings
from ...vldm_core.sampling.guidance import GuidanceSettings
from ...vldm_core.sampling.noise.clip_noise import MODES as NOISE_MODES
from ...vldm_core.sampling.regions.tiles import TileSettings
from ...vldm_core.sampling.regions.windows import WindowSettings
from ...vldm_core.sampling.restoration import RestorationSettings
from ..host.node_run import not_one_of
from ..host.prior.sampler import SAMPLERS, SCHEDULERS
from .inputs import PIXELS_PER_LATENT

AUTO = "auto"


def sampling_inputs(*, another_seed: bool) -> list[io.Input]:
    """Return the knobs from the seed to the tiles.

    Args:
        another_seed: Whether the editor offers another seed for every run.
    """
    guidance, consistency = GuidanceSettings(), ConsistencySettings()
    return [
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=0xFFFFFFFFFFFFFFFF,
            # False and not left out: the editor makes an exception for this name.
            control_after_generate=another_seed,
            tooltip="Same seed, same result.",
        ),
        io.Int.Input("steps", default=20, min=1, max=1000, tooltip="Sampling steps; time grows with it. 15 to 50."),
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
    ]


def sampling_fault(
    sampler_name: str | None, scheduler: str | None, noise: str | None, window: int | None, overlap: int | None
) -> str | None:
    """Return what is wrong with the knobs that the host does not check, or None; what comes over a link is None."""
    if window and overlap is not None and overlap >= window:
        return f"overlap is {overlap}; with window {window} use 0 to {window - 1}"
    return (
        not_one_of("sampler_name", sampler_name, SAMPLERS)
        or not_one_of("scheduler", scheduler, SCHEDULERS)
        or not_one_of("noise", noise, (AUTO, *NOISE_MODES))
    )


def joined_settings(base: RestorationSettings, values: dict[str, Any], *, moving: bool) -> RestorationSettings:
    """Join the knobs with the expert settings.

    Args:
        base: From Restoration Settings.
        values: The knobs by their names.
        moving: Whether the pictures are there, which tell how things move.
    """
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
