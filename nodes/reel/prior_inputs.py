"""Inputs that every prior of a whole reel has: how much is in memory, and what becomes of the decoded frames."""

from collections.abc import Callable, Mapping
from typing import Any

from comfy_api.latest import io

from ...vldm_core.decode.colour import ColourSettings
from ...vldm_core.decode.fusion import FusionSettings
from ...vldm_core.decode.regrain import RegrainSettings
from ...vldm_core.errors import SettingsError
from ...vldm_core.prior.finish import FinishSettings
from ...vldm_core.reel.with_prior.settings import PriorReelSettings
from ..effort import advanced
from ..host.prior.model_key import graph_key

FUSIONS = ("off", "weight", "frequency", "mask")


def part_input() -> io.Input:
    """Return the knob for the frames that are in memory at once."""
    return advanced(
        io.Int.Input(
            "part",
            default=PriorReelSettings.most_frames,
            min=1,
            max=4096,
            optional=True,
            tooltip=(
                "Frames of a shot that are in memory at once, and lost at most after Cancel; at least three times the "
                "overlap. Longer shots are parted, and the parts crossfaded."
            ),
        )
    )


def finish_inputs() -> list[io.Input]:
    """Return the knobs for fusion and grain."""
    return [
        advanced(
            io.Combo.Input(
                "fusion",
                options=list(FUSIONS),
                default="off",
                optional=True,
                tooltip=(
                    "What of the repaired film is put together with what was sampled: see Fuse Restoration. mask: "
                    "sampled only where the repair found damage."
                ),
            )
        ),
        advanced(
            io.Float.Input(
                "fusion_weight",
                default=FusionSettings.weight,
                min=0.0,
                max=1.0,
                step=0.05,
                optional=True,
                tooltip="Share of what was sampled in the fusion; 0 is the repaired film.",
            )
        ),
        advanced(
            io.Float.Input(
                "grain",
                default=0.0,
                min=0.0,
                max=2.0,
                step=0.05,
                optional=True,
                tooltip="Grain of the film that the result is given: 0 none, 1 as much as the film has.",
            )
        ),
    ]


def finish_of(colour: str, fusion: str, weight: float, grain: float) -> FinishSettings:
    """Return what the knobs of `finish_inputs` and the one for colour say."""
    return FinishSettings(
        colour=ColourSettings(method=colour),  # type: ignore[arg-type]
        fusion=None if fusion == "off" else FusionSettings(mode=fusion, weight=weight),  # type: ignore[arg-type]
        grain=RegrainSettings(strength=grain) if grain > 0 else None,
    )


def graph_of(node: str, hidden: Any, made_of: tuple[str, ...]) -> str:
    """Return the key of the nodes that have made what is connected to a node.

    Args:
        node: Its name, for the message.
        hidden: What the host tells it of the graph.
        made_of: Inputs whose nodes say what a result depends on.

    Raises:
        SettingsError: The host has told nothing.
    """
    graph, own = hidden.dynprompt, hidden.unique_id
    if graph is None or own is None:
        raise SettingsError(f"{node} runs in a graph: the host has not told it which")
    inputs: Mapping[str, Any] = graph.get_node(own)["inputs"]
    find: Callable[[str], Any] = graph.get_node
    return graph_key(find, [inputs.get(name) for name in made_of])
