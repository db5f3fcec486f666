"""A clip restored in one step: fitted, encoded, one pass, decoded, colours, and back to its size."""

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ....vldm_core.decode.colour import ColourSettings
from ....vldm_core.errors import SettingsError
from ....vldm_core.prior.finish import FinishSettings
from ....vldm_core.prior.onestep.run.settings import OneStepSettings
from ....vldm_core.prior.onestep.tiles import PublishedTiles
from ....vldm_core.video.geometry import FitSettings
from ....vldm_core.video.shots import covering_shots
from ...effort import advanced
from ...host.node_run import ImageBatch, NodeProgress, frames_from_image, image_from_frames, mask_for, not_one_of
from ...host.prior.onestep.clips import LoadedOneStep, restore_clip
from ...search import findable
from ...sockets import IMAGES_TOOLTIP, PRIOR_CATEGORY, OneStep
from ...validation import one_error
from ..inputs import PIXELS_PER_LATENT, shots_input

_ENCODINGS = ("mean", "sample")
_COLOURS = ("wavelet", "adain", "lab", "off")
_PHASES = {"measure": 0.02, "encode": 0.18, "sample": 0.5, "decode": 0.25, "colour": 0.05}


@findable("osediff", "pisa-sr", "s3diff", "hypir", "dloral", "one step", "film restoration", "super resolution")
class RestoreInOneStep(io.ComfyNode):
    """IMAGE clip to IMAGE clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        fitting, colour = FitSettings(), ColourSettings()
        return io.Schema(
            node_id="VLDM_RestoreInOneStep",
            display_name="Restore in One Step",
            category=PRIOR_CATEGORY,
            description=(
                "Restores frames with a one-step restorer on Stable Diffusion 2.1-base, shot by shot: one pass of the "
                "UNet a frame, little more than encoding and decoding it. As many frames come out as went in, in their "
                "size."
            ),
            inputs=[
                io.Image.Input("images", tooltip=IMAGES_TOOLTIP),
                io.Model.Input(
                    "model",
                    tooltip=(
                        "Stable Diffusion 2.1-base, with any LoRA or temporal layers. A model that predicts v, such as "
                        "2.1 for 768 pixels, is refused."
                    ),
                ),
                io.Vae.Input("vae", tooltip="Its VAE: it encodes the frames, adapted where the restorer asks for it."),
                io.Conditioning.Input(
                    "positive",
                    tooltip="What the film shows: one text for all, or one per shot from Shot Conditioning.",
                ),
                OneStep.Input("one_step", tooltip="From Load One-Step Restorer."),
                io.Float.Input(
                    "invention",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip=(
                        "PiSA-SR and DLoRAL: 0 keeps to what the film shows, 1 adds detail as published. Leave it at 1 "
                        "for the others."
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
                        default=fitting.short_side,
                        min=64,
                        max=4096,
                        step=64,
                        optional=True,
                        tooltip=(
                            "Least length of the shorter side in pixels while it is restored; smaller frames are "
                            "enlarged, and brought back. DLoRAL needs 512 or more."
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
                advanced(
                    io.Combo.Input(
                        "colour",
                        options=list(_COLOURS),
                        default=colour.method,
                        optional=True,
                        tooltip="How the film's colours are given back, over whole shots: see Match Colour.",
                    )
                ),
                io.Boolean.Input(
                    "keep_outside",
                    default=False,
                    optional=True,
                    tooltip="Outside the mask the frames stay as they came, bit for bit; needs a mask.",
                ),
                advanced(
                    io.String.Input(
                        "scores",
                        default="",
                        optional=True,
                        tooltip="S3Diff: blur and noise, 0 to 1, such as 0.3,0.5; empty measures them in each shot.",
                    )
                ),
                io.Conditioning.Input("negative", optional=True, tooltip="S3Diff only: what the film shall not show."),
                io.Mask.Input(
                    "mask", optional=True, tooltip="Damage, 1 = damaged; one per frame, or one for all frames."
                ),
                shots_input(),
            ],
            outputs=[
                io.Image.Output("restored", display_name="images", tooltip="The restored frames, in their own size.")
            ],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls, encode: str | None = None, colour: str | None = None, tile: int | None = None, scores: str | None = None
    ) -> bool | str:
        """Check what the host does not."""
        fault = not_one_of("encode", encode, _ENCODINGS) or not_one_of("colour", colour, _COLOURS)
        if fault is None and tile and tile % (PIXELS_PER_LATENT**2):
            fault = f"tile is {tile}; use a multiple of {PIXELS_PER_LATENT**2}, or 0"
        if fault is None and scores:
            try:
                _scores(scores)
            except SettingsError as error:
                fault = str(error)
        return fault or True

    @classmethod
    def execute(
        cls,
        images: ImageBatch,
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
        negative: Any = None,
        mask: Tensor | None = None,
        shots: Any = None,
    ) -> io.NodeOutput:
        """Restore."""
        system = one_step.system
        if negative is None and system.format.guidance != 1:
            raise SettingsError(
                f"{system.format.system} reads what the film shall not show too; connect negative, for example from "
                "the negative output of Load One-Step Restorer through CLIP Text Encode"
            )
        frames = frames_from_image(images)
        side = tile // PIXELS_PER_LATENT
        settings = OneStepSettings(
            invention=invention,
            encode=encode,  # type: ignore[arg-type]
            scores=_scores(scores),
            keep_outside=keep_outside,
            tiles=PublishedTiles(size=side, overlap=min(PublishedTiles.overlap, side // 4)) if tile else None,
        )
        made = restore_clip(
            model,
            vae,
            system,
            frames,
            settings,
            positive=positive,
            negative=positive if negative is None else negative,
            masks=mask_for(mask, images, "mask"),
            shots=covering_shots(shots, len(frames)),
            seed=seed,
            fitting=FitSettings(short_side=short_side),
            finish=FinishSettings(colour=ColourSettings(method=colour)),  # type: ignore[arg-type]
            progress=NodeProgress(_PHASES),
        )
        return io.NodeOutput(image_from_frames(made))


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
