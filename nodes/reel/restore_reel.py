"""Node that restores a whole film from file to file, at memory that does not grow with the film."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import PurePath
from typing import Any, get_args

from comfy_api.latest import Input, io, ui
from torch import Tensor

from ...vldm_core.errors import SettingsError
from ...vldm_core.film.dirt.detection import Detector, DirtSettings
from ...vldm_core.film.fill.repair import DirtRepairSettings
from ...vldm_core.film.flicker.removal import FlickerSettings
from ...vldm_core.film.scratches.detection import ScratchSettings
from ...vldm_core.film.weave.stabilise import StabiliseSettings
from ...vldm_core.prerestore.shipped import SHIPPED, PreRestoration
from ...vldm_core.reel.cost import pass_costs
from ...vldm_core.reel.restore import ReelReport, ReelSettings, restore_film
from ...vldm_core.video.reading.reader import Deinterlace, ReadSettings
from ...vldm_core.video.writing.writer import WriteSettings
from ...vldm_core.wording import counted
from ..film.remove_flicker import flash_input
from ..host.node_run import NewFile, NodeProgress, mask_file, new_file, not_one_of, video_from_file
from ..host.prerestore import on_card, on_device, prerestorer_model
from ..host.video import film_source
from ..prerestore.pre_restore import strength_inputs
from ..search import findable
from ..sockets import CATEGORY, UNLINKED, FilmSettings, PreRestorer
from ..validation import one_error

_DETECTORS = get_args(Detector)
_SUFFIXES = {"h264": ".mp4", "h265": ".mp4", "ffv1": ".mkv"}
_FOLDERS = ("temp", "output")
_FIELD_ORDERS: dict[str, Deinterlace] = {"auto": "auto", "top": "tff", "bottom": "bff", "off": "off"}
# Others give an error or a black picture in the place of the film, in one browser or another.
_PLAYED_BY_BROWSERS = ("h264",)
_NOTHING_TO_DO = "dirt, scratches, flicker, stabilise and prerestore are all off; switch at least one on"


@findable("scratch", "dust", "dirt", "film", "old film", "film restoration", "clean", "deflicker", "movie")
class RestoreReel(io.ComfyNode):
    """VIDEO in, VIDEO out, streamed."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VLDM_RestoreReel",
            display_name="Restore Reel (old film)",
            category=CATEGORY,
            description=(
                "Restores a film of any length, from file to file: line scratches, dirt, flicker, blur and noise, gate "
                "weave. Holds a few dozen frames at a time and keeps frame rate, timestamps, colour tags and sound."
            ),
            inputs=[
                io.Video.Input(
                    "video",
                    tooltip=(
                        "The film. From Load Video it is streamed from its file, trimmed, cropped or joined too; one "
                        "that was made or resized in the graph is stored first."
                    ),
                ),
                io.Boolean.Input("dirt", default=True, tooltip="Find and fill dirt, dust, hair and blotches."),
                io.Boolean.Input(
                    "scratches", default=True, tooltip="Find and repair scratches that stay over many frames."
                ),
                io.Boolean.Input(
                    "flicker",
                    default=True,
                    tooltip="Even out brightness from frame to frame; fades, slow changes and flashes stay.",
                ),
                io.Boolean.Input(
                    "stabilise",
                    default=False,
                    tooltip=(
                        "Take gate weave out; camera moves stay. Resamples every frame, so leave it off where not "
                        "needed."
                    ),
                ),
                io.Combo.Input(
                    "codec",
                    options=list(_SUFFIXES),
                    default="h264",
                    tooltip=(
                        "h264 and h265 make an .mp4. ffv1 makes an .mkv without any loss, about ten times as large; "
                        "unchanged pixels stay bit-equal. Save Video makes a lossy .mp4 of it, or refuses it: save "
                        "ffv1 in output."
                    ),
                ),
                io.Int.Input(
                    "quality",
                    default=16,
                    min=0,
                    max=51,
                    tooltip=(
                        "CRF of h264 and h265: lower is better and larger, 16 looks like the source. ffv1 ignores it."
                    ),
                ),
                io.Combo.Input(
                    "folder",
                    options=list(_FOLDERS),
                    default="temp",
                    tooltip=(
                        "Where the film is written. temp is emptied when ComfyUI starts: follow with Save Video, which "
                        "copies an h264 film unchanged while its settings stay on auto. output keeps the file as it is."
                    ),
                ),
                io.String.Input(
                    "filename_prefix",
                    default="video/restored",
                    tooltip="Start of the file name, with subfolders and %date:yyyy-MM-dd% as in Save Video.",
                ),
                io.Combo.Input(
                    "dirt_detector",
                    options=list(_DETECTORS),
                    default=DirtSettings.detector,
                    optional=True,
                    tooltip=(
                        "What tells dirt from moving objects. learned: neural, a small network that ships with the "
                        "pack, pixel by pixel; weight-free: classical, a few measures of every spot."
                    ),
                ),
                io.Combo.Input(
                    "scratch_detector",
                    options=list(_DETECTORS),
                    default=ScratchSettings.detector,
                    optional=True,
                    tooltip=(
                        "What tells scratches from the scene. learned: neural, motion and a small network that judges "
                        "what a line looks like, also where nothing moves; weight-free: classical, motion alone."
                    ),
                ),
                io.Float.Input(
                    "dirt_grain",
                    default=DirtRepairSettings.grain,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    optional=True,
                    tooltip=(
                        "Share of the film's grain that filled places are given back. 1 looks like the surroundings, 0 "
                        "is the smoothest and measures best."
                    ),
                ),
                io.Mask.Input(
                    "protect",
                    optional=True,
                    tooltip=(
                        "Where no damage is found or repaired in any frame, above 0.5 = protected; one mask of the "
                        "film's size, such as a title. Flicker, noise and weave are still taken out there."
                    ),
                ),
                io.Boolean.Input(
                    "prerestore",
                    default=True,
                    optional=True,
                    tooltip=(
                        "Take blur, noise and compression off with a small network. The slowest stage without a GPU; "
                        "off, undamaged pixels stay as they are."
                    ),
                ),
                *strength_inputs("prerestore_", optional=True),
                PreRestorer.Input(
                    "prerestorer",
                    optional=True,
                    tooltip="Another network for prerestore, from Load Pre-Restorer. Unconnected: the one that ships.",
                ),
                io.Boolean.Input(
                    "strict",
                    default=ReelSettings.strict,
                    optional=True,
                    tooltip=(
                        "Stop at the first frame that a stage cannot do. Off: the frame is passed on as it came, and "
                        "the report names it."
                    ),
                ),
                flash_input(),
                io.Combo.Input(
                    "deinterlace",
                    options=list(_FIELD_ORDERS),
                    default="auto",
                    optional=True,
                    tooltip=(
                        "auto: every stretch of the film as its pictures show, said in the report. top, bottom: the "
                        "whole film, with that field first. off: leave the lines as they are."
                    ),
                ),
                FilmSettings.Input(
                    "settings",
                    optional=True,
                    tooltip=(
                        "What was tuned on an excerpt, from the settings output of its last stage. It says which "
                        "stages run and how, in the place of the switches and strengths here; codec, file and protect "
                        "still count."
                    ),
                ),
            ],
            outputs=[
                io.Video.Output("restored", display_name="video", tooltip="The restored film, in its file."),
                io.String.Output("report", display_name="report", tooltip="Frames, shots, share repaired, warnings."),
            ],
            is_output_node=True,
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls,
        dirt: bool | None = None,
        scratches: bool | None = None,
        flicker: bool | None = None,
        stabilise: bool | None = None,
        codec: str | None = None,
        folder: str | None = None,
        filename_prefix: str | None = None,
        dirt_detector: str | None = None,
        scratch_detector: str | None = None,
        prerestore: bool | None = None,
        deinterlace: str | None = None,
        settings: object = UNLINKED,
    ) -> bool | str:
        """Refuse what could only fail after hours of work; a value that comes over a link is None here."""
        # Left out, as older workflows do, prerestore is on; with settings the switches do not count.
        switches = (dirt, scratches, flicker, stabilise, prerestore)
        if settings is UNLINKED and all(stage is False for stage in switches):
            return _NOTHING_TO_DO
        if filename_prefix is not None and not _stays_inside(filename_prefix):
            return f"filename_prefix is {filename_prefix!r}; give a name inside the {folder} folder, without '..'"
        return (
            not_one_of("codec", codec, tuple(_SUFFIXES))
            or not_one_of("folder", folder, _FOLDERS)
            or not_one_of("dirt_detector", dirt_detector, _DETECTORS)
            or not_one_of("scratch_detector", scratch_detector, _DETECTORS)
            or not_one_of("deinterlace", deinterlace, tuple(_FIELD_ORDERS))
            or True
        )

    @classmethod
    def execute(
        cls,
        video: Input.Video,
        dirt: bool,
        scratches: bool,
        flicker: bool,
        stabilise: bool,
        codec: str,
        quality: int,
        folder: str,
        filename_prefix: str,
        dirt_detector: str = DirtSettings.detector,
        scratch_detector: str = ScratchSettings.detector,
        dirt_grain: float = DirtRepairSettings.grain,
        protect: Tensor | None = None,
        prerestore: bool = True,
        prerestore_strength: float = PreRestoration.strength,
        keep_grain: float = PreRestoration.keep_grain,
        prerestorer: Any = None,
        strict: bool = ReelSettings.strict,
        flash: float = FlickerSettings.flash,
        deinterlace: str = "auto",
        settings: ReelSettings | None = None,
    ) -> io.NodeOutput:
        """Restore the film into a new file."""
        if settings is None:
            settings = ReelSettings(
                dirt=DirtSettings(detector=dirt_detector) if dirt else None,  # type: ignore[arg-type]
                lines=ScratchSettings(detector=scratch_detector) if scratches else None,  # type: ignore[arg-type]
                dirt_repair=DirtRepairSettings(grain=dirt_grain),
                flicker=FlickerSettings(flash=flash) if flicker else None,
                stabilise=StabiliseSettings() if stabilise else None,
                prerestore=PreRestoration(strength=prerestore_strength, keep_grain=keep_grain) if prerestore else None,
            )
        if not settings.stages:
            raise SettingsError(_NOTHING_TO_DO)
        write = WriteSettings(codec=codec, quality=quality)  # type: ignore[arg-type]
        read = ReadSettings(deinterlace=_FIELD_ORDERS[deinterlace])
        settings = replace(settings, read=read, write=write, keep_partial=False, strict=strict)
        file = new_file(filename_prefix, _SUFFIXES[codec], io.FolderType(folder))
        progress = NodeProgress(pass_costs(settings, on_card=on_card()), previews=True, ends_with_picture=True)
        with ExitStack() as stack:
            if protect is not None:
                settings = replace(settings, protect=stack.enter_context(mask_file(protect, "protect")))
            source = stack.enter_context(film_source(video, progress))
            network = None
            if settings.prerestore is not None:
                # Opened by the core and not by the host: it says what is wrong with a bad film.
                with settings.read.open(source) as film:
                    size = film.info.height, film.info.width
                network = on_device(prerestorer or prerestorer_model(SHIPPED), *size, settings.prerestore)
            report = restore_film(source, file.path, settings, progress, prerestorer=network)
        text = _report(report, settings, file)
        return io.NodeOutput(video_from_file(file.path), text, ui=_shown(file, codec) | {"text": (text,)})


def _shown(file: NewFile, codec: str) -> dict[str, Any]:
    """Return what tells the frontend of the film; as something to play only where browsers play it."""
    return ui.PreviewVideo([file.shown]).as_dict() if codec in _PLAYED_BY_BROWSERS else {"film": [file.shown]}


def _stays_inside(prefix: str) -> bool:
    path = PurePath(prefix)
    return bool(prefix.strip()) and not path.is_absolute() and ".." not in path.parts


def _report(report: ReelReport, settings: ReelSettings, file: NewFile) -> str:
    speed = report.frames / max(report.seconds, 1e-3)
    how = settings.prerestore
    lines = [
        f"{counted(report.frames, 'frame')} in {counted(len(report.shots), 'shot')}, {speed:.1f} frames per second",
        f"{report.dirt_share:.2%} of the picture filled, {report.scratch_share:.2%} repaired as scratches",
        *([f"pre-restored at strength {how.strength:.2f}, {how.keep_grain:.0%} of the grain kept"] if how else []),
        f"written to {file}" + ("" if settings.write.codec in _PLAYED_BY_BROWSERS else ", which browsers do not play"),
        *(f"warning: {warning}" for warning in report.warnings),
    ]
    return "\n".join(lines)
