"""One sampling of a clip on diffusers' UNet: rounds, the sampler's loop, and smaller parts when memory runs out."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import SettingsError
from ..progress import Progress, silent
from ..sampling.noise.clip_noise import mixed_seed
from ..sampling.regions.plan import described, smaller
from ..sampling.regions.tiles import TileSettings
from ..sampling.regions.windows import WindowSettings
from ..sampling.restoration import Restoration, RestorationSettings
from ..sampling.samplers import OwnSampler
from ..video.shots import Shot
from .attachment import Attachment
from .denoiser import ClipDenoiser, Control, DenoiserSettings
from .schedulers import DrivenScheduler

_LOG = logging.getLogger(__name__)

_SAMPLER_NOISE = 0x5A3D


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipSampling:
    """What is sampled, and with what.

    Attributes:
        unet: diffusers' `UNet2DConditionModel`, with the attachments on it.
        restoration: Noise, start and transforms of the clip.
        settings: Windows, tiles, guidance and rounds; the same that the restoration was built from.
        drive: The scheduler; a sampler of the package takes its noise schedule, prediction and number of steps.
        own: Sampler of the package; None samples with the scheduler.
        positive: (1 or T, L, C) text conditioning.
        negative: Likewise.
        shots: Shots that cover the clip.
        attachments: On the UNet.
        controls: Control networks.
        seed: Of the noise that a scheduler draws.
        first_frame: Number of the first frame in the film; the noise that a scheduler draws goes by it.
        progress: Called before every pass of the UNet; may raise to interrupt.
    """

    unet: nn.Module
    restoration: Restoration
    settings: RestorationSettings
    drive: DrivenScheduler
    positive: Tensor
    negative: Tensor
    shots: Sequence[Shot]
    own: OwnSampler | None = None
    attachments: Sequence[Attachment] = ()
    controls: Sequence[Control] = ()
    seed: int = 0
    first_frame: int = 0
    progress: Progress = silent

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The schedule, falling, with the level at its end."""
        if self.own is None:
            return self.drive.sigmas
        levels = self.own.levels(self.drive.schedule, self.drive.whole, self.drive.prediction)
        return levels[-(self.drive.steps + 1) :]

    def timestep(self, sigma: float) -> float:
        """Return the UNet's timestep at one of the sigmas."""
        if self.own is None:
            return self.drive.timestep(sigma)
        return float(round(self.drive.schedule.timestep(sigma)))

    def sample(self, like: Tensor) -> Tensor:
        """Sample the clip, beginning again with smaller windows and then smaller tiles while memory runs out.

        Args:
            like: (T, 4, h, w), gives size, device and type.

        Returns:
            (T, 4, h, w), the clean latent.

        Raises:
            SettingsError: Even the smallest windows and tiles do not fit.
        """
        windows, tiles = self.settings.windows, self.settings.tiles
        while True:
            try:
                return self._rounds(windows, tiles, like)
            except torch.OutOfMemoryError:
                # What the failed pass allocated is referenced by the exception until this block is left.
                reduced = smaller(windows, tiles, *(like.shape[axis] for axis in (0, 2, 3)))
            if reduced is None:
                raise SettingsError(
                    f"memory ran out although sampling was down to {described(windows, tiles)}; free memory, or "
                    "restore smaller pictures"
                )
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            windows, tiles = reduced
            _LOG.warning("sample: memory ran out; beginning again with %s", described(windows, tiles))

    def _rounds(self, windows: WindowSettings | None, tiles: TileSettings | None, like: Tensor) -> Tensor:
        sigmas, rounds = self.sigmas, self.settings.rounds
        calls = self.drive.calls if self.own is None else len(sigmas) - 1
        steps = _Steps(self.progress, calls * rounds)
        denoiser = ClipDenoiser(
            self.unet,
            timestep=self.timestep,
            sigmas=sigmas,
            positive=self.positive,
            negative=self.negative,
            settings=DenoiserSettings(
                prediction=self.drive.prediction, cfg=self.settings.cfg, windows=windows, tiles=tiles
            ),
            shots=self.shots,
            attachments=self.attachments,
            controls=self.controls,
            schedule=self.drive.schedule,
            transforms=self.restoration.transforms,
            beat=steps.beat,
        )
        found: Tensor | None = None
        for index in range(rounds):
            start = self.restoration.start(sigmas[0], found, index).to(like)
            found = self._run(denoiser, start, sigmas, steps.step)
        assert found is not None
        return found

    def _run(
        self,
        denoiser: ClipDenoiser,
        start: Tensor,
        sigmas: Sequence[float],
        done: Callable[[int, float, Tensor], None],
    ) -> Tensor:
        def noise(step: int) -> Tensor:
            return self.restoration.step_noise(step).to(start)

        if self.own is not None:
            return self.own.sample(denoiser, start, sigmas, noise, done)
        # One generator per frame, so that a frame's noise does not depend on how many others there are.
        generators = [
            torch.Generator().manual_seed(mixed_seed(self.seed, _SAMPLER_NOISE, self.first_frame + frame))
            for frame in range(len(start))
        ]
        return self.drive.sample(denoiser, start, generator=generators, step_noise=noise, callback=done)


class _Steps:
    """Progress of a sampling over all its rounds."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def beat(self) -> None:
        self._progress("sample", self._done, self._total)

    def step(self, step: int, sigma: float, x0: Tensor) -> None:
        self._done += 1
        self.beat()
