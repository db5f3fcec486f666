"""A clip through a one-step restorer, on whatever host holds the networks.

Shots are done one after the other, and nothing crosses a cut: scores of the damage, the noise of a sampled encoding and
what a frame may look back at are a shot's own. Frames pass one at a time, so that none depends on its company, but
where something mixes them, such as temporal layers: those see windows of the shot. The UNet's and the VAE's changes are
in force for a shot, or where they depend on nothing in it, for the whole clip.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from ....errors import SettingsError
from ....progress import Progress, silent
from ....sampling.noise.clip_noise import mixed_seed
from ....sampling.regions.plan import Region, blend
from ....sampling.regions.windows import fuse_weights, plan_windows
from ....video.shots import Shot
from ...call import CONDITIONED, UNetCall, UNetInput
from ..changes import Change
from ..system import LatentFrame, OneStepSystem, UNetPass, dialled
from .settings import OneStepSettings

T = TypeVar("T")
LATENT_PIXEL = 8
_ENCODING = 0x1E5D
_LOGARITHMS = (-30.0, 20.0)
"""Range of the logarithm of the encoder's variance, as the VAE has it."""


Predict = Callable[[UNetCall], Tensor]
"""What a call is given (`UNetCall.inputs`) to what the UNet predicts, (N, 4, h, w)."""


