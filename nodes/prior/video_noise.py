"""Start noise that belongs together over a clip."""

from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.errors import SettingsError
from ...vldm_core.sampling.noise.clip_noise import MODES as NOISE_MODES
from ...vldm_core.sampling.noise.clip_noise import VideoNoiseSettings
from ...vldm_core.sampling.restoration import Material, Restoration, RestorationSettings
from ...vldm_core.sampling.schedule import NoiseSchedule
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image, not_one_of
from ..host.prior.attachments import with_noise
from ..sockets import PRIOR_CATEGORY
from ..validation import one_error
from .inputs import shots_input


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
