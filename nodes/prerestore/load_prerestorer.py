"""The pre-restoration network, from a file."""

from comfy_api.latest import io

from ...vldm_core.errors import VLDMError
from ...vldm_core.prerestore.network import KIND
from ...vldm_core.prerestore.shipped import SHIPPED
from ..host.models import PRERESTORE, file_state, model_files, model_path
from ..host.prerestore import prerestorer_model
from ..search import findable
from ..sockets import CATEGORY, PreRestorer
from ..validation import one_error

_SHIPPED = "shipped"


@findable("denoise", "deblur", "film restoration")
class LoadPreRestorer(io.ComfyNode):
    """File to pre-restorer."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VLDM_LoadPreRestorer",
            display_name="Load Pre-Restorer",
            category=CATEGORY,
            description=(
                "Loads a network for Pre-Restore and Restore Reel: the small one that ships with the pack, or one that "
                "you trained with the command line."
            ),
            inputs=[
                io.Combo.Input(
                    "file",
                    options=[_SHIPPED, *model_files(PRERESTORE)],
                    default=_SHIPPED,
                    tooltip="shipped: the network of this pack. Others: .safetensors files in models/vldm_prerestore.",
                )
            ],
            outputs=[PreRestorer.Output("prerestorer", display_name="prerestorer", tooltip="For Pre-Restore.")],
        )

    @classmethod
    @one_error
    def validate_inputs(cls, file: str | None = None) -> bool | str:
        """Look at the header of the file, so that a wrong one is refused before anything runs."""
        if file is None or file == _SHIPPED:
            return True
        try:
            KIND.check(model_path(file, PRERESTORE))
        except VLDMError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, file: str) -> str:
        """Load again when the file has changed."""
        return "" if file == _SHIPPED else file_state(file, PRERESTORE)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        """Read the file."""
        return io.NodeOutput(prerestorer_model(SHIPPED if file == _SHIPPED else model_path(file, PRERESTORE)))
