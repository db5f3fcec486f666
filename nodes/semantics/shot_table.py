"""Node in which a person reads, edits, loads and saves the table of shots."""

from typing import Any

from comfy_api.latest import io, ui

from ...vldm_core.errors import SettingsError
from ...vldm_core.semantics.stages import key_pictures
from ...vldm_core.semantics.table.automatic import refreshed, with_records
from ...vldm_core.semantics.table.sheet import draw_sheet
from ...vldm_core.semantics.table.table import ShotTable
from ...vldm_core.semantics.table.table_edit import edited_table
from ...vldm_core.semantics.table.table_files import read_table, write_table
from ..host.files import input_file, input_files, input_state
from ..host.node_run import ImageBatch, frames_from_image, image_from_frames, new_file, not_one_of
from ..sockets import SEMANTICS_CATEGORY, UNLINKED, Shots
from ..sockets import ShotTable as ShotTableSocket
from ..validation import one_error

NONE = "none"
_SUFFIXES = (".json", ".csv")
_EXPORTS = (NONE, "json", "csv")


class ShotTableNode(io.ComfyNode):
    """Table to table, by hand."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VLDM_ShotTable",
            display_name="Shot Table",
            category=SEMANTICS_CATEGORY,
            description=(
                "Shows the table of shots as a picture, saves it, and takes it back edited: from a file, or from text "
                "written here. So a person has the last word on every prompt."
            ),
            inputs=[
                io.Combo.Input(
                    "file",
                    options=[NONE, *input_files(*_SUFFIXES)],
                    default=NONE,
                    tooltip="A table in the input folder, .json or .csv, that takes the place of the connected one.",
                ),
                io.String.Input(
                    "text",
                    default="",
                    multiline=True,
                    tooltip=(
                        "Prompts, one line per shot or one for all; an empty line changes nothing. Or a whole table as "
                        "JSON or CSV. Counts after file."
                    ),
                ),
                io.Combo.Input(
                    "export", options=list(_EXPORTS), default=NONE, tooltip="Also save the table in the output folder."
                ),
                io.String.Input(
                    "filename_prefix",
                    default="shots/table",
                    tooltip="Where it is saved, below the output folder; it is numbered.",
                ),
                ShotTableSocket.Input(
                    "table",
                    optional=True,
                    tooltip="From another of these nodes. A file or text must be of the same shots.",
                ),
                io.Image.Input(
                    "images",
                    optional=True,
                    tooltip="Key frames, or all frames of the clip, to be shown. Unconnected: empty boxes.",
                ),
            ],
            outputs=[
                ShotTableSocket.Output("edited", display_name="table", tooltip="For Shot Conditioning."),
                Shots.Output("shots", display_name="shots", tooltip="The shots of the table, for the other nodes."),
                io.Image.Output("picture", display_name="picture", tooltip="The table as a picture, page by page."),
                io.String.Output("json", display_name="json", tooltip="The table as text, to be edited elsewhere."),
            ],
            is_output_node=True,
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls,
        file: str | None = None,
        text: str | None = None,
        export: str | None = None,
        table: object = UNLINKED,
    ) -> bool | str:
        """Read file and text, as far as that is possible without the table."""
        try:
            written = file is not None and file != NONE
            if written:
                read_table(input_file(str(file)))
            if table is UNLINKED and not written and text is not None:
                if not text.strip():
                    return "there is no table; connect one, choose a file, or write one as text"
                edited_table(text)
        except SettingsError as error:
            return str(error)
        return not_one_of("export", export, _EXPORTS) or True

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: Any) -> str:
        """Read the file again when it has changed."""
        return "" if file == NONE else input_state(file)

    @classmethod
    def execute(
        cls,
        file: str,
        text: str,
        export: str,
        filename_prefix: str,
        table: ShotTable | None = None,
        images: ImageBatch | None = None,
    ) -> io.NodeOutput:
        """Take over what was edited, save and draw."""
        found = table
        if file != NONE:
            found = read_table(input_file(file))
            if table is not None:
                found.check(table.shots, table.frames)
                found = refreshed(with_records(found, table))
        if text.strip():
            found = edited_table(text, found)
        if found is None:
            raise SettingsError("there is no table; connect one, choose a file, or write one as text")
        if export != NONE:
            path = new_file(filename_prefix, f".{export}", io.FolderType.output).path
            path.parent.mkdir(parents=True, exist_ok=True)
            write_table(found, path)
        picture = image_from_frames(draw_sheet(found, _pictures(found, images)))
        as_text = found.to_json()
        return io.NodeOutput(
            found, found.shots, picture, as_text, ui=ui.PreviewImage(picture).as_dict() | {"text": (as_text,)}
        )


def _pictures(table: ShotTable, images: ImageBatch | None) -> dict[int, Any]:
    """Return the key frames by their number in the film."""
    if images is None:
        return {}
    shown = key_pictures(frames_from_image(images), table)
    return {
        frame: picture
        for described, pictures in zip(table, shown, strict=True)
        for frame, picture in zip(described.key_frames, pictures, strict=True)
    }
