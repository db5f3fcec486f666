"""A published restorer of stills, from a file."""

from comfy_api.latest import io

from ...vldm_core.files.weights import SUFFIXES
from ...vldm_core.prerestore.published import read_stage1
from ..host.models import UPSCALERS, file_state, model_files, model_path, no_such_file
from ..search import findable
from ..sockets import CATEGORY
from ..validation import one_error


@findable("upscale", "diffbir", "swinir", "bsrnet", "scunet")
class LoadStage1(io.ComfyNode):
    """File of DiffBIR's stage 1 to UPSCALE_MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VLDM_LoadStage1",
            display_name="Load Stage 1 Restorer",
            category=CATEGORY,
            description=(
                "Loads a restorer of DiffBIR's first stage: SwinIR, BSRNet or SCUNet. Unlike Load Upscale Model it "
                "takes exact files only, and repeats the border of pictures where that mirrors it."
            ),
            inputs=[
                io.Combo.Input(
                    "file",
                    options=[name for name in model_files(UPSCALERS) if name.lower().endswith(SUFFIXES)],
                    tooltip="A file in models/upscale_models, for example general_swinir_v1.ckpt.",
                )
            ],
            outputs=[
                io.UpscaleModel.Output(
                    "restorer",
                    display_name="upscale_model",
                    tooltip="For Restore With Image Model, or for ComfyUI's Upscale Image (using Model).",
                )
            ],
        )

    @classmethod
    @one_error
    def validate_inputs(cls, file: str | None = None) -> bool | str:
        """Check that the file is there, which the host does not."""
        return no_such_file(file, UPSCALERS) or True

    @classmethod
    def fingerprint_inputs(cls, file: str) -> str:
        """Load again when the file has changed."""
        return file_state(file, UPSCALERS)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        """Read the file."""
        return io.NodeOutput(read_stage1(model_path(file, UPSCALERS)))
