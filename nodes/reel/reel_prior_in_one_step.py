"""Node that makes a one-step restorer the prior of a whole reel, for Restore Reel."""

from typing import Any

from comfy_api.latest import io

from ...vldm_core.decode.colour import ColourSettings
from ...vldm_core.decode.fusion import FusionSettings
from ...vldm_core.reel.with_prior.settings import PriorReelSettings
from ...vldm_core.sampling.regions.windows import WindowSettings
from ...vldm_core.video.geometry import FitSettings
from ..host.node_run import not_one_of
from ..host.prior.onestep.clips import LoadedOneStep
from ..host.prior.onestep.reel_prior import HostOneStepPrior
from ..prior.onestep.inputs import (
    check_negative,
    model_inputs,
    negative_input,
    one_step_fault,
    one_step_inputs,
    one_step_settings,
    restorer_input,
)
from ..search import findable
from ..sockets import CATEGORY, ReelPriorSocket
from ..validation import one_error
from .prior_inputs import FUSIONS, finish_inputs, finish_of, graph_of, part_input
from .reel_prior import ReelPriorChoice

_MADE_OF = ("model", "positive", "negative", "vae", "one_step")
"""Inputs whose nodes say what a result depends on."""


@findable("osediff", "pisa-sr", "s3diff", "hypir", "dloral", "one step", "whole film", "reel", "film restoration")
class ReelPriorInOneStep(io.ComfyNode):
    """MODEL, CONDITIONING, VAE and a one-step restorer to a socket that Restore Reel takes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VLDM_ReelPriorInOneStep",
            display_name="Reel Prior in One Step",
            category=CATEGORY,
            description=(
                "Has Restore Reel go on with a one-step restorer: after the repair, every frame takes one pass of the "
                "UNet, at memory that does not grow with the film. After Cancel, or a crash, finished parts are not "
                "made again."
            ),
            inputs=[
                *model_inputs(),
                io.Conditioning.Input("positive", tooltip="What the film shows; one text for all of it."),
                restorer_input(),
                *one_step_inputs(
                    colours_over="parts",
                    keep_outside=(
                        "Outside the damage that the repair found, the film stays as it was repaired, bit for bit."
                    ),
                ),
                part_input(),
                *finish_inputs(),
                negative_input(),
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
        encode: str | None = None,
        colour: str | None = None,
        tile: int | None = None,
        scores: str | None = None,
        part: int | None = None,
        fusion: str | None = None,
    ) -> bool | str:
        """Check what the host does not."""
        fault = one_step_fault(encode, colour, tile, scores)
        least = 3 * WindowSettings().overlap
        if fault is None and part and part < least:
            fault = f"part is {part}; use {least} or more, since neighbouring parts share frames"
        return fault or not_one_of("fusion", fusion, FUSIONS) or True

    @classmethod
    def execute(
        cls,
        model: Any,
        vae: Any,
        positive: Any,
        one_step: LoadedOneStep,
        invention: float,
        seed: int,
        encode: str = "mean",
        short_side: int = FitSettings.short_side,
        tile: int = 0,
        colour: str = ColourSettings.method,
        keep_outside: bool = False,
        scores: str = "",
        part: int = PriorReelSettings.most_frames,
        fusion: str = "off",
        fusion_weight: float = FusionSettings.weight,
        grain: float = 0.0,
        negative: Any = None,
    ) -> io.NodeOutput:
        """Put model, restorer and settings together, and refuse what cannot restore a reel."""
        check_negative(one_step.system, negative)
        prior = HostOneStepPrior(
            model=model,
            positive=positive,
            negative=positive if negative is None else negative,
            vae=vae,
            restorer=one_step,
            settings=one_step_settings(
                invention=invention, encode=encode, tile=tile, keep_outside=keep_outside, scores=scores
            ),
            graph=graph_of("Reel Prior in One Step", cls.hidden, _MADE_OF),
        )
        prior.check()
        settings = PriorReelSettings(
            finish=finish_of(colour, fusion, fusion_weight, grain),
            seed=seed,
            most_frames=part,
            fitting=FitSettings(short_side=short_side),
        )
        return io.NodeOutput(ReelPriorChoice(prior=prior, settings=settings))
