"""Node that shows what a restoration did: before and after in one picture, with the figures that belong to it."""

from comfy_api.latest import io, ui
from torch import Tensor

from ...vldm_core.errors import SettingsError
from ...vldm_core.metrics.before_after import LAYOUTS, before_after
from ...vldm_core.metrics.comparison import compare_films
from ...vldm_core.metrics.places import changed_places, places_row
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image, image_from_frames, not_one_of
from ..search import findable
from ..sockets import CATEGORY, Shots
from ..validation import one_error

_MOST_CHANGED = -1
_SLIDER = "slider"
_LAYOUTS = (_SLIDER, *LAYOUTS)
# Pixels of an enlarged place; three of them, before and after, fill a node of common width.
_PLACE_SIDE = 240


@findable("before after", "slider", "wipe", "difference", "psnr")
class Compare(io.ComfyNode):
    """Before and after, as a picture and as figures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VLDM_Compare",
            display_name="Compare",
            category=CATEGORY,
            description=(
                "Shows a frame before and after restoration, the places that changed most, and figures for the whole "
                "clip: how much changed (PSNR, changed pixels, largest change), and whether the film became calmer "
                "(flicker, warp error)."
            ),
            inputs=[
                io.Image.Input("before", tooltip="Frames before the restoration."),
                io.Image.Input("after", tooltip="The same frames after it; same size and frame count as before."),
                io.Combo.Input(
                    "layout",
                    options=list(_LAYOUTS),
                    default=_SLIDER,
                    tooltip=(
                        "How the two frames share the picture. Slider: move the pointer over the node to wipe from one "
                        "to the other. Split shows the left half before, the right half after."
                    ),
                ),
                io.Int.Input(
                    "frame",
                    default=_MOST_CHANGED,
                    min=_MOST_CHANGED,
                    max=1_000_000,
                    tooltip="Which frame to show, counted from 0; -1 shows the frame that changed most.",
                ),
                io.Boolean.Input(
                    "temporal",
                    default=True,
                    tooltip=(
                        "Also measure flicker and warp error. Needs an optical flow, about 0.1 s per frame at 640×480; "
                        "switch off for a quick look."
                    ),
                ),
                Shots.Input(
                    "shots",
                    optional=True,
                    tooltip="From Detect Shots: keeps the temporal figures from comparing frames across a cut.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "picture",
                    display_name="picture",
                    tooltip="What is shown, as one picture; of the slider, both frames side by side.",
                ),
                io.String.Output("report", display_name="report", tooltip="The figures as lines of text."),
            ],
            is_output_node=True,
        )

    @classmethod
    @one_error
    def validate_inputs(cls, layout: str | None = None) -> bool | str:
        """Check the layout, which the host does not."""
        return not_one_of("layout", layout, _LAYOUTS) or True

    @classmethod
    def execute(
        cls,
        before: ImageBatch,
        after: ImageBatch,
        layout: str,
        frame: int,
        temporal: bool,
        shots: tuple | None = None,
    ) -> io.NodeOutput:
        """Measure, choose the frame, paint."""
        old, new = frames_from_image(before, "before"), frames_from_image(after, "after")
        if frame >= len(old):
            raise SettingsError(
                f"frame is {frame}, but the clip has {len(old)} frames: choose 0 to {len(old) - 1}, or -1"
            )
        progress = NodeProgress(phases=2 if temporal else 1)
        found = compare_films(old, new, shots=shots, temporal=temporal, progress=progress)
        index = frame if frame != _MOST_CHANGED else max(range(found.frames), key=found.frame_change.__getitem__)
        lines = found.lines()
        places = changed_places(old, new)
        row = places_row(old, new, places, side=_PLACE_SIDE) if places else None
        report = "\n".join(lines)
        picture = before_after(
            old[index],
            new[index],
            layout=LAYOUTS[0] if layout == _SLIDER else layout,  # type: ignore[arg-type]
            caption=(f"frame {index}", *lines),
            row=row,
        )
        image = image_from_frames(picture[None])
        shown = ui.PreviewImage(image).as_dict()
        if layout == _SLIDER:
            shown = {"before": _stored(old[index]), "after": _stored(new[index])}
            shown |= {"places": _stored(row)} if row is not None else {}
            report = f"frame {index}\n{report}"
        return io.NodeOutput(image, "\n".join(lines), ui=shown | {"text": (report,)})


def _stored(frame: Tensor) -> list[ui.SavedResult]:
    """Store one picture (3, H, W) where the frontend can fetch it."""
    return ui.PreviewImage(image_from_frames(frame[None])).values
