"""Words of a list that fit a shot."""

from typing import Any

from comfy_api.latest import io

from ...vldm_core.errors import SettingsError
from ...vldm_core.semantics.recognition.tags import Tagger, TagSettings
from ...vldm_core.semantics.recognition.vocabulary import VOCABULARY, parse_vocabulary
from ...vldm_core.semantics.stages import key_pictures, tag_shots
from ...vldm_core.semantics.table.table import ShotTable
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image
from ..sockets import SEMANTICS_CATEGORY, TABLE_TOOLTIP, UNLINKED
from ..sockets import ShotTable as ShotTableSocket
from ..validation import one_error
from .clip_models import clip_inputs, clip_state, encoders, unfit


class TagShots(io.ComfyNode):
    """Table and key frames to a table with tags."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        default = TagSettings()
        return io.Schema(
            node_id="VLDM_TagShots",
            display_name="Tag Shots",
            category=SEMANTICS_CATEGORY,
            description=(
                "Picks from a list the words that fit what each shot shows, by CLIP, without a captioner: people, "
                "streets, trains, animals and what else old films are full of, or words of your own."
            ),
            inputs=[
                ShotTableSocket.Input("table", tooltip=TABLE_TOOLTIP),
                io.Image.Input("images", tooltip="The key frames from Key Frames, or all frames of the clip."),
                *clip_inputs(),
                io.Int.Input(
                    "most", default=default.most, min=1, max=100, tooltip="Most tags of a shot, the surest first."
                ),
                io.Float.Input(
                    "least",
                    default=default.least,
                    min=0.0,
                    max=1.0,
                    step=0.005,
                    tooltip="Least probability of a tag among all words. Higher gives fewer and surer tags.",
                ),
                io.Float.Input(
                    "margin",
                    default=default.margin,
                    min=0.0,
                    max=1.0,
                    step=0.005,
                    tooltip="By how much a tag must fit better than the middle word. Higher keeps doubtful ones away.",
                ),
                io.String.Input(
                    "words",
                    default="",
                    multiline=True,
                    tooltip="Words to choose among, one per line, with article (a horse). Empty: the built-in list.",
                ),
            ],
            outputs=[
                ShotTableSocket.Output("tagged", display_name="table", tooltip="The table with tags."),
                io.String.Output("tags", display_name="tags", tooltip="The tags, one line per shot."),
            ],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls,
        model: str | None = None,
        words: str | None = None,
        clip: object = UNLINKED,
        clip_vision: object = UNLINKED,
    ) -> bool | str:
        """Look for CLIP, without loading it, and read the list."""
        try:
            _words(words or "")
        except SettingsError as error:
            return str(error)
        return unfit(model, clip, clip_vision) or True

    @classmethod
    def fingerprint_inputs(cls, model: str, **_: Any) -> str:
        """Tag again when a file of the model has changed."""
        return clip_state(model)

    @classmethod
    def execute(
        cls,
        table: ShotTable,
        images: ImageBatch,
        model: str,
        most: int,
        least: float,
        margin: float,
        words: str,
        clip: Any = None,
        clip_vision: Any = None,
    ) -> io.NodeOutput:
        """Compare the key frames with all words."""
        pictures = key_pictures(frames_from_image(images), table)
        frames, texts = encoders(model, clip, clip_vision)
        tagger = Tagger(texts, _words(words), TagSettings(most=most, least=least, margin=margin))
        tagged = tag_shots(table, pictures, frames, tagger, NodeProgress())
        text = "\n".join(", ".join(described.tags) for described in tagged)
        return io.NodeOutput(tagged, text, ui={"text": (text,)})


def _words(text: str) -> tuple[str, ...]:
    return parse_vocabulary(text) if text.strip() else VOCABULARY
