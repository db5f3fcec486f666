"""The few frames that stand for a shot."""

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.semantics.describe import DescribeSettings, describe_shots
from ...vldm_core.semantics.key_frames import KeyFrameSettings
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image, image_from_frames, mask_for, shown
from ..host.semantics import latent_encoder, vision_encoder
from ..sockets import IMAGES_TOOLTIP, SEMANTICS_CATEGORY, Shots
from ..sockets import ShotTable as ShotTableSocket


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
