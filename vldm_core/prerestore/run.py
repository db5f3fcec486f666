"""Run the pre-restoration network over a shot of any length, in bounded memory.

A shot is worked through in segments that are counted from its start. Within a segment the state travels back from the
end of a few frames of lookahead, and forwards from the segment before without a break. So a frame is restored from all
of its past and from `PreRestoreSettings.lookahead` frames of its future or more, and comes out the same however the
caller cuts the stream.

At any time a segment's features are held, most of them at a quarter of the size; encoder and decoder run over a few
frames at once, fewer where memory does not suffice, with the same result. Of large frames on the processor only the
state that comes from the future is held for a segment: features are encoded again when they are needed, and a frame is
encoded and decoded in bands of rows. What was encoded of the lookahead serves the next segment.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor

from ..arrays import BoolArray, FloatArray
from ..errors import SettingsError, VLDMError
from ..film.motion.field import enlarged_mask
from ..film.motion.shot import ShotMotion
from ..machine.allocator import give_blocks_back
from ..progress import Progress, Pulse, silent
from ..video.buffers.bands import Band, bands
from ..video.buffers.pictures import Picture
from .alignment import NEARBY_CHANNELS, alignment_of, soundness
from .held import Chain, HeldFrame, hold, seen
from .layers.blocks import FULL_WIDTH
from .network import SCALE, STATE_SCALE, PreRestorer, ShotState

_NAME = "pre-restoration"
_GRAIN_SIGMA = 1.2
"""Pixels of the blur that parts fine texture, which may be grain, from the rest."""
_FRAMES_AT_ONCE = 8
"""Frames that a graphics card encodes or decodes at a time; a processor does one."""
_MOST_KEPT = 512 << 20
"""Bytes of what is encoded of a segment that are kept; of larger frames it is made again when it is needed."""
_PLANES_IN_WORK = 60
"""Planes of full size, in single precision, that encoding or decoding a band takes at its peak."""

Made = TypeVar("Made")
Way = tuple[Tensor, Tensor]
"""Flow (1, 2, h/4, w/4) and trust (1, h/4, w/4) of one frame; see `Alignment`."""


@dataclass(frozen=True, kw_only=True)
class PreRestoreSettings:
    """How frames are pre-restored.

    Attributes:
        strength: Share of the network's change that is applied, 0 … 1; 0 leaves the frames as they are.
        keep_grain: Share of the fine texture that the network takes off and that is put back, 0 … 1.
        segment: Frames that are restored together.
        lookahead: Frames behind a segment that are looked at, at least 0.
    """

    strength: float = 1.0
    keep_grain: float = 0.3
    segment: int = 12
    lookahead: int = 6

    def __post_init__(self) -> None:
        for name in ("strength", "keep_grain"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"pre-restore {name} is {getattr(self, name)}; use 0 … 1")
        if not 1 <= self.segment <= 256 or not 0 <= self.lookahead <= 256:
            raise SettingsError(
                f"pre-restore segment and lookahead are {self.segment} and {self.lookahead} frames; use 1 … 256 and "
                "0 … 256"
            )


class PreRestoredFrame(NamedTuple):
    """A pre-restored frame.

    Attributes:
        image: (3, H, W), RGB, [0, 1].
        latent: (4, h/8, w/8) in the VAE's unscaled units, where h and w are H and W rounded up to a multiple of 8; or
            None where the network has no latent head.
        features: (C, h/s, w/s) at s = 2, 4 and 8, on the device of the network; or None where they were not asked for.
    """

    image: Tensor
    latent: Tensor | None
    features: tuple[Tensor, Tensor, Tensor] | None = None


def pre_restore(
    frames: Tensor,
    network: PreRestorer,
    settings: PreRestoreSettings | None = None,
    *,
    masks: Tensor | None = None,
    progress: Progress = silent,
) -> tuple[Tensor, Tensor | None]:
    """Pre-restore one shot that fits in memory.

    Args:
        frames: (T, 3, H, W), RGB, [0, 1].
        network: On the device and in the precision to run in.
        settings: Defaults to `PreRestoreSettings()`.
        masks: (T, H, W), 1 = damaged or repaired: what is there is not carried to other frames.
        progress: Called at least once per frame.

    Returns:
        (T, 3, H, W) in [0, 1] on the device of `frames`, and latents (T, 4, h/8, w/8) or None.

    Raises:
        SettingsError: The shapes do not belong together.
        VLDMError: One frame alone does not fit into memory.
    """
    if frames.ndim != 4 or frames.shape[1] != 3 or 0 in frames.shape:
        raise SettingsError(f"pre-restoration needs frames (T, 3, H, W) with T ≥ 1; got {tuple(frames.shape)}")
    if masks is not None and masks.shape != frames.shape[:1] + frames.shape[2:]:
        raise SettingsError(
            f"masks are {tuple(masks.shape)}; these frames need {tuple(frames.shape[:1] + frames.shape[2:])}"
        )
    pairs = ((frame, None if masks is None else masks[t]) for t, frame in enumerate(frames))
    images = torch.empty_like(frames)
    latents: list[Tensor] = []
    pulse = Pulse(progress, "pre-restore", len(frames))
    for t, made in enumerate(pre_restore_stream(pairs, network, settings, beat=pulse.beat)):
        images[t] = made.image
        if made.latent is not None:
            latents.append(made.latent.to(frames.device))
        pulse.step(made.image)
    return images, torch.stack(latents) if latents else None


def pre_restore_stream(
    frames: Iterable[tuple[Tensor | Picture, Tensor | None]],
    network: PreRestorer,
    settings: PreRestoreSettings | None = None,
    *,
    features: bool = False,
    motion: ShotMotion | None = None,
    first: int = 0,
    beat: Progress = silent,
) -> Iterator[PreRestoredFrame]:
    """Pre-restore one shot as a stream; see `pre_restore`.

    Args:
        frames: Of one shot in order: (3, H, W), or a picture that is made when it is needed, and a mask (H, W) or
            None.
        network: On the device and in the precision to run in.
        settings: Defaults to `PreRestoreSettings()`.
        features: Whether the frames bring the network's features along.
        motion: Of the shot, which has been shown the frames already; None measures it on them.
        first: Position in the shot of the first of the frames, where its motion is given.
        beat: Called between the steps of a segment; may raise to interrupt.

    Yields:
        One frame per frame, after at most `segment + lookahead` more have been read.
    """
    settings = settings or PreRestoreSettings()
    own = motion is None
    if motion is None:
        motion, first = ShotMotion(), 0
        motion.expect(_NAME, refined=False)
    runner = _Runner(network, settings, motion, first, features=features, beat=beat)
    source = iter(frames)
    held: list[HeldFrame] = []
    number = 0
    ended = False
    while True:
        while not ended and len(held) < settings.segment + settings.lookahead:
            item = next(source, None)
            if item is None:
                ended = True
                continue
            if own:
                motion.take(item[0], None if item[1] is None else item[1] > 0)
            held.append(hold(number, *item))
            number += 1
        if not held:
            return
        made = min(settings.segment, len(held))
        yield from runner.restore(held, made)
        if own:
            motion.release(_NAME, held[made - 1].number)
        del held[:made]


@dataclass(frozen=True, kw_only=True)
class _Encoded:
    """What is encoded of a frame.

    Attributes:
        half: Features (1, C, h/2, w/2) on the device of the network, or None where they were not kept.
        quarter: Features (1, C, h/4, w/4), likewise.
        nearby: (1, 6, h, w) of `alignment.nearby`, or None where it was not kept.
    """

    half: Tensor | None
    quarter: Tensor
    nearby: Tensor | None


class _Runner:
    """Goes through a shot segment by segment."""

    def __init__(
        self,
        network: PreRestorer,
        settings: PreRestoreSettings,
        motion: ShotMotion,
        first: int,
        *,
        features: bool = False,
        beat: Progress = silent,
    ) -> None:
        self._network, self._settings = network, settings
        self._motion, self._first = motion, first
        self._features, self._beat = features, beat
        self._like = next(network.parameters())
        if self._like.device.type == "cpu":
            # Convolutions on a processor are a sixth faster with the channels of a pixel side by side. Here and not
            # where weights are read: the last bit of a picture must not depend on who read them.
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._at_once = _frames_at_once(self._like)
        self._state: ShotState | None = None
        self._last: HeldFrame | None = None
        # At the size of the state, likewise.
        self._ways: dict[int, tuple[Way, Way]] = {}
        # By the number of the frame: what was encoded of the lookahead, for the segment that follows.
        self._ahead: dict[int, _Encoded] = {}
        # Pictures that are made when they are looked at stay made for as long as the frames beside them are looked at.
        self._made: list[Tensor] = []

    @torch.inference_mode()
    def restore(self, held: Sequence[HeldFrame], made: int) -> Iterator[PreRestoredFrame]:
        """Restore the first frames of what is held; the others are lookahead."""
        network = self._network
        chain = Chain(self._last, held)
        self._ways = {number: way for number, way in self._ways.items() if number >= held[0].number}
        lean = _is_lean(network, held[0].padded_size, self._settings)
        encoded = {t: self._ahead.pop(frame.number) for t, frame in enumerate(held) if frame.number in self._ahead}
        # The last frame was encoded without the one after it.
        ahead = range(made, len(held) - 1) if self._keeps_ahead(held, lean=lean) else range(0)
        if not lean:
            parts = self._by_parts(lambda part: self._encoded(chain, part), len(encoded), len(held))
            encoded.update(enumerate(parts, len(encoded)))
        before, after = self._alignments(chain)

        def features(t: int, *, whole: bool) -> _Encoded:
            """What was encoded of a frame, with the features at 1/2 where all of it is wanted."""
            known = encoded.get(t)
            if known is None or (whole and known.half is None):
                known = self._encoded_in_bands(chain, t, halves=whole)
            return known

        def travelling(t: int, quarter: Tensor) -> Tensor:
            """What of the features (1, C, h/4, w/4) of a frame travels."""
            return quarter * soundness(held[t].mask()[None, None], scale=STATE_SCALE)[0, :, None].to(quarter)

        future: dict[int, Tensor] = {}
        memory, neighbour = None, None
        with self._fitting(len(held)):
            for t in reversed(range(len(held))):
                self._beat("pre-restore", 0, None)
                found = features(t, whole=False)
                if t in ahead:
                    self._ahead[held[t].number] = found
                if t >= made or found.half is None:
                    encoded.pop(t, None)
                here = travelling(t, found.quarter)
                memory = network.backward_step(here, neighbour, memory, after.get(t))
                neighbour = here
                if t < made:
                    future[t] = memory
        memory, neighbour = (None, None) if self._state is None else (self._state.memory, self._state.features)
        done = 0
        merged: list[Tensor] = []
        fine: list[_Encoded] = []
        while done < made:
            part = range(done, min(done + self._at_once, made))
            with self._fitting(len(held)):
                for t in part[len(merged) :]:
                    self._beat("pre-restore", 0, None)
                    found = features(t, whole=True)
                    here = travelling(t, found.quarter)
                    memory = network.forward_step(here, neighbour, memory, before.get(t))
                    neighbour = here
                    merged.append(torch.cat((found.quarter, memory, future.pop(t)), dim=1))
                    fine.append(found)
                    encoded.pop(t, None)
            self._beat("pre-restore", done, made)
            try:
                if lean:
                    frames = [self._decoded_in_bands(chain, done, fine[0], merged[0])]
                else:
                    frames = self._decoded(chain, part, fine[: len(part)], merged[: len(part)])
            except torch.OutOfMemoryError as error:
                self._halve(error)
                continue
            del merged[: len(part)], fine[: len(part)]
            done += len(part)
            yield from frames
        assert memory is not None and neighbour is not None
        self._state = ShotState(features=neighbour, memory=memory)
        self._last = held[made - 1]
        self._made = []

    def _keeps_ahead(self, held: Sequence[HeldFrame], *, lean: bool) -> bool:
        """Tell whether there is room for what was encoded of the lookahead, until the next segment."""
        return self._settings.lookahead * _encoded_bytes(self._network, held[0].padded_size, lean=lean) <= _MOST_KEPT

    def _encoded(self, chain: Chain, part: Sequence[int]) -> "list[_Encoded]":
        """Features of some frames."""
        held = chain.held
        nearby = self._nearby(chain, part)
        halves, quarters = self._network.encode(
            torch.stack([held[t].padded() for t in part])[None].to(self._like),
            torch.stack([held[t].mask() for t in part])[None].to(self._like),
            nearby.to(self._like),
        )
        return [
            _Encoded(half=halves[:, index], quarter=quarters[:, index], nearby=nearby[:, index])
            for index in range(len(part))
        ]

    def _encoded_in_bands(self, chain: Chain, t: int, *, halves: bool) -> "_Encoded":
        """Features of a large frame; those at 1/2 where they are wanted."""
        held, network = chain.held[t], self._network
        given = held.padded(), held.mask(), self._nearby(chain, [t])
        height, width = held.padded_size
        wide, middle, _ = network.config.widths
        half = torch.empty(1, wide, height // 2, width // 2) if halves else None
        quarter = torch.empty(1, middle, height // STATE_SCALE, width // STATE_SCALE)
        for band in _bands(held, network.encode_reach):
            picture, mask, nearby = (plane[..., band.around, :] for plane in given)
            fine, coarse = network.encode(picture[None, None], mask[None, None], nearby)
            quarter[:, :, band.of(STATE_SCALE)] = coarse[0, :, :, band.within(STATE_SCALE)]
            if half is not None:
                half[:, :, band.of(2)] = fine[0, :, :, band.within(2)]
        return _Encoded(half=half, quarter=quarter, nearby=given[2][:, 0] if halves else None)

    def _nearby(self, chain: Chain, part: Sequence[int]) -> Tensor:
        """What the neighbours of some frames show, (1, n, 6, h, w); see `alignment.nearby`."""
        held = chain.held
        shown = torch.zeros(len(part), NEARBY_CHANNELS, *held[0].padded_size)
        for index, t in enumerate(part):
            earlier = chain.before(t)
            beside = (earlier, held[t], held[t + 1] if t + 1 < len(held) else None)
            self._made = [one.picture.tensor() for one in beside if one is not None]
            if earlier is not None:
                shown[index, :3] = seen(held[t], earlier, *self._flow(held[t], earlier))
            if t + 1 < len(held):
                shown[index, 3:] = seen(held[t], held[t + 1], *self._flow(held[t], held[t + 1]))
        return shown[None]

    def _alignments(self, chain: Chain) -> tuple[dict[int, Way], dict[int, Way]]:
        """How frames look up the one before and the one after, by their place in the segment."""
        before: dict[int, Way] = {}
        after: dict[int, Way] = {}
        for t, following in enumerate(chain.held):
            one = chain.before(t)
            if one is None:
                continue
            if following.number not in self._ways:
                self._ways[following.number] = self._way(one, following)
            earlier, later = self._ways[following.number]
            before[t] = earlier
            if t:
                after[t - 1] = later
        return before, after

    def _way(self, one: HeldFrame, following: HeldFrame) -> tuple[Way, Way]:
        """How a frame looks up the one before it, and that one this."""
        self._beat("pre-restore", 0, None)
        sound = soundness(torch.stack([one.mask(), following.mask()])[None], scale=STATE_SCALE)
        return (
            self._one_way(following, one, sound[:, 1:], sound[:, :1]),
            self._one_way(one, following, sound[:, :1], sound[:, 1:]),
        )

    def _one_way(self, here: HeldFrame, there: HeldFrame, sound_here: Tensor, sound_there: Tensor) -> Way:
        flow, right = self._flow(here, there)
        planes, certain = _planes(flow)[None, None], torch.from_numpy(right)[None, None]
        way = alignment_of(planes, certain, sound_here, sound_there, scale=STATE_SCALE)
        # Flow stays in single precision, whatever the network runs in.
        return way.flow[:, 0].to(self._like.device), way.trust[:, 0].to(self._like)

    def _flow(self, here: HeldFrame, there: HeldFrame) -> tuple[FloatArray, BoolArray]:
        """The motion from a frame to a neighbour, (h, w, 2), and where it can be right, (h, w), at the padded size."""
        pair = self._first + here.number, self._first + there.number
        flow, right = self._motion.between(*pair).full(), enlarged_mask(self._motion.holds(*pair), here.size)
        (height, width), (rows, columns) = here.size, here.padded_size
        if (height, width) == (rows, columns):
            return flow, right
        margin = ((0, rows - height), (0, columns - width))
        return np.pad(flow, (*margin, (0, 0)), mode="edge"), np.pad(right, margin, mode="edge")

    def _decoded(
        self, chain: Chain, part: Sequence[int], encoded: "Sequence[_Encoded]", merged: Sequence[Tensor]
    ) -> list[PreRestoredFrame]:
        """Decode some frames at once."""
        network = self._network
        quarters, eighths = network.decode_coarse(torch.cat(list(merged)))
        halves, full = network.decode_fine(quarters, torch.cat([one.half for one in encoded if one.half is not None]))
        nearby = torch.cat([one.nearby for one in encoded if one.nearby is not None])
        # What is added is made by itself, so that the film keeps its precision where the network runs in half.
        changes = network.change(full, nearby.to(self._like)).float().cpu()
        latents = None
        if network.latent is not None:
            frames = torch.stack([chain.held[t].padded() for t in part])
            latents = network.latent(network.latent.seen((frames + changes).to(self._like), eighths))
        return [
            self._finished(
                chain.held[t],
                changes[index],
                None if latents is None else latents[index],
                (halves[index], quarters[index], eighths[index]),
            )
            for index, t in enumerate(part)
        ]

    def _decoded_in_bands(self, chain: Chain, t: int, encoded: "_Encoded", merged: Tensor) -> PreRestoredFrame:
        """Decode a large frame; what takes most room, at 1/2 and in full, in bands of rows."""
        network, held = self._network, chain.held[t]
        assert encoded.half is not None and encoded.nearby is not None, "all of a frame is encoded before it is decoded"
        quarter, eighth = network.decode_coarse(merged)
        change = torch.empty(3, *held.padded_size)
        halves = []
        for band in _bands(held, network.fine_reach):
            half, full = network.decode_fine(
                quarter[:, :, band.scaled(STATE_SCALE)], encoded.half[:, :, band.scaled(2)]
            )
            made = network.change(full, encoded.nearby[:, :, band.around])
            change[:, band.rows] = made[0, :, band.within(1)]
            if self._features:
                halves.append(half[0, :, band.within(2)])
        features = (torch.cat(halves, dim=1), quarter[0], eighth[0]) if self._features else None
        latent = None
        if network.latent is not None:
            whole = (held.padded() + change)[None].to(self._like)
            latent = network.latent(network.latent.seen(whole, eighth))[0]
        del half, full, made
        give_blocks_back()
        return self._finished(held, change, latent, features)

    def _finished(
        self, held: HeldFrame, change: Tensor, latent: Tensor | None, features: tuple[Tensor, Tensor, Tensor] | None
    ) -> PreRestoredFrame:
        image = held.picture.tensor()
        height, width = held.size
        return PreRestoredFrame(
            image=apply(image, change[:, :height, :width].to(image), self._settings),
            latent=None if latent is None else latent.float().cpu(),
            features=features if self._features else None,
        )

    def _by_parts(self, work: Callable[[Sequence[int]], list[Made]], start: int, count: int) -> Iterator[Made]:
        """Work on a few frames at once, on fewer where memory does not suffice; those before the start are done."""
        while start < count:
            self._beat("pre-restore", start, count)
            try:
                done = work(range(start, min(start + self._at_once, count)))
            except torch.OutOfMemoryError as error:
                self._halve(error)
                continue
            start += len(done)
            yield from done

    def _halve(self, error: torch.OutOfMemoryError) -> None:
        """Take half as many frames at once from now on."""
        if self._at_once == 1:
            raise VLDMError(
                "pre-restoration of a single frame does not fit into memory; use smaller frames or the CPU"
            ) from error
        self._at_once //= 2

    @contextmanager
    def _fitting(self, count: int) -> Iterator[None]:
        """Say what to do where the travelling state does not fit into memory."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise VLDMError(
                f"pre-restoration of {count} frames does not fit into memory; use smaller frames, a shorter segment or "
                "lookahead, or the CPU"
            ) from error


