"""A one-step restorer on a MODEL of the host as the prior of a whole reel, part by part."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from .....vldm_core.errors import SettingsError
from .....vldm_core.prior.finish import FinishSettings
from .....vldm_core.prior.onestep.run.settings import OneStepSettings
from .....vldm_core.progress import Progress
from .....vldm_core.reel.resumable.keys import key_of
from .....vldm_core.reel.resumable.parts import facts_of
from .....vldm_core.video.geometry import FitSettings
from .....vldm_core.video.shots import Shot
from ..model_key import described, model_key, vae_key
from ..reel_prior import RestoredPart, check_for_reels
from .clips import LoadedOneStep, check_one_step, restore_clip

if TYPE_CHECKING:
    from comfy.sd import VAE

_NODE = "Reel Prior in One Step"


@dataclass(frozen=True, kw_only=True, eq=False)
class HostOneStepPrior:
    """A MODEL and a restorer; the core calls it as it calls a `VideoRestorationPipeline`.

    Scores of the damage are those of a part of a shot, the piece that is in memory at once.

    Attributes:
        model: The MODEL.
        positive: The host's CONDITIONING, one for all frames.
        negative: Likewise; for restorers that read it.
        vae: Encodes the film and decodes what was made.
        restorer: The restorer.
        settings: How.
        graph: Key of the part of the graph that has made all of these, from `graph_key`.
    """

    model: ModelPatcher
    positive: Any
    negative: Any
    vae: "VAE"
    restorer: LoadedOneStep
    settings: OneStepSettings
    graph: str
    controlnet: None = None

    def check(self) -> None:
        """Refuse what cannot restore a reel, before any film is read.

        Raises:
            SettingsError: The restorer does not go with MODEL, VAE or settings, or something was made for the frames of
                one clip.
        """
        check_one_step(self.model, self.vae, self.restorer.system, self.settings, node=_NODE)
        check_for_reels(self.model, positive=self.positive, negative=self.negative)

    def check_masks(self, *, marks: bool) -> None:
        """Check that damage is known where it is needed.

        Args:
            marks: Whether the repair tells where the film was damaged.

        Raises:
            SettingsError: It does not, and nothing outside is to change.
        """
        if self.settings.keep_outside and not marks:
            raise SettingsError(
                "keep_outside leaves the film alone outside of its damage, and this Restore Reel looks for none; "
                "switch dirt or scratches on there, or keep_outside off"
            )

    @cached_property
    def key(self) -> str:
        """Key of all that a result depends on beside the settings of a call; the same after a restart of the host."""
        return key_of(
            graph=self.graph,
            model=model_key(self.model),
            vae=vae_key(self.vae),
            positive=described(self.positive),
            negative=described(self.negative),
            system=self.restorer.system.format.system,
            files=facts_of(self.restorer.files),
            settings=facts_of(self.settings),
        )

    def drive(self, **_how: Any) -> None:
        """Nothing is sampled in steps, so any steps and strength will do: they have no effect."""

    def __call__(
        self,
        frames: Tensor,
        *,
        prompt: str,
        negative_prompt: str,
        masks: Tensor | None,
        control: object | None,
        controls: tuple[Any, ...],
        temporal_decoder: nn.Module | None,
        feature_wrapping: nn.Module | None,
        trained_fusion: object | None,
        seed: int,
        fitting: FitSettings,
        finish: FinishSettings,
        first_frame: int,
        progress: Progress,
        **_sampling: Any,
    ) -> RestoredPart:
        """Restore a part of a shot.

        Args:
            frames: (T, 3, H, W), RGB, [0, 1].
            prompt: Empty: the CONDITIONING says what the film shows.
            negative_prompt: Likewise.
            masks: (T, H, W), 1 = damaged, or None.
            control: None: the restorer looks at the film itself.
            controls: Empty, likewise.
            temporal_decoder: None: `vae` decodes.
            feature_wrapping: None, likewise.
            trained_fusion: None, likewise.
            seed: Of a sampled encoding.
            fitting: How frames are brought to the model's size.
            finish: Decoding, colour, fusion, grain.
            first_frame: Number of the first frame in the film.
            progress: Called per frame and pass; may raise to interrupt.
            **_sampling: How is sampled in steps, which nothing is.
        """
        others = control, temporal_decoder, feature_wrapping, trained_fusion
        if prompt or negative_prompt or controls or any(each is not None for each in others):
            raise SettingsError("a one-step restorer of the host takes prompts and VAE from its graph, and no control")
        made = restore_clip(
            self.model,
            self.vae,
            self.restorer.system,
            frames,
            self.settings,
            positive=self.positive,
            negative=self.negative,
            masks=masks,
            shots=(Shot(0, len(frames)),),
            seed=seed,
            fitting=fitting,
            finish=finish,
            first_frame=first_frame,
            progress=progress,
        )
        return RestoredPart(frames=made.cpu())
