"""Patches of a MODEL that bring parts of a restoration to any sampler: windows, noise and guidance."""

from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.errors import SettingsError
from ...vldm_core.sampling.consistency import ConsistencySettings
from ...vldm_core.sampling.guidance import GuidanceSettings
from ...vldm_core.sampling.noise.clip_noise import MODES as NOISE_MODES
from ...vldm_core.sampling.noise.clip_noise import VideoNoiseSettings
from ...vldm_core.sampling.propagation import PropagationSettings
from ...vldm_core.sampling.regions.tiles import WEIGHTS, TileSettings
from ...vldm_core.sampling.regions.windows import FUSES, SCHEDULES, WindowSettings
from ...vldm_core.sampling.restoration import Material, Restoration, RestorationSettings
from ...vldm_core.sampling.schedule import NoiseSchedule
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image, mask_for, not_one_of
from ..host.prior import check_family, with_noise, with_shots, with_transform
from ..host.regions import with_regions
from ..host.sampler import clip_latent, gradient_decoder, scaled, schedule_of
from ..sockets import PRIOR_CATEGORY, Shots
from ..validation import one_error

PIXELS_PER_LATENT = 8
SPACES = ("latent", "rgb")
WEIGHTINGS = ("mse", "edges")


def shots_input() -> io.Input:
    """Return the optional socket for shots that every node of the prior has."""
    return Shots.Input(
        "shots",
        optional=True,
        tooltip="From Detect Shots, on the same frames: nothing is mixed across a cut. Unconnected: one shot.",
    )


def mask_of(mask: Tensor | None, images: ImageBatch | None) -> Tensor | None:
    """Return the damage mask, which belongs to the images.

    Raises:
        SettingsError: There is a mask but no images, or they do not fit.
    """
    if mask is not None and images is None:
        raise SettingsError("mask needs the images it was made from; connect images too")
    return None if mask is None or images is None else mask_for(mask, images, "mask")


def frames_of(images: ImageBatch | None, latent: Tensor) -> Tensor | None:
    """Return the pre-restored frames of a latent clip.

    Raises:
        SettingsError: They are not the picture that the latent stands for.
    """
    if images is None:
        return None
    frames = frames_from_image(images)
    wanted = (len(latent), latent.shape[-2] * PIXELS_PER_LATENT, latent.shape[-1] * PIXELS_PER_LATENT)
    if (len(frames), *frames.shape[-2:]) != wanted:
        raise SettingsError(
            f"images: {len(frames)} frames of {frames.shape[-1]}×{frames.shape[-2]}, but the latent stands for "
            f"{wanted[0]} of {wanted[2]}×{wanted[1]}; connect the images that went into VAE Encode"
        )
    return frames


