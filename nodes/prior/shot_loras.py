"""LoRAs with a strength for every shot."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ...vldm_core.errors import SettingsError
from ...vldm_core.prior.lora.eras import EraLoras, find_lora, parse_era_loras, plan_loras, read_era_loras
from ...vldm_core.prior.lora.per_frame import ShotLora, read_lora, strengths_of_shots
from ...vldm_core.video.shots import Shot
from ...vldm_core.wording import counted
from ..host.models import LORAS, folders_of
from ..host.prior.attachments import check_family, with_attachment, with_shots
from ..sockets import PRIOR_CATEGORY
from ..validation import one_error
from .inputs import shots_input


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
                        "loras folder, such as the eras.json of train lora: its files may lie beside it."
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
            folders = lora_folders(era_map)
            for choice in (loras[name] for line in eras.split("\n") for name in _names(line)):
                find_lora(choice.file, folders)
        except SettingsError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, era_map: str, eras: str, strengths: str, **_: Any) -> str:
        """Load again when the map or a LoRA has changed."""
        try:
            loras, folders = era_map_of(era_map), lora_folders(era_map)
        except SettingsError as error:
            return str(error)
        files = sorted({choice.file for choice in loras.eras.values()})
        return ";".join([*(f"{era}={loras[era]}" for era in loras.eras), *(_state(file, folders) for file in files)])

    @classmethod
    def execute(cls, model: Any, era_map: str, eras: str, strengths: str, shots: Any = None) -> io.NodeOutput:
        """Read every LoRA once and attach it."""
        check_family(model, "Shot LoRAs")
        spans = tuple(shots) if shots is not None else (Shot(0, 1),)
        plan = plan_loras(
            spans, _eras(eras, len(spans)), era_map_of(era_map), strengths=_numbers(strengths, len(spans))
        )
        folders = lora_folders(era_map)
        by_file: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(spans))
        for index, entry in enumerate(plan):
            for choice in entry.loras:
                by_file[choice.file][index] = choice.strength
        patched = with_shots(model, shots)
        for file, values in by_file.items():
            path = find_lora(file, folders)
            frames = values[0] if shots is None else strengths_of_shots([len(shot) for shot in spans], values)
            patched = with_attachment(patched, ShotLora(read_lora(path), frames), "lora")
        return io.NodeOutput(patched)


def era_map_of(text: str) -> EraLoras:
    """Read an era map from the text itself or from the file it names.

    Raises:
        SettingsError: The text is no map, or the file is not below the loras folder.
    """
    path = _map_file(text)
    return parse_era_loras(text) if path is None else read_era_loras(path)


def lora_folders(text: str) -> list[Path]:
    """Return where the files that an era map names are looked for: beside a map that is a file, then as ever.

    Raises:
        SettingsError: The file is not below the loras folder.
    """
    path = _map_file(text)
    return [*([] if path is None else [path.parent]), *folders_of(LORAS)]


def _map_file(text: str) -> Path | None:
    """Return the file that an era map is, or None where it is the text itself."""
    if text.lstrip().startswith("{"):
        return None
    name = text.strip()
    if Path(name).is_absolute() or ".." in Path(name).parts or not name.endswith(".json"):
        raise SettingsError(f"era_map is {name!r}; write JSON, or the name of a .json file below the loras folder")
    for folder in folders_of(LORAS):
        if (folder / name).is_file():
            return folder / name
    raise SettingsError(f"the era map {name!r} is in none of the loras folders; put it into models/loras")


def _state(file: str, folders: Sequence[Path]) -> str:
    """Return what changes when a LoRA does, for the host's cache."""
    try:
        status = find_lora(file, folders).stat()
    except SettingsError:
        return "missing"
    return f"{status.st_mtime_ns}:{status.st_size}"


def _eras(text: str, shots: int) -> list[tuple[str, ...]]:
    lines = text.split("\n") if text.strip() else [""]
    while len(lines) > 1 and not lines[-1].strip():
        lines.pop()
    if len(lines) not in (1, shots):
        raise SettingsError(
            f"eras has {counted(len(lines), 'line')} for {counted(shots, 'shot')}; "
            "write one for each shot, or one for all"
        )
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
        raise SettingsError(
            f"strengths has {counted(len(values), 'value')} for {counted(shots, 'shot')}; "
            "write one for each, or one for all"
        )
    return values * shots if len(values) == 1 else values
