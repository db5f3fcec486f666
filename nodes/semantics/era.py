"""Decade and kind of film of every shot."""

from typing import Any

from comfy_api.latest import io

from ...vldm_core.ageing import PRESETS
from ...vldm_core.errors import SettingsError
from ...vldm_core.semantics.recognition.era import EraReader, EraSettings
from ...vldm_core.semantics.stages import era_lines, film_preset, key_pictures, read_eras
from ...vldm_core.semantics.table.sheet import kind_of_film
from ...vldm_core.semantics.table.table import ShotTable
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image, not_one_of
from ..prior.shot_loras import era_map_of
from ..sockets import SEMANTICS_CATEGORY, TABLE_TOOLTIP, UNLINKED
from ..sockets import ShotTable as ShotTableSocket
from ..validation import one_error
from .clip_models import clip_inputs, clip_state, encoders, unfit


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
                *clip_inputs(),
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
        clip: object = UNLINKED,
        clip_vision: object = UNLINKED,
    ) -> bool | str:
        """Look for CLIP, without loading it, and read the era map."""
        try:
            if era_map and era_map.strip():
                era_map_of(era_map)
        except SettingsError as error:
            return str(error)
        return not_one_of("otherwise", otherwise, tuple(PRESETS)) or unfit(model, clip, clip_vision) or True

    @classmethod
    def fingerprint_inputs(cls, model: str, era_map: str, **_: Any) -> str:
        """Read again when a file of the model or the era map has changed."""
        try:
            known = ",".join(era_map_of(era_map).eras) if era_map.strip() else ""
        except SettingsError as error:
            known = str(error)
        return f"{clip_state(model)};{known}"

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
        frames, texts = encoders(model, clip, clip_vision)
        dated = read_eras(table, pictures, frames, EraReader(texts, EraSettings(least=confidence)), NodeProgress())
        eras = era_lines(dated, era_map_of(era_map) if era_map.strip() else None)
        report = "\n".join(f"shot {number}: {kind_of_film(row)}" for number, row in enumerate(dated, start=1))
        return io.NodeOutput(dated, eras, film_preset(dated) or otherwise, report, ui={"text": (report,)})