def _bands(held: HeldFrame, reach: int) -> list[Band]:
    return bands(*held.padded_size, reach, granularity=SCALE, planes=_PLANES_IN_WORK)


def _encoded_bytes(network: PreRestorer, size: tuple[int, int], *, lean: bool) -> float:
    """Bytes of what is kept of a frame that was encoded; lean, of its features at 1/4 alone."""
    half, quarter, _ = network.config.widths
    planes = quarter / 16 if lean else half / 4 + quarter / 16 + NEARBY_CHANNELS
    return planes * size[0] * size[1] * next(network.parameters()).element_size()


def _is_lean(network: PreRestorer, size: tuple[int, int], settings: PreRestoreSettings) -> bool:
    """Tell whether what is encoded of a segment is too large to be kept from the one use of it to the next."""
    if next(network.parameters()).device.type != "cpu":
        return False
    held = settings.segment + settings.lookahead
    return held * _encoded_bytes(network, size, lean=False) > _MOST_KEPT


def memory_needed(network: PreRestorer, height: int, width: int, settings: PreRestoreSettings) -> float:
    """Return about how many bytes the network takes on its device for frames of a size, without its weights."""
    half, quarter, _ = network.config.widths
    like = next(network.parameters())
    held = settings.segment + settings.lookahead
    # Of a segment: features at 1/2; features at 1/4 as they come, as they travel, and the states both ways, joined.
    kept = held * half / 4 + (3 * held + 4 * settings.segment) * quarter / 16
    # Of a frame in work: about six such features at 1/2 at a time, and those at full size.
    working = _FRAMES_AT_ONCE * (6 * half / 4 + 3 * FULL_WIDTH + NEARBY_CHANNELS)
    return height * width * like.element_size() * (kept + working)


