"""Nodes that lead from latents back to film: decode, fusion, colour, grain."""

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.decode.colour import ColourSettings, match_colour
from ...vldm_core.decode.fusion import FusionSettings, fuse
from ...vldm_core.decode.memory_fallback import DecodeSettings, choose_plan, decode_within_memory
from ...vldm_core.decode.regrain import RegrainSettings, regrain
from ...vldm_core.video.shots import Shot
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image, image_from_frames, mask_for, not_one_of
from ..host.vae import OUT_OF_MEMORY, check_latents, frames_in_memory, is_temporal, new_image, vae_decoder
from ..search import findable
from ..sockets import CATEGORY, Shots
from ..validation import one_error

_SHOTS_TOOLTIP = "From Detect Shots, on the same frames: nothing is mixed across a cut. Unconnected: one shot."
_FUSION_MODES = ("off", "weight", "frequency", "mask")
_METHODS = ("off", "wavelet", "adain", "lab")
_STATISTICS = ("shot", "frame")
_MONOCHROME = ("auto", "on", "off")
_UNLINKED = object()
_SMALLEST_TILE = 128
_LARGEST_SEED = 2**53 - 1


class DecodeVideo(io.ComfyNode):
    """LATENT to IMAGE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        default = DecodeSettings()
        return io.Schema(
            node_id="VLDM_DecodeVideo",
            display_name="Decode Video",
            category=CATEGORY,
            description=(
                "Decodes the latents of a film, at memory that does not grow with its length. The VAE of Stable Video "
                "Diffusion decodes latents of SD 1.x and 2.x with less flicker; its chunks overlap so that they do not "
                "show."
            ),
            inputs=[
                io.Latent.Input("samples", tooltip="Latents, one per frame, in the order of the film."),
                io.Vae.Input(
                    "vae",
                    tooltip=(
                        "The VAE of the model, or that of Stable Video Diffusion for SD 1.x and 2.x latents, which "
                        "also looks at the neighbouring frames."
                    ),
                ),
                io.Int.Input(
                    "chunk_frames",
                    default=default.frames or 0,
                    min=0,
                    max=256,
                    tooltip=(
                        "Frames decoded at a time. 0: one for an image VAE, up to 24 for a temporal one, as memory "
                        "allows. More needs more memory; a temporal VAE then repeats less work."
                    ),
                ),
                io.Int.Input(
                    "halo",
                    default=default.halo,
                    min=0,
                    max=32,
                    tooltip=(
                        "Frames on each side that a temporal VAE decodes along and throws away. Below 4 the borders of "
                        "the chunks begin to show; more costs time. An image VAE needs none and ignores it."
                    ),
                ),
                io.Int.Input(
                    "tile_size",
                    default=8 * (default.tile or 0),
                    min=0,
                    max=4096,
                    step=64,
                    tooltip=(
                        "Largest side of a tile in pixels, from 128. 0: whole pictures where memory allows. Smaller "
                        "needs less memory and lets the tone differ a little between tiles."
                    ),
                ),
                Shots.Input("shots", optional=True, tooltip=_SHOTS_TOOLTIP),
            ],
            outputs=[io.Image.Output("decoded", display_name="images", tooltip="The decoded frames.")],
        )

    @classmethod
    @one_error
    def validate_inputs(cls, tile_size: int | None = None) -> bool | str:
        """Refuse tiles that are all overlap."""
        if tile_size is not None and 0 < tile_size < _SMALLEST_TILE:
            return f"tile_size is {tile_size}; use 0 for automatic, or {_SMALLEST_TILE} pixels or more"
        return True

    @classmethod
    def execute(
        cls,
        samples: dict[str, Any],
        vae: Any,
        chunk_frames: int,
        halo: int,
        tile_size: int,
        shots: tuple[Shot, ...] | None = None,
    ) -> io.NodeOutput:
        """Decode chunk by chunk into the output."""
        latents: Tensor = samples["samples"]
        check_latents(vae, latents)
        scale = vae.spacial_compression_decode()
        settings = DecodeSettings(
            frames=chunk_frames or None, halo=halo, tile=tile_size // scale if tile_size else None
        )
        plan = choose_plan(
            settings,
            temporal=is_temporal(vae),
            frames_in_memory=frames_in_memory(vae, latents),
            height=latents.shape[-2],
            width=latents.shape[-1],
        )
        images = new_image(vae, latents)
        decode_within_memory(
            latents,
            vae_decoder(vae),
            plan,
            shots=shots,
            output=images.movedim(-1, 1),
            out_of_memory=OUT_OF_MEMORY,
            progress=NodeProgress(previews=True),
        )
        return io.NodeOutput(images)


class FuseRestoration(io.ComfyNode):
    """Decoded IMAGE and pre-restored IMAGE to one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        default = FusionSettings()
        return io.Schema(
            node_id="VLDM_FuseRestoration",
            display_name="Fuse Restoration",
            category=CATEGORY,
            description=(
                "Joins what the prior made with the film that went into it: a mean of both, the structure of the film "
                "with the detail of the prior, or the prior in damaged places only."
            ),
            inputs=[
                io.Image.Input("images", tooltip="The decoded frames; alpha is dropped."),
                io.Image.Input(
                    "restored", tooltip="The frames that went into the prior, of the same size and in the same order."
                ),
                io.Combo.Input(
                    "mode",
                    options=list(_FUSION_MODES),
                    default=default.mode,
                    tooltip=(
                        "off: the decoded frames as they are; weight: a mean of both; frequency: structure and tone of "
                        "the film, detail of the prior; mask: the prior inside the mask, the film bit-equal elsewhere."
                    ),
                ),
                io.Float.Input(
                    "weight",
                    default=default.weight,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Share of the fused picture; 0 is the restored film. Lower it when the prior invents.",
                ),
                io.Float.Input(
                    "cutoff",
                    default=default.cutoff,
                    min=0.3,
                    max=128.0,
                    step=0.1,
                    tooltip=(
                        "For frequency: sigma in pixels of the blur that separates structure from detail. Larger takes "
                        "more from the prior."
                    ),
                ),
                io.Float.Input(
                    "detail",
                    default=default.detail,
                    min=0.0,
                    max=4.0,
                    step=0.05,
                    tooltip="For frequency: gain on the detail of the prior; above 1 sharpens.",
                ),
                io.Int.Input(
                    "grow",
                    default=default.grow,
                    min=0,
                    max=64,
                    tooltip="For mask: pixels by which it is widened. At least as much as feather covers all damage.",
                ),
                io.Float.Input(
                    "feather",
                    default=default.feather,
                    min=0.0,
                    max=64.0,
                    step=0.5,
                    tooltip="For mask: pixels over which the prior takes over, inside the widened mask.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="For mask: 1 = damaged; one mask per frame, or one for all frames.",
                ),
            ],
            outputs=[io.Image.Output("fused", display_name="images", tooltip="The fused frames.")],
        )

    @classmethod
    @one_error
    def validate_inputs(cls, mode: str | None = None, mask: object = _UNLINKED) -> bool | str:
        """Check the combo, and that the mask is there when it is needed."""
        if mode == "mask" and mask is _UNLINKED:
            return "mode is 'mask' but no mask is connected; connect the damage mask, or choose another mode"
        return not_one_of("mode", mode, _FUSION_MODES) or True

    @classmethod
    def execute(
        cls,
        images: ImageBatch,
        restored: ImageBatch,
        mode: str,
        weight: float,
        cutoff: float,
        detail: float,
        grow: int,
        feather: float,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        """Fuse frame by frame."""
        settings = FusionSettings(
            mode=mode,  # type: ignore[arg-type]
            weight=weight,
            cutoff=cutoff,
            detail=detail,
            grow=grow,
            feather=feather,
        )
        fused = fuse(
            frames_from_image(images),
            frames_from_image(restored, "restored"),
            settings,
            mask=mask_for(mask, images, "mask") if mode == "mask" else None,
            progress=NodeProgress(),
        )
        return io.NodeOutput(image_from_frames(fused))


class MatchColour(io.ComfyNode):
    """IMAGE to IMAGE with the colours of another."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        default = ColourSettings()
        return io.Schema(
            node_id="VLDM_MatchColour",
            display_name="Match Colour",
            category=CATEGORY,
            description=(
                "Gives frames the colours of the film they come from, measured over whole shots, so that the flicker "
                "of the film does not come back with them. Black and white film stays exactly black and white."
            ),
            inputs=[
                io.Image.Input("images", tooltip="The frames to correct; alpha is dropped."),
                io.Image.Input(
                    "reference",
                    tooltip="The film with the right colours: same size, same frames. It may flicker or be soft.",
                ),
                io.Combo.Input(
                    "method",
                    options=list(_METHODS),
                    default=default.method,
                    tooltip=(
                        "wavelet: tone and colour of each region of the picture; adain: mean and contrast of each "
                        "channel; lab: the whole distribution of lightness and colour; off: only monochrome."
                    ),
                ),
                io.Combo.Input(
                    "statistics",
                    options=list(_STATISTICS),
                    default=default.statistics,
                    tooltip=(
                        "shot: measured over each shot, so that flicker stays out. frame: every frame by itself, as "
                        "usual elsewhere, which brings the flicker of the reference back."
                    ),
                ),
                io.Float.Input(
                    "strength",
                    default=default.strength,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Share of the correction that is applied; 0 applies none.",
                ),
                io.Int.Input(
                    "period",
                    default=default.period,
                    min=2,
                    max=1000,
                    tooltip=(
                        "For wavelet over shots: changes of colour that take longer than about this many frames are "
                        "followed, such as fades. Lower follows faster and lets more flicker through."
                    ),
                ),
                io.Boolean.Input(
                    "lightness",
                    default=default.lightness,
                    tooltip="For lab: match brightness and contrast too. Off: colours only.",
                ),
                io.Combo.Input(
                    "monochrome",
                    options=list(_MONOCHROME),
                    default=default.monochrome,
                    tooltip=(
                        "auto: make the result exactly grey when the reference has no colour. on: always. off: never; "
                        "for tinted film."
                    ),
                ),
                Shots.Input("shots", optional=True, tooltip=_SHOTS_TOOLTIP),
            ],
            outputs=[io.Image.Output("matched", display_name="images", tooltip="The frames with corrected colours.")],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls, method: str | None = None, statistics: str | None = None, monochrome: str | None = None
    ) -> bool | str:
        """Check the combos, which the host does not."""
        return (
            not_one_of("method", method, _METHODS)
            or not_one_of("statistics", statistics, _STATISTICS)
            or not_one_of("monochrome", monochrome, _MONOCHROME)
            or True
        )

    @classmethod
    def execute(
        cls,
        images: ImageBatch,
        reference: ImageBatch,
        method: str,
        statistics: str,
        strength: float,
        period: int,
        lightness: bool,
        monochrome: str,
        shots: tuple[Shot, ...] | None = None,
    ) -> io.NodeOutput:
        """Measure every shot, then correct it."""
        settings = ColourSettings(
            method=method,  # type: ignore[arg-type]
            statistics=statistics,  # type: ignore[arg-type]
            strength=strength,
            period=period,
            lightness=lightness,
            monochrome=monochrome,  # type: ignore[arg-type]
        )
        matched = match_colour(
            frames_from_image(images),
            frames_from_image(reference, "reference"),
            settings,
            shots=shots,
            progress=NodeProgress(phases=2),
        )
        return io.NodeOutput(image_from_frames(matched))


@findable("grain", "film grain", "old film")
class Regrain(io.ComfyNode):
    """IMAGE to IMAGE with the grain of another."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        default = RegrainSettings()
        return io.Schema(
            node_id="VLDM_Regrain",
            display_name="Regrain",
            category=CATEGORY,
            description=(
                "Gives restored frames the grain of the film: its strength at every brightness, its size and its "
                "colour, measured per shot. Only what is missing is added."
            ),
            inputs=[
                io.Image.Input("images", tooltip="The restored frames; alpha is dropped."),
                io.Image.Input(
                    "source", tooltip="The film with its grain: same size, same frames, not denoised before."
                ),
                io.Float.Input(
                    "strength",
                    default=default.strength,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="1 is the grain of the source, 0 none, 2 twice as much.",
                ),
                io.Int.Input(
                    "seed",
                    default=default.seed,
                    min=0,
                    max=_LARGEST_SEED,
                    tooltip="Which grain. The same seed gives the same grain on the same frame of the film.",
                ),
                io.Int.Input(
                    "first_frame",
                    default=0,
                    min=0,
                    max=10_000_000,
                    tooltip="Number of the first of these frames in the film, when it is worked on in parts.",
                ),
                io.Boolean.Input(
                    "keep_present",
                    default=default.keep_present,
                    tooltip="Measure the grain that the frames still have, and add only what is missing.",
                ),
                Shots.Input("shots", optional=True, tooltip=_SHOTS_TOOLTIP),
            ],
            outputs=[io.Image.Output("grainy", display_name="images", tooltip="The frames with grain.")],
        )

    @classmethod
    def execute(
        cls,
        images: ImageBatch,
        source: ImageBatch,
        strength: float,
        seed: int,
        first_frame: int,
        keep_present: bool,
        shots: tuple[Shot, ...] | None = None,
    ) -> io.NodeOutput:
        """Measure the grain of every shot, then add what is missing."""
        grainy = regrain(
            frames_from_image(images),
            frames_from_image(source, "source"),
            RegrainSettings(strength=strength, seed=seed, keep_present=keep_present),
            shots=shots,
            first_frame=first_frame,
            progress=NodeProgress(phases=2),
        )
        return io.NodeOutput(image_from_frames(grainy))
