"""A pull towards the pre-restored picture while sampling."""

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.sampling.consistency import ConsistencySettings
from ...vldm_core.sampling.guidance import GuidanceSettings
from ...vldm_core.sampling.noise.clip_noise import VideoNoiseSettings
from ...vldm_core.sampling.propagation import PropagationSettings
from ...vldm_core.sampling.restoration import Material, Restoration, RestorationSettings
from ..host.node_run import ImageBatch, NodeProgress, not_one_of
from ..host.prior.attachments import check_family, with_shots, with_transform
from ..host.prior.sampler import clip_latent, gradient_decoder, scaled, schedule_of
from ..sockets import PRIOR_CATEGORY
from ..validation import one_error
from .inputs import frames_of, mask_of, shots_input

SPACES = ("latent", "rgb")
WEIGHTINGS = ("mse", "edges")


class RestorationGuidanceNode(io.ComfyNode):
    """MODEL whose sampling stays faithful to a clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        guidance, consistency, propagation = GuidanceSettings(), ConsistencySettings(), PropagationSettings()
        return io.Schema(
            node_id="VLDM_RestorationGuidance",
            display_name="Restoration Guidance",
            category=PRIOR_CATEGORY,
            description=(
                "Holds any sampler to the film: pulls every step towards the pre-restored frames, keeps what was not "
                "damaged, and joins frames along their motion. Works with windows and tiles."
            ),
            inputs=[
                io.Model.Input("model", tooltip="A Stable Diffusion 1.x, 2.x or XL model, patched or not."),
                io.Latent.Input(
                    "latent", tooltip="The pre-restored clip from VAE Encode; what the sampler starts from."
                ),
                io.Float.Input(
                    "scale",
                    default=guidance.scale,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="Pull towards the pre-restored clip. 0 is off; higher leaves less to the model.",
                ),
                io.Combo.Input(
                    "weighting",
                    options=list(WEIGHTINGS),
                    default="mse",
                    tooltip="mse: everywhere alike. edges: less where there is texture; needs images.",
                ),
                io.Combo.Input(
                    "space",
                    options=list(SPACES),
                    default=guidance.space,
                    tooltip=(
                        "Where the difference is measured. latent costs nothing; rgb decodes every frame with gradient "
                        "in every step, needs images and vae, and takes several times as long."
                    ),
                ),
                io.Float.Input(
                    "start",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Share of the schedule at which the pull begins.",
                ),
                io.Float.Input(
                    "end",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Share of the schedule at which the pull ends. Below 1 the model may add fine detail.",
                ),
                io.Float.Input(
                    "keep_undamaged",
                    default=consistency.strength,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How strictly the picture outside the damage mask is kept. Acts only with a mask.",
                ),
                io.Float.Input(
                    "propagation",
                    default=propagation.blend,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Share of the neighbouring frame, moved along the motion, late on. Needs images.",
                ),
                io.Image.Input(
                    "images", optional=True, tooltip="The frames that went into VAE Encode: for motion, edges and rgb."
                ),
                io.Mask.Input("mask", optional=True, tooltip="Damage, 1 = damaged, of the size of the images."),
                io.Vae.Input("vae", optional=True, tooltip="Only for space rgb."),
                shots_input(),
            ],
            outputs=[io.Model.Output("guided", display_name="model", tooltip="For any sampler node.")],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls,
        weighting: str | None = None,
        space: str | None = None,
        start: float | None = None,
        end: float | None = None,
    ) -> bool | str:
        """Check what the host does not."""
        if start is not None and end is not None and end < start:
            return f"end is {end} and start {start}; the end is not before the start"
        return not_one_of("weighting", weighting, WEIGHTINGS) or not_one_of("space", space, SPACES) or True

    @classmethod
    def execute(
        cls,
        model: Any,
        latent: dict[str, Any],
        scale: float,
        weighting: str,
        space: str,
        start: float,
        end: float,
        keep_undamaged: float,
        propagation: float,
        images: ImageBatch | None = None,
        mask: Tensor | None = None,
        vae: Any = None,
        shots: Any = None,
    ) -> io.NodeOutput:
        """Prepare the transforms and patch the model."""
        samples = clip_latent(model, latent)
        frames = frames_of(images, samples)
        check_family(model, "Restoration Guidance")
        schedule = schedule_of(model)
        settings = RestorationSettings(
            windows=None,
            noise=VideoNoiseSettings(),
            guidance=GuidanceSettings(
                scale=scale,
                space=space,  # type: ignore[arg-type]
                weighting=weighting,  # type: ignore[arg-type]
                start=start,
                end=end,
            ),
            consistency=ConsistencySettings(strength=keep_undamaged, end=end),
            propagation=PropagationSettings(blend=propagation) if frames is not None else None,
        )
        material = Material(
            latent=scaled(model, samples),
            frames=frames,
            masks=mask_of(mask, images),
            shots=shots,
        )
        decode = gradient_decoder(vae, model) if vae is not None and space == "rgb" and scale > 0 else None
        restoration = Restoration(settings, material, schedule, seed=0, decode=decode, progress=NodeProgress())
        patched = with_shots(model, shots)
        for transform in restoration.transforms:
            patched = with_transform(patched, transform)
        return io.NodeOutput(patched)
