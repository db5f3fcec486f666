"""A published restoration control, from its files."""

from comfy_api.latest import io

from ....vldm_core.errors import VLDMError
from ....vldm_core.prior.controls.reading import find_control
from ...host.control_files import NO_FILE, control_files, control_paths, control_state
from ...host.prerestore import blocked
from ...host.prior.control_net import control_net_of
from ...host.prior.controls import load_control
from ...search import findable
from ...sockets import PRIOR_CATEGORY, Control
from ...validation import one_error


@findable("diffbir", "pasd", "seesr", "stablesr", "coser", "controlnet", "restoration", "super resolution")
class LoadRestorationControl(io.ComfyNode):
    """Files to VLDM_CONTROL and CONTROL_NET."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        files = control_files()
        return io.Schema(
            node_id="VLDM_LoadRestorationControl",
            display_name="Load Restoration Control",
            category=PRIOR_CATEGORY,
            description=(
                "Loads the control of a published restoration system for Stable Diffusion and tells from the files "
                "which it is: DiffBIR, PASD, SeeSR, StableSR or CoSeR. Shows the licence of the weights and what is "
                "missing."
            ),
            inputs=[
                io.Combo.Input(
                    "file",
                    options=files,
                    tooltip=(
                        "A file in models/vldm_control, controlnet, diffusion_models or checkpoints, or a folder below "
                        "models/vldm_control with all files of a system; folders end in /. 0.2 to 1.5 GB of memory."
                    ),
                ),
                io.Combo.Input(
                    "second_file",
                    options=[NO_FILE, *files],
                    default=NO_FILE,
                    tooltip="For systems in two files, such as ControlNet and UNet: the other one, in any order.",
                ),
            ],
            outputs=[
                Control.Output("control", display_name="control", tooltip="For Apply Restoration Control."),
                io.ControlNet.Output(
                    "control_net",
                    display_name="control_net",
                    tooltip="For ComfyUI's Apply ControlNet, with a VAE: DiffBIR only. Other systems say so there.",
                ),
                io.String.Output(
                    "system",
                    display_name="system",
                    tooltip="What the files are, for which base model, under which licence, from where.",
                ),
                Control.Output(
                    "reference_control",
                    display_name="reference_control",
                    tooltip=(
                        "CoSeR only: the same control for another Apply Restoration Control, with which a sampler "
                        "makes reference pictures of what the frames show."
                    ),
                ),
            ],
        )

    @classmethod
    @one_error
    def validate_inputs(cls, file: str | None = None, second_file: str | None = None) -> bool | str:
        """Check that the files are there and belong to a whole system; no tensor is read."""
        if file is None or second_file is None:
            return True
        try:
            return find_control(control_paths(file, second_file)).refusal() or True
        except VLDMError as error:
            return str(error)

    @classmethod
    def fingerprint_inputs(cls, file: str, second_file: str) -> str:
        """Load again when a file has changed."""
        return control_state(file, second_file)

    @classmethod
    def execute(cls, file: str, second_file: str) -> io.NodeOutput:
        """Read the files."""
        control = load_control(control_paths(file, second_file))
        report = control.found.report()
        references = control.for_references() or blocked(
            f"{control.system.name} makes no reference pictures, CoSeR does; use the control output"
        )
        return io.NodeOutput(control, control_net_of(control), report, references, ui={"text": (report,)})
