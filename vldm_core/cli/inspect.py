"""The command that says what a weight file is."""

import json
from pathlib import Path
from typing import Annotated

import typer

from .support import reported


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
