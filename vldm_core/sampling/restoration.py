"""Everything that makes a sampling a restoration, in one settings object, and the transforms built from it.

The same object is built by the sampler node, by the headless pipeline and by tests; the same transforms run in both
hosts, in this order: CFG and its rescaling, restoration guidance, flow propagation, data consistency.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ..errors import SettingsError
from ..progress import Progress, silent
from ..video.flow import FlowSettings, estimate_flow
from ..video.shots import Shot, covering_shots
from .cfg import CfgSettings
from .consistency import ConsistencySettings, DataConsistency
from .guidance import Decode, GuidanceSettings, RestorationGuidance
from .latent_flow import to_latent_flow
from .noise.clip_noise import VideoNoiseSettings, video_noise
from .noise.freeinit import FreeInitSettings, reinitialise, renoise
from .propagation import FlowPropagation, PropagationSettings
from .regions.tiles import TileSettings
from .regions.windows import WindowSettings
from .schedule import NoiseSchedule
from .start import StartSettings, start_latent
from .state import X0Transform

# Pairs of frames whose flow is held at picture size at a time.
_FLOW_BLOCK = 16
Direction = Literal["backward", "forward"]
# Seeds of draws that must not repeat the start noise; any odd constants will do.
_SECOND_NOISE, _ROUND, _STEP = 0x5EC0, 0xF4EE, 0x57E9


@dataclass(frozen=True, kw_only=True)
class RestorationSettings:
    """How a clip is sampled so that it stays the film it was.

    Attributes:
        windows: Context windows; None denoises all frames of the clip together.
        tiles: Spatial tiles; None denoises whole frames.
        noise: Start noise. "warped" needs the pre-restored frames.
        start: What the sampling begins with.
        cfg: Text guidance.
        guidance: Pull towards the pre-restored picture; None is off.
        consistency: Keep what the damage masks leave out; acts only where masks are given. None is off.
        propagation: Join frames along their motion; needs the pre-restored frames. None is off.
        freeinit: Sample several times, each beginning with the last one's low frequencies; None samples once.
    """

    windows: WindowSettings | None = field(default_factory=WindowSettings)
    tiles: TileSettings | None = None
    noise: VideoNoiseSettings = field(default_factory=lambda: VideoNoiseSettings(mode="warped"))
    start: StartSettings = field(default_factory=StartSettings)
    cfg: CfgSettings = field(default_factory=CfgSettings)
    guidance: GuidanceSettings | None = None
    consistency: ConsistencySettings | None = field(default_factory=ConsistencySettings)
    propagation: PropagationSettings | None = field(default_factory=PropagationSettings)
    freeinit: FreeInitSettings | None = None

    @property
    def needs_flow(self) -> bool:
        """Whether the motion of the pre-restored frames is looked at."""
        return self.noise.mode == "warped" or (self.propagation is not None and self.propagation.blend > 0)

    @property
    def rounds(self) -> int:
        """How often the clip is sampled."""
        return 1 if self.freeinit is None else self.freeinit.iterations


def default_restoration() -> RestorationSettings:
    """Return the settings that the sampler node and the headless pipeline begin with."""
    return RestorationSettings(guidance=GuidanceSettings(weighting="mse"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """What a restoration knows about its clip beside the latent.

    Attributes:
        latent: (T, 4, h, w), scaled latent of the pre-restored clip.
        frames: (T, 3, H, W), [0, 1], the pre-restored clip; None where nothing needs it.
        masks: (T, H, W), 1 = damaged; None where it is not known.
        shots: Shots that cover the clip; None is one shot.
        first_frame: Number of the clip's first frame in the film. Noise goes by film frames, so overlapping parts of
            a long shot begin alike (all but "warped" noise, which follows the clip's own frames).
        shot_start: Film frame at which the clip's first shot begins, where the clip begins inside it; None is
            `first_frame`.
    """

    latent: Tensor
    frames: Tensor | None = None
    masks: Tensor | None = None
    shots: Sequence[Shot] | None = None
    first_frame: int = 0
    shot_start: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= (self.first_frame if self.shot_start is None else self.shot_start) <= self.first_frame:
            raise SettingsError(
                f"the clip begins at film frame {self.first_frame} and its shot at {self.shot_start}; a shot does not "
                "begin after the clip"
            )
        if self.latent.ndim != 4:
            raise SettingsError(f"the latent is {tuple(self.latent.shape)}; give (T, 4, h, w), one item per frame")
        for name, value in (("frames", self.frames), ("masks", self.masks)):
            if value is not None and len(value) != len(self.latent):
                raise SettingsError(f"there are {len(value)} {name} for {len(self.latent)} latents; give as many")
        covering_shots(self.shots, len(self.latent))

    @property
    def film_shots(self) -> tuple[Shot, ...]:
        """The clip's shots in film frame numbers, the first from where it begins in the film."""
        shots = covering_shots(self.shots, len(self.latent))
        moved = [Shot(shot.first + self.first_frame, shot.last + self.first_frame) for shot in shots]
        start = self.first_frame if self.shot_start is None else self.shot_start
        return (Shot(start, moved[0].last), *moved[1:])


class Restoration:
    """One clip's noise, start and transforms.

    Args:
        settings: How.
        material: The clip.
        schedule: The network's training schedule.
        seed: Of all noise.
        decode: For guidance in picture space.
        progress: Called while the motion is measured.

    Raises:
        SettingsError: The settings need frames or a decoder that were not given.
    """

    def __init__(
        self,
        settings: RestorationSettings,
        material: Material,
        schedule: NoiseSchedule,
        *,
        seed: int,
        decode: Decode | None = None,
        progress: Progress = silent,
    ) -> None:
        self._settings, self._material, self._schedule, self._seed = settings, material, schedule, seed
        self._backward: Tensor | None = None
        self._forward: Tensor | None = None
        if settings.needs_flow:
            self._measure(progress)
        self.transforms = self._build(decode)

    def noise(self, index: int = 0) -> Tensor:
        """Return the start noise (T, 4, h, w) of a FreeInit round; rounds after the first draw anew."""
        return self._draw(self._seed + _ROUND * index)

    def step_noise(self, step: int) -> Tensor:
        """Return noise (T, 4, h, w) that a stochastic sampler adds in a step, as common to frames as the first."""
        return self._draw(self._seed + _STEP * (step + 1))

    def _draw(self, seed: int) -> Tensor:
        material = self._material
        return video_noise(
            tuple(material.latent.shape),
            seed=seed,
            settings=self._settings.noise,
            shots=material.film_shots,
            flow=self._backward,
            first_frame=material.first_frame,
        )

    def start(self, sigma: float, last: Tensor | None = None, index: int = 0) -> Tensor:
        """Return where sampling begins, (T, 4, h, w) in sigma space.

        Args:
            sigma: First noise level.
            last: x0 of the round before, for FreeInit.
            index: Round.
        """
        latent = self._material.latent
        noise = self.noise().to(latent)
        freeinit = self._settings.freeinit
        if last is not None and freeinit is not None:
            fresh = self.noise(index).to(latent)
            if self._settings.start.mode != "noise":
                # Away from pure noise the high frequencies are those of the noised picture, not of noise alone: with
                # FreeInit's own formula a sampling that starts low would lose the picture's detail.
                fresh = renoise(latent, fresh, sigma)
            mixed = reinitialise(renoise(last.to(latent), noise, sigma), fresh, freeinit, self._material.shots)
            return mixed * (1 + sigma * sigma) ** 0.5
        second = None
        if self._settings.start.mode == "added_noise":
            second = self.step_noise(_SECOND_NOISE).to(latent)
        return start_latent(
            latent,
            noise,
            sigma=sigma,
            settings=self._settings.start,
            schedule=self._schedule,
            second_noise=second,
        )

    def _measure(self, progress: Progress) -> None:
        frames = self._material.frames
        if frames is None:
            wanted = "noise that is warped" if self._settings.noise.mode == "warped" else "flow propagation"
            raise SettingsError(
                f"{wanted} follows the motion in the picture; give the pre-restored frames, or turn it off"
            )
        size = self._material.latent.shape[-2:]
        both: dict[Direction, list[Tensor]] = {"backward": [], "forward": []}
        shots = covering_shots(self._material.shots, len(frames))
        total = 2 * len(frames)
        done = 0
        for shot in shots:
            for direction, parts in both.items():
                if shot.first > 0:
                    # A pair across a cut has no motion; whoever reads the flow knows the shots.
                    parts.append(torch.zeros(1, 2, *size))
                for first in range(shot.first, shot.last - 1, _FLOW_BLOCK):
                    span = slice(first, min(first + _FLOW_BLOCK + 1, shot.last))
                    masks = None if self._material.masks is None else self._material.masks[span]
                    flow = estimate_flow(
                        frames[span], masks=masks, settings=FlowSettings(quality="fast"), direction=direction
                    )
                    # Kept at latent size, a 64th: all that looks at it works on latents.
                    parts.append(to_latent_flow(flow, *size))
                done += len(shot)
                progress("measure motion", done, total)
        empty = torch.zeros(0, 2, *size)
        self._backward, self._forward = (torch.cat([empty, *both[name]]) for name in ("backward", "forward"))

    def _build(self, decode: Decode | None) -> tuple[X0Transform, ...]:
        settings, material = self._settings, self._material
        result: list[X0Transform] = []
        if settings.guidance is not None and settings.guidance.scale > 0:
            result.append(
                RestorationGuidance(
                    settings.guidance,
                    self._schedule,
                    target_latent=material.latent,
                    target_frames=material.frames,
                    decode=decode,
                )
            )
        if settings.propagation is not None and settings.propagation.blend > 0 and len(material.latent) > 1:
            assert self._forward is not None and self._backward is not None
            height, width = material.latent.shape[-2:]
            result.append(
                FlowPropagation(
                    settings.propagation,
                    forward=self._forward,
                    backward=self._backward,
                    height=height,
                    width=width,
                    shots=material.shots,
                )
            )
        if settings.consistency is not None and material.masks is not None:
            result.append(DataConsistency(settings.consistency, reference=material.latent, masks=material.masks))
        return tuple(result)
