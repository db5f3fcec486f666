"""A sentence for every shot."""

from typing import Any

from comfy_api.latest import io

from ...vldm_core.errors import VLDMError
from ...vldm_core.semantics.captioners.registry import captioner_kind
from ...vldm_core.semantics.recognition.local_models import check_folder
from ...vldm_core.semantics.stages import caption_shots, key_pictures
from ...vldm_core.semantics.table.table import ShotTable
from ..host.models import CAPTIONERS, folder_state, model_folder, model_folders
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image
from ..host.semantics import managed_captioner
from ..sockets import SEMANTICS_CATEGORY, TABLE_TOOLTIP
from ..sockets import ShotTable as ShotTableSocket
from ..validation import one_error


class CaptionShots(io.ComfyNode):
    """Table and key frames to a table with captions."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VLDM_CaptionShots",
            display_name="Caption Shots",
            category=SEMANTICS_CATEGORY,
            description=(
                "Lets BLIP or Florence-2 say in a sentence what each shot shows, from its key frames. Nothing is "
                "downloaded: the model lies in a folder below models/vldm_captioners."
            ),
            inputs=[
                ShotTableSocket.Input("table", tooltip=TABLE_TOOLTIP),
                io.Image.Input(
                    "images",
                    tooltip="The key frames from Key Frames, or all frames of the clip; repaired ones tell more.",
                ),
                io.Combo.Input(
                    "captioner",
                    options=model_folders(CAPTIONERS),
                    tooltip=(
                        "Folder below models/vldm_captioners with BLIP or Florence-2 as transformers has it: config, "
                        "tokenizer and .safetensors."
                    ),
                ),
            ],
            outputs=[
                ShotTableSocket.Output("captioned", display_name="table", tooltip="The table with captions."),
                io.String.Output("captions", display_name="captions", tooltip="The captions, one line per shot."),
            ],
        )

    @classmethod
    @one_error
    def validate_inputs(cls, captioner: str | None = None) -> bool | str:
        """Look into the folder, without loading anything from it."""
        if captioner is None:
            return True
        try:
            folder = model_folder(captioner, CAPTIONERS)
            check_folder(folder, captioner_kind(folder).source)
        except VLDMError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, captioner: str, **_: Any) -> str:
        """Caption again when a file of the model has changed."""
        return folder_state(captioner, CAPTIONERS)

    @classmethod
    def execute(cls, table: ShotTable, images: ImageBatch, captioner: str) -> io.NodeOutput:
        """Caption the key frames of every shot."""
        pictures = key_pictures(frames_from_image(images), table)
        progress = NodeProgress(previews=True)
        captioned = caption_shots(table, pictures, managed_captioner(model_folder(captioner, CAPTIONERS)), progress)
        text = "\n".join(described.caption for described in captioned)
        return io.NodeOutput(captioned, text, ui={"text": (text,)})
