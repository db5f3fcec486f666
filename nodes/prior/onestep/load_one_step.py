"""A published one-step restorer, from its files."""

from comfy_api.latest import io

from ....vldm_core.errors import VLDMError
from ...host.control_files import NO_FILE
from ...host.models import CHECKPOINTS, LORAS, ONE_STEP, file_state, model_files, model_path
from ...host.prior.onestep.clips import load_one_step
from ...search import findable
from ...sockets import PRIOR_CATEGORY, OneStep
from ...validation import one_error

_FOLDERS = (ONE_STEP, LORAS, CHECKPOINTS)


@findable("osediff", "pisa-sr", "s3diff", "hypir", "dloral", "one step", "restoration", "super resolution")
class LoadOneStepRestorer(io.ComfyNode):
    """Files to VLDM_ONE_STEP."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        files = model_files(*_FOLDERS)
        return io.Schema(
            node_id="VLDM_LoadOneStepRestorer",
            display_name="Load One-Step Restorer",
            category=PRIOR_CATEGORY,
            description=(
                "Loads a published restorer that needs a single step on Stable Diffusion 2.1-base and tells from the "
                "file which it is: OSEDiff, PiSA-SR, S3Diff, HYPIR or DLoRAL. Shows the licence of the weights, and "
                "refuses files whose scale is not known."
            ),
            inputs=[
                io.Combo.Input(
                    "file",
                    options=files,
                    tooltip=(
                        "The published file, in models/vldm_onestep, loras or checkpoints: osediff.pkl, pisa_sr.pkl, "
                        "s3diff.pkl, HYPIR_sd2.pth or DLoRAL's model.pkl. 20 MB to 3.5 GB of memory."
                    ),
                ),
                io.Combo.Input(
                    "second_file",
                    options=[NO_FILE, *files],
                    default=NO_FILE,
                    tooltip="S3Diff only: de_net.pth, which measures the damage of every shot.",
                ),
            ],
            outputs=[
                OneStep.Output("one_step", display_name="one_step", tooltip="For Restore in One Step."),
                io.String.Output(
                    "system",
                    display_name="system",
                    tooltip="What the file is, for which base model, under which licence, from where.",
                ),
                io.String.Output(
                    "prompt",
                    display_name="prompt",
                    tooltip="The text that its program gives every picture, for CLIP Text Encode; mostly empty.",
                ),
                io.String.Output(
                    "negative",
                    display_name="negative",
                    tooltip="What the picture shall not show, for CLIP Text Encode; only S3Diff reads it.",
                ),
            ],
        )

    @classmethod
    @one_error
    def validate_inputs(cls, file: str | None = None, second_file: str | None = None) -> bool | str:
        """Check that the files are there; no tensor is read."""
        try:
            for name in (file, second_file):
                if name is not None and name != NO_FILE:
                    model_path(name, *_FOLDERS)
        except VLDMError as error:
            return str(error)
        if file is not None and file == second_file:
            return f"{file} is chosen twice; choose its other file, or {NO_FILE}"
        return True

    @classmethod
    def fingerprint_inputs(cls, file: str, second_file: str) -> str:
        """Load again when a file has changed."""
        return ";".join(file_state(name, *_FOLDERS) for name in (file, second_file) if name != NO_FILE)

    @classmethod
    def execute(cls, file: str, second_file: str) -> io.NodeOutput:
        """Read the files."""
        loaded = load_one_step([model_path(name, *_FOLDERS) for name in (file, second_file) if name != NO_FILE])
        known = loaded.system.format
        return io.NodeOutput(loaded, loaded.about, known.prompt, known.negative, ui={"text": (loaded.about,)})
