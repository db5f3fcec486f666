"""A restoration control on a MODEL, for one clip."""

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ....vldm_core.errors import SettingsError
from ....vldm_core.prior.controls.control import check_needs
from ....vldm_core.prior.controls.material import ControlMaterial, damage_of, for_frames
from ....vldm_core.prior.controls.settings import MOST_REUSE, STRONGEST, ControlSettings, points_of
from ...host.node_run import ImageBatch, NodeProgress, frames_from_image, mask_for
from ...host.prior.attachments import check_family, with_shots
from ...host.prior.cognition import language_tokens
from ...host.prior.controls import HintEncoder, LoadedControl, first_tokens, given_hints, shots_of, with_control
from ...search import findable
from ...sockets import PRIOR_CATEGORY, Control
from ...validation import one_error
from ..inputs import shots_input

MOST_SEEN = 1024
"""Largest square that can be chosen, in positions of the latent: a picture of 8192 pixels."""


@findable("diffbir", "pasd", "seesr", "stablesr", "coser", "controlnet", "restoration", "super resolution")
class ApplyRestorationControl(io.ComfyNode):
    """MODEL that reads the damaged picture while it samples."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        default = ControlSettings()
        return io.Schema(
            node_id="VLDM_ApplyRestorationControl",
            display_name="Apply Restoration Control",
            category=PRIOR_CATEGORY,
            description=(
                "Lets Stable Diffusion look at the film while it samples, frame by frame, through a restoration "
                "control. Works with windows, tiles, temporal layers, LoRAs and any sampler; several controls in a row "
                "mix."
            ),
            inputs=[
                io.Model.Input("model", tooltip="A model of the family that the control was made for, patched or not."),
                Control.Input("control", tooltip="From Load Restoration Control."),
                io.Image.Input(
                    "images",
                    tooltip=(
                        "The repaired or pre-restored frames that go into VAE Encode, one per frame, or one for all. "
                        "They are what the control looks at."
                    ),
                ),
                io.Float.Input(
                    "strength",
                    default=default.strength,
                    min=0.0,
                    max=STRONGEST,
                    step=0.05,
                    tooltip="How strongly it acts. 0 is off, 1 as trained; higher keeps closer to the images.",
                ),
                io.Float.Input(
                    "start_percent",
                    default=default.start,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Share of the steps at which it begins.",
                ),
                io.Float.Input(
                    "end_percent",
                    default=default.end,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Share of the steps at which it ends. Below 1 saves time and frees the last details.",
                ),
                io.Float.Input(
                    "in_damage",
                    default=default.in_damage,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip=(
                        "Factor inside the mask, where the images are a guess of the repair. 0 leaves damaged places "
                        "to the model alone, 1 treats them like the rest."
                    ),
                ),
                io.Int.Input(
                    "reuse",
                    default=default.reuse,
                    min=1,
                    max=MOST_REUSE,
                    tooltip=(
                        "Steps that one look at the images serves. 2 halves the control's time and lags one step "
                        "behind; keeps what it saw in memory, 13 MB per frame of 512×512 for DiffBIR, twice with cfg."
                    ),
                ),
                io.String.Input(
                    "over_steps",
                    default="",
                    tooltip="Factor over the steps as share:factor, such as 0:1, 0.6:1, 1:0.3. Empty: 1 throughout.",
                ),
                io.String.Input(
                    "over_frames",
                    default="",
                    tooltip="Factor over the frames as frame:factor, such as 0:1, 24:0.5. Empty: 1 in all.",
                ),
                io.Int.Input(
                    "pixel_window",
                    default=default.pixel_window,
                    min=0,
                    max=MOST_SEEN,
                    step=8,
                    tooltip=(
                        "PASD only: side of the square that each place looks at, in eighths of pixels. 0 looks at the "
                        "whole picture, as the original does; time and memory then grow with the square of the area."
                    ),
                ),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="The VAE of the model, for systems that look at latents: DiffBIR, StableSR, CoSeR.",
                ),
                io.Mask.Input("mask", optional=True, tooltip="Damage, 1 = damaged, of the images; see in_damage."),
                shots_input(),
                io.Conditioning.Input(
                    "tokens",
                    optional=True,
                    tooltip=(
                        "An embedding of the images, one for all, one per shot or one per frame: that of SeeSR's "
                        "tagger, or CoSeR's tokens of language."
                    ),
                ),
                io.Image.Input(
                    "reference",
                    optional=True,
                    tooltip=(
                        "A good picture of the scene for CoSeR, one for all frames, one per shot or one per frame. "
                        "Unconnected: the least damaged frame of each shot."
                    ),
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip=(
                        "CoSeR only: CLIP ViT-H, with which its cognitive encoder makes tokens of language of the "
                        "least damaged frame of each shot. Not needed where tokens is connected."
                    ),
                ),
                io.Latent.Input(
                    "latent",
                    optional=True,
                    tooltip=(
                        "What a control that looks at latents is to look at, in the place of the images through vae: "
                        "the latent of Pre-Restore, for a control that was trained together with its latent head."
                    ),
                ),
            ],
            outputs=[io.Model.Output("controlled", display_name="model", tooltip="For any sampler node.")],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls,
        start_percent: float | None = None,
        end_percent: float | None = None,
        over_steps: str | None = None,
        over_frames: str | None = None,
    ) -> bool | str:
        """Check what the host does not."""
        try:
            ControlSettings(
                start=start_percent or 0.0,
                end=1.0 if end_percent is None else end_percent,
                over_steps=points_of(over_steps or ""),
                over_frames=points_of(over_frames or ""),
            )
        except SettingsError as error:
            return str(error)
        return True

    @classmethod
    def execute(
        cls,
        model: Any,
        control: LoadedControl,
        images: ImageBatch,
        strength: float,
        start_percent: float,
        end_percent: float,
        in_damage: float,
        reuse: int,
        over_steps: str,
        over_frames: str,
        pixel_window: int,
        vae: Any = None,
        mask: Tensor | None = None,
        shots: Any = None,
        tokens: Any = None,
        reference: ImageBatch | None = None,
        clip_vision: Any = None,
        latent: dict[str, Any] | None = None,
    ) -> io.NodeOutput:
        """Encode what the control looks at and patch the model."""
        check_family(model, "Apply Restoration Control")
        system = control.system
        described = clip_vision is not None and system.takes_tokens != "none"
        check_needs(system, tokens=tokens is not None or described, reference=reference is not None)
        patched = with_shots(model, shots)
        settings = ControlSettings(
            strength=strength,
            start=start_percent,
            end=end_percent,
            over_steps=points_of(over_steps),
            over_frames=points_of(over_frames),
            in_damage=in_damage,
            reuse=reuse,
            pixel_window=pixel_window,
        )
        if strength == 0:
            return io.NodeOutput(patched)
        frames, masks = frames_from_image(images), mask_for(mask, images, "mask")
        spans = shots_of(shots, len(frames))
        encode = HintEncoder(vae=vae, model=model, progress=NodeProgress())
        hint = encode.hints(frames, system.hint) if latent is None else given_hints(model, latent, frames, system)
        given = first_tokens(tokens)
        if given is None:
            given = language_tokens(control, frames, clip_vision, shots=spans, masks=masks, progress=encode.progress)
        other = None if reference is None else frames_from_image(reference, "reference")
        material = ControlMaterial(
            hint=hint,
            damage=None if masks is None else damage_of(masks),
            tokens=None if given is None else for_frames(given, len(frames), spans, "embeddings"),
            reference=encode.references(system, other, hint, spans, masks),
        )
        return io.NodeOutput(with_control(patched, control, material, settings))
