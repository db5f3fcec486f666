"""A clip's denoiser on diffusers' UNet: noisy latents in, x0 out, with windows, tiles, CFG and transforms.

It is the headless counterpart of what the nodes plug into the host's sampling, in the same order: region by region
both chunks of conditioning pass the UNet, regions are blended in x0, then CFG, then the transforms over the whole clip.
Everything is in k-diffusion's sigma space, x = x0 + sigma · eps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SettingsError
from ..sampling.cfg import CfgSettings, ClassifierFreeGuidance
from ..sampling.regions.plan import Region, blend, plan_regions
from ..sampling.regions.tiles import TileSettings
from ..sampling.regions.windows import WindowSettings
from ..sampling.schedule import PREDICTIONS, NoiseSchedule, Prediction, model_input, to_x0
from ..sampling.state import X0Transform, step_state
from ..video.shots import Shot
from .attachment import Attachment, calling
from .call import CONDITIONED, UNCONDITIONED, UNetCall, UNetInput, segments_of

_PIXELS_PER_LATENT = 8


@dataclass(frozen=True, kw_only=True)
class Control:
    """A control network and its hints.

    Attributes:
        net: diffusers' `ControlNetModel` or a class with the same call.
        hint: (1 or T, 3, H, W), [0, 1], as large as the picture the latents stand for.
        strength: Multiplies what the network adds.
        start: Share of the schedule at which it begins, 0 … 1.
        end: Share of the schedule at which it ends.
    """

    net: nn.Module
    hint: Tensor
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True, kw_only=True)
class DenoiserSettings:
    """How a clip is denoised.

    Attributes:
        prediction: What the UNet predicts.
        cfg: Text guidance; a scale of 1 leaves the unconditioned pass out.
        windows: Context windows; None takes all frames at once.
        tiles: Spatial tiles; None takes the whole picture.
    """

    prediction: Prediction = "eps"
    cfg: CfgSettings = field(default_factory=lambda: CfgSettings(scale=1.0))
    windows: WindowSettings | None = None
    tiles: TileSettings | None = None

    def __post_init__(self) -> None:
        if self.prediction not in PREDICTIONS:
            raise SettingsError(f"prediction is {self.prediction!r}; use one of {', '.join(PREDICTIONS)}")


class ClipDenoiser:
    """x0 of a whole clip.

    Args:
        unet: diffusers' `UNet2DConditionModel`; attachments are hooked to it by the caller.
        timestep: Gives the UNet's timestep for a sigma.
        sigmas: The schedule, falling, with the final 0; transforms and moving windows ask where in it they are.
        positive: (1 or T, L, C) text conditioning; one for all frames, or one per frame.
        negative: Likewise; None only with a guidance scale of 1.
        settings: See :class:`DenoiserSettings`.
        shots: Borders that nothing crosses; None is one shot.
        attachments: Told before every pass what the batch is.
        controls: Control networks.
        schedule: The UNet's training schedule, for guidance that changes with the noise level; None is Stable
            Diffusion's.
        transforms: Over x0 of the whole clip after guidance, in order.
        beat: Called before every pass through the UNet; may raise to interrupt.

    Raises:
        SettingsError: Guidance without a negative conditioning.
    """

    def __init__(
        self,
        unet: nn.Module,
        *,
        timestep: Callable[[float], float],
        sigmas: Sequence[float],
        positive: Tensor,
        negative: Tensor | None = None,
        settings: DenoiserSettings | None = None,
        shots: Sequence[Shot] | None = None,
        attachments: Sequence[Attachment] = (),
        controls: Sequence[Control] = (),
        schedule: NoiseSchedule | None = None,
        transforms: Sequence[X0Transform] = (),
        beat: Callable[[], None] | None = None,
    ) -> None:
        self._unet = unet
        self._timestep = timestep
        self._sigmas = tuple(float(sigma) for sigma in sigmas)
        self._settings = settings or DenoiserSettings()
        self._chunks: tuple[int, ...] = (CONDITIONED,)
        self._texts = [positive]
        self._guidance: ClassifierFreeGuidance | None = None
        if self._settings.cfg.scale != 1.0:
            if negative is None:
                raise SettingsError(
                    "a guidance scale other than 1 needs a negative conditioning; an empty prompt will do"
                )
            self._chunks = (CONDITIONED, UNCONDITIONED)
            self._texts.append(negative)
            known = schedule or NoiseSchedule.stable_diffusion()
            self._guidance = ClassifierFreeGuidance(self._settings.cfg, known)
        self._shots = shots
        self._attachments = tuple(attachments)
        self._controls = tuple(controls)
        self._transforms = tuple(transforms)
        self._beat = beat or (lambda: None)

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """Return x0 (T, 4, h, w) for noisy latents (T, 4, h, w) at one noise level."""
        state = step_state(sigma, self._sigmas)
        regions = plan_regions(
            frames=len(x),
            height=x.shape[-2],
            width=x.shape[-1],
            shots=self._shots,
            windows=self._settings.windows,
            tiles=self._settings.tiles,
            step=state.step,
            steps=state.steps,
        )
        predicted = blend(regions, lambda region: self._region(x, sigma, region, state.step / state.steps), x)
        x0 = predicted[0]
        if self._guidance is not None:
            x0 = self._guidance(predicted[0], predicted[1], x, state)
        for transform in self._transforms:
            x0 = transform(x0, x, state)
        return x0

    def _region(self, clip: Tensor, sigma: float, region: Region, progress: float) -> list[Tensor]:
        self._beat()
        x = region.crop(clip)
        count = len(self._chunks)
        dtype = next(self._unet.parameters()).dtype
        scaled = model_input(x, sigma).to(dtype).repeat(count, 1, 1, 1)
        text = torch.cat([_of_frames(text, region, len(clip)) for text in self._texts]).to(scaled)
        time = torch.full((len(scaled),), self._timestep(sigma), device=x.device)
        call = UNetCall(
            frames=region.frames,
            chunks=self._chunks,
            segments=segments_of(region.frames, self._shots),
            sigma=sigma,
            progress=progress,
            corner=(region.top, region.left),
            size=(clip.shape[-2], clip.shape[-1]),
            inputs=UNetInput(x=scaled, timesteps=time, context=text),
        )
        with calling(self._attachments, call):
            extra = self._control(scaled, time, text, region, len(clip), progress)
            output = self._unet(scaled, time, encoder_hidden_states=text, return_dict=False, **extra)[0].to(x)
        return [to_x0(x, part, sigma, self._settings.prediction) for part in output.chunk(count)]

    def _control(
        self, scaled: Tensor, time: Tensor, text: Tensor, region: Region, frames: int, progress: float
    ) -> dict[str, Any]:
        down: list[Tensor] = []
        middle: Tensor | None = None
        for control in self._controls:
            if not control.start <= progress <= control.end:
                continue
            hint = _of_frames(control.hint, region, frames)[
                ...,
                region.top * _PIXELS_PER_LATENT : (region.top + region.height) * _PIXELS_PER_LATENT,
                region.left * _PIXELS_PER_LATENT : (region.left + region.width) * _PIXELS_PER_LATENT,
            ]
            found, centre = control.net(
                scaled,
                time,
                encoder_hidden_states=text,
                controlnet_cond=hint.to(scaled).repeat(len(self._chunks), 1, 1, 1),
                conditioning_scale=control.strength,
                return_dict=False,
            )
            down = [a + b for a, b in zip(down, found, strict=True)] if down else list(found)
            middle = centre if middle is None else middle + centre
        if middle is None:
            return {}
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}


def _of_frames(tensor: Tensor, region: Region, frames: int) -> Tensor:
    """Give every frame of a region its item; a single item is for all."""
    if tensor.shape[0] == 1:
        return tensor.expand(len(region.frames), *tensor.shape[1:])
    if tensor.shape[0] != frames:
        raise SettingsError(f"{tensor.shape[0]} items for {frames} frames; give one for all or one for each")
    return tensor[torch.tensor(region.frames, device=tensor.device)]