class LongVideoWindows(io.ComfyNode):
    """MODEL that samples in windows and tiles."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        windows, tiles = WindowSettings(), TileSettings()
        return io.Schema(
            node_id="VLDM_LongVideoWindows",
            display_name="Long Video Windows",
            category=PRIOR_CATEGORY,
            description=(
                "Lets any sampler work on a clip too long or too large for the memory, window by window of frames, "
                "tile by tile of the picture, joined at every step. Prompts, masks and control hints follow."
            ),
            inputs=[
                io.Model.Input("model", tooltip="A Stable Diffusion 1.x, 2.x or XL model, patched or not."),
                io.Int.Input(
                    "length",
                    default=windows.length,
                    min=0,
                    max=1024,
                    tooltip="Frames of a window; memory grows with it. 0 takes all frames at once.",
                ),
                io.Int.Input(
                    "overlap",
                    default=windows.overlap,
                    min=0,
                    max=1023,
                    tooltip="Frames that neighbouring windows share. More hides the joints and takes longer.",
                ),
                io.Combo.Input(
                    "schedule",
                    options=list(SCHEDULES),
                    default=windows.schedule,
                    tooltip="static: the same windows in every step. uniform: they move, and with a stride some skip.",
                ),
                io.Int.Input(
                    "stride",
                    default=windows.stride,
                    min=1,
                    max=64,
                    tooltip=(
                        "Uniform schedule only: largest distance of neighbouring frames in a window, a power of two. "
                        "Above 1 far frames see each other, at more time."
                    ),
                ),
                io.Combo.Input(
                    "fuse",
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
                    "tile",
                    default=0,
                    min=0,
                    max=4096,
                    step=64,
                    tooltip="Side of a tile in pixels; memory grows with its square. 0 takes the whole picture.",
                ),
                io.Int.Input(
                    "tile_overlap",
                    default=tiles.overlap * PIXELS_PER_LATENT,
                    min=0,
                    max=2048,
                    step=8,
                    tooltip="Pixels that neighbouring tiles share. More hides the seams and takes longer.",
                ),
                io.Combo.Input(
                    "tile_weight",
                    options=list(WEIGHTS),
                    default=tiles.weight,
                    tooltip="How much a pixel counts in each tile.",
                ),
                shots_input(),
            ],
            outputs=[io.Model.Output("windowed", display_name="model", tooltip="For any sampler node.")],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls,
        schedule: str | None = None,
        fuse: str | None = None,
        tile_weight: str | None = None,
        length: int | None = None,
        overlap: int | None = None,
        tile: int | None = None,
        tile_overlap: int | None = None,
    ) -> bool | str:
        """Check what the host does not."""
        if length and overlap is not None and overlap >= length:
            return f"overlap is {overlap}; with length {length} use 0 to {length - 1}"
        if tile and tile_overlap is not None and tile_overlap >= tile:
            return f"tile_overlap is {tile_overlap}; with tile {tile} use less than that"
        return (
            not_one_of("schedule", schedule, SCHEDULES)
            or not_one_of("fuse", fuse, FUSES)
            or not_one_of("tile_weight", tile_weight, WEIGHTS)
            or True
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        length: int,
        overlap: int,
        schedule: str,
        stride: int,
        fuse: str,
        move: bool,
        tile: int,
        tile_overlap: int,
        tile_weight: str,
        shots: Any = None,
    ) -> io.NodeOutput:
        """Patch the model."""
        check_family(model, "Long Video Windows")
        windows = tiles = None
        if length:
            windows = WindowSettings(
                length=length,
                overlap=overlap,
                stride=stride,
                schedule=schedule,  # type: ignore[arg-type]
                fuse=fuse,  # type: ignore[arg-type]
                move=move,
            )
        if tile:
            tiles = TileSettings(
                size=tile // PIXELS_PER_LATENT,
                overlap=tile_overlap // PIXELS_PER_LATENT,
                weight=tile_weight,  # type: ignore[arg-type]
                move=move,
            )
        return io.NodeOutput(with_regions(with_shots(model, shots), windows, tiles))


class _ClipNoise:
    """The host's NOISE: start noise of a clip."""

    def __init__(self, seed: int, settings: VideoNoiseSettings, shots: Any, frames: Tensor | None) -> None:
        self.seed = seed
        self._settings, self._shots, self._frames = settings, shots, frames

    def generate_noise(self, latent: dict[str, Any]) -> Tensor:
        """Return noise like the latent."""
        return self.make(tuple(latent["samples"].shape), self.seed)

    def make(self, shape: tuple[int, ...], seed: int) -> Tensor:
        """Return noise of a shape for a seed."""
        if len(shape) != 4:
            raise SettingsError(f"video noise needs a latent with one item per frame (T, 4, h, w), got {shape}")
        settings = RestorationSettings(
            noise=self._settings, windows=None, propagation=None, consistency=None, guidance=None
        )
        material = Material(latent=torch.zeros(shape), frames=self._frames, shots=self._shots)
        # The noise of a clip does not depend on the schedule; only a start from added noise would.
        schedule = NoiseSchedule.stable_diffusion()
        return Restoration(settings, material, schedule, seed=seed, progress=NodeProgress()).noise()


