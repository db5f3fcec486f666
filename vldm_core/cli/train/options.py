"""``python -m vldm_core train …``, and the options that its commands share."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True, help="Train networks and parts of a Stable Diffusion prior on your own films and pictures."
)

DataOption = Annotated[
    Path, typer.Option(help="Folder with films and pictures, or with clips/ and photos/; some are kept apart.")
]
OutOption = Annotated[
    Path, typer.Option(help="File to write, .safetensors; checkpoints lie in a folder beside it, NAME.training.")
]
SeedOption = Annotated[int, typer.Option(min=0, help="Same seed, same weights.")]
ResumeOption = Annotated[
    bool, typer.Option(help="Go on from the checkpoint, if there is one; its settings must be the same.")
]
OverwriteOption = Annotated[
    bool, typer.Option(help="Replace weights and checkpoint that are there; else they stop the command.")
]
CheckpointOption = Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Threads of torch and OpenCV.")]
