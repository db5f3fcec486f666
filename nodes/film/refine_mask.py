"""Node that edits masks."""

from comfy_api.latest import io
from torch import Tensor

from ...vldm_core.film.masks import LARGEST_GROWTH, MaskEdit, edit_mask
from ..host.node_run import NodeProgress
from ..search import findable
from ..sockets import CATEGORY


@findable("grow", "feather", "threshold", "dust", "scratch")
class RefineMask(io.ComfyNode):
    """MASK to MASK."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        default = MaskEdit()
        return io.Schema(
            node_id="VLDM_RefineMask",
            display_name="Refine Mask",
            category=CATEGORY,
            description=(
                "Cleans up, widens, softens and holds the masks of damage, keeps them off what you protect and adds "
                "what you painted. Everything left at its default only makes the mask 0 and 1."
            ),
            inputs=[
                io.Mask.Input("mask", tooltip="One mask per frame, in order, for example from Detect Damage."),
                io.Float.Input(
                    "threshold",
                    default=default.threshold,
                    min=0.01,
                    max=1.0,
                    step=0.01,
                    tooltip=(
                        "A pixel is marked where the mask is at least this. With the probability of Detect Damage, "
                        "lower marks more."
                    ),
                ),
                io.Int.Input(
                    "min_size",
                    default=default.min_size,
                    min=0,
                    max=100_000,
                    tooltip="Marks of fewer connected pixels than this are removed, frame by frame; 0 keeps all.",
                ),
                io.Boolean.Input(
                    "fill_holes", default=default.fill_holes, tooltip="Also mark what a mark encloses all around."
                ),
                io.Int.Input(
                    "grow",
                    default=default.grow,
                    min=-LARGEST_GROWTH,
                    max=LARGEST_GROWTH,
                    tooltip="Pixels by which every mark becomes wider; negative ones make it narrower.",
                ),
                io.Int.Input(
                    "hold",
                    default=default.hold,
                    min=0,
                    max=100,
                    tooltip="Frames for which a mark is kept before and after its own, for damage found now and then.",
                ),
                io.Float.Input(
                    "feather",
                    default=default.feather,
                    min=0.0,
                    max=float(LARGEST_GROWTH),
                    step=0.5,
                    tooltip="Pixels over which the mask falls off outside the marks. Repair Damage needs no soft edge.",
                ),
                io.Mask.Input(
                    "protect",
                    optional=True,
                    tooltip=(
                        "What must never be marked, 1 = protected; one mask per frame, or one for all frames. It is "
                        "taken off at the very end."
                    ),
                ),
                io.Mask.Input(
                    "add",
                    optional=True,
                    tooltip=(
                        "What is to be marked besides, 1 = marked; one mask per frame, or one for all frames. It grows "
                        "and gets soft like the rest."
                    ),
                ),
            ],
            outputs=[io.Mask.Output("refined", display_name="mask", tooltip="The edited mask, one per frame, 0 to 1.")],
        )

    @classmethod
    def execute(
        cls,
        mask: Tensor,
        threshold: float,
        min_size: int,
        fill_holes: bool,
        grow: int,
        hold: int,
        feather: float,
        protect: Tensor | None = None,
        add: Tensor | None = None,
    ) -> io.NodeOutput:
        """Edit the masks."""
        edit = MaskEdit(
            threshold=threshold, min_size=min_size, fill_holes=fill_holes, grow=grow, hold=hold, feather=feather
        )
        refined = edit_mask(
            _batch(mask),
            edit,
            add=None if add is None else _batch(add),
            protect=None if protect is None else _batch(protect),
            progress=NodeProgress(phases=2),
        )
        return io.NodeOutput(refined)


def _batch(mask: Tensor) -> Tensor:
    """Return a MASK, which may be a single (H, W), as (T, H, W)."""
    return mask if mask.ndim == 3 else mask[None]
