"""Nodes that recognise what a film shows and when it was shot, by words that CLIP compares with its key frames."""

from typing import Any

from comfy_api.latest import io

from ...vldm_core.ageing import PRESETS
from ...vldm_core.errors import SettingsError, VLDMError
from ...vldm_core.semantics.recognition.clip import SOURCE as CLIP_SOURCE
from ...vldm_core.semantics.recognition.era import EraReader, EraSettings
from ...vldm_core.semantics.recognition.features import FrameEncoder, TextEncoder
from ...vldm_core.semantics.recognition.local_models import check_folder
from ...vldm_core.semantics.recognition.tags import Tagger, TagSettings
from ...vldm_core.semantics.recognition.vocabulary import VOCABULARY, parse_vocabulary
from ...vldm_core.semantics.stages import era_lines, film_preset, key_pictures, read_eras, tag_shots
from ...vldm_core.semantics.table.sheet import kind_of_film
from ...vldm_core.semantics.table.table import ShotTable
from ..host.models import CLIPS, folder_state, model_folder, model_folders
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image, not_one_of
from ..host.semantics import checked_pair, pair_of_folder
from ..prior.temporal import era_map_of
from ..sockets import SEMANTICS_CATEGORY, TABLE_TOOLTIP
from ..sockets import ShotTable as ShotTableSocket
from ..validation import one_error

CONNECTED = "connected CLIP"
_UNLINKED = object()


def _clip_inputs() -> list[io.Input]:
    """Return the inputs by which CLIP is chosen."""
    return [
        io.Combo.Input(
            "model",
            options=[CONNECTED, *model_folders(CLIPS)],
            default=CONNECTED,
            tooltip=(
                "A folder below models/vldm_clip with a whole CLIP as transformers has it, or the connected clip and "
                "clip_vision where they were trained together."
            ),
        ),
        io.Clip.Input(
            "clip",
            optional=True,
            tooltip=(
                "connected CLIP only: a text encoder with projection, as in Stable Diffusion 2.x and XL. That of a 1.x "
                "checkpoint has none and is refused."
            ),
        ),
        io.ClipVision.Input(
            "clip_vision",
            optional=True,
            tooltip="connected CLIP only: the vision part of the same CLIP (ViT-H for Stable Diffusion 2.x).",
        ),
    ]


def _unfit(model: str | None, clip: object, clip_vision: object) -> str | None:
    """Return a message when there is no CLIP to work with."""
    if model is None:
        return None
    if model == CONNECTED:
        missing = [name for name, link in (("clip", clip), ("clip_vision", clip_vision)) if link is _UNLINKED]
        if not missing:
            return None
        return (
            f"{' and '.join(missing)} not connected: connect both, of one CLIP, or put {CLIP_SOURCE.name} from "
            f"https://huggingface.co/{CLIP_SOURCE.repository} into a folder below models/{CLIPS}, refresh and choose it"
        )
    try:
        check_folder(model_folder(model, CLIPS), CLIP_SOURCE)
    except VLDMError as error:
        return str(error)
    return None


def _encoders(model: str, clip: Any, clip_vision: Any) -> tuple[FrameEncoder, TextEncoder]:
    return checked_pair(clip, clip_vision) if model == CONNECTED else pair_of_folder(model_folder(model, CLIPS))


def _state(model: str) -> str:
    return "" if model == CONNECTED else folder_state(model, CLIPS)


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
                *_clip_inputs(),
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
        clip: object = _UNLINKED,
        clip_vision: object = _UNLINKED,
    ) -> bool | str:
        """Look for CLIP, without loading it, and read the list."""
        try:
            _words(words or "")
        except SettingsError as error:
            return str(error)
        return _unfit(model, clip, clip_vision) or True

    @classmethod
    def fingerprint_inputs(cls, model: str, **_: Any) -> str:
        """Tag again when a file of the model has changed."""
        return _state(model)

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
        frames, texts = _encoders(model, clip, clip_vision)
        tagger = Tagger(texts, _words(words), TagSettings(most=most, least=least, margin=margin))
        tagged = tag_shots(table, pictures, frames, tagger, NodeProgress())
        text = "\n".join(", ".join(described.tags) for described in tagged)
        return io.NodeOutput(tagged, text, ui={"text": (text,)})


