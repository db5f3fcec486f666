"""What a frame costs in one step, beside one pass of the UNet and the VAE's encoding and decoding: the floor.

Everything runs in one process on the same networks with random weights: the floor and every system in turn, in rounds,
every second of them backwards, so that a machine that slows down favours none.
"""

import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vldm_core.errors import SettingsError
from vldm_core.prior.call import UNetCall, UNetInput
from vldm_core.prior.onestep.changes import NO_CHANGE
from vldm_core.prior.onestep.reading import read_one_step
from vldm_core.prior.onestep.run.headless import DiffusersHost
from vldm_core.prior.onestep.run.restore import OneStepClip, latent_of, one_step
from vldm_core.prior.onestep.run.settings import OneStepSettings
from vldm_core.prior.onestep.system import OneStepSystem
from vldm_core.progress import Progress, silent
from vldm_core.video.shots import Shot

from ..common.table import ReportTable, plain_tables
from .random_files import SYSTEMS, random_file

FLOOR = "floor"
"""One pass of the UNet, encoding and decoding, without a restorer."""

_SCORES = (0.3, 0.5)
_SD2_CONTEXT, _TOKENS, _HEAD = 1024, 77, 64
_LATENT_SCALE = 0.18215


@dataclass(frozen=True, kw_only=True)
class OneStepBenchmarkSettings:
    """What is measured.

    Attributes:
        systems: Of `SYSTEMS`.
        width: Channels of the UNet's first level; 320 is Stable Diffusion's.
        vae_width: Of the VAE's; 128 is Stable Diffusion's.
        side: Of the square picture, pixels; DLoRAL needs 512.
        frames: Of the clip.
        rounds: How often each is timed.
        device: A device of PyTorch.
    """

    systems: tuple[str, ...] = SYSTEMS
    width: int = 320
    vae_width: int = 128
    side: int = 512
    frames: int = 4
    rounds: int = 3
    device: str = "cpu"

    def __post_init__(self) -> None:
        unknown = [name for name in self.systems if name not in SYSTEMS]
        if unknown or not self.systems:
            named = ", ".join(unknown) or "at all"
            raise SettingsError(f"there is no system {named}; there are {', '.join(SYSTEMS)}")
        if self.width % 32 or self.vae_width % 32 or self.side % 64 or min(self.width, self.vae_width, self.side) < 1:
            raise SettingsError("widths are multiples of 32, and the side is one of 64")
        if min(self.frames, self.rounds) < 1:
            raise SettingsError(f"frames are {self.frames} and rounds {self.rounds}; use 1 or more")


@dataclass(frozen=True, kw_only=True)
class OneStepReport:
    """What was measured.

    Attributes:
        seconds: Each round's seconds for a frame, by system and for the floor.
        merge: Seconds that a system's changes of UNet and VAE take, once for a shot or clip.
        settings: What was measured.
        machine: Where.
    """

    seconds: Mapping[str, tuple[float, ...]]
    merge: Mapping[str, float]
    settings: OneStepBenchmarkSettings
    machine: Mapping[str, Any]

    def ratio(self, name: str) -> float:
        """Return the median of a system's time over the floor's, round by round."""
        pairs = zip(self.seconds[name], self.seconds[FLOOR], strict=True)
        return statistics.median(own / floor for own, floor in pairs)

    def text(self) -> str:
        """Return a table."""
        rows = tuple(
            (name, f"{statistics.median(times):.3f}", f"{self.ratio(name):.2f}", f"{self.merge.get(name, 0.0):.2f}")
            for name, times in self.seconds.items()
        )
        told = self.settings
        title = (
            f"UNet width {told.width}, {told.frames} frames of {told.side}×{told.side} on {told.device}; median of "
            f"{told.rounds} rounds"
        )
        headings = ("system", "s/frame", "ratio to the floor", "s to merge, a shot")
        return plain_tables([ReportTable(section="One step", title=title, headings=headings, rows=rows)])

    def write_json(self, path: Path) -> None:
        """Write everything to a file."""
        path.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")


