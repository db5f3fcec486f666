"""Node that names a box in some frames: repair it in any case, by another method, or leave it as it came."""

from dataclasses import dataclass

from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.errors import SettingsError
from ...vldm_core.film.box_fixes import FIX_KINDS, BoxFix, fix_of_mask
from ..host.node_run import not_one_of
from ..search import findable
from ..sockets import CATEGORY, BoxFixes
from ..validation import one_error

_LONGEST_FILM = 10_000_000
_LARGEST_SIDE = 16384


@dataclass(frozen=True, kw_only=True)
class DrawnFix:
    """A fix, and how large the picture was that it was painted on.

    Attributes:
        fix: The fix.
        size: Width and height of that picture; None for a box of numbers.
    """

    fix: BoxFix
    size: tuple[int, int] | None = None


def fixes_for(drawn: tuple[DrawnFix, ...], width: int, height: int) -> tuple[BoxFix, ...]:
    """Return the fixes for a film.

    Args:
        drawn: From Box Fix.
        width: Of the film.
        height: Of the film.

    Raises:
        SettingsError: One was painted on a picture of another size.
    """
    for one in drawn:
        if one.size is not None and one.size != (width, height):
            raise SettingsError(
                f"a mask of Box Fix is {one.size[0]}×{one.size[1]}, the film {width}×{height}; paint it on a frame of "
                "the film in its full size"
            )
    return tuple(one.fix for one in drawn)


@findable("box", "region", "redo", "undo", "missed", "spot", "repair", "mask")
class BoxFixNode(io.ComfyNode):
    """Numbers or a MASK to fixes for Restore Reel."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""

        def pixels(name: str, default: int, least: int, tooltip: str) -> io.Input:
            return io.Int.Input(name, default=default, min=least, max=_LARGEST_SIDE, tooltip=tooltip)

        return io.Schema(
            node_id="VLDM_BoxFix",
            display_name="Box Fix",
            category=CATEGORY,
            description=(
                "Names a place in some frames that Restore Reel repairs in any case, by the method that you choose, or "
                "leaves as it came. With keep_work on, only the pieces of the film around it are made again."
            ),
            inputs=[
                io.Int.Input(
                    "first_frame",
                    default=0,
                    min=0,
                    max=_LONGEST_FILM,
                    tooltip="First frame, counted from 0 in the film.",
                ),
                io.Int.Input(
                    "last_frame", default=0, min=0, max=_LONGEST_FILM, tooltip="Last frame; it belongs to it."
                ),
                pixels("left", 0, 0, "Pixels from the left edge of the picture to the box."),
                pixels("top", 0, 0, "Pixels from the upper edge of the picture to the box."),
                pixels("width", 32, 1, "Width of the box in pixels."),
                pixels("height", 32, 1, "Height of the box in pixels."),
                io.Combo.Input(
                    "method",
                    options=list(FIX_KINDS),
                    default=FIX_KINDS[0],
                    tooltip=(
                        "dirt: filled from the frames before and after. around: filled from the picture around it, "
                        "where those show something else. scratch: freed of upright lines. keep: left as it came, "
                        "where something was repaired that is no damage."
                    ),
                ),
                BoxFixes.Input(
                    "fixes",
                    optional=True,
                    tooltip="From another Box Fix: these come first; where two meet, the later counts.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip=(
                        "What is meant, above 0.5, in the place of the box: painted on a frame in the film's full "
                        "size. One for all of the frames, or one for each."
                    ),
                ),
            ],
            outputs=[
                BoxFixes.Output("all_fixes", display_name="fixes", tooltip="For Restore Reel, or for another Box Fix."),
                io.String.Output(
                    "text",
                    display_name="text",
                    tooltip="The same for the command line: restore --fix TEXT, for each line.",
                ),
            ],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls, first_frame: int | None = None, last_frame: int | None = None, method: str | None = None
    ) -> bool | str:
        """Check what the host does not."""
        if first_frame is not None and last_frame is not None and last_frame < first_frame:
            return f"last_frame is {last_frame}, first_frame {first_frame}; the last one does not lie before the first"
        return not_one_of("method", method, FIX_KINDS) or True

    @classmethod
    def execute(
        cls,
        first_frame: int,
        last_frame: int,
        left: int,
        top: int,
        width: int,
        height: int,
        method: str,
        fixes: tuple[DrawnFix, ...] = (),
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        """Add the box, or what is painted."""
        if mask is None:
            fix = BoxFix(
                first=first_frame, last=last_frame, left=left, top=top, width=width, height=height, kind=method,  # type: ignore[arg-type]
            )  # fmt: skip
            made = (*fixes, DrawnFix(fix=fix))
        else:
            made = (*fixes, *_painted(mask, first_frame, last_frame, method))
        return io.NodeOutput(made, "\n".join(str(one.fix) for one in made))


def _painted(mask: Tensor, first: int, last: int, method: str) -> list[DrawnFix]:
    """The fixes of masks (H, W), (1, H, W) or one for each frame."""
    planes = mask[None] if mask.ndim == 2 else mask
    count = last - first + 1
    if len(planes) not in (1, count):
        raise SettingsError(f"mask holds {len(planes)} masks for {count} frames; give one for all, or one for each")
    spans = [(first, last)] if len(planes) == 1 else [(first + number,) * 2 for number in range(count)]
    size = int(planes.shape[-1]), int(planes.shape[-2])
    found = [fix_of_mask(plane, *span, method) for plane, span in zip(planes, spans, strict=True)]  # type: ignore[arg-type]
    made = [DrawnFix(fix=fix, size=size) for fix in found if fix is not None]
    if not made:
        raise SettingsError("mask is empty; paint what is meant, white, or take the mask off for a box of numbers")
    return made
