"""Parting a complete checkpoint of DiffBIR's first version into a file for each loader.

`general_full_v1.ckpt` and `face_full_v1.ckpt` hold everything in one: the control branch, the stage-1 restorer, Stable
Diffusion 2.1 and a copy of the VAE's encoder that reads the hint. Loaders of single networks do not look for them
there. The tensors go from the pickle to safetensors files without being held: they stay on the disk until they are
written.
"""

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from ....errors import SettingsError, VLDMError
from ....files.published import below
from ....files.temporary import written_whole
from ....files.tensors import fill_file
from ....files.weights import WeightFileError, bare, read_contents, some, tensors_of
from ....progress import Progress, silent

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model."
CONTROL, STAGE1, HINT = "control_model.", "preprocess_model.", "cond_encoder."

_WANTED = {CONTROL: "control branch", STAGE1: "stage-1 restorer", VAE: "VAE", UNET: "UNet"}
# A tensor that each part has, so that a file that merely has a word of them in its names is not parted.
_MARKS = {
    CONTROL: "input_blocks.0.0.weight",
    STAGE1: "conv_first.1.weight",
    VAE: "decoder.conv_in.weight",
    UNET: "out.2.weight",
}


@dataclass(frozen=True, kw_only=True)
class UnpackedPart:
    """One file that was written.

    Attributes:
        name: What it holds.
        path: Where it is.
        folder: Folder of ComfyUI's models that its loader looks in.
        tensors: How many tensors it holds.
    """

    name: str
    path: Path
    folder: str
    tensors: int


@dataclass(frozen=True, kw_only=True)
class _Target:
    name: str
    suffix: str
    folder: str
    tensors: Mapping[str, Tensor]


def unpack_diffbir(
    path: Path, folder: Path, *, overwrite: bool = False, progress: Progress = silent
) -> tuple[UnpackedPart, ...]:
    """Write the parts of a complete DiffBIR v1 checkpoint as safetensors files, all of them or none.

    Beside control branch, stage-1 restorer and VAE there is a checkpoint of the UNet with the VAE and, where the file
    has it, the text encoder. The copy of the VAE's encoder that reads the hint is left out where it equals the VAE's;
    else a VAE with that encoder is written too.

    Args:
        path: The checkpoint: .ckpt, .pt, .pth or .safetensors.
        folder: Where the files go, named after the checkpoint; made if missing.
        overwrite: Replace files of the same names.
        progress: Called before every file.

    Returns:
        What was written.

    Raises:
        WeightFileError: The file is unreadable, or no complete DiffBIR v1; the message lists what it lacks.
        SettingsError: Files are there already and are not to be replaced.
        VLDMError: The disk has no room for the files.
    """
    tensors = {bare(key): value for key, value in tensors_of(read_contents(path, mapped=True)).items()}
    _check(tensors, path)
    targets = _targets(tensors)
    paths = [folder / f"{path.stem}_{target.suffix}.safetensors" for target in targets]
    there = [str(each) for each in paths if each.exists()]
    if there and not overwrite:
        raise SettingsError(f"{some(there)} exists already; choose another folder, or ask for --overwrite")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VLDMError(f"the folder {folder} cannot be made ({error.strerror}); choose another") from error
    _check_room(targets, folder)
    try:
        _write_all(targets, paths, progress)
    except (OSError, SafetensorError) as error:
        raise VLDMError(f"the parts of {path} cannot be written into {folder} ({error}); none was kept") from error
    return tuple(
        UnpackedPart(name=target.name, path=final, folder=target.folder, tensors=len(target.tensors))
        for target, final in zip(targets, paths, strict=True)
    )


def _check(tensors: Mapping[str, Tensor], path: Path) -> None:
    missing = [name for prefix, name in _WANTED.items() if f"{prefix}{_MARKS[prefix]}" not in tensors]
    if missing:
        raise WeightFileError(
            f"{path} is not a complete DiffBIR v1 checkpoint: it lacks the {', the '.join(missing)}; "
            "python -m vldm_core inspect says what it is"
        )


def _targets(tensors: Mapping[str, Tensor]) -> list[_Target]:
    vae, hint = below(tensors, VAE), below(tensors, HINT)
    base = {key: value for key, value in tensors.items() if key.startswith((UNET, VAE, TEXT))}
    has_text = any(key.startswith(TEXT) for key in base)
    targets = [
        _Target(name="control branch", suffix="control", folder="vldm_control", tensors=below(tensors, CONTROL)),
        _Target(name="stage-1 restorer", suffix="stage1", folder="upscale_models", tensors=below(tensors, STAGE1)),
        _Target(name="VAE", suffix="vae", folder="vae", tensors=vae),
        _Target(
            name=f"Stable Diffusion 2.1: UNet, VAE{' and text encoder' if has_text else ', without a text encoder'}",
            suffix="base",
            folder="checkpoints",
            tensors=base,
        ),
    ]
    if any(key not in vae or not torch.equal(vae[key], tensor) for key, tensor in hint.items()):
        name = "VAE with the encoder that reads the hint, which differs from the other"
        targets.append(_Target(name=name, suffix="hint_vae", folder="vae", tensors=vae | hint))
    return targets


def _check_room(targets: list[_Target], folder: Path) -> None:
    wanted = sum(tensor.numel() * tensor.element_size() for target in targets for tensor in target.tensors.values())
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise VLDMError(f"the parts take {wanted:,} bytes and {folder} has {free:,} free; choose another folder")


def _write_all(targets: list[_Target], paths: list[Path], progress: Progress) -> None:
    with ExitStack() as files:
        # The files get their names when all are written: the context of each ends only then.
        parts = [files.enter_context(written_whole(each)) for each in paths]
        for number, (target, part) in enumerate(zip(targets, parts, strict=True)):
            progress("unpack", number, len(targets))
            # Tensors of the file itself are written from where they are mapped; only those in disorder are copied.
            fill_file(target.tensors, part)
        progress("unpack", len(targets), len(targets))
