"""The peers: chains of VapourSynth plugins that restorers run for nothing, as programs beside this one.

They are run by a script that is no part of this package (MVTools and others are GPL), in an environment of its own.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vldm_core.errors import SettingsError

PYTHON_VARIABLE = "VLDM_PEER_PYTHON"
CHAIN_VARIABLE = "VLDM_PEER_CHAIN"

_PYTHONS = ("python3.14", "python3.13", "python3.12")
"""Names under which an interpreter with VapourSynth is looked for, besides the one that runs this."""

RECIPES: Mapping[str, str] = {
    "chain, tuned": (
        "deflicker[size=15]+descratch[mindif=3,maxwidth=5]+spotless[radt=2,thscd1=10000,thscd2=255,mirror=1]"
        "+degrain[tr=3,thsad=800]"
    ),
    "chain, gentle": (
        "deflicker[size=15]+descratch[mindif=3,maxwidth=5]+spotless[rec=1,mirror=1,thscd1=10000,thscd2=255]"
        "+degrain[tr=3,thsad=800]"
    ),
    "chain, repair only": "descratch+spotless",
}
"""Name → recipe of the script: what is to be beaten."""

_WHOLE_PICTURE = ("deflicker", "degrain")
"""Steps of a recipe that change every pixel, so that what they change is no mask."""


@dataclass(frozen=True, kw_only=True)
class Peers:
    """Where the peers are run.

    Attributes:
        python: Interpreter that can import VapourSynth.
        chain: The script.
    """

    python: str
    chain: Path

    def film_command(self, recipe: str) -> tuple[str, ...]:
        """Return the command that restores a film, with {in} and {out} for the films' paths."""
        return (self.python, str(self.chain), recipe, "{in}", "{out}")

    def mask_command(self, recipe: str) -> tuple[str, ...]:
        """Return the command that writes dirt.mkv and scratch.mkv, with {in} and {out} for the film and the folder."""
        steps = [step for step in recipe.split("+") if step.partition("[")[0] not in _WHOLE_PICTURE]
        return (self.python, str(self.chain), "detect:" + "+".join(steps), "{in}", "{out}")


def find_peers(chain: Path | None = None, python: str | None = None, *, near: Path | None = None) -> Peers:
    """Find the script and an interpreter for it.

    Args:
        chain: The script; else that of the variable VLDM_PEER_CHAIN, else vapoursynth_chain.py in a folder `peers`
            beside the data.
        python: The interpreter; else that of the variable VLDM_PEER_PYTHON, else the first of this one and Python 3.14
            to 3.12 on the path that can import VapourSynth.
        near: Folder of the data, or a file beside whose folder `peers` may lie.

    Raises:
        SettingsError: One of them is missing; the message says what was looked for and what to do.
    """
    given = chain or (Path(os.environ[CHAIN_VARIABLE]) if os.environ.get(CHAIN_VARIABLE) else None)
    places = [given] if given else [] if near is None else [near.resolve().parent / "peers" / "vapoursynth_chain.py"]
    script = next((place for place in places if place.is_file()), None)
    if script is None:
        looked = f" (looked at {places[0]})" if places else ""
        raise SettingsError(
            f"the peers' script vapoursynth_chain.py was not found{looked}; name it with --peer-chain or "
            f"{CHAIN_VARIABLE}, or leave the peers out with --no-peers"
        )
    named = python or os.environ.get(PYTHON_VARIABLE)
    for candidate in (named,) if named else (sys.executable, *_PYTHONS):
        found = shutil.which(candidate)
        if found is not None and _has_vapoursynth(found):
            return Peers(python=found, chain=script)
    who = f"{named} cannot" if named else "no interpreter on the path can"
    raise SettingsError(
        f"{who} import VapourSynth, which the peers need; it takes Python 3.12 or newer, and "
        f"{script.parent / 'README.md'} says what to install. Name the interpreter with --peer-python or "
        f"{PYTHON_VARIABLE}, or leave the peers out with --no-peers"
    )


def filled(words: Iterable[str], source: Path, target: Path) -> list[str]:
    """Put the paths into a command."""
    return [word.replace("{in}", str(source)).replace("{out}", str(target)) for word in words]


def _has_vapoursynth(python: str) -> bool:
    try:
        return subprocess.run([python, "-c", "import vapoursynth"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False
