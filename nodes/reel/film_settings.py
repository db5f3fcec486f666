"""Node that keeps how a film is restored in a file, and takes it from there again."""

from typing import Any

from comfy_api.latest import io

from ...vldm_core.errors import SettingsError
from ...vldm_core.reel.restore import ReelSettings
from ...vldm_core.stages.preset import SUFFIX, read_settings, settings_text, write_settings
from ...vldm_core.stages.settings import QUALITIES
from ..effort import NORMAL, quality_input
from ..host.files import input_file, input_files, input_state
from ..host.node_run import new_file, not_one_of
from ..search import findable
from ..sockets import CATEGORY, settings_input, settings_output
from ..validation import one_error

NONE = "none"


@findable("preset", "save settings", "load settings", "profile")
class FilmSettingsNode(io.ComfyNode):
    """Settings of all stages, from a file and into a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VLDM_FilmSettings",
            display_name="Film Settings",
            category=CATEGORY,
            description=(
                "Keeps what was tuned for one film in a small file, and gives it back for Restore Reel or for the "
                "command line: restore --settings FILE."
            ),
            inputs=[
                io.Combo.Input(
                    "file",
                    options=[NONE, *input_files(SUFFIX)],
                    default=NONE,
                    tooltip="Settings in the input folder, .json, that take the place of the connected ones.",
                ),
                io.Boolean.Input("save", default=False, tooltip="Also save the settings in the output folder."),
                io.String.Input(
                    "filename_prefix",
                    default="settings/film",
                    tooltip="Where they are saved, below the output folder; the file is numbered.",
                ),
                quality_input("Level of effort to take the settings from, where neither file nor settings says them."),
                settings_input(),
            ],
            outputs=[
                settings_output(),
                io.String.Output(
                    "json", display_name="json", tooltip="The settings as text, as they stand in the file."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    @one_error
    def validate_inputs(cls, file: str | None = None, quality: str | None = None) -> bool | str:
        """Read the file, so that a wrong one is told at once."""
        try:
            if file is not None and file != NONE:
                read_settings(input_file(str(file)))
        except SettingsError as error:
            return str(error)
        return not_one_of("quality", quality, QUALITIES) or True

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: Any) -> str:
        """Read the file again when it has changed."""
        return "" if file == NONE else input_state(file)

    @classmethod
    def execute(
        cls,
        file: str,
        save: bool,
        filename_prefix: str,
        quality: str = NORMAL,
        settings: ReelSettings | None = None,
    ) -> io.NodeOutput:
        """Take the settings from where they are said, and keep them."""
        if file != NONE:
            chosen = ReelSettings(**vars(read_settings(input_file(file))))
        else:
            chosen = settings or ReelSettings.of_quality(quality)
        text = settings_text(chosen)
        if save:
            path = new_file(filename_prefix, SUFFIX, io.FolderType.output).path
            path.parent.mkdir(parents=True, exist_ok=True)
            write_settings(chosen, path)
        return io.NodeOutput(chosen, text, ui={"text": (text,)})
