"""Node that ages clean film."""

import torch
from comfy_api.latest import io

from ...vldm_core.ageing import PRESETS, SimulationSettings, Simulator, age_stream
from ..host.node_run import ImageBatch, NodeProgress, frames_from_image, image_from_frames, not_one_of, shown
from ..search import findable
from ..sockets import CATEGORY
from ..validation import one_error

# What each mask output covers. Dirt is everything that hides the picture for a while and is no line.
_MASKS = {
    "dirt": ("dirt", "hair", "blotches", "stains"),
    "scratch": ("lines", "tears"),
    "hair": ("hair",),
    "blotch": ("blotches", "stains"),
    "tear": ("tears",),
    "splice": ("splices",),
}


@findable("old film", "age", "scratch", "dust", "dirt", "grain", "vintage")
class SimulateDamage(io.ComfyNode):
    """Clean IMAGE to damaged IMAGE, with the true masks."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VLDM_SimulateDamage",
            display_name="Simulate Damage",
            category=CATEGORY,
            description=(
                "Ages clean film as a decade or a hard life would: dirt, hair, scratches, tears, splices, flicker, "
                "weave, fading, grain, optics and transfer, with masks of what it damaged."
            ),
            inputs=[
                io.Image.Input("images", tooltip="Clean frames in order, at least 16×16 pixels."),
                io.Combo.Input(
                    "condition",
                    options=list(PRESETS),
                    default="worn",
                    tooltip=(
                        "light: kept well; worn: shown for years; heavy: nearly thrown away. The decades, 8mm amateur "
                        "and newsreel bring what was typical of them."
                    ),
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="The same seed damages every frame in the same way.",
                ),
                io.Boolean.Input(
                    "dirt", default=True, tooltip="Dust, dirt, blotches and stains, for a frame or a few."
                ),
                io.Boolean.Input("hair", default=True, tooltip="Hairs, passing and caught in the gate."),
                io.Boolean.Input("scratches", default=True, tooltip="Line scratches and torn emulsion."),
                io.Boolean.Input("flicker", default=True, tooltip="Exposure that changes from frame to frame."),
                io.Boolean.Input("weave", default=True, tooltip="Small jumps and turns of the picture."),
                io.Boolean.Input("fading", default=True, tooltip="Lost contrast and a colour cast."),
                io.Boolean.Input("grain", default=True, tooltip="Film grain."),
                io.Boolean.Input(
                    "optics",
                    default=True,
                    optional=True,
                    tooltip="Lens, vignette, emulsion, camera gate, soft transfer.",
                ),
                io.Boolean.Input(
                    "events",
                    default=True,
                    optional=True,
                    tooltip="Splices, lost and repeated frames, cue marks, mixed frames.",
                ),
                io.Boolean.Input("codec", default=True, optional=True, tooltip="Compression of the transfer."),
            ],
            outputs=[
                io.Image.Output("aged", display_name="images", tooltip="The damaged frames."),
                io.Mask.Output(
                    "dirt_mask", display_name="dirt", tooltip="Where dirt, hair, blotches and stains are, 0 to 1."
                ),
                io.Mask.Output(
                    "scratch_mask", display_name="scratch", tooltip="Where line scratches and tears are, 0 to 1."
                ),
                io.Mask.Output("hair_mask", display_name="hair", tooltip="Where hairs alone are, 0 to 1."),
                io.Mask.Output(
                    "blotch_mask", display_name="blotch", tooltip="Where blotches and stains alone are, 0 to 1."
                ),
                io.Mask.Output("tear_mask", display_name="tear", tooltip="Where torn emulsion alone is, 0 to 1."),
                io.Mask.Output("splice_mask", display_name="splice", tooltip="Where the seams of splices are, 0 to 1."),
                io.Image.Output(
                    "clean",
                    display_name="clean",
                    tooltip=(
                        "For every damaged frame the clean one that it shows, also where frames are lost or repeated. "
                        "Compare a restoration with these."
                    ),
                ),
            ],
        )

    @classmethod
    @one_error
    def validate_inputs(cls, condition: str | None = None) -> bool | str:
        """Check the combo, which the host does not."""
        return not_one_of("condition", condition, tuple(PRESETS)) or True

    @classmethod
    def execute(cls, images: ImageBatch, condition: str, seed: int, **defects: bool) -> io.NodeOutput:
        """Age the frames one by one."""
        frames = frames_from_image(images)
        settings = SimulationSettings.preset(condition).only(*_simulated(**defects))
        simulator = Simulator(settings, seed, *frames.shape[-2:])
        progress = NodeProgress()
        aged = []
        for item in age_stream(simulator, frames):
            aged.append(item)
            progress("simulate", len(aged), len(frames), item.frame)
        result = image_from_frames(torch.stack([item.frame for item in aged]))
        masks = [
            torch.stack([torch.stack([item.masks[kind] for kind in kinds]).amax(dim=0) for item in aged])
            for kinds in _MASKS.values()
        ]
        clean = image_from_frames(torch.stack([item.clean for item in aged]))
        return io.NodeOutput(result, *masks, clean, ui=shown(result))


def _simulated(
    *,
    dirt: bool,
    hair: bool,
    scratches: bool,
    flicker: bool,
    weave: bool,
    fading: bool,
    grain: bool,
    optics: bool = True,
    events: bool = True,
    codec: bool = True,
) -> tuple[str, ...]:
    """Return the defects of `SimulationSettings` that the switches mean."""
    switches = {
        ("dirt", "blotches", "stains"): dirt,
        ("hair",): hair,
        ("lines", "tears"): scratches,
        ("flicker",): flicker,
        ("camera_weave", "scanner_weave"): weave,
        ("fading",): fading,
        ("grain",): grain,
        ("lens", "vignette", "emulsion", "aperture", "softness"): optics,
        ("splices", "cadence", "cues", "mixing"): events,
        ("codec",): codec,
    }
    return tuple(name for names, on in switches.items() if on for name in names)
