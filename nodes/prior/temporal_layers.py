"""Temporal layers for a model of stills."""

from typing import Any

from comfy_api.latest import io

from ...vldm_core.files.weights import read_header
from ...vldm_core.prior.attachment import Attachment
from ...vldm_core.prior.temporal.animatediff import MotionModuleSettings
from ...vldm_core.prior.temporal.animatediff_files import read_motion_modules
from ...vldm_core.prior.temporal.attention import AttentionWindows
from ...vldm_core.prior.temporal.files import METADATA_KEY, read_temporal_layers
from ...vldm_core.sampling.schedule import NoiseSchedule
from ..host.models import MOTION, TEMPORAL, file_state, model_files, model_path, no_such_file
from ..host.node_run import not_one_of
from ..host.prior.attachments import check_family, view_of, with_attachment, with_schedule, with_shots
from ..sockets import PRIOR_CATEGORY
from ..validation import one_error
from .inputs import shots_input

_SCHEDULES = ("auto", "model", "linear")


class ApplyTemporalLayers(io.ComfyNode):
    """MODEL with temporal layers or motion modules."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        windows = AttentionWindows()
        return io.Schema(
            node_id="VLDM_ApplyTemporalLayers",
            display_name="Apply Temporal Layers",
            category=PRIOR_CATEGORY,
            description=(
                "Makes an image model a video model: temporal layers of this pack, or AnimateDiff motion modules of "
                "version 1, 2 or 3. LoRA loaders, samplers and other patches go on working on the model."
            ),
            inputs=[
                io.Model.Input("model", tooltip="A Stable Diffusion 1.x or 2.x model; motion modules need 1.x."),
                io.Combo.Input(
                    "file",
                    options=model_files(TEMPORAL, MOTION),
                    tooltip="A file in models/vldm_temporal or models/animatediff_models.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    tooltip="Factor on what the layers add. 0 is off, 1 as trained; lower holds frames together less.",
                ),
                io.Int.Input(
                    "attention_window",
                    default=windows.length,
                    min=0,
                    max=1024,
                    tooltip=(
                        "Longer shots attend in windows of so many frames inside the layers, at almost no cost. 0 "
                        "attends over a whole shot, which motion modules do up to 24 (version 1) or 32 frames."
                    ),
                ),
                io.Int.Input(
                    "attention_stride",
                    default=windows.stride,
                    min=1,
                    max=1023,
                    tooltip="Frames from one attention window to the next. Lower joins windows more smoothly.",
                ),
                io.Combo.Input(
                    "schedule",
                    options=list(_SCHEDULES),
                    default=_SCHEDULES[0],
                    tooltip=(
                        "Noise schedule. auto: linear for motion modules, which were trained with it, and the model's "
                        "own otherwise. model: the model's own. linear: betas that rise linearly."
                    ),
                ),
                shots_input(),
            ],
            outputs=[io.Model.Output("temporal", display_name="model", tooltip="For any sampler node.")],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls,
        file: str | None = None,
        schedule: str | None = None,
        attention_window: int | None = None,
        attention_stride: int | None = None,
    ) -> bool | str:
        """Check what the host does not."""
        if attention_window and attention_stride is not None and attention_stride >= attention_window:
            return f"attention_stride is {attention_stride}; use less than attention_window, {attention_window}"
        return no_such_file(file, TEMPORAL, MOTION) or not_one_of("schedule", schedule, _SCHEDULES) or True

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: Any) -> str:
        """Load again when the file has changed."""
        return file_state(file, TEMPORAL, MOTION)

    @classmethod
    def execute(
        cls,
        model: Any,
        file: str,
        strength: float,
        attention_window: int,
        attention_stride: int,
        schedule: str,
        shots: Any = None,
    ) -> io.NodeOutput:
        """Read the file and patch the model."""
        path = model_path(file, TEMPORAL, MOTION)
        windows = AttentionWindows(length=attention_window, stride=attention_stride) if attention_window else None
        check_family(model, "Apply Temporal Layers")
        view = view_of(model)
        patched = with_shots(model, shots)
        ours = path.suffix.lower() == ".safetensors" and METADATA_KEY in read_header(path).metadata
        attachment: Attachment
        if ours:
            attachment = read_temporal_layers(path, view, windows=windows, strength=strength)
        else:
            attachment = read_motion_modules(path, MotionModuleSettings(strength=strength, windows=windows))
        patched = with_attachment(patched, attachment, "temporal" if ours else "motion")
        if schedule == "linear" or (schedule == "auto" and attachment.linear_schedule):
            patched = with_schedule(patched, NoiseSchedule.stable_diffusion("linear"))
        return io.NodeOutput(patched)
