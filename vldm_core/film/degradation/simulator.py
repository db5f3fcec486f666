"""Ages a film frame by frame."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...errors import SettingsError
from .blotches import BlotchLayer
from .dirt import DirtLayer
from .exposure import Exposure, FlickerLayer
from .fading import FadingLayer
from .grain import GrainLayer
from .hair import HairLayer
from .lines import LINE_KINDS, LineKind, LineLayer, ScratchLine
from .marks import visible_change
from .randomness import FloatArray
from .settings import SimulationSettings
from .weave import Displacement, WeaveLayer

MASK_KINDS = ("dirt", "hair", "lines")


class AgedFrame(NamedTuple):
    """One aged frame.

    Attributes:
        frame: (3, H, W) in [0, 1].
        masks: For each of :data:`MASK_KINDS` a soft mask (H, W) in [0, 1]; see ``marks`` for its meaning.
    """

    frame: Tensor
    masks: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """An aged clip.

    Attributes:
        frames: (T, 3, H, W) in [0, 1].
        masks: For each of :data:`MASK_KINDS` a soft mask (T, H, W) in [0, 1]; see ``marks`` for its meaning.
        lines: The line scratches seen in the clip; their frame numbers count from the start of the reel.
    """

    frames: Tensor
    masks: Mapping[str, Tensor]
    lines: tuple[ScratchLine, ...]


class Simulator:
    """Ages the frames of one reel, in any order.

    The picture passes scene → camera weave → exposure flicker → fading → lines, blotches, dirt, hair → grain →
    scanner weave. Frame ``index`` comes out the same whether or not other frames were asked for before, and nothing
    needs the length of the reel, so a film of any length is aged in constant memory. Cuts play no part: scratches and
    gate hairs survive them.
    """

    def __init__(self, settings: SimulationSettings, seed: int, height: int, width: int) -> None:
        """Prepare the simulation.

        Args:
            settings: Which defects to simulate.
            seed: 0 … 2**64 - 1; the same seed gives the same film.
            height: Frame height, px, at least 16.
            width: Frame width, px, at least 16.

        Raises:
            SettingsError: When the seed or the size is out of range.
        """
        if not 0 <= seed < 1 << 64:
            raise SettingsError(f"The simulation seed is {seed}; choose a whole number from 0 to 2**64 - 1.")
        if min(height, width) < 16:
            raise SettingsError(f"The frame is {width}x{height} px; ageing needs at least 16x16.")
        self.settings, self.height, self.width = settings, height, width
        size = (seed, height, width)
        self._camera = (
            WeaveLayer(settings.camera_weave, seed, "camera weave", height, width) if settings.camera_weave else None
        )
        self._flicker = FlickerLayer(settings.flicker, *size) if settings.flicker else None
        self._fading = FadingLayer(settings.fading, seed) if settings.fading else None
        self._lines = LineLayer(settings.lines, *size) if settings.lines else None
        self._blotches = BlotchLayer(settings.blotches, *size) if settings.blotches else None
        self._dirt = DirtLayer(settings.dirt, *size) if settings.dirt else None
        self._hair = HairLayer(settings.hair, *size) if settings.hair else None
        self._grain = GrainLayer(settings.grain, *size) if settings.grain else None
        self._scanner = (
            WeaveLayer(settings.scanner_weave, seed, "scanner weave", height, width) if settings.scanner_weave else None
        )

    def frame(self, index: int, image: Tensor) -> AgedFrame:
        """Age one frame.

        Args:
            index: Frame number on the reel, from 0.
            image: Clean frame, (3, H, W) in [0, 1].

        Returns:
            The aged frame and its masks.

        Raises:
            SettingsError: When the frame does not have the size the simulator was made for, or index is negative.
        """
        if tuple(image.shape) != (3, self.height, self.width):
            raise SettingsError(
                f"Frame {index} has the shape {tuple(image.shape)}; this simulator ages frames of shape "
                f"{(3, self.height, self.width)}. Make a simulator for this size."
            )
        if index < 0:
            raise SettingsError(f"The frame number is {index}; frames count from 0.")
        picture: FloatArray = np.ascontiguousarray(image.detach().cpu().float().permute(1, 2, 0).numpy())
        for exposure_layer in (self._camera, self._flicker, self._fading):
            if exposure_layer:
                picture = exposure_layer.apply(index, picture)
        masks: dict[str, FloatArray] = {
            kind: np.zeros((self.height, self.width), dtype=np.float32) for kind in MASK_KINDS
        }
        if self._lines:
            picture, masks["lines"] = self._lines.apply(index, picture)
        before = picture
        if self._blotches:
            picture = self._blotches.apply(index, picture)
        if self._dirt:
            picture = self._dirt.apply(index, picture)
        if picture is not before:
            masks["dirt"] = visible_change(before, picture)
        if self._hair:
            before = picture
            picture = self._hair.apply(index, picture)
            masks["hair"] = visible_change(before, picture)
        if self._grain:
            picture = self._grain.apply(index, picture)
        if self._scanner:
            picture = self._scanner.apply(index, picture)
            masks = {kind: self._scanner.apply_mask(index, mask) for kind, mask in masks.items()}
        frame = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
        return AgedFrame(frame, {kind: torch.from_numpy(mask) for kind, mask in masks.items()})

    def lines(self, first: int, last: int) -> tuple[ScratchLine, ...]:
        """Return the line scratches seen in at least one of the frames first … last - 1."""
        return self._lines.between(first, last) if self._lines else ()

    def line_position(self, line: ScratchLine, index: int) -> float:
        """Return where a line crosses half the height in frame ``index``, px, before scanner weave."""
        if self._lines is None:
            raise SettingsError("These settings have no lines; set SimulationSettings.lines.")
        return self._lines.position(line, index)

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
        if self._scanner:
            masks = {kind: self._scanner.apply_mask(index, mask) for kind, mask in masks.items()}
        return {kind: torch.from_numpy(mask) for kind, mask in masks.items()}

    def camera_displacement(self, index: int) -> Displacement:
        """Return how camera weave displaced the scene in frame ``index``."""
        return self._camera.displacement(index) if self._camera else Displacement(dx=0.0, dy=0.0, angle=0.0)

    def scanner_displacement(self, index: int) -> Displacement:
        """Return how scanner weave displaced the whole picture in frame ``index``."""
        return self._scanner.displacement(index) if self._scanner else Displacement(dx=0.0, dy=0.0, angle=0.0)

    def exposure(self, index: int) -> Exposure:
        """Return the flicker of frame ``index``."""
        if self._flicker:
            return self._flicker.exposure(index)
        return Exposure(gain=1.0, gamma=1.0, field=np.ones((4, 4), dtype=np.float32))


def simulate(frames: Tensor, settings: SimulationSettings | None = None, seed: int = 0, first: int = 0) -> Simulation:
    """Age a clip that fits in memory; :class:`Simulator` ages longer ones.

    Args:
        frames: Clean frames, (T, 3, H, W) in [0, 1].
        settings: Which defects to simulate; the preset ``"worn"`` by default.
        seed: The same seed gives the same film.
        first: Frame number of the first frame on the reel.

    Returns:
        The aged frames, their masks and the line scratches in them.

    Raises:
        SettingsError: When the frames have another shape, or seed or size are out of range.
    """
    if frames.ndim != 4 or frames.shape[1] != 3 or not len(frames):
        raise SettingsError(f"The frames have the shape {tuple(frames.shape)}; give (T, 3, H, W) with T at least 1.")
    simulator = Simulator(settings or SimulationSettings(), seed, frames.shape[2], frames.shape[3])
    aged = [simulator.frame(first + number, image) for number, image in enumerate(frames)]
    return Simulation(
        frames=torch.stack([one.frame for one in aged]),
        masks={kind: torch.stack([one.masks[kind] for one in aged]) for kind in MASK_KINDS},
        lines=simulator.lines(first, first + len(frames)),
    )
