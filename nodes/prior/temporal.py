"""Nodes that give the UNet a sense of time, and LoRAs a strength per shot."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ...vldm_core.errors import SettingsError
from ...vldm_core.files.weights import read_header
from ...vldm_core.prior.attachment import Attachment
from ...vldm_core.prior.lora.eras import EraLoras, find_lora, parse_era_loras, plan_loras, read_era_loras
from ...vldm_core.prior.lora.per_frame import ShotLora, read_lora, strengths_of_shots
from ...vldm_core.prior.temporal.animatediff import MotionSettings
from ...vldm_core.prior.temporal.animatediff_files import read_motion_modules
from ...vldm_core.prior.temporal.attention import AttentionWindows
from ...vldm_core.prior.temporal.files import METADATA_KEY, read_temporal_layers
from ...vldm_core.sampling.schedule import NoiseSchedule
from ...vldm_core.video.shots import Shot
from ..host.models import LORAS, MOTION, TEMPORAL, file_state, folders_of, model_files, model_path, no_such_file
from ..host.node_run import not_one_of
from ..host.prior import check_family, view_of, with_attachment, with_schedule, with_shots
from ..sockets import PRIOR_CATEGORY
from ..validation import one_error
from .patches import shots_input

_SCHEDULES = ("auto", "model", "linear")


class ApplyTemporalLayers(io.ComfyNode):
    """MODEL with temporal layers or motion modules."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        windows = AttentionWindows()
        return io.Schema(
            node_id="VLDM_ApplyTemporalLayers",
            display_name="Apply Temporal Layers",
            category=PRIOR_CATEGORY,
            description=(
                "Makes an image model a video model: temporal layers of this pack, or AnimateDiff motion modules of "
                "version 1, 2 or 3. LoRA loaders, samplers and other patches go on working on the model."
            ),
            inputs=[
                io.Model.Input("model", tooltip="A Stable Diffusion 1.x or 2.x model; motion modules need 1.x."),
                io.Combo.Input(
                    "file",
                    options=model_files(TEMPORAL, MOTION),
                    tooltip="A file in models/vldm_temporal or models/animatediff_models.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    tooltip="Factor on what the layers add. 0 is off, 1 as trained; lower holds frames together less.",
                ),
                io.Int.Input(
                    "attention_window",
                    default=windows.length,
                    min=0,
                    max=1024,
                    tooltip=(
                        "Longer shots attend in windows of so many frames inside the layers, at almost no cost. 0 "
                        "attends over a whole shot, which motion modules do up to 24 (version 1) or 32 frames."
                    ),
                ),
                io.Int.Input(
                    "attention_stride",
                    default=windows.stride,
                    min=1,
                    max=1023,
                    tooltip="Frames from one attention window to the next. Lower joins windows more smoothly.",
                ),
                io.Combo.Input(
                    "schedule",
                    options=list(_SCHEDULES),
                    default=_SCHEDULES[0],
                    tooltip=(
                        "Noise schedule. auto: linear for motion modules, which were trained with it, and the model's "
                        "own otherwise. model: the model's own. linear: betas that rise linearly."
                    ),
                ),
                shots_input(),
            ],
            outputs=[io.Model.Output("temporal", display_name="model", tooltip="For any sampler node.")],
        )

    @classmethod
    @one_error
    def validate_inputs(
        cls,
        file: str | None = None,
        schedule: str | None = None,
        attention_window: int | None = None,
        attention_stride: int | None = None,
    ) -> bool | str:
        """Check what the host does not."""
        if attention_window and attention_stride is not None and attention_stride >= attention_window:
            return f"attention_stride is {attention_stride}; use less than attention_window, {attention_window}"
        return no_such_file(file, TEMPORAL, MOTION) or not_one_of("schedule", schedule, _SCHEDULES) or True

    @classmethod
    def fingerprint_inputs(cls, file: str, **_: Any) -> str:
        """Load again when the file has changed."""
        return file_state(file, TEMPORAL, MOTION)

    @classmethod
    def execute(
        cls,
        model: Any,
        file: str,
        strength: float,
        attention_window: int,
        attention_stride: int,
        schedule: str,
        shots: Any = None,
    ) -> io.NodeOutput:
        """Read the file and patch the model."""
        path = model_path(file, TEMPORAL, MOTION)
        windows = AttentionWindows(length=attention_window, stride=attention_stride) if attention_window else None
        check_family(model, "Apply Temporal Layers")
        view = view_of(model)
        patched = with_shots(model, shots)
        ours = path.suffix.lower() == ".safetensors" and METADATA_KEY in read_header(path).metadata
        attachment: Attachment
        if ours:
            attachment = read_temporal_layers(path, view, windows=windows, strength=strength)
        else:
            attachment = read_motion_modules(path, MotionSettings(strength=strength, windows=windows))
        patched = with_attachment(patched, attachment, "temporal" if ours else "motion")
        if schedule == "linear" or (schedule == "auto" and attachment.linear_schedule):
            patched = with_schedule(patched, NoiseSchedule.stable_diffusion("linear"))
        return io.NodeOutput(patched)


