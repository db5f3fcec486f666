"""How a film is restored with a prior."""

from dataclasses import dataclass, field
from pathlib import Path

from ...errors import SettingsError
from ...prior.finish import FinishSettings
from ...sampling.regions.windows import WindowSettings
from ...sampling.restoration import RestorationSettings, default_restoration
from ...semantics.table.table import ShotTable
from ...stages.plan import StagePlan
from ...stages.settings import before_a_prior
from ...video.geometry import FitSettings
from ..prior_company import ReelControl, ReelLoras
from ..prior_controls import ReelRestorationControl
from ..restore import ReelSettings
from .sampling import ShotSampling, check_together


@dataclass(frozen=True, kw_only=True)
class PriorReelSettings:
    """How a reel is restored with a prior.

    Attributes:
        reel: The repair and pre-restoration that come first, and codec and quality of the result.
        restoration: Windows, noise, guidance and the rest.
        finish: Decoding, colour, fusion, grain.
        prompt: What the film shows.
        negative_prompt: What it shall not show; added to what shots are not to show, where they say so.
        table: Shots with prompts of their own, in the place of the shots that are found. A blank prompt is made of the
            shot's caption and tags, as Shot Conditioning makes it; where there are none, the one above holds.
        steps: Steps of the whole schedule.
        strength: How far frames are noised, 0 … 1; strength · steps are run.
        sampler: One of `prior.pipeline.SAMPLERS`.
        noise_schedule: "auto", "model", "linear" or "zero_snr", see `VideoRestorationPipeline`.
        seed: Same seed, same result.
        most_frames: Longest part that is in memory at once; at least three times the overlap of the windows.
        fitting: How frames are brought to the model's size.
        masks: Film of damage masks, white = damaged, or a folder with ``dirt.mkv`` and ``scratch.mkv``, in the place of
            what the repair finds; of the film's size and frames.
        control: What the pipeline's ControlNet looks at; None leaves it out.
        controls: Restoration controls, which mix.
        loras: LoRAs by era; None uses none.
        temporal_vae: VAE of Stable Video Diffusion that decodes in the place of the model's own, see
            :func:`...decode.temporal_vae.load_temporal_decoder`.
        trained_fusion: File of a trained fusion, which gives the pictures in the place of the VAE's decoder alone; the
            prior's part then pre-restores, as `reel.prerestore` says, and not the repair.
        fusion_weight: Share that it takes over from the prior, 0 … 1.
        own_latents: Whether sampling begins with the latents of the pre-restorer's own head, which controls look at,
            too, and not with those of the VAE; the prior's part then pre-restores, as `reel.prerestore` says.
        feature_wrapping: File of StableSR's VAE, whose added layers let the film steer the decoder as far as
            `finish.fidelity` says; not together with a temporal VAE.

    The damage that the repair found, or that `masks` say, goes into the prior as its mask.
    """

    reel: ReelSettings = field(default_factory=lambda: ReelSettings(**before_a_prior()))
    restoration: RestorationSettings = field(default_factory=default_restoration)
    finish: FinishSettings = field(default_factory=FinishSettings)
    prompt: str = ""
    negative_prompt: str = ""
    table: ShotTable | None = None
    steps: int = 20
    strength: float = 0.4
    sampler: str = "scheduler"
    noise_schedule: str = "auto"
    seed: int = 0
    most_frames: int = 128
    fitting: FitSettings = field(default_factory=FitSettings)
    masks: Path | None = None
    control: ReelControl | None = None
    controls: tuple[ReelRestorationControl, ...] = ()
    loras: ReelLoras | None = None
    temporal_vae: Path | None = None
    feature_wrapping: Path | None = None
    trained_fusion: Path | None = None
    fusion_weight: float = 1.0
    own_latents: bool = False

    def __post_init__(self) -> None:
        least = max(1, 3 * self.overlap)
        if self.most_frames < least:
            raise SettingsError(
                f"most_frames is {self.most_frames}; with an overlap of {self.overlap} use {least} or more"
            )
        self.finish.check(masks=self.finds_damage or self.masks is not None)
        if self.masks is not None and StagePlan.from_settings(self.reel).moves:
            raise SettingsError("masks of one's own do not move with a film that is stabilised; stabilise it first")
        if self.temporal_vae is not None and self.feature_wrapping is not None:
            raise SettingsError(
                "feature wrapping was trained for the decoder of single pictures; leave the temporal VAE out"
            )
        if not 0 <= self.fusion_weight <= 1:
            raise SettingsError(f"fusion_weight is {self.fusion_weight}; use 0 … 1")
        if self.trained_fusion is not None and (self.temporal_vae or self.feature_wrapping) is not None:
            raise SettingsError(
                "a trained fusion gives the pictures itself; leave temporal VAE and feature wrapping out"
            )
        check_together(self.table, self.reel.choices)
        if self.loras is not None and not self.loras.eras and self.table is None:
            raise SettingsError("LoRAs by era need the eras of the film, or a table of shots that names them")

    @property
    def finds_damage(self) -> bool:
        """Whether the repair tells where the film was damaged."""
        return StagePlan.from_settings(self.reel).marks

    @property
    def pre_restores(self) -> bool:
        """Whether the prior's part pre-restores, and not the repair."""
        return self.trained_fusion is not None or self.own_latents

    @property
    def sampling(self) -> ShotSampling:
        """How shots are sampled of which nothing else is said."""
        return ShotSampling(
            prompt=self.prompt,
            negative=self.negative_prompt,
            strength=self.strength,
            steps=self.steps,
            cfg=self.restoration.cfg.scale,
            seed=self.seed,
        )

    @property
    def grain_of_source(self) -> bool:
        """Whether grain is measured in the source, because what goes into the prior has lost some of it."""
        smoothed = self.reel.prerestore is not None or self.reel.average is not None
        return self.finish.grain is not None and smoothed

    @property
    def overlap(self) -> int:
        """Frames that neighbouring parts of a shot share: as many as windows do."""
        return (self.restoration.windows or WindowSettings()).overlap
