"""The commands for weight files: what one is, and parting one that holds several networks."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ..wording import counted
from .support import OverwriteOption, bars, reported


def inspect(
    file: Annotated[
        Path, typer.Argument(help="Weight file, or a folder that holds one, such as unet/.", show_default=False)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every name, instead of text.")] = False,
) -> None:
    """Say what a checkpoint is: its base model or restoration control, what is missing, and what it needs beside it.

    Only names and shapes are looked at. Pickles that hold more than plain data are refused without being run.
    """
    from ..prior.checkpoints.inspection.contents import inspect_checkpoint
    from ..prior.checkpoints.inspection.report import as_data, as_lines

    with reported():
        found = inspect_checkpoint(file)
        if as_json:
            typer.echo(json.dumps({"file": str(file), **as_data(found)}, indent=2))
            return
        for line in as_lines(found):
            typer.echo(line)


def unpack(
    file: Annotated[
        Path, typer.Argument(help="Complete DiffBIR v1 checkpoint, such as general_full_v1.ckpt.", show_default=False)
    ],
    folder: Annotated[Path, typer.Argument(help="Folder for the parts, made if missing.", show_default=False)],
    overwrite: OverwriteOption = False,
) -> None:
    """Part a complete DiffBIR v1 checkpoint into a file for each loader: control, stage 1, VAE, Stable Diffusion.

    All files appear together, or none where something fails. The checkpoint stays as it is.
    """
    from ..prior.controls.diffbir.unpacking import unpack_diffbir

    with reported():
        with bars() as progress:
            parts = unpack_diffbir(file, folder, overwrite=overwrite, progress=progress)
        for part in parts:
            typer.echo(f"{part.path}: {part.name}, {counted(part.tensors, 'tensor')}, for models/{part.folder}")
