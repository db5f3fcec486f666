"""Settings of the sampler benchmark."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vldm_core.errors import SettingsError

from ..common.settings import check_chosen, check_least, check_seed
from ..common.target import Target
from .variants import GROUPS, VARIANTS, WINDOWED

if TYPE_CHECKING:
    from .report import SamplerBenchmarkReport

_WINDOW_TOLERANCE = 1.03
_MOST_THREADS = 256


@dataclass(frozen=True, kw_only=True)
class SamplerBenchmarkSettings:
    """What the sampler benchmark runs on.

    Attributes:
        width: Channels of the UNet's first level; 320 is Stable Diffusion 1.x, with 859.5 M parameters. A multiple of
            32.
        vae_width: Channels of the VAE's first level; 128 is Stable Diffusion. A multiple of 32.
        frames: Frames of the short clip, 2 … 32.
        long_frames: Frames of the long clip, for windows; more than `window_length`.
        latent: Side of the square latents; 8 pixels of the picture each. A multiple of 8.
        steps: Sampling steps, 1 or more.
        cfg: Guidance scale; 1 leaves the unconditioned pass out.
        window_length: Frames of a window.
        window_overlap: Frames that neighbouring windows share.
        attention_stride: Frames from one window inside the temporal attention to the next.
        decode_frames: Frames that are decoded.
        decode_latent: Height of the decoded latents; they are twice as wide.
        rounds: How often every group runs; the ratios are medians over the rounds.
        threads: Threads of torch.
        process_per_group: Start a process for every group. One for all starts faster, but what earlier groups left in
            it may touch the memory figures of later ones.
        groups: Names of the groups to measure, of `variants.GROUPS`.
        seed: Of weights, noise, text and hints.
    """

    width: int = 320
    vae_width: int = 128
    frames: int = 16
    long_frames: int = 40
    latent: int = 32
    steps: int = 1
    cfg: float = 1.0
    window_length: int = 16
    window_overlap: int = 4
    attention_stride: int = 4
    decode_frames: int = 2
    decode_latent: int = 24
    rounds: int = 3
    threads: int = 2
    process_per_group: bool = True
    groups: tuple[str, ...] = tuple(GROUPS)
    seed: int = 1906

    def __post_init__(self) -> None:
        for name in ("width", "vae_width"):
            value = getattr(self, name)
            if value < 32 or value % 32:
                raise SettingsError(f"benchmark {name} is {value}; use a multiple of 32, as its group norms need")
        if not 2 <= self.frames <= 32:
            raise SettingsError(f"the benchmark samples {self.frames} frames; use 2 … 32, which motion modules know")
        if not 2 <= self.window_length < self.long_frames:
            raise SettingsError(
                f"windows of {self.window_length} frames on a long clip of {self.long_frames}; "
                "use at least 2 and fewer than the clip has"
            )
        if not 0 <= self.window_overlap < self.window_length:
            raise SettingsError(
                f"windows of {self.window_length} frames overlap by {self.window_overlap}; use less than their length"
            )
        if not 1 <= self.attention_stride < self.window_length:
            raise SettingsError(
                f"the stride of attention windows is {self.attention_stride}; use 1 … {self.window_length - 1}"
            )
        self._check_run()

    def _check_run(self) -> None:
        if self.latent < 8 or self.latent % 8:
            raise SettingsError(f"benchmark latents are {self.latent} wide; use a multiple of 8")
        if self.decode_latent < 16 or self.decode_latent % 8:
            raise SettingsError(f"decoded latents are {self.decode_latent} high; use a multiple of 8 from 16 on")
        check_least(self, steps=1, decode_frames=1, rounds=1)
        if not 1 <= self.threads <= _MOST_THREADS:
            raise SettingsError(f"benchmark threads is {self.threads}; use 1 … {_MOST_THREADS}")
        check_chosen("groups", self.groups, GROUPS)
        check_seed(self.seed, bits=31)

    @classmethod
    def quick(cls) -> "SamplerBenchmarkSettings":
        """Return settings for a first look: a narrow UNet of the same structure, whose ratios only hint at SD's."""
        return cls(
            width=64,
            vae_width=32,
            long_frames=28,
            latent=16,
            decode_latent=16,
            threads=1,
            process_per_group=False,
        )

    def units(self, variant: str) -> int:
        """Return how many frame-steps one run of a variant is; frames for a decoder."""
        clip = VARIANTS[variant].clip
        if clip == "decoded":
            return self.decode_frames
        return (self.frames if clip == "short" else self.long_frames) * self.steps * VARIANTS[variant].longer

    def target(self, variant: str) -> "Target[SamplerBenchmarkReport] | None":
        """Return what the ratio of a variant should be; at most L/(L-o) plus 3 % for windows of the whole UNet."""
        bound = VARIANTS[variant].target
        if variant in WINDOWED:
            bound = self.window_length / (self.window_length - self.window_overlap) * _WINDOW_TOLERANCE
        if bound is None:
            return None
        return Target(
            what=f"{variant} over {VARIANTS[variant].against}",
            sign="≤",
            bound=bound,
            measure=lambda report: {name: row.ratio for name, row in report.summary.items()},
        )
