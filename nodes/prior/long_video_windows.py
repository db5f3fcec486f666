"""Windows over long shots and tiles over large frames, for any sampler."""

from typing import Any

from comfy_api.latest import io

from ...vldm_core.sampling.regions.tiles import WEIGHTS, TileSettings
from ...vldm_core.sampling.regions.windows import FUSES, SCHEDULES, WindowSettings
from ..host.node_run import not_one_of
from ..host.prior.attachments import check_family, with_shots
from ..host.prior.regions import with_regions
from ..sockets import PRIOR_CATEGORY
from ..validation import one_error
from .inputs import PIXELS_PER_LATENT, shots_input


class LongVideoWindows(io.ComfyNode):
    """MODEL that samples in windows and tiles."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        windows, tiles = WindowSettings(), TileSettings()
        return io.Schema(
            node_id="VLDM_LongVideoWindows",
            display_name="Long Video Windows",
            category=PRIOR_CATEGORY,
            description=(
                "Lets any sampler work on a clip too long or too large for the memory, window by window of frames, "
                "tile by tile of the picture, joined at every step. Prompts, masks and control hints follow."
            ),
            inputs=[
                io.Model.Input("model", tooltip="A Stable Diffusion 1.x, 2.x or XL model, patched or not."),
                io.Int.Input(
                    "length",
                    default=windows.length,
                    min=0,
                    max=1024,
                    tooltip="Frames of a window; memory grows with it. 0 takes all frames at once.",
                ),
                io.Int.Input(
                    "overlap",
                    default=windows.overlap,
                    min=0,
                    max=1023,
                    tooltip="Frames that neighbouring windows share. More hides the joints and takes longer.",
                ),
                io.Combo.Input(
                    "schedule",
                    options=list(SCHEDULES),
                    default=windows.schedule,
                    tooltip="static: the same windows in every step. uniform: they move, and with a stride some skip.",
                ),
                io.Int.Input(
                    "stride",
                    default=windows.stride,
                    min=1,
                    max=64,
                    tooltip=(
                        "Uniform schedule only: largest distance of neighbouring frames in a window, a power of two. "
                        "Above 1 far frames see each other, at more time."
                    ),
                ),
                io.Combo.Input(
                    "fuse",
                    options=list(FUSES),
                    default=windows.fuse,
                    tooltip="How much a frame counts in a window: most in the middle, the same, or less in overlaps.",
                ),
                io.Boolean.Input(
                    "move",
                    default=windows.move,
                    tooltip="Shift windows and tiles from step to step, so that no joint stays in one place.",
                ),
                io.Int.Input(
                    "tile",
                    default=0,
                    min=0,
                    max=4096,
                    step=64,
                    tooltip="Side of a tile in pixels; memory grows with its square. 0 takes the whole picture.",
                ),
                io.Int.Input(
                    "tile_overlap",
                    default=tiles.overlap * PIXELS_PER_LATENT,
                    min=0,
                    max=2048,
                    step=8,
                    tooltip="Pixels that neighbouring tiles share. More hides the seams and takes longer.",
                ),
                io.Combo.Input(
                    "tile_weight",
                    options=list(WEIGHTS),
                    default=tiles.weight,
                    tooltip="How much a pixel counts in each tile.",
                ),
                shots_input(),
            ],
            outputs=[io.Model.Output("windowed", display_name="model", tooltip="For any sampler node.")],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls,
        schedule: str | None = None,
        fuse: str | None = None,
        tile_weight: str | None = None,
        length: int | None = None,
        overlap: int | None = None,
        tile: int | None = None,
        tile_overlap: int | None = None,
    ) -> bool | str:
        """Check what the host does not."""
        if length and overlap is not None and overlap >= length:
            return f"overlap is {overlap}; with length {length} use 0 to {length - 1}"
        if tile and tile_overlap is not None and tile_overlap >= tile:
            return f"tile_overlap is {tile_overlap}; with tile {tile} use less than that"
        return (
            not_one_of("schedule", schedule, SCHEDULES)
            or not_one_of("fuse", fuse, FUSES)
            or not_one_of("tile_weight", tile_weight, WEIGHTS)
            or True
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        length: int,
        overlap: int,
        schedule: str,
        stride: int,
        fuse: str,
        move: bool,
        tile: int,
        tile_overlap: int,
        tile_weight: str,
        shots: Any = None,
    ) -> io.NodeOutput:
        """Patch the model."""
        check_family(model, "Long Video Windows")
        windows = tiles = None
        if length:
            windows = WindowSettings(
                length=length,
                overlap=overlap,
                stride=stride,
                schedule=schedule,  # type: ignore[arg-type]
                fuse=fuse,  # type: ignore[arg-type]
                move=move,
            )
        if tile:
            tiles = TileSettings(
                size=tile // PIXELS_PER_LATENT,
                overlap=tile_overlap // PIXELS_PER_LATENT,
                weight=tile_weight,  # type: ignore[arg-type]
                move=move,
            )
        return io.NodeOutput(with_regions(with_shots(model, shots), windows, tiles))