class Era(io.ComfyNode):
    """Table and key frames to a table with era and medium."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VLDM_Era",
            display_name="Era",
            category=SEMANTICS_CATEGORY,
            description=(
                "Estimates by CLIP when and on what each shot was filmed: decade, newsreel or amateur film, silent or "
                "sound, colour process. What is not sure enough is unknown, and changes nothing."
            ),
            inputs=[
                ShotTableSocket.Input("table", tooltip=TABLE_TOOLTIP),
                io.Image.Input(
                    "images",
                    tooltip="The key frames, or all frames of the clip; colours as in the film, not the restored ones.",
                ),
                *_clip_inputs(),
                io.Float.Input(
                    "confidence",
                    default=EraSettings().least,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How sure an answer must be. Higher says unknown more often.",
                ),
                io.Combo.Input(
                    "otherwise",
                    options=list(PRESETS),
                    default="worn",
                    tooltip="The damage preset that is given where neither medium nor era is known.",
                ),
                io.String.Input(
                    "era_map",
                    default="",
                    multiline=True,
                    tooltip=(
                        "The era map of Shot LoRAs, as JSON or file name: eras then holds only what it knows. Empty: "
                        "decade and medium."
                    ),
                ),
            ],
            outputs=[
                ShotTableSocket.Output("dated", display_name="table", tooltip="The table with era and medium."),
                io.String.Output(
                    "eras", display_name="eras", tooltip="One line per shot, for the eras of Shot LoRAs, or unknown."
                ),
                io.AnyType.Output(
                    "preset",
                    display_name="preset",
                    tooltip="Damage preset of most frames, for Simulate Damage's condition.",
                ),
                io.String.Output(
                    "report", display_name="report", tooltip="All answers with their confidence, one line per shot."
                ),
            ],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls,
        model: str | None = None,
        otherwise: str | None = None,
        era_map: str | None = None,
        clip: object = _UNLINKED,
        clip_vision: object = _UNLINKED,
    ) -> bool | str:
        """Look for CLIP, without loading it, and read the era map."""
        try:
            if era_map and era_map.strip():
                era_map_of(era_map)
        except SettingsError as error:
            return str(error)
        return not_one_of("otherwise", otherwise, tuple(PRESETS)) or _unfit(model, clip, clip_vision) or True

    @classmethod
    def fingerprint_inputs(cls, model: str, era_map: str, **_: Any) -> str:
        """Read again when a file of the model or the era map has changed."""
        try:
            known = ",".join(era_map_of(era_map).eras) if era_map.strip() else ""
        except SettingsError as error:
            known = str(error)
        return f"{_state(model)};{known}"

    @classmethod
    def execute(
        cls,
        table: ShotTable,
        images: ImageBatch,
        model: str,
        confidence: float,
        otherwise: str,
        era_map: str,
        clip: Any = None,
        clip_vision: Any = None,
    ) -> io.NodeOutput:
        """Compare the key frames with descriptions of all eras."""
        pictures = key_pictures(frames_from_image(images), table)
        frames, texts = _encoders(model, clip, clip_vision)
        dated = read_eras(table, pictures, frames, EraReader(texts, EraSettings(least=confidence)), NodeProgress())
        eras = era_lines(dated, era_map_of(era_map) if era_map.strip() else None)
        report = "\n".join(f"shot {number}: {kind_of_film(row)}" for number, row in enumerate(dated, start=1))
        return io.NodeOutput(dated, eras, film_preset(dated) or otherwise, report, ui={"text": (report,)})


def _words(text: str) -> tuple[str, ...]:
    return parse_vocabulary(text) if text.strip() else VOCABULARY
