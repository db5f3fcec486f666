"""Nodes that choose a film's key frames and caption its shots."""

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.errors import VLDMError
from ...vldm_core.semantics.captioners.registry import captioner_kind
from ...vldm_core.semantics.describe import DescribeSettings, describe_shots
from ...vldm_core.semantics.key_frames import KeyFrameSettings
from ...vldm_core.semantics.recognition.local_models import check_folder
from ...vldm_core.semantics.stages import caption_shots, key_pictures
from ...vldm_core.semantics.table.table import ShotTable
from ..host.models import CAPTIONERS, folder_state, model_folder, model_folders
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image, image_from_frames, mask_for, shown
from ..host.semantics import latent_encoder, managed_captioner, vision_encoder
from ..sockets import IMAGES_TOOLTIP, SEMANTICS_CATEGORY, TABLE_TOOLTIP, Shots
from ..sockets import ShotTable as ShotTableSocket
from ..validation import one_error


class KeyFrames(io.ComfyNode):
    """IMAGE and shots to the table of shots, with the key frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        default = KeyFrameSettings()
        return io.Schema(
            node_id="VLDM_KeyFrames",
            display_name="Key Frames",
            category=SEMANTICS_CATEGORY,
            description=(
                "Chooses the few frames that stand for each shot: one for a still scene, more where it changes, the "
                "least damaged where there is a choice. Captions, tags and era are read from these alone."
            ),
            inputs=[
                io.Image.Input("images", tooltip=f"{IMAGES_TOOLTIP} Repaired ones show more."),
                io.Int.Input(
                    "most",
                    default=default.most,
                    min=1,
                    max=64,
                    tooltip="Most key frames of a shot. More tell more of a long shot and cost a caption each.",
                ),
                io.Float.Input(
                    "change",
                    default=default.change,
                    min=0.0,
                    max=2.0,
                    step=0.01,
                    tooltip="How unlike the rest a part of a shot must be to get a key frame. Lower gives more.",
                ),
                Shots.Input(
                    "shots", optional=True, tooltip="From Detect Shots, on the same frames. Unconnected: one shot."
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Damage, 1 = damaged, of the size of the images: damaged frames are passed over.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="Compares frames by what they show. Best, and fast on a graphics card.",
                ),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="Compares frames by their latents; not used where clip_vision is connected.",
                ),
            ],
            outputs=[
                ShotTableSocket.Output("table", display_name="table", tooltip="Shots and key frames, for the others."),
                io.Image.Output(
                    "key_frames", display_name="key frames", tooltip="The key frames of all shots in order, one batch."
                ),
                io.String.Output(
                    "report", display_name="report", tooltip="Numbers of the key frames, one line per shot."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        images: ImageBatch,
        most: int,
        change: float,
        shots: Any = None,
        mask: Tensor | None = None,
        clip_vision: Any = None,
        vae: Any = None,
    ) -> io.NodeOutput:
        """Compare the frames of every shot and choose."""
        frames = frames_from_image(images)
        encoder = None
        if clip_vision is not None:
            encoder = vision_encoder(clip_vision)
        elif vae is not None:
            encoder = latent_encoder(vae)
        table = describe_shots(
            frames,
            shots,
            encoder=encoder,
            masks=mask_for(mask, images, "mask"),
            settings=DescribeSettings(key_frames=KeyFrameSettings(most=most, change=change)),
            progress=NodeProgress(),
        )
        chosen = [frame for described in table for frame in described.key_frames]
        key_frames = image_from_frames(frames[chosen])
        report = "\n".join(
            f"shot {number}: frames {described.first} to {described.last - 1}, key frames "
            + ", ".join(map(str, described.key_frames))
            for number, described in enumerate(table, start=1)
        )
        return io.NodeOutput(table, key_frames, report, ui=shown(key_frames).as_dict() | {"text": (report,)})


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
