"""Inputs of whatever restores with a one-step restorer: clips, and whole reels."""

from typing import Any

from comfy_api.latest import io

from ....vldm_core.errors import SettingsError
from ....vldm_core.prior.onestep.run.settings import OneStepSettings
from ....vldm_core.prior.onestep.system import OneStepSystem
from ....vldm_core.prior.onestep.tiles import PublishedTiles
from ....vldm_core.video.geometry import FitSettings
from ...effort import advanced
from ...host.node_run import not_one_of
from ...sockets import OneStep
from ..inputs import COLOURS, PIXELS_PER_LATENT, colour_input

_ENCODINGS = ("mean", "sample")


def model_inputs() -> list[io.Input]:
    """Return what the restorer works on and with."""
    return [
        io.Model.Input(
            "model",
            tooltip=(
                "Stable Diffusion 2.1-base, with any LoRA or temporal layers. A model that predicts v, such as 2.1 for "
                "768 pixels, is refused."
            ),
        ),
        io.Vae.Input("vae", tooltip="Its VAE: it encodes the frames, adapted where the restorer asks for it."),
    ]


def restorer_input() -> io.Input:
    """Return the socket for the restorer."""
    return OneStep.Input("one_step", tooltip="From Load One-Step Restorer.")


def negative_input() -> io.Input:
    """Return the socket for what the film shall not show."""
    return io.Conditioning.Input("negative", optional=True, tooltip="S3Diff only: what the film shall not show.")


def one_step_inputs(*, colours_over: str, keep_outside: str) -> list[io.Input]:
    """Return the knobs of the restorer, and how colours are given back.

    Args:
        colours_over: What colours are compared over, for the tooltip.
        keep_outside: Tooltip of the switch.
    """
    return [
        io.Float.Input(
            "invention",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.05,
            tooltip=(
                "PiSA-SR and DLoRAL: 0 keeps to what the film shows, 1 adds detail as published. Leave it at 1 for the "
                "others."
            ),
        ),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=0xFFFFFFFFFFFFFFFF,
            control_after_generate=False,
            tooltip="Only where encode is sample: same seed, same result.",
        ),
        advanced(
            io.Combo.Input(
                "encode",
                options=list(_ENCODINGS),
                default="mean",
                optional=True,
                tooltip="mean: repeatable and steady. sample: as the programs do, with one noise for a shot.",
            )
        ),
        advanced(
            io.Int.Input(
                "short_side",
                default=FitSettings.short_side,
                min=64,
                max=4096,
                step=64,
                optional=True,
                tooltip=(
                    "Least length of the shorter side in pixels while it is restored; smaller frames are enlarged, and "
                    "brought back. DLoRAL needs 512 or more."
                ),
            )
        ),
        advanced(
            io.Int.Input(
                "tile",
                default=0,
                min=0,
                max=4096,
                step=64,
                optional=True,
                tooltip="Side of a tile in pixels, a multiple of 64; 0: as published, 768 (HYPIR 512).",
            )
        ),
        colour_input(colours_over),
        io.Boolean.Input("keep_outside", default=False, optional=True, tooltip=keep_outside),
        advanced(
            io.String.Input(
                "scores",
                default="",
                optional=True,
                tooltip="S3Diff: blur and noise, 0 to 1, such as 0.3,0.5; empty measures them in each shot.",
            )
        ),
    ]


def one_step_fault(encode: str | None, colour: str | None, tile: int | None, scores: str | None) -> str | None:
    """Say what is wrong with the knobs of `one_step_inputs`; None where nothing is."""
    fault = not_one_of("encode", encode, _ENCODINGS) or not_one_of("colour", colour, COLOURS)
    if fault is None and tile and tile % (PIXELS_PER_LATENT**2):
        fault = f"tile is {tile}; use a multiple of {PIXELS_PER_LATENT**2}, or 0"
    if fault is None and scores:
        try:
            _scores(scores)
        except SettingsError as error:
            fault = str(error)
    return fault


def one_step_settings(*, invention: float, encode: str, tile: int, keep_outside: bool, scores: str) -> OneStepSettings:
    """Return what the knobs of `one_step_inputs` say.

    Raises:
        SettingsError: One has a value that does not work.
    """
    side = tile // PIXELS_PER_LATENT
    return OneStepSettings(
        invention=invention,
        encode=encode,  # type: ignore[arg-type]
        scores=_scores(scores),
        keep_outside=keep_outside,
        tiles=PublishedTiles(size=side, overlap=min(PublishedTiles.overlap, side // 4)) if tile else None,
    )


def check_negative(system: OneStepSystem, negative: Any) -> None:
    """Check that there is a text of what the film shall not show, where the restorer reads one.

    Raises:
        SettingsError: There is none.
    """
    if negative is None and system.format.guidance != 1:
        raise SettingsError(
            f"{system.format.system} reads what the film shall not show too; connect negative, for example from the "
            "negative output of Load One-Step Restorer through CLIP Text Encode"
        )


def _scores(text: str) -> tuple[float, float] | None:
    if not text.strip():
        return None
    try:
        blur, noise = (float(part) for part in text.split(","))
    except ValueError as error:
        raise SettingsError(
            f"scores are {text!r}; give two numbers with a comma between them, such as 0.3,0.5"
        ) from error
    return OneStepSettings(scores=(blur, noise)).scores
