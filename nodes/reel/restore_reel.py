"""Node that restores a whole film from file to file, at memory that does not grow with the film."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from comfy_api.latest import Input, io, ui

from ...vldm_core.errors import SettingsError
from ...vldm_core.prerestore.shipped import SHIPPED
from ...vldm_core.reel.cost import pass_costs
from ...vldm_core.reel.mask_films import FOUND
from ...vldm_core.reel.prior import restore_film_with_prior
from ...vldm_core.reel.record.file import record_path
from ...vldm_core.reel.restore import ReelReport, ReelSettings
from ...vldm_core.reel.resumable.keys import film_key
from ...vldm_core.reel.resumable.run import RunSettings, restore_reel
from ...vldm_core.stages.settings import QUALITIES
from ...vldm_core.video.reading.reader import ReadSettings
from ...vldm_core.video.writing.writer import WriteSettings
from ...vldm_core.wording import counted
from ..effort import AUTO, FALLING, advanced, column_fault, map_fault, map_inputs, quality_input
from ..host.node_run import NewFile, NodeProgress, mask_file, new_file, not_one_of, video_from_file, work_folder
from ..host.prerestore import blocked, on_card, on_device, prerestorer_model
from ..host.video import film_source
from ..search import findable
from ..sockets import CATEGORY, UNLINKED, BoxFixes, FilmSettings, PreRestorer, ReelPriorSocket
from ..validation import one_error
from .box_fix import DrawnFix, fixes_for
from .reel_inputs import (
    AVERAGES,
    BITS,
    DETECTORS,
    FIELD_ORDERS,
    POLARITY,
    PRE_RESTORES,
    ReelInputs,
    advanced_inputs,
    delivery_inputs,
    is_crf,
    kept_inputs,
)
from .reel_prior import ReelPriorChoice

_SUFFIXES = {"h264": ".mp4", "h265": ".mp4", "prores": ".mov", "ffv1": ".mkv"}
_FOLDERS = ("temp", "output")
# Others, and more than 8 bits, give an error or a black picture in the place of the film, in one browser or another.
_PLAYED_BY_BROWSERS = ("h264",)
_NOTHING_TO_DO = "dirt, scratches, flicker, average, stabilise and prerestore are all off; switch at least one on"
_NOT_IN_8_BITS = "prores stores 10 bits, not 8; set bits to auto, or choose another codec"
_NO_MASKS = "Restore Reel has written no masks: switch write_masks on"


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
                "Restores a film of any length, from file to file: line scratches, dirt, flicker, grain, gate weave. "
                "Holds a few dozen frames at a time and keeps frame rate, timestamps, colour tags and sound. After "
                "Cancel, or a crash, the same film queued again goes on where it was."
            ),
            inputs=[
                io.Video.Input(
                    "video",
                    tooltip=(
                        "The film. From Load Video it is streamed from its file, trimmed, cropped or joined too; one "
                        "that was made or resized in the graph is stored first."
                    ),
                ),
                quality_input(
                    "Level of effort, how the stages below work. fast: for a look, or a long reel; normal: for most "
                    "films; best: looks longest. The help page says what each does and how long it takes."
                ),
                io.Boolean.Input(
                    "dirt",
                    default=True,
                    optional=True,
                    tooltip="Find and fill dirt, dust, hair, blotches and the seams of splices.",
                ),
                io.Boolean.Input(
                    "scratches",
                    default=True,
                    optional=True,
                    tooltip="Find and repair scratches that stay over many frames.",
                ),
                io.Boolean.Input(
                    "flicker",
                    default=True,
                    optional=True,
                    tooltip="Even out brightness from frame to frame; fades, slow changes and flashes stay.",
                ),
                io.Boolean.Input(
                    "average",
                    default=AVERAGES,
                    optional=True,
                    tooltip=(
                        "Take grain, noise and compression off: every frame is averaged with its neighbours along the "
                        "motion. Off, undamaged pixels stay as they are."
                    ),
                ),
                io.Boolean.Input(
                    "prerestore",
                    default=PRE_RESTORES,
                    optional=True,
                    tooltip=(
                        "Take blur, noise and compression off with a small network, before Stable Diffusion or in the "
                        "place of average. The slowest stage without a GPU."
                    ),
                ),
                io.Boolean.Input(
                    "stabilise",
                    default=False,
                    optional=True,
                    tooltip=(
                        "Take gate weave out; camera moves stay. Resamples every frame, so leave it off where not "
                        "needed."
                    ),
                ),
                io.Combo.Input(
                    "codec",
                    options=list(_SUFFIXES),
                    default=ReelInputs.codec,
                    optional=True,
                    tooltip=(
                        "h264 and h265 make an .mp4, prores a .mov for editing: 422 HQ, or 4444 of RGB and "
                        "transparency. ffv1 makes an .mkv without any loss, about ten times as large as h264; "
                        "unchanged pixels stay bit-equal. Save Video makes a lossy .mp4 of both, or refuses them: "
                        "save them in output."
                    ),
                ),
                io.Combo.Input(
                    "folder",
                    options=list(_FOLDERS),
                    default=ReelInputs.folder,
                    optional=True,
                    tooltip=(
                        "Where the film is written. temp is emptied when ComfyUI starts: follow with Save Video, which "
                        "copies an h264 film unchanged while its settings stay on auto. output keeps the file as it is."
                    ),
                ),
                io.String.Input(
                    "filename_prefix",
                    default=ReelInputs.filename_prefix,
                    optional=True,
                    tooltip="Start of the file name, with subfolders and %date:yyyy-MM-dd% as in Save Video.",
                ),
                io.Boolean.Input(
                    "write_masks",
                    default=False,
                    optional=True,
                    tooltip=(
                        "Also write what was repaired as two films of masks, beside the film: to look at, to edit, and "
                        "to give back to dirt_masks and scratch_masks."
                    ),
                ),
                *(advanced(made) for made in advanced_inputs()),
                *map_inputs(),
                *(advanced(made) for made in delivery_inputs()),
                *(advanced(made) for made in kept_inputs()),
                io.Mask.Input(
                    "protect",
                    optional=True,
                    tooltip=(
                        "Where no damage is found or repaired in any frame, above 0.5 = protected; one mask of the "
                        "film's size, such as a title. Flicker, noise and weave are still taken out there."
                    ),
                ),
                PreRestorer.Input(
                    "prerestorer",
                    optional=True,
                    tooltip="Another network for prerestore, from Load Pre-Restorer. Unconnected: the one that ships.",
                ),
                io.Video.Input(
                    "defect_map",
                    optional=True,
                    tooltip=(
                        "Damage that is known from elsewhere, such as an infrared scan: a film with a map for every "
                        "frame. It is trusted, and filled as dirt; map_clean and map_damaged say what it means."
                    ),
                ),
                io.Video.Input(
                    "dirt_masks",
                    optional=True,
                    tooltip=(
                        "Masks of dirt that you have looked at, as write_masks made them: filled is what they mark, "
                        "and no dirt is looked for."
                    ),
                ),
                io.Video.Input(
                    "scratch_masks",
                    optional=True,
                    tooltip="Masks of scratches likewise: repaired is what they mark, and none is looked for.",
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
                BoxFixes.Input(
                    "fixes",
                    optional=True,
                    tooltip="From Box Fix: places that are repaired in any case, or left as they came.",
                ),
                ReelPriorSocket.Input(
                    "prior",
                    optional=True,
                    tooltip=(
                        "From Reel Prior, or Reel Prior in One Step: Stable Diffusion goes over the repaired film, "
                        "shot by shot."
                    ),
                ),
            ],
            outputs=[
                io.Video.Output("restored", display_name="video", tooltip="The restored film, in its file."),
                io.String.Output("report", display_name="report", tooltip="Frames, shots, share repaired, warnings."),
                io.Video.Output(
                    "found_dirt",
                    display_name="dirt_masks",
                    tooltip="With write_masks: what was filled, white on black, a film without loss.",
                ),
                io.Video.Output(
                    "found_scratches",
                    display_name="scratch_masks",
                    tooltip="With write_masks: what was repaired as scratches, white on black, a film without loss.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls,
        quality: object = None,
        dirt: bool | None = None,
        scratches: bool | None = None,
        flicker: bool | None = None,
        average: bool | None = None,
        prerestore: bool | None = None,
        stabilise: bool | None = None,
        codec: str | None = None,
        folder: str | None = None,
        filename_prefix: str | None = None,
        scratch_detector: str | None = None,
        scratch_polarity: str | None = None,
        scratch_columns: str | None = None,
        scratch_excluded: str | None = None,
        falling: str | None = None,
        dirt_polarity: str | None = None,
        deinterlace: str | None = None,
        alpha_map: bool | None = None,
        map_clean: float | None = None,
        map_damaged: float | None = None,
        map_only: bool | None = None,
        bits: str | None = None,
        defect_map: object = UNLINKED,
        settings: object = UNLINKED,
        prior: object = UNLINKED,
    ) -> bool | str:
        """Refuse what could only fail after hours of work; a value that comes over a link is None here."""
        # With settings the switches do not count, and a prior is something to do.
        switches = (dirt, scratches, flicker, average, stabilise, prerestore)
        if settings is UNLINKED and prior is UNLINKED and all(stage is False for stage in switches):
            return _NOTHING_TO_DO
        if filename_prefix is not None and not _stays_inside(filename_prefix):
            return f"filename_prefix is {filename_prefix!r}; give a name inside the {folder} folder, without '..'"
        return (
            (None if is_crf(quality) else not_one_of("quality", quality, QUALITIES))
            or not_one_of("codec", codec, tuple(_SUFFIXES))
            or not_one_of("folder", folder, _FOLDERS)
            or not_one_of("bits", bits, BITS)
            or (_NOT_IN_8_BITS if codec == "prores" and bits == "8" else None)
            or not_one_of("scratch_detector", scratch_detector, DETECTORS)
            or not_one_of("dirt_polarity", dirt_polarity, POLARITY)
            or not_one_of("scratch_polarity", scratch_polarity, POLARITY)
            or not_one_of("falling", falling, FALLING)
            or column_fault(scratch_columns, scratch_excluded)
            or not_one_of("deinterlace", deinterlace, tuple(FIELD_ORDERS))
            or map_fault(map_clean, map_damaged, only=map_only, linked=defect_map is not UNLINKED or bool(alpha_map))
            or True
        )

    @classmethod
    def execute(
        cls,
        video: Input.Video,
        settings: ReelSettings | None = None,
        fixes: tuple[DrawnFix, ...] = (),
        prior: ReelPriorChoice | None = None,
        **given: Any,
    ) -> io.NodeOutput:
        """Restore the film into a new file."""
        told = ReelInputs(**given)
        settings = told.stages() if settings is None else settings
        if not settings.stages and prior is None:
            raise SettingsError(_NOTHING_TO_DO)
        file = new_file(told.filename_prefix, _SUFFIXES[told.codec], io.FolderType(told.folder))
        masks = file.path.with_name(f"{file.path.stem}masks") if told.write_masks else None
        settings = replace(
            settings,
            read=ReadSettings(deinterlace=FIELD_ORDERS[told.deinterlace]),
            write=WriteSettings(
                codec=told.codec,  # type: ignore[arg-type]
                quality=told.crf,
                bits=None if told.bits == AUTO else int(told.bits),
            ),
            keep_partial=False,
            strict=told.strict,
            mask_films=masks,
            record=record_path(file.path) if told.record else None,
            review=file.path.with_name(f"{file.path.stem}review.mp4") if told.review else None,
        )
        costs = pass_costs(settings, on_card=on_card(), prior=prior is not None)
        progress = NodeProgress(costs, previews=True, ends_with_picture=True)
        with ExitStack() as stack:
            if told.protect is not None:
                settings = replace(settings, protect=stack.enter_context(mask_file(told.protect, "protect")))
            source = stack.enter_context(film_source(video, progress))
            settings = replace(
                settings, maps=tuple(told.maps(lambda film: stack.enter_context(film_source(film, progress))))
            )
            network = None
            # The host moves the network as the prior needs it, where the prior's part pre-restores.
            lent = prior is not None and prior.settings.pre_restores
            if settings.prerestore is not None or fixes or lent:
                # Opened by the core and not by the host: it says what is wrong with a bad film.
                with settings.read.open(source) as film:
                    height, width = film.info.height, film.info.width
                settings = replace(settings, fixes=fixes_for(fixes, width, height))
                if settings.prerestore is not None or lent:
                    model = told.prerestorer or prerestorer_model(SHIPPED)
                    network = model.model
                    if settings.prerestore is not None and not lent:
                        network = on_device(model, height, width, settings.prerestore)
            run, folder = RunSettings(keep=told.keep_work), work_folder(film_key(source))
            if prior is None:
                report = restore_reel(
                    source, file.path, settings, progress, run=run, folder=folder, prerestorer=network
                )
            else:
                report = restore_film_with_prior(
                    source, file.path, prior.prior, prior.after(settings), progress,
                    run=run, folder=folder, prerestorer=network,
                )  # fmt: skip
        text = _report(report, settings, file, kept=told.keep_work and folder is not None)
        found = [blocked(_NO_MASKS) if masks is None else video_from_file(masks / f"{kind}.mkv") for kind in FOUND]
        return io.NodeOutput(
            video_from_file(file.path), text, *found, ui=_shown(file, settings.write) | {"text": (text,)}
        )


def _shown(file: NewFile, write: WriteSettings) -> dict[str, Any]:
    """Return what tells the frontend of the film; as something to play only where browsers play it."""
    return ui.PreviewVideo([file.shown]).as_dict() if _plays(write) else {"film": [file.shown]}


def _plays(write: WriteSettings) -> bool:
    """Whether browsers play a film."""
    return write.codec in _PLAYED_BY_BROWSERS and write.bits != 10


def _stays_inside(prefix: str) -> bool:
    path = PurePath(prefix)
    return bool(prefix.strip()) and not path.is_absolute() and ".." not in path.parts


def _report(report: ReelReport, settings: ReelSettings, file: NewFile, *, kept: bool) -> str:
    speed = report.frames / max(report.seconds, 1e-3)
    how = settings.prerestore
    lines = [
        f"{counted(report.frames, 'frame')} in {counted(len(report.shots), 'shot')}, {speed:.1f} frames per second",
        f"{report.dirt_share:.2%} of the picture filled, {report.scratch_share:.2%} repaired as scratches",
        *([f"pre-restored at strength {how.strength:.2f}, {how.keep_grain:.0%} of the grain kept"] if how else []),
        f"written to {file}" + ("" if _plays(settings.write) else ", which browsers do not play"),
        *([] if settings.review is None else [f"before and after side by side in {settings.review}"]),
        *([] if settings.record is None else [f"recorded in {settings.record.name}, beside it"]),
        *([f"{counted(len(settings.fixes), 'place')} fixed by hand"] if settings.fixes else []),
        *(["the finished pieces are kept in output/vldm_work"] if kept else []),
        *(f"warning: {warning}" for warning in report.warnings),
    ]
    return "\n".join(lines)