class OneStepHost(Protocol):
    """The networks, and how to change them.

    Attributes:
        mixes: Whether something on the UNet mixes frames, so that they are to pass it together.
        scale: Factor from the VAE's latents to those of the UNet.
        device: Where they run.
    """

    mixes: bool
    scale: float
    device: torch.device

    def with_unet(self, change: Change) -> AbstractContextManager[Predict]:
        """Return a block in which the UNet is changed."""

    def with_vae(self, change: Change) -> AbstractContextManager[Callable[[Tensor], Tensor]]:
        """Return a block in which the VAE is changed: pictures (N, 3, H, W), [-1, 1], to moments (N, 8, h, w)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OneStepClip:
    """What is restored.

    Attributes:
        frames: (T, 3, H, W), RGB, [0, 1]; sides are multiples of 8.
        film: (T, 3, H', W'), the same before they were fitted, by which damage is measured.
        shots: Shots that cover it.
        positive: Text of each shot, (1, L, C).
        negative: Likewise.
        first_frame: Number of the first frame in the film.
        shot_start: Film frame at which the first shot begins.
    """

    frames: Tensor
    film: Tensor
    shots: Sequence[Shot]
    positive: Sequence[Tensor]
    negative: Sequence[Tensor]
    first_frame: int = 0
    shot_start: int = 0

    def started(self, number: int) -> int:
        """Return the film frame at which a shot begins."""
        return self.shot_start if number == 0 else self.first_frame + self.shots[number].first


def one_step(
    clip: OneStepClip,
    system: OneStepSystem,
    host: OneStepHost,
    settings: OneStepSettings,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> Tensor:
    """Restore a clip's latents.

    Args:
        clip: The clip.
        system: The restorer; its networks are moved to the host's device.
        host: The networks.
        settings: How.
        seed: Of a sampled encoding.
        progress: Called per frame and pass; may raise to interrupt.

    Returns:
        (T, 4, h, w), scaled, float32, on the CPU.

    Raises:
        SettingsError: The settings do not go with the system, or frames are mixed for one that looks back by itself.
    """
    invention = dialled(system.format, settings.invention)
    if system.looks_back and host.mixes:
        raise SettingsError(
            f"{system.format.system} looks at the frame before by itself; leave temporal layers and the like out"
        )
    for network in system.networks:
        network.to(host.device)
    run = _Run(clip=clip, system=system, host=host, settings=settings, invention=invention, progress=progress)
    scores = run.scores()
    latents = run.encoded(scores, seed)
    return run.restored(latents, scores)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    clip: OneStepClip
    system: OneStepSystem
    host: OneStepHost
    settings: OneStepSettings
    invention: float
    progress: Progress

    def scores(self) -> list[Tensor | None]:
        """Scores of every shot."""
        if not self.system.needs_scores:
            return [None] * len(self.clip.shots)
        if self.settings.scores is not None:
            return [torch.tensor(self.settings.scores)] * len(self.clip.shots)
        found: list[Tensor | None] = []
        for shot in self.clip.shots:
            measured = []
            for frame in _spread(shot, self.settings.scored_frames):
                scores = self.system.measure(self.clip.film[frame : frame + 1].to(self.host.device))
                assert scores is not None
                measured.append(scores.float().cpu())
                self.progress("measure", len(measured), None)
            found.append(torch.cat(measured).median(dim=0).values)
        return found

    def encoded(self, scores: Sequence[Tensor | None], seed: int) -> Tensor:
        """Latents of all frames, scaled, on the CPU."""
        frames, found = self.clip.frames, []
        changes = _once_each(scores, self.system.vae_change)
        for change, shots in _runs(changes):
            with self.host.with_vae(change) as encode:
                for number in shots:
                    noise = self._noise(number, seed)
                    for index in _frames_of(self.clip.shots[number]):
                        picture = frames[index : index + 1].to(self.host.device) * 2 - 1
                        found.append(self._latent(encode(picture).float(), noise).cpu())
                        self.progress("encode", len(found), len(frames))
        return torch.cat(found)

    def _noise(self, number: int, seed: int) -> Tensor | None:
        if self.settings.encode == "mean":
            return None
        height, width = (side // LATENT_PIXEL for side in self.clip.frames.shape[-2:])
        generator = torch.Generator().manual_seed(mixed_seed(seed, _ENCODING, self.clip.started(number)))
        return torch.randn(1, 4, height, width, generator=generator).to(self.host.device)

    def _latent(self, moments: Tensor, noise: Tensor | None) -> Tensor:
        return latent_of(moments, noise, self.host.scale)

    def restored(self, latents: Tensor, scores: Sequence[Tensor | None]) -> Tensor:
        """Restored latents of all frames."""
        guidance = self.system.format.guidance if self.settings.guidance is None else self.settings.guidance
        if self.system.format.guidance == 1 and guidance != 1:
            raise SettingsError(f"guidance is {guidance}, and {self.system.format.system} is not guided; leave it at 1")
        plans = _once_each(
            scores, lambda each: self.system.passes(invention=self.invention, guidance=guidance, scores=each)
        )
        regions = [self._regions(number, latents) for number in range(len(self.clip.shots))]
        total = sum(len(plan) * len(own) for plan, own in zip(plans, regions, strict=True))
        done = 0
        found = []
        for passes, shots in _runs(plans):
            sums: dict[int, list[Tensor]] = {}
            for change, group in groupby(passes, key=lambda each: each.change):
                same = list(group)
                with self.host.with_unet(change) as predict:
                    for number in shots:
                        shot = self.clip.shots[number]
                        own = latents[shot.first : shot.last]

                        def beat() -> None:
                            nonlocal done
                            self.progress("sample", done, total)
                            done += 1

                        for each in same:
                            text = (self.clip.negative if each.negative else self.clip.positive)[number]
                            eps, base = self._blended(each, regions[number], own, shot, text, predict, beat)
                            if number in sums:
                                sums[number][0] += eps
                            else:
                                sums[number] = [eps, base]
            for number in shots:
                eps, base = sums[number]
                found.append(self.system.format.step.x0(base, eps))
        self.progress("sample", total, total)
        return torch.cat(found)

    def _regions(self, number: int, latents: Tensor) -> tuple[Region, ...]:
        length = len(self.clip.shots[number])
        height, width = latents.shape[-2:]
        tiles = self.settings.tiles or self.system.format.tiles
        if self.host.mixes:
            windows = plan_windows(length, self.settings.windows, 0)
            laid = [(tuple(window), fuse_weights(window, self.settings.windows)) for window in windows]
        else:
            laid = [((frame,), torch.ones(1)) for frame in range(length)]
        plan = tiles.plan(height, width)
        # A single tile needs no weights, which would cost the last bit.
        weights = [torch.ones(height, width)] if len(plan) == 1 else [tiles.weights(tile).float() for tile in plan]
        return tuple(
            Region(
                frames=frames,
                top=tile.top,
                left=tile.left,
                height=tile.height,
                width=tile.width,
                weight=in_time[:, None, None] * in_space,
            )
            for frames, in_time in laid
            for tile, in_space in zip(plan, weights, strict=True)
        )

    def _blended(
        self,
        which: UNetPass,
        regions: Sequence[Region],
        latents: Tensor,
        shot: Shot,
        text: Tensor,
        predict: Predict,
        beat: Callable[[], None],
    ) -> tuple[Tensor, Tensor]:
        """Weighted prediction of a shot, and the latents that it is taken from."""

        def evaluate(region: Region) -> list[Tensor]:
            beat()
            pairs = [self._inputs(region, frame, latents, shot) for frame in region.frames]
            x = torch.cat([pair[0] for pair in pairs])
            base = torch.cat([pair[1] for pair in pairs])
            time = torch.full((len(x),), self.system.format.step.timestep, device=x.device)
            context = text.to(x.device).expand(len(x), -1, -1)
            call = UNetCall(
                frames=tuple(shot.first + frame for frame in region.frames),
                chunks=(CONDITIONED,),
                segments=((0, len(region.frames)),),
                progress=0.0,
                corner=(region.top, region.left),
                size=(latents.shape[-2], latents.shape[-1]),
                inputs=UNetInput(x=x, timesteps=time, context=context),
            )
            eps = predict(call)
            return [eps.float().cpu() * which.weight, base.float().cpu()]

        eps, base = blend(regions, evaluate, latents)
        return eps, base

    def _inputs(self, region: Region, frame: int, latents: Tensor, shot: Shot) -> tuple[Tensor, Tensor]:
        if not self.system.looks_back:
            return self.system.inputs(self._frame(region, frame, latents, shot), None)
        before = self._frame(region, max(0, frame - 1), latents, shot)
        return self.system.inputs(self._frame(region, frame, latents, shot), before)

    def _frame(self, region: Region, frame: int, latents: Tensor, shot: Shot) -> LatentFrame:
        device = self.host.device
        latent = _cut(region, latents, frame)
        if not self.system.looks_back:
            return LatentFrame(latent=latent.to(device))
        picture = self.clip.frames[shot.first + frame : shot.first + frame + 1].to(device) * 2 - 1
        return LatentFrame(latent=latent.to(device), small=_cut(region, shrunk(picture), 0))


def latent_of(moments: Tensor, noise: Tensor | None, scale: float) -> Tensor:
    """Return scaled latents of what a VAE's encoder gives.

    Args:
        moments: (N, 8, h, w): mean, and logarithm of the variance.
        noise: (1 or N, 4, h, w) of unit variance to sample with, or None for the mean.
        scale: Factor to the UNet's latents.
    """
    mean, logarithm = moments.chunk(2, dim=1)
    if noise is None:
        return mean * scale
    return (mean + (0.5 * logarithm.clamp(*_LOGARITHMS)).exp() * noise) * scale


def shrunk(pictures: Tensor) -> Tensor:
    """Return pictures (N, 3, H, W) with a pixel for each of the latent's, bicubically and without antialiasing."""
    size = [side // LATENT_PIXEL for side in pictures.shape[-2:]]
    return functional.interpolate(pictures, size=size, mode="bicubic", align_corners=False)


def _cut(region: Region, clip: Tensor, frame: int) -> Tensor:
    rows, columns = slice(region.top, region.top + region.height), slice(region.left, region.left + region.width)
    return clip[frame : frame + 1, :, rows, columns]


def _frames_of(shot: Shot) -> range:
    return range(shot.first, shot.last)


def _spread(shot: Shot, most: int) -> list[int]:
    """Frames of a shot, evenly spread over it."""
    count = min(len(shot), most)
    return [shot.first + (2 * index + 1) * len(shot) // (2 * count) for index in range(count)]


def _once_each(scores: Sequence[Tensor | None], make: Callable[[Tensor | None], T]) -> list[T]:
    """Make something for each shot's scores; shots of the same scores share it."""
    made: dict[tuple[float, ...], T] = {}
    found = []
    for each in scores:
        key = () if each is None else tuple(each.tolist())
        if key not in made:
            made[key] = make(each)
        found.append(made[key])
    return found


def _runs(values: Sequence[T]) -> Iterator[tuple[T, list[int]]]:
    """Yield what neighbouring shots share, with their numbers."""
    for _, group in groupby(enumerate(values), key=lambda pair: id(pair[1])):
        pairs = list(group)
        yield pairs[0][1], [number for number, _ in pairs]
