"""The package's own samplers and schedules by name: what both hosts offer beside theirs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from .edm import edm_sigmas, sample_edm_2m, sample_edm_3m_sde
from .schedule import NoiseSchedule, Prediction
from .spaced import Denoise, sample_spaced, spaced_sigmas

Levels = Callable[[NoiseSchedule, int, Prediction], tuple[float, ...]]
"""(training schedule, steps, what the network predicts) to falling sigmas with a final 0."""


class Sampling(Protocol):
    """What runs a schedule; see :func:`.spaced.sample_spaced`."""

    def __call__(
        self,
        denoise: Denoise,
        x: Tensor,
        sigmas: Sequence[float],
        noise_fn: Callable[[int], Tensor],
        callback: Callable[[int, float, Tensor], None] | None = None,
    ) -> Tensor:
        """Return the latent at the last sigma."""
        ...


@dataclass(frozen=True, kw_only=True)
class OwnSampler:
    """A sampler and the schedule that it was published with.

    Attributes:
        schedule: Name in `OWN_SCHEDULES`.
        sample: Runs any falling schedule.
    """

    schedule: str
    sample: Sampling

    @property
    def levels(self) -> Levels:
        """What gives the sigmas of its schedule."""
        return OWN_SCHEDULES[self.schedule]


OWN_SCHEDULES: Mapping[str, Levels] = {
    "spaced_ddpm": lambda schedule, steps, _prediction: spaced_sigmas(schedule, steps),
    "diffbir_edm": edm_sigmas,
}
OWN_SAMPLERS: Mapping[str, OwnSampler] = {
    "spaced_ddpm": OwnSampler(schedule="spaced_ddpm", sample=sample_spaced),
    "edm_dpm++_3m_sde": OwnSampler(schedule="diffbir_edm", sample=sample_edm_3m_sde),
    "edm_dpm++_2m": OwnSampler(schedule="diffbir_edm", sample=sample_edm_2m),
}
"""DiffBIR's, by its names; the first is that of DiffBIR 1 and 2, the second 2.1's."""
