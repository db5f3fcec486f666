"""The second ageing model: a clean shot becomes an old film with known truth.

The order is that of a print that was copied: the scene is printed and displaced by the gate, the lamp flickers, the
marks lie on it, the copy's grain covers all, the scanner blurs, a codec packs. The masks follow from the picture: a
kind's mask is where the scanned picture without grain differs visibly from the same without that kind.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .carrier import Carrier, draw_carrier
from .layers import WHITE, Layer
from .lines import along_film, one_frame
from .marks import Frame, blotches, dirt, standing
from .settings import KINDS, LASTING, Kind, SecondAgeing, Visibility
from .textures import Plane, Textures

Film = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_STREAMS = ("carrier", "specks", "flashes", "along the film", "patches", "at rest")
"""Sources of chance, one for each part: more of one kind of damage leaves the others as they are."""

_GRAIN = len(_STREAMS)

_BORDER = 4
"""Columns beside a strip of the picture within which its blur is not that of the whole picture."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SecondAged:
    """An aged film and everything known about it. Films are grey, (T, H, W) uint8; masks (T, H, W) bool.

    Attributes:
        aged: What a method gets to see.
        undamaged: The same without damage: with weave, flicker, grain, scan and codec.
        clean: The same without flicker, grain and codec: what a perfect restoration that keeps the weave gives.
        masks: Kind → where it changes the picture visibly; see `settings.Visibility`.
        rims: Kind → where it changes the picture at all, `masks` included.
    """

    aged: Film
    undamaged: Film
    clean: Film
    masks: dict[Kind, Mask]
    rims: dict[Kind, Mask]

    @property
    def damaged(self) -> Mask:
        """Where any kind of damage is visible."""
        return np.logical_or.reduce([self.masks[kind] for kind in KINDS])

    @property
    def touched(self) -> Mask:
        """Where damage changes the picture at all."""
        return np.logical_or.reduce([self.rims[kind] for kind in KINDS])


def age_again(
    clean: Plane,
    textures: Textures,
    seed: int,
    *,
    settings: SecondAgeing | None = None,
    kinds: tuple[Kind, ...] = KINDS,
    step: Callable[[int, int], None] | None = None,
) -> SecondAged:
    """Age a clean shot.

    Args:
        clean: (T, H, W) grey in [0, 1].
        textures: Alpha masks of one half.
        seed: Same seed, same film.
        settings: What is drawn from.
        kinds: Kinds of damage that the film has; the others are left out, and nothing else changes.
        step: Called with the number of frames done and of all frames.
    """
    settings = settings or SecondAgeing()
    count, height, width = clean.shape
    streams = {name: np.random.default_rng([seed, number]) for number, name in enumerate(_STREAMS)}
    carrier = draw_carrier(streams["carrier"], settings.carrier, count, height)
    layers = _layers(streams, settings, Frame(count=count, height=height, width=width), textures, kinds)
    films: dict[str, list[Film]] = {"aged": [], "undamaged": [], "clean": []}
    masks: dict[Kind, list[Mask]] = {kind: [] for kind in KINDS}
    rims: dict[Kind, list[Mask]] = {kind: [] for kind in KINDS}
    for index in range(count):
        scene = carrier.scene(clean[index], index)
        lit = carrier.lit(scene, index)
        damaged = lit.copy()
        for layer in layers[index]:
            layer.lay(damaged)
        found = _masks(lit, layers[index], carrier, settings.visibility)
        for kind in KINDS:
            masks[kind].append(found[kind][0])
            rims[kind].append(found[kind][1])
        for name, picture in (("aged", damaged), ("undamaged", lit)):
            # The same grain for both, so that they differ by the damage alone.
            grained = carrier.grained(_limited(picture), np.random.default_rng([seed, _GRAIN, index]))
            films[name].append(_rounded(carrier.scanned(_limited(grained))))
        films["clean"].append(_rounded(carrier.scanned(scene)))
        if step is not None:
            step(index + 1, count)
    return SecondAged(
        aged=carrier.coded(np.stack(films["aged"])),
        undamaged=carrier.coded(np.stack(films["undamaged"])),
        clean=np.stack(films["clean"]),
        masks={kind: np.stack(planes) for kind, planes in masks.items()},
        rims={kind: np.stack(planes) for kind, planes in rims.items()},
    )


def _layers(
    streams: dict[str, np.random.Generator],
    settings: SecondAgeing,
    frame: Frame,
    textures: Textures,
    kinds: tuple[Kind, ...],
) -> list[list[Layer]]:
    made = [
        *blotches(streams["patches"], settings.blotches, frame, textures),
        *along_film(streams["along the film"], settings.lines, frame),
        *one_frame(streams["flashes"], settings.scratches, frame, textures),
        *dirt(streams["specks"], settings.dirt, frame, textures),
        *standing(streams["at rest"], settings.standing, frame, textures),
    ]
    layers: list[list[Layer]] = [[] for _ in range(frame.count)]
    for index, layer in made:
        if layer.kind in kinds:
            layers[index].append(layer)
    return layers


def _masks(lit: Plane, layers: list[Layer], carrier: Carrier, visibility: Visibility) -> dict[Kind, tuple[Mask, Mask]]:
    """Tell for every kind where it is visible, and where it changes the picture at all."""
    found: dict[Kind, tuple[Mask, Mask]] = {}
    plain = carrier.scanned(_limited(lit))
    sigma = carrier.grain_sigma(plain)
    for kind in KINDS:
        own = [layer for layer in layers if layer.kind == kind]
        visible, rim = (np.zeros(lit.shape, bool) for _ in range(2))
        # Each line by itself, since what counts is its own depth; all other marks of a kind together.
        for group in [[layer] for layer in own] if kind in LASTING else [own] if own else []:
            columns = _columns(group, lit.shape[1]) if kind in LASTING else slice(None)
            picture = lit.copy()
            for layer in group:
                layer.lay(picture)
            change = np.abs(carrier.scanned(_limited(picture[:, columns])) - plain[:, columns])
            if kind in LASTING:
                # The border of the strip is blurred otherwise than in the whole picture; no line reaches it.
                depth = change[:, _BORDER:-_BORDER].max(axis=1, keepdims=True, initial=0)
                seen = change >= np.maximum(visibility.line_share * depth, visibility.line_levels)
                seen[:, :_BORDER] = seen[:, -_BORDER:] = False
                change[:, :_BORDER] = change[:, -_BORDER:] = 0
                visible[:, columns] |= seen
            elif kind == "blotch":
                visible |= change >= visibility.grain_sigmas * sigma
            else:
                visible |= change >= visibility.levels
            rim[:, columns] |= change >= visibility.rim
        found[kind] = (visible, rim | visible)
    return found


def _columns(layers: list[Layer], width: int) -> slice:
    """The columns of a line, with those beside that a blur brings it to, and a border."""
    first, last = layers[0].spot.left, layers[0].spot.left + layers[0].spot.cover.shape[1]
    return slice(max(0, first - 2 * _BORDER), min(width, last + 2 * _BORDER))


def _limited(picture: Plane) -> Plane:
    return np.clip(picture, 0, WHITE).astype(np.float32)


def _rounded(picture: Plane) -> Film:
    return np.clip(np.rint(picture), 0, WHITE).astype(np.uint8)
