"""Node that turns the table of shots into the prior's conditioning."""

from typing import Any

from comfy_api.latest import io

from ...vldm_core.errors import SettingsError
from ...vldm_core.semantics.prompts.prompt_text import written_prompts
from ...vldm_core.semantics.prompts.prompts import TEMPLATES
from ...vldm_core.semantics.table.table import ShotTable
from ..host.node_run import NodeProgress, not_one_of
from ..host.prior.conditioning import (
    Conditioning,
    encode_prompts,
    pictures_of_shots,
    scheduled,
    scheduled_by_entry,
    with_picture_embeddings,
    with_picture_tokens,
)
from ..sockets import SEMANTICS_CATEGORY, UNLINKED
from ..sockets import ShotTable as ShotTableSocket
from ..validation import one_error

_NO_PICTURES = "style_model needs pictures; connect CLIP Vision Encode of the key frames as clip_vision_output"


class ShotConditioning(io.ComfyNode):
    """Table and CLIP to CONDITIONING, one prompt per shot."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VLDM_ShotConditioning",
            display_name="Shot Conditioning",
            category=SEMANTICS_CATEGORY,
            description=(
                "Tells the model what every shot shows. All frames of a shot get the very same conditioning, which "
                "changes exactly at the cuts and follows its frames through windows and tiles."
            ),
            inputs=[
                io.Clip.Input(
                    "clip", tooltip="Text encoder of the checkpoint. Every different prompt is encoded once."
                ),
                ShotTableSocket.Input(
                    "table", tooltip="From Key Frames, Caption Shots, Tag Shots, Era or Shot Table, of the same clip."
                ),
                io.Combo.Input(
                    "template",
                    options=list(TEMPLATES),
                    default="plain",
                    tooltip=(
                        "How captions and tags become prompts: plain as they are, or with the words that DiffBIR, PASD "
                        "or SeeSR add. Prompts written in the table are taken as they are."
                    ),
                ),
                io.String.Input(
                    "before", default="", multiline=True, tooltip="Written before what each shot shows. May be empty."
                ),
                io.String.Input(
                    "after",
                    default="film still, natural light, sharp, fine detail",
                    multiline=True,
                    tooltip="Written after what each shot shows; the whole prompt where nothing is known of a shot.",
                ),
                io.String.Input(
                    "negative",
                    default="blurry, oversmoothed, painting, drawing, noise, scratches, dust, text, watermark",
                    multiline=True,
                    tooltip="What no shot is to show, after what the table and the template say.",
                ),
                io.ClipVisionOutput.Input(
                    "clip_vision_output",
                    optional=True,
                    tooltip=(
                        "CLIP Vision Encode of the key frames, for models that take pictures: unCLIP, or any with a "
                        "style model. Leave it out for others."
                    ),
                ),
                io.StyleModel.Input(
                    "style_model",
                    optional=True,
                    tooltip="Makes tokens of the pictures and adds them to the prompts; needs clip_vision_output.",
                ),
                io.Float.Input(
                    "picture_strength",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    optional=True,
                    tooltip="How much the pictures count beside the text. 0 leaves them out.",
                ),
                io.Float.Input(
                    "noise_augmentation",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    optional=True,
                    tooltip="unCLIP only: noise on the pictures' embedding. Lower keeps closer to the picture.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    "positive", display_name="positive", tooltip="What to show: for the sampler's positive."
                ),
                io.Conditioning.Output(
                    "negatives", display_name="negative", tooltip="What not to show: for the sampler's negative."
                ),
                io.String.Output(
                    "prompts", display_name="prompts", tooltip="The prompt of every shot, one line per shot."
                ),
            ],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls, template: str | None = None, style_model: object = UNLINKED, clip_vision_output: object = UNLINKED
    ) -> bool | str:
        """Check what the host does not."""
        if style_model is not UNLINKED and clip_vision_output is UNLINKED:
            return _NO_PICTURES
        return not_one_of("template", template, tuple(TEMPLATES)) or True

    @classmethod
    def execute(
        cls,
        clip: Any,
        table: ShotTable,
        template: str,
        before: str,
        after: str,
        negative: str,
        clip_vision_output: Any = None,
        style_model: Any = None,
        picture_strength: float = 1.0,
        noise_augmentation: float = 0.0,
    ) -> io.NodeOutput:
        """Write the prompts, encode each once, lay them over the frames."""
        if style_model is not None and clip_vision_output is None:
            raise SettingsError(_NO_PICTURES)
        written = written_prompts(table, template, before=before, after=after, negative=negative)
        progress = NodeProgress(phases=2)
        shown = encode_prompts(clip, [shot.prompt for shot in written], "encode prompts", progress)
        hidden = encode_prompts(clip, [shot.negative for shot in written], "encode negative prompts", progress)
        positive: Conditioning
        if clip_vision_output is None or picture_strength == 0:
            positive = scheduled(shown, table.shots)
        else:
            counts = [len(described.key_frames) for described in table]
            pictures = pictures_of_shots(clip_vision_output, counts)
            if style_model is not None:
                with_tokens = with_picture_tokens(shown, style_model, pictures, picture_strength)
                positive = scheduled(with_tokens, table.shots)
            else:
                embedded = with_picture_embeddings(shown, pictures, picture_strength, noise_augmentation)
                positive = scheduled_by_entry(embedded, table.shots)
        text = "\n".join(" ".join(shot.prompt.split()) for shot in written)
        return io.NodeOutput(positive, scheduled(hidden, table.shots), text, ui={"text": (text,)})
