"""Node that makes a MODEL the prior of a whole reel, for Restore Reel."""

from dataclasses import dataclass
from typing import Any

from comfy_api.latest import io

from ...vldm_core.decode.colour import ColourSettings
from ...vldm_core.decode.fusion import FusionSettings
from ...vldm_core.errors import VLDMError
from ...vldm_core.prior.controls.settings import ControlSettings
from ...vldm_core.reel.prior_company import ReelControl
from ...vldm_core.reel.restore import ReelSettings
from ...vldm_core.reel.with_prior.settings import PriorReelSettings
from ...vldm_core.sampling.restoration import RestorationSettings, default_restoration
from ...vldm_core.video.geometry import FitSettings
from ..effort import advanced
from ..host.control_files import NO_FILE
from ..host.models import FUSION, file_state, model_files, model_path, no_such_file
from ..host.node_run import not_one_of
from ..host.prior.fusion import check_fusion
from ..host.prior.onestep.reel_prior import HostOneStepPrior
from ..host.prior.reel_prior import HostPrior
from ..prior.inputs import COLOURS, colour_input
from ..prior.sampling_inputs import joined_settings, sampling_fault, sampling_inputs
from ..search import findable
from ..sockets import CATEGORY, UNLINKED, Control, ReelPriorSocket
from ..sockets import Restoration as RestorationSocket
from ..validation import one_error
from .prior_inputs import FUSIONS, finish_inputs, finish_of, graph_of, part_input