class VideoNoise(io.ComfyNode):
    """NOISE for a clip, and a MODEL whose sampler uses it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        default = VideoNoiseSettings()
        return io.Schema(
            node_id="VLDM_VideoNoise",
            display_name="Video Noise",
            category=PRIOR_CATEGORY,
            description=(
                "Start noise that frames have in common, so that what the model invents does not change from frame to "
                "frame. For SamplerCustomAdvanced as noise, or through the model for any other sampler."
            ),
            inputs=[
                io.Combo.Input(
                    "mode",
                    options=list(NOISE_MODES),
                    default="warped",
                    tooltip=(
                        "independent: every frame for itself. shared: partly the same in all. freenoise: the first "
                        "frames' noise again in shuffled order, for temporal layers. warped: moves with the picture."
                    ),
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="Same seed, same noise. Through the model output the sampler's own seed counts.",
                ),
                io.Float.Input(
                    "mix",
                    default=default.mix,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="shared only: share of the common noise. 1 gives all frames the same.",
                ),
                io.Int.Input(
                    "window",
                    default=default.window,
                    min=1,
                    max=1024,
                    tooltip="freenoise only: frames with noise of their own; the window of the temporal layers.",
                ),
                io.Int.Input(
                    "stride",
                    default=default.stride,
                    min=1,
                    max=1024,
                    tooltip="freenoise only: frames that are shuffled among themselves.",
                ),
                io.Image.Input(
                    "images", optional=True, tooltip="warped only: the frames whose motion the noise follows."
                ),
                shots_input(),
                io.Model.Input("model", optional=True, tooltip="Its samplers shall use this noise."),
            ],
            outputs=[
                io.Noise.Output("noise", display_name="noise", tooltip="For SamplerCustomAdvanced."),
                io.Model.Output(
                    "noisy", display_name="model", tooltip="For any sampler; nothing where no model is connected."
                ),
            ],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls, mode: str | None = None, window: int | None = None, stride: int | None = None
    ) -> bool | str:
        """Check what the host does not."""
        if mode == "freenoise" and window is not None and stride is not None and stride > window:
            return f"stride is {stride}; with window {window} use 1 to {window}"
        return not_one_of("mode", mode, NOISE_MODES) or True

    @classmethod
    def execute(
        cls,
        mode: str,
        seed: int,
        mix: float,
        window: int,
        stride: int,
        images: ImageBatch | None = None,
        shots: Any = None,
        model: Any = None,
    ) -> io.NodeOutput:
        """Prepare the noise; it is drawn when a sampler asks."""
        if mode == "warped" and images is None:
            raise SettingsError("mode warped follows the motion in the picture; connect images or choose another mode")
        settings = VideoNoiseSettings(
            mode=mode,  # type: ignore[arg-type]
            mix=mix,
            window=window,
            stride=min(stride, window),
        )
        frames = None if images is None or mode != "warped" else frames_from_image(images)
        noise = _ClipNoise(seed, settings, shots, frames)
        return io.NodeOutput(noise, None if model is None else with_noise(model, noise.make))


class RestorationGuidance(io.ComfyNode):
    """MODEL whose sampling stays faithful to a clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        guidance, consistency, propagation = GuidanceSettings(), ConsistencySettings(), PropagationSettings()
        return io.Schema(
            node_id="VLDM_RestorationGuidance",
            display_name="Restoration Guidance",
            category=PRIOR_CATEGORY,
            description=(
                "Holds any sampler to the film: pulls every step towards the pre-restored frames, keeps what was not "
                "damaged, and joins frames along their motion. Works with windows and tiles."
            ),
            inputs=[
                io.Model.Input("model", tooltip="A Stable Diffusion 1.x, 2.x or XL model, patched or not."),
                io.Latent.Input(
                    "latent", tooltip="The pre-restored clip from VAE Encode; what the sampler starts from."
                ),
                io.Float.Input(
                    "scale",
                    default=guidance.scale,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="Pull towards the pre-restored clip. 0 is off; higher leaves less to the model.",
                ),
                io.Combo.Input(
                    "weighting",
                    options=list(WEIGHTINGS),
                    default="mse",
                    tooltip="mse: everywhere alike. edges: less where there is texture; needs images.",
                ),
                io.Combo.Input(
                    "space",
                    options=list(SPACES),
                    default=guidance.space,
                    tooltip=(
                        "Where the difference is measured. latent costs nothing; rgb decodes every frame with gradient "
                        "in every step, needs images and vae, and takes several times as long."
                    ),
                ),
                io.Float.Input(
                    "start",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Share of the schedule at which the pull begins.",
                ),
                io.Float.Input(
                    "end",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Share of the schedule at which the pull ends. Below 1 the model may add fine detail.",
                ),
                io.Float.Input(
                    "keep_undamaged",
                    default=consistency.strength,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How strictly the picture outside the damage mask is kept. Acts only with a mask.",
                ),
                io.Float.Input(
                    "propagation",
                    default=propagation.blend,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Share of the neighbouring frame, moved along the motion, late on. Needs images.",
                ),
                io.Image.Input(
                    "images", optional=True, tooltip="The frames that went into VAE Encode: for motion, edges and rgb."
                ),
                io.Mask.Input("mask", optional=True, tooltip="Damage, 1 = damaged, of the size of the images."),
                io.Vae.Input("vae", optional=True, tooltip="Only for space rgb."),
                shots_input(),
            ],
            outputs=[io.Model.Output("guided", display_name="model", tooltip="For any sampler node.")],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls,
        weighting: str | None = None,
        space: str | None = None,
        start: float | None = None,
        end: float | None = None,
    ) -> bool | str:
        """Check what the host does not."""
        if start is not None and end is not None and end < start:
            return f"end is {end} and start {start}; the end is not before the start"
        return not_one_of("weighting", weighting, WEIGHTINGS) or not_one_of("space", space, SPACES) or True

    @classmethod
    def execute(
        cls,
        model: Any,
        latent: dict[str, Any],
        scale: float,
        weighting: str,
        space: str,
        start: float,
        end: float,
        keep_undamaged: float,
        propagation: float,
        images: ImageBatch | None = None,
        mask: Tensor | None = None,
        vae: Any = None,
        shots: Any = None,
    ) -> io.NodeOutput:
        """Prepare the transforms and patch the model."""
        samples = clip_latent(model, latent)
        frames = frames_of(images, samples)
        check_family(model, "Restoration Guidance")
        schedule = schedule_of(model)
        settings = RestorationSettings(
            windows=None,
            noise=VideoNoiseSettings(),
            guidance=GuidanceSettings(
                scale=scale,
                space=space,  # type: ignore[arg-type]
                weighting=weighting,  # type: ignore[arg-type]
                start=start,
                end=end,
            ),
            consistency=ConsistencySettings(strength=keep_undamaged, end=end),
            propagation=PropagationSettings(blend=propagation) if frames is not None else None,
        )
        material = Material(
            latent=scaled(model, samples),
            frames=frames,
            masks=mask_of(mask, images),
            shots=shots,
        )
        decode = gradient_decoder(vae, model) if vae is not None and space == "rgb" and scale > 0 else None
        restoration = Restoration(settings, material, schedule, seed=0, decode=decode, progress=NodeProgress())
        patched = with_shots(model, shots)
        for transform in restoration.transforms:
            patched = with_transform(patched, transform)
        return io.NodeOutput(patched)