def _frames_at_once(parameter: Tensor) -> int:
    """How many frames to try at once: a processor gains nothing from several."""
    return 1 if parameter.device.type == "cpu" else _FRAMES_AT_ONCE


def _planes(flow: FloatArray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(flow.transpose(2, 0, 1)))


def apply(image: Tensor, change: Tensor, settings: PreRestoreSettings) -> Tensor:
    """Apply what the network says with a strength, and put part of the fine texture back.

    Args:
        image: (3, H, W), [0, 1], as it came.
        change: (3, H, W), what the network adds to it.
        settings: Strength and share of the grain.

    Returns:
        (3, H, W) in [0, 1].
    """
    change = settings.strength * change
    if settings.keep_grain > 0:
        # What is taken off at the scale of grain; coarser changes are blur, tone and damage.
        radius = round(3 * _GRAIN_SIGMA)
        planes = change.detach().float().cpu().permute(1, 2, 0).contiguous().numpy()
        size = (2 * radius + 1, 2 * radius + 1)
        coarse = cv2.GaussianBlur(planes, size, _GRAIN_SIGMA, borderType=cv2.BORDER_REPLICATE)
        change = torch.lerp(change, torch.from_numpy(coarse).permute(2, 0, 1).to(change), settings.keep_grain)
    return (image + change).clamp(0, 1)