_MADE_OF = ("model", "positive", "negative", "vae", "control_net", "control")
"""Inputs whose nodes say what a result depends on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReelPriorChoice:
    """What Reel Prior hands to Restore Reel.

    Attributes:
        prior: The MODEL and what belongs to it.
        settings: How it works, but for the repair that comes first.
    """

    prior: HostPrior | HostOneStepPrior
    settings: PriorReelSettings

    def after(self, reel: ReelSettings) -> PriorReelSettings:
        """Return the settings of a reel that is repaired before, as these say.

        Raises:
            SettingsError: They ask for damage that the repair does not look for.
        """
        values = {**vars(self.settings), "reel": reel}
        made = PriorReelSettings(**values)
        self.prior.check_masks(marks=made.finds_damage)
        return made


@findable("stable diffusion", "whole film", "reel", "diffusion", "film restoration", "sampler")
class ReelPriorNode(io.ComfyNode):
    """MODEL, CONDITIONING and VAE to a socket that Restore Reel takes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        default = PriorReelSettings()
        return io.Schema(
            node_id="VLDM_ReelPrior",
            display_name="Reel Prior",
            category=CATEGORY,
            description=(
                "Has Restore Reel go on with Stable Diffusion: after the repair every shot is sampled, part by part, "
                "at memory that does not grow with the film. After Cancel, or a crash, finished parts are not sampled "
                "again."
            ),
            inputs=[
                io.Model.Input(
                    "model", tooltip="A Stable Diffusion 1.x, 2.x or XL model, with any LoRA, temporal layers or patch."
                ),
                io.Conditioning.Input("positive", tooltip="What the film shows; one text for all of it."),
                io.Conditioning.Input("negative", tooltip="What it shall not show. Not used with cfg 1."),
                io.Vae.Input("vae", tooltip="The VAE of the model: it encodes the film and decodes what was sampled."),
                *sampling_inputs(another_seed=False),
                io.Int.Input(
                    "short_side",
                    default=default.fitting.short_side,
                    min=64,
                    max=4096,
                    step=64,
                    tooltip=(
                        "Least length of the shorter side in pixels while it is sampled; smaller frames are enlarged, "
                        "and brought back. Memory grows with its square."
                    ),
                ),
                part_input(),
                colour_input("parts"),
                *finish_inputs(),
                advanced(
                    io.Float.Input(
                        "control_strength",
                        default=1.0,
                        min=0.0,
                        max=10.0,
                        step=0.05,
                        optional=True,
                        tooltip="How strongly control_net, or control, holds the result to the film.",
                    )
                ),
                advanced(
                    io.Combo.Input(
                        "trained_fusion",
                        options=[NO_FILE, *model_files(FUSION)],
                        default=NO_FILE,
                        optional=True,
                        tooltip=(
                            "A file of train fusion in models/vldm_fusion: the film is pre-restored as Restore Reel "
                            "says, and takes over what it agrees with. See Trained Fusion."
                        ),
                    )
                ),
                advanced(
                    io.Float.Input(
                        "trained_fusion_weight",
                        default=default.fusion_weight,
                        min=0.0,
                        max=1.0,
                        step=0.05,
                        optional=True,
                        tooltip="Share that the trained fusion takes over; 0 is the pre-restored film.",
                    )
                ),
                advanced(
                    io.Boolean.Input(
                        "own_latents",
                        default=False,
                        optional=True,
                        tooltip=(
                            "Begin with the latents of the pre-restorer's own head in the place of the VAE's, and show "
                            "them to control: where the prerestorer of Restore Reel has such a head, from train "
                            "control --latent-head or train prerestore --vae."
                        ),
                    )
                ),
                RestorationSocket.Input("settings", optional=True, tooltip="From Restoration Settings."),
                io.ControlNet.Input(
                    "control_net",
                    optional=True,
                    tooltip="A ControlNet that looks at the repaired film itself, such as one for tiles.",
                ),
                Control.Input(
                    "control",
                    optional=True,
                    tooltip=(
                        "From Load Restoration Control: DiffBIR, StableSR or PASD look at the repaired film. Systems "
                        "that need tags or tokens of every picture are for clips."
                    ),
                ),
            ],
            outputs=[
                ReelPriorSocket.Output("prior", display_name="prior", tooltip="For the prior input of Restore Reel.")
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls,
        sampler_name: str | None = None,
        scheduler: str | None = None,
        noise: str | None = None,
        window: int | None = None,
        overlap: int | None = None,
        part: int | None = None,
        colour: str | None = None,
        fusion: str | None = None,
        trained_fusion: str | None = None,
        control_net: object = UNLINKED,
        control: object = UNLINKED,
    ) -> bool | str:
        """Check what the host does not."""
        fault = sampling_fault(sampler_name, scheduler, noise, window, overlap)
        if fault is None and part and window and overlap and part < 3 * overlap:
            fault = f"part is {part}; with overlap {overlap} use {3 * overlap} or more"
        if fault is None and control_net is not UNLINKED and control is not UNLINKED:
            fault = "control_net and control are both connected; leave one out"
        fault = fault or _fusion_fault(trained_fusion)
        return fault or not_one_of("colour", colour, COLOURS) or not_one_of("fusion", fusion, FUSIONS) or True

    @classmethod
    def fingerprint_inputs(cls, trained_fusion: str = NO_FILE, **_: Any) -> str:
        """Begin anew when the file of the fusion has changed."""
        return "" if trained_fusion == NO_FILE else file_state(trained_fusion, FUSION)

    @classmethod
    def execute(
        cls,
        model: Any,
        positive: Any,
        negative: Any,
        vae: Any,
        short_side: int,
        part: int = PriorReelSettings.most_frames,
        colour: str = ColourSettings.method,
        fusion: str = "off",
        fusion_weight: float = FusionSettings.weight,
        grain: float = 0.0,
        control_strength: float = 1.0,
        trained_fusion: str = NO_FILE,
        trained_fusion_weight: float = PriorReelSettings.fusion_weight,
        own_latents: bool = False,
        settings: RestorationSettings | None = None,
        control_net: Any = None,
        control: Any = None,
        **values: Any,
    ) -> io.NodeOutput:
        """Put model and settings together, and refuse what cannot restore a reel."""
        prior = HostPrior(
            model=model,
            positive=positive,
            negative=negative,
            vae=vae,
            graph=graph_of("Reel Prior", cls.hidden, _MADE_OF),
            controlnet=control_net,
            control=control,
            control_settings=ControlSettings(strength=control_strength),
        )
        prior.check()
        how = PriorReelSettings(
            restoration=joined_settings(settings or default_restoration(), values, moving=True),
            finish=finish_of(colour, fusion, fusion_weight, grain),
            steps=values["steps"],
            strength=values["denoise"],
            sampler=values["sampler_name"],
            noise_schedule=values["scheduler"],
            seed=values["seed"],
            most_frames=part,
            fitting=FitSettings(short_side=short_side),
            control=None if control_net is None else ReelControl(strength=control_strength),
            trained_fusion=None if trained_fusion == NO_FILE else model_path(trained_fusion, FUSION),
            fusion_weight=trained_fusion_weight,
            own_latents=own_latents,
        )
        prior.drive(
            num_inference_steps=how.steps,
            strength=how.strength,
            sampler=how.sampler,
            noise_schedule=how.noise_schedule,
        )
        return io.NodeOutput(ReelPriorChoice(prior=prior, settings=how))


def _fusion_fault(file: str | None) -> str | None:
    """Look at the header of a fusion's file, so that a wrong one is refused before anything runs."""
    if file is None or file == NO_FILE:
        return None
    if missing := no_such_file(file, FUSION):
        return missing
    try:
        check_fusion(model_path(file, FUSION))
    except VLDMError as error:
        return str(error)
    return None