def run_one_step_benchmark(
    settings: OneStepBenchmarkSettings | None = None, progress: Progress = silent
) -> OneStepReport:
    """Measure the floor and every system.

    Args:
        settings: Defaults to Stable Diffusion's own size, which takes 8 GB and minutes for a round on two cores.
        progress: Called for each that was timed; may raise to interrupt.
    """
    settings = settings or OneStepBenchmarkSettings()
    torch.manual_seed(0)
    unet, vae = networks(settings)
    host = DiffusersHost(unet, vae)
    frames = torch.rand(settings.frames, 3, settings.side, settings.side)
    text = torch.randn(1, _TOKENS, _SD2_CONTEXT, device=host.device)
    shots = (Shot(0, len(frames)),)
    clip = OneStepClip(frames=frames, film=frames, shots=shots, positive=[text], negative=[text])
    variants: dict[str, Callable[[], None]] = {FLOOR: lambda: floor(host, vae, frames, text)}
    merge: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        for name in settings.systems:
            path = random_file(name, unet, vae, Path(folder))
            system = read_one_step(path)
            path.unlink()
            how = OneStepSettings(scores=_SCORES if system.needs_scores else None)
            scores = torch.tensor(_SCORES) if system.needs_scores else None
            passes = system.passes(invention=1.0, guidance=system.format.guidance, scores=scores)
            merge[name] = timed(partial(_enter, host, passes[0].change), host.device)
            variants[name] = partial(_restored, vae, clip, system, host, how)
        seconds: dict[str, list[float]] = {name: [] for name in variants}
        total, done = len(variants) * settings.rounds, 0
        for number in range(settings.rounds):
            for name in variants if number % 2 == 0 else reversed(variants):
                seconds[name].append(timed(variants[name], host.device) / len(frames))
                done += 1
                progress("one step", done, total)
    machine = {"platform": platform.platform(), "torch": torch.__version__, "threads": torch.get_num_threads()}
    return OneStepReport(
        seconds={name: tuple(times) for name, times in seconds.items()}, merge=merge, settings=settings, machine=machine
    )


def networks(settings: OneStepBenchmarkSettings) -> tuple[nn.Module, Any]:
    """Return UNet and VAE of Stable Diffusion 2.1's shape with random weights."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    widths = tuple(settings.width * factor for factor in (1, 2, 4, 4))
    kinds = ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]
    unet = UNet2DConditionModel(
        block_out_channels=widths,
        down_block_types=tuple(kinds),
        up_block_types=tuple(kind.replace("Down", "Up") for kind in reversed(kinds)),
        cross_attention_dim=_SD2_CONTEXT,
        attention_head_dim=tuple(max(1, width // _HEAD) for width in widths),
        use_linear_projection=True,
    )
    vae = AutoencoderKL(
        block_out_channels=tuple(settings.vae_width * factor for factor in (1, 2, 4, 4)),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        scaling_factor=_LATENT_SCALE,
    )
    return unet.eval().to(settings.device), vae.eval().to(settings.device)


def floor(host: DiffusersHost, vae: Any, frames: Tensor, text: Tensor) -> None:
    """Encode, pass the UNet once and decode every frame, without a restorer."""
    for number, frame in enumerate(frames):
        with host.with_vae(NO_CHANGE) as encode:
            latent = latent_of(encode(frame[None].to(host.device) * 2 - 1), None, host.scale)
        inputs = UNetInput(x=latent, timesteps=torch.full((1,), 999, device=host.device), context=text)
        with host.with_unet(NO_CHANGE) as predict:
            call = UNetCall(frames=(number,), chunks=(0,), segments=((0, 1),), inputs=inputs)
            _decoded(vae, predict(call))


def timed(run: Callable[[], None], device: torch.device) -> float:
    """Return the seconds that something takes, what a device still has to do included."""
    _wait(device)
    start = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _enter(host: DiffusersHost, change: Any) -> None:
    with host.with_unet(change):
        pass


def _restored(vae: Any, clip: OneStepClip, system: OneStepSystem, host: DiffusersHost, how: OneStepSettings) -> None:
    _decoded(vae, one_step(clip, system, host, how))


def _decoded(vae: Any, latents: Tensor) -> None:
    for latent in latents:
        vae.decode(latent[None].to(vae.device, vae.dtype) / vae.config.scaling_factor)
