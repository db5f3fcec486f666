"""The strata of the detection benchmark: what each holds, and which sources are aged in it."""

from collections.abc import Mapping
from typing import Literal

Stratum = Literal["transient", "persistent", "drifting", "weave", "flicker", "upright", "at rest"]

STRATA: Mapping[Stratum, str] = {
    "transient": "dirt, hair and blotches; no scratches",
    "persistent": "the same and scratches fixed to the film",
    "drifting": "the same and scratches that move across the film by 0.1 to 0.6 px a frame",
    "weave": "the same and fixed scratches, while gate weave moves the scene below them",
    "flicker": "the same and fixed scratches, while the brightness flickers",
    "upright": "the same and fixed scratches over a scene full of upright structure of its own",
    "at rest": "the same as upright in a locked-off shot, where nothing but its looks tells a scratch from the scene",
}
"""Stratum → what it holds, in the order of the report."""

LINE_STRATA: tuple[Stratum, ...] = tuple(stratum for stratum in STRATA if stratum != "transient")

DIRT_KINDS = ("dirt", "hair", "blotch")
"""Kinds of transient damage; dirt stands for dirt and dust."""

LINE_DEPTHS = (6.0, 10.0, 20.0)
"""Grey levels of the lines in every clip with lines: one line of each depth, dark or bright."""

LINE_KINDS = tuple(f"line {depth:g}" for depth in LINE_DEPTHS)
"""Kinds of scratches, as figures are stored."""

SHOWN_KINDS = {kind: kind for kind in DIRT_KINDS} | {
    kind: f"scratch {depth:g}" for kind, depth in zip(LINE_KINDS, LINE_DEPTHS, strict=True)
}
"""Kind of damage → what tables say."""

POSTS_STRATA: frozenset[Stratum] = frozenset({"upright", "at rest"})
"""Strata for which posts are drawn into photographs."""

UPRIGHT_CLIPS = frozenset({"bedroom"})
"""Clips whose own scene is full of upright structure: striped wallpaper, curtain and door frame."""

_TURNS: tuple[Stratum, ...] = ("weave", "drifting", "flicker")


def strata_of(number: int, name: str, photo: int | None) -> tuple[Stratum, ...]:
    """Return the strata in which a source is aged: without lines, with fixed ones, and in one stratum by turns.

    Args:
        number: Number of the source.
        name: Its name, without suffix.
        photo: Its number among the photographs, or None for a clip. Photographs are aged once more with posts drawn
            into the scene, by turns under a moving camera and under one at rest.
    """
    fixed: Stratum = "upright" if name in UPRIGHT_CLIPS else "persistent"
    extra: tuple[Stratum, ...] = ()
    if photo is not None:
        extra = ("at rest",) if photo % 2 else ("upright",)
    return ("transient", fixed, _TURNS[number % len(_TURNS)], *extra)
