"""Ages a film frame by frame."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..arrays import FloatArray
from ..errors import SettingsError
from .codec import CodecLayer
from .defects.blotches import BlotchLayer
from .defects.cinch_marks import CinchLayer
from .defects.cue_marks import CueLayer
from .defects.dirt import DirtLayer
from .defects.hair import HairLayer
from .defects.marks import visible_change
from .defects.scratches import LINE_KINDS, LineKind, LineLayer, ScratchLine
from .defects.splices import Splice, SpliceLayer
from .defects.stains import StainLayer
from .defects.tears import TearLayer
from .defects.texture_folder import SHEET_KINDS, SheetLayer, TextureFolder, TextureKind
from .look.aperture import ApertureLayer
from .look.cadence import Timeline
from .look.emulsion import EmulsionLayer
from .look.exposure import Exposure, FlickerLayer
from .look.fading import FadingLayer
from .look.grain import GrainLayer
from .look.softness import SoftnessLayer
from .look.vignette import VignetteLayer
from .look.weave import Displacement, WeaveLayer, displaced, displaced_mask
from .mixing import MixingLayer
from .settings import SimulationSettings

MASK_KINDS = ("dirt", "hair", "lines", "tears", "blotches", "stains", "splices", "cues", "cinches")
"""Kinds of local damage, each with a mask of its own."""

_STILL = Displacement(dx=0.0, dy=0.0, angle=0.0)
_FRAME_LINE = 0.02  # brightness between two frames, which a jump brings into sight


class AgedFrame(NamedTuple):
    """One aged frame.

    Attributes:
        frame: (3, H, W) in [0, 1].
        masks: For each of :data:`MASK_KINDS` a soft mask (H, W) in [0, 1]; see ``marks`` for its meaning.
        source: Number of the clean frame it shows. Where two are mixed, the one that has the larger share or, of two
            fields, the one that comes first.
        clean: That clean frame, (3, H, W): the target to restore it to.
    """

    frame: Tensor
    masks: dict[str, Tensor]
    source: int
    clean: Tensor


class FilmPicture(NamedTuple):
    """One frame of the simulated film itself, before it is transferred: (H, W, 3), and a mask (H, W) per kind."""

    image: FloatArray
    masks: dict[str, FloatArray]


class Simulator:
    """Ages the frames of one reel, in any order.

    The picture passes scene → camera weave → lens, vignette → exposure flicker → emulsion → fading → aperture → lines,
    tears, blotches, stains, dirt, hair, splices, cue marks, scans, cinch marks → grain → scanner weave and the jumps at
    splices → repeats, gaps and mixed frames → softness → codec. Frame ``index`` comes out the same whether or not other
    frames were asked for before, and nothing needs the length of the reel, so a film of any length is aged in constant
    memory. Cuts play no part: scratches and gate hairs survive them.

    :meth:`frame` does all of that which needs no other frame; ``age_stream`` and ``age_span`` do all of it.
    """

    def __init__(
        self, settings: SimulationSettings, seed: int, height: int, width: int, *, damage: bool = True
    ) -> None:
        """Prepare the simulation.

        Args:
            settings: Which defects to simulate.
            seed: 0 … 2**64 - 1; the same seed gives the same film.
            height: Frame height, px, at least 16.
            width: Frame width, px, at least 16.
            damage: Whether there is local damage, that is any of :data:`MASK_KINDS`. Without it everything else,
                the jumps and lost frames at splices included, is the same as with it.

        Raises:
            SettingsError: When the seed or the size is out of range, or the folder of textures holds none.
        """
        if not 0 <= seed < 1 << 64:
            raise SettingsError(f"The simulation seed is {seed}; choose a whole number from 0 to 2**64 - 1.")
        if min(height, width) < 16:
            raise SettingsError(f"The frame is {width}x{height} px; ageing needs at least 16x16.")
        self.settings, self.height, self.width = settings, height, width
        size = (seed, height, width)
        folder = TextureFolder(settings.textures) if settings.textures is not None else None

        def shapes(kind: TextureKind) -> TextureFolder | None:
            return folder if folder is not None and folder.has(kind) else None

        self._camera = (
            WeaveLayer(settings.camera_weave, seed, "camera weave", height, width) if settings.camera_weave else None
        )
        self._lens = SoftnessLayer(settings.lens, *size, name="lens") if settings.lens else None
        self._vignette = VignetteLayer(settings.vignette, *size) if settings.vignette else None
        self._flicker = FlickerLayer(settings.flicker, *size) if settings.flicker else None
        self._emulsion = EmulsionLayer(settings.emulsion, height) if settings.emulsion else None
        self._fading = FadingLayer(settings.fading, seed) if settings.fading else None
        self._aperture = ApertureLayer(settings.aperture, *size) if settings.aperture else None
        self._lines = LineLayer(settings.lines, *size) if settings.lines and damage else None
        self._splices = SpliceLayer(settings.splices, *size) if settings.splices else None
        # In the order in which they come upon the print.
        self._marks: dict[str, TearLayer | BlotchLayer | StainLayer | DirtLayer | HairLayer | SpliceLayer | CueLayer]
        self._marks = {}
        self._sheets: dict[str, SheetLayer] = {}
        self._cinches = CinchLayer(settings.cinches, *size) if settings.cinches and damage else None
        if settings.tears:
            self._marks["tears"] = TearLayer(settings.tears, *size)
        if settings.blotches:
            self._marks["blotches"] = BlotchLayer(settings.blotches, *size, shapes("stain"))
        if settings.stains:
            self._marks["stains"] = StainLayer(settings.stains, *size, shapes("stain"))
        if settings.dirt:
            self._marks["dirt"] = DirtLayer(settings.dirt, *size, shapes("dirt"))
        if settings.hair:
            self._marks["hair"] = HairLayer(settings.hair, *size, shapes("hair"))
        if self._splices:
            self._marks["splices"] = self._splices
        if settings.cues:
            self._marks["cues"] = CueLayer(settings.cues, *size)
        if settings.sheets and folder is not None:
            self._sheets = {
                mask: SheetLayer(settings.sheets, *size, folder, kind)
                for kind, mask in SHEET_KINDS.items()
                if folder.has(kind)
            }
        if not damage:
            self._marks, self._sheets = {}, {}
        self._grain = GrainLayer(settings.grain, *size) if settings.grain else None
        self._scanner = (
            WeaveLayer(settings.scanner_weave, seed, "scanner weave", height, width) if settings.scanner_weave else None
        )
        self._softness = SoftnessLayer(settings.softness, *size) if settings.softness else None
        self.timeline = Timeline(settings.cadence, self._splices, seed)
        self.mixing = MixingLayer(settings.mixing, seed) if settings.mixing else None
        self.codec = CodecLayer(settings.codec, seed) if settings.codec else None

    def frame(self, index: int, image: Tensor) -> AgedFrame:
        """Age one frame by itself: without repeats and gaps, mixing with the next frame, or a video codec.

        Args:
            index: Frame number on the reel, from 0.
            image: Clean frame, (3, H, W) in [0, 1].

        Returns:
            The aged frame and its masks.

        Raises:
            SettingsError: When the frame does not have the size the simulator was made for, or index is negative.
        """
        film = self.film(index, image)
        picture = self.soften(film.image)
        if self.codec and not self.codec.needs_groups:
            picture = self.codec.still(picture)
        return AgedFrame(
            frame_tensor(picture), {kind: torch.from_numpy(mask) for kind, mask in film.masks.items()}, index, image
        )

    def film(self, index: int, image: Tensor) -> FilmPicture:
        """Return a frame of the film itself; :meth:`frame` without softness and compression."""
        if tuple(image.shape) != (3, self.height, self.width):
            raise SettingsError(
                f"Frame {index} has the shape {tuple(image.shape)}; this simulator ages frames of shape "
                f"{(3, self.height, self.width)}. Make a simulator for this size."
            )
        if index < 0:
            raise SettingsError(f"The frame number is {index}; frames count from 0.")
        picture: FloatArray = np.ascontiguousarray(image.detach().cpu().float().permute(1, 2, 0).numpy())
        picture = self._print(index, picture)
        masks: dict[str, FloatArray] = {
            kind: np.zeros((self.height, self.width), dtype=np.float32) for kind in MASK_KINDS
        }
        if self._lines:
            picture, masks["lines"] = self._lines.apply(index, picture)
        for kind, layer in self._marks.items():
            before = picture
            picture = layer.apply(index, picture)
            if picture is not before:
                masks[kind] = visible_change(before, picture)
        for kind, sheets in self._sheets.items():
            before = picture
            picture = sheets.apply(index, picture)
            if picture is not before:
                masks[kind] = np.maximum(masks[kind], visible_change(before, picture))
        if self._cinches:
            picture, scratched = self._cinches.apply(index, picture)
            masks["cinches"] = np.maximum(masks["cinches"], scratched)
        if self._grain:
            picture = self._grain.apply(index, picture)
        place = self.scanner_displacement(index)
        if self._scanner or place != _STILL:
            jumping = self._splices is not None and self._splices.displacement(index) != _STILL
            picture = displaced(picture, place, outside=_FRAME_LINE if jumping else None)
            masks = {kind: displaced_mask(mask, place) for kind, mask in masks.items()}
        return FilmPicture(picture, masks)

    def soften(self, picture: FloatArray) -> FloatArray:
        """Return a scanned picture (H, W, 3) with the softness of the copy."""
        return self._softness.apply(picture) if self._softness else picture

    def _print(self, index: int, picture: FloatArray) -> FloatArray:
        """From the scene to an undamaged print."""
        if self._camera:
            picture = self._camera.apply(index, picture)
        if self._lens:
            picture = self._lens.apply(picture)
        if self._vignette:
            picture = self._vignette.apply(picture)
        if self._flicker:
            picture = self._flicker.apply(index, picture)
        if self._emulsion:
            picture = self._emulsion.apply(picture)
        if self._fading:
            picture = self._fading.apply(index, picture)
        if self._aperture:
            picture = self._aperture.apply(picture)
        return picture

    def lines(self, first: int, last: int) -> tuple[ScratchLine, ...]:
        """Return the line scratches seen in at least one of the frames first … last - 1."""
        return self._lines.between(first, last) if self._lines else ()

    def line_masks(self, index: int) -> dict[LineKind, Tensor]:
        """Return the nominal line masks of frame ``index``, one per kind of line.

        They are what ``frame(index, …).masks["lines"]`` holds, apart by kind and on a picture that clips nothing.

        Returns:
            For each kind a mask (H, W) in [0, 1].
        """
        masks = {kind: np.zeros((self.height, self.width), dtype=np.float32) for kind in LINE_KINDS}
        for line in self.lines(index, index + 1):
            drawn = self._lines.strength(line, index) if self._lines else None
            if drawn is not None:
                columns, strength = drawn
                mask = masks[line.kind]
                mask[:, columns] = np.maximum(mask[:, columns], np.abs(strength))
        place = self.scanner_displacement(index)
        if place != _STILL:
            masks = {kind: displaced_mask(mask, place) for kind, mask in masks.items()}
        return {kind: torch.from_numpy(mask) for kind, mask in masks.items()}

    def camera_displacement(self, index: int) -> Displacement:
        """Return how camera weave displaced the scene in frame ``index``."""
        return self._camera.displacement(index) if self._camera else _STILL

    def scanner_displacement(self, index: int) -> Displacement:
        """Return how scanner weave and splices displaced the whole picture in frame ``index``."""
        place = self._scanner.displacement(index) if self._scanner else _STILL
        return place + self._splices.displacement(index) if self._splices else place

    def splices(self, first: int, last: int) -> tuple[Splice, ...]:
        """Return the splices seen or felt in at least one of the frames first … last - 1."""
        return self._splices.between(first, last) if self._splices else ()

    def exposure(self, index: int) -> Exposure:
        """Return the flicker of frame ``index``."""
        if self._flicker:
            return self._flicker.exposure(index)
        return Exposure(gain=1.0, gamma=1.0, field=np.ones((4, 4), dtype=np.float32))


def frame_tensor(picture: FloatArray) -> Tensor:
    """Return a picture (H, W, 3) as a frame (3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
