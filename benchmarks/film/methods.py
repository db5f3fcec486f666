"""What the film benchmark compares: our own levels of effort, other versions of this package, and the peers.

Each is a command that turns a film file into a film file, and one that turns it into a folder of masks. All run as
processes, as a user would run them.
"""

import itertools
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..common.own_process import REPOSITORY
from ..common.peers import RECIPES, Peers
from .settings import OWN, FilmBenchmarkSettings

Group = Literal["own", "earlier", "peer"]

_DETECT_OPTIONS = ("--quality",)
"""Options of `restore`, each with one value, that `detect` has, too."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to restore a film.

    Attributes:
        name: Name in the tables.
        group: Whose it is.
        description: One line for the page.
        film: Command, with {in} and {out} for the films' paths.
        masks: Command, with {in} for the film and {out} for a folder; None where it finds nothing by itself.
        environment: Variables that it needs.
    """

    name: str
    group: Group
    description: str
    film: tuple[str, ...]
    masks: tuple[str, ...] | None
    environment: Mapping[str, str] = field(default_factory=dict)


def methods_of(settings: FilmBenchmarkSettings, peers: Peers | None) -> tuple[Method, ...]:
    """List what is compared: the peers, other versions, then our own methods."""
    made = [] if peers is None else [_peer(name, recipe, peers) for name, recipe in RECIPES.items()]
    made += [_checkout(name, folder) for name, folder in settings.checkouts.items()]
    return (*made, *(own_method(name) for name in settings.own))


def own_method(name: str) -> Method:
    """Return one of our own methods; see `OWN`."""
    options = OWN[name]
    asked = " ".join(options)
    return Method(
        name=name,
        group="own",
        description=f"`restore {asked}`" if asked else "`restore`",
        film=_command("restore", *options),
        masks=_command("detect", *_shared(options)),
        environment=_path(REPOSITORY),
    )


def _checkout(name: str, folder: Path) -> Method:
    return Method(
        name=name,
        group="earlier",
        description="`restore` of another version",
        film=_command("restore"),
        masks=_command("detect"),
        environment=_path(folder.resolve()),
    )


def _peer(name: str, recipe: str, peers: Peers) -> Method:
    return Method(
        name=name,
        group="peer",
        description=f"`{recipe}`",
        film=peers.film_command(recipe),
        masks=peers.mask_command(recipe),
    )


def _command(command: str, *options: str) -> tuple[str, ...]:
    # -P: the folder that this runs in must not stand before the version that is asked for.
    return (sys.executable, "-P", "-m", "vldm_core", command, "{in}", "{out}", "--overwrite", *options)


def _path(folder: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(part for part in (str(folder), os.environ.get("PYTHONPATH")) if part)}


def _shared(options: Sequence[str]) -> tuple[str, ...]:
    """Return those options, with their values, that `detect` takes, too."""
    pairs = itertools.pairwise(options)
    return tuple(part for name, value in pairs if name in _DETECT_OPTIONS for part in (name, value))
