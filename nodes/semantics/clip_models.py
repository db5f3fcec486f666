"""Where a node takes CLIP from: a folder, or what is connected."""

from typing import Any

from comfy_api.latest import io

from ...vldm_core.errors import VLDMError
from ...vldm_core.semantics.recognition.clip import SOURCE as CLIP_SOURCE
from ...vldm_core.semantics.recognition.features import FrameEncoder, TextEncoder
from ...vldm_core.semantics.recognition.local_models import check_folder
from ..host.models import CLIPS, folder_state, model_folder, model_folders
from ..host.semantics import checked_pair, pair_of_folder
from ..sockets import UNLINKED

CONNECTED = "connected CLIP"


def clip_inputs() -> list[io.Input]:
    """Return the inputs by which CLIP is chosen."""
    return [
        io.Combo.Input(
            "model",
            options=[CONNECTED, *model_folders(CLIPS)],
            default=CONNECTED,
            tooltip=(
                "A folder below models/vldm_clip with a whole CLIP as transformers has it, or the connected clip and "
                "clip_vision where they were trained together."
            ),
        ),
        io.Clip.Input(
            "clip",
            optional=True,
            tooltip=(
                "connected CLIP only: a text encoder with projection, as in Stable Diffusion 2.x and XL. That of a 1.x "
                "checkpoint has none and is refused."
            ),
        ),
        io.ClipVision.Input(
            "clip_vision",
            optional=True,
            tooltip="connected CLIP only: the vision part of the same CLIP (ViT-H for Stable Diffusion 2.x).",
        ),
    ]


def unfit(model: str | None, clip: object, clip_vision: object) -> str | None:
    """Return a message when there is no CLIP to work with."""
    if model is None:
        return None
    if model == CONNECTED:
        missing = [name for name, link in (("clip", clip), ("clip_vision", clip_vision)) if link is UNLINKED]
        if not missing:
            return None
        return (
            f"{' and '.join(missing)} not connected: connect both, of one CLIP, or put {CLIP_SOURCE.name} from "
            f"https://huggingface.co/{CLIP_SOURCE.repository} into a folder below models/{CLIPS}, refresh and choose it"
        )
    try:
        check_folder(model_folder(model, CLIPS), CLIP_SOURCE)
    except VLDMError as error:
        return str(error)
    return None


def encoders(model: str, clip: Any, clip_vision: Any) -> tuple[FrameEncoder, TextEncoder]:
    """Return what looks at pictures and what reads words, connected or from a folder."""
    return checked_pair(clip, clip_vision) if model == CONNECTED else pair_of_folder(model_folder(model, CLIPS))


def clip_state(model: str) -> str:
    """Return what changes when the files of a chosen folder do, for the host's cache."""
    return "" if model == CONNECTED else folder_state(model, CLIPS)
