"""Options that several benchmarks have, and how their texts are read."""

from pathlib import Path
from typing import Annotated

import typer

from vldm_core.errors import SettingsError

JsonOption = Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")]
PageOption = Annotated[Path | None, typer.Option("--markdown", help="Write the results page to this file.")]
TableOption = Annotated[Path | None, typer.Option("--markdown", help="Write the tables to this file.")]
LanesOption = Annotated[int | None, typer.Option("--lanes", min=1, help="Clips side by side; as many as processors.")]


PeerChainOption = Annotated[
    Path | None, typer.Option("--peer-chain", help="The peers' script; else VLDM_PEER_CHAIN, else beside the data.")
]
PeerPythonOption = Annotated[
    str | None,
    typer.Option("--peer-python", help="Python with VapourSynth; else VLDM_PEER_PYTHON, else searched."),
]
PeersOption = Annotated[bool, typer.Option("--peers/--no-peers", help="Run the VapourSynth chains beside.")]


def whole_numbers(text: str, what: str) -> tuple[int, ...]:
    """Read whole numbers with commas between them.

    Raises:
        SettingsError: There is something else.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise SettingsError(f"{what} are {text!r}; give whole numbers with commas between them") from error