class ShotLoras(io.ComfyNode):
    """MODEL with LoRAs that act on every shot with a strength of its own."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="VLDM_ShotLoras",
            display_name="Shot LoRAs",
            category=PRIOR_CATEGORY,
            description=(
                "Applies LoRAs by the era of each shot, with a strength per shot, inside one clip. A small JSON says "
                "which era uses which file. Stock LoRA loaders, which act on the whole clip, combine with it."
            ),
            inputs=[
                io.Model.Input("model", tooltip="A Stable Diffusion 1.x, 2.x or XL model, and LoRAs made for it."),
                io.String.Input(
                    "era_map",
                    default='{"1920s": {"file": "film/1920s.safetensors", "strength": 0.8}}',
                    multiline=True,
                    tooltip=(
                        "JSON: era to file below the loras folder and strength. Or the name of a .json file below the "
                        "loras folder."
                    ),
                ),
                io.String.Input(
                    "eras",
                    default="1920s",
                    multiline=True,
                    tooltip=(
                        "Eras of each shot, one line per shot, several separated by commas. One line serves all shots; "
                        "an empty line or unknown uses none."
                    ),
                ),
                io.String.Input(
                    "strengths",
                    default="1.0",
                    tooltip="Factor on the strengths of the map, one per shot separated by commas, or one for all.",
                ),
                shots_input(),
            ],
            outputs=[io.Model.Output("adapted", display_name="model", tooltip="For any sampler node.")],
        )

    @classmethod
    @one_error
    def validate_inputs(cls, era_map: str | None = None, eras: str | None = None) -> bool | str:
        """Check that the map can be read, and that the LoRAs it names for these eras are there."""
        if era_map is None or eras is None:
            return True
        try:
            loras = era_map_of(era_map)
            for choice in (loras[name] for line in eras.split("\n") for name in _names(line)):
                find_lora(choice.file, folders_of(LORAS))
        except SettingsError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, era_map: str, eras: str, strengths: str, **_: Any) -> str:
        """Load again when the map or a LoRA has changed."""
        try:
            loras = era_map_of(era_map)
        except SettingsError as error:
            return str(error)
        files = sorted({choice.file for choice in loras.eras.values()})
        return ";".join([*(f"{era}={loras[era]}" for era in loras.eras), *(file_state(file, LORAS) for file in files)])

    @classmethod
    def execute(cls, model: Any, era_map: str, eras: str, strengths: str, shots: Any = None) -> io.NodeOutput:
        """Read every LoRA once and attach it."""
        check_family(model, "Shot LoRAs")
        spans = tuple(shots) if shots is not None else (Shot(0, 1),)
        plan = plan_loras(
            spans, _eras(eras, len(spans)), era_map_of(era_map), strengths=_numbers(strengths, len(spans))
        )
        by_file: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(spans))
        for index, entry in enumerate(plan):
            for choice in entry.loras:
                by_file[choice.file][index] = choice.strength
        patched = with_shots(model, shots)
        for file, values in by_file.items():
            path = find_lora(file, folders_of(LORAS))
            frames = values[0] if shots is None else strengths_of_shots([len(shot) for shot in spans], values)
            patched = with_attachment(patched, ShotLora(read_lora(path), frames), "lora")
        return io.NodeOutput(patched)


def era_map_of(text: str) -> EraLoras:
    """Read an era map from the text itself or from the file it names.

    Raises:
        SettingsError: The text is no map, or the file is not below the loras folder.
    """
    if text.lstrip().startswith("{"):
        return parse_era_loras(text)
    name = text.strip()
    if Path(name).is_absolute() or ".." in Path(name).parts or not name.endswith(".json"):
        raise SettingsError(f"era_map is {name!r}; write JSON, or the name of a .json file below the loras folder")
    for folder in folders_of(LORAS):
        if (folder / name).is_file():
            return read_era_loras(folder / name)
    raise SettingsError(f"the era map {name!r} is in none of the loras folders; put it into models/loras")


def _eras(text: str, shots: int) -> list[tuple[str, ...]]:
    lines = text.split("\n") if text.strip() else [""]
    while len(lines) > 1 and not lines[-1].strip():
        lines.pop()
    if len(lines) not in (1, shots):
        raise SettingsError(f"eras has {len(lines)} lines for {shots} shots; write one for each shot, or one for all")
    known = [_names(line) for line in lines]
    return known * shots if len(known) == 1 else known


def _names(line: str) -> tuple[str, ...]:
    """Return the eras of one shot."""
    names = (name.strip() for name in line.split(","))
    return tuple(name for name in names if name and name.casefold() != "unknown")


def _numbers(text: str, shots: int) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        raise SettingsError(f"strengths is {text!r}; write numbers separated by commas") from None
    if len(values) not in (1, shots):
        raise SettingsError(f"there are {len(values)} strengths for {shots} shots; write one for each, or one for all")
    return values * shots if len(values) == 1 else values
