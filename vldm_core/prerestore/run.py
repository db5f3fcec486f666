"""Run the pre-restoration network over a shot of any length, in bounded memory.

A shot is worked through in segments that are counted from its start. Within a segment the state travels back from the
end of a few frames of lookahead, and forwards from the segment before without a break. So a frame is restored from all
of its past and from `PreRestoreSettings.lookahead` frames of its future or more, and comes out the same however the
caller cuts the stream.

At any time a segment's features are held, most of them at a quarter of the size; encoder and decoder run over a few
frames at once, fewer where memory does not suffice, with the same result.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import SettingsError, VLDMError
from ..progress import Progress, Pulse, silent
from ..video.flow import FloatArray, FlowSettings, estimate_pair, to_luma
from .alignment import NEARBY_CHANNELS, Alignment, alignments, interleaved, seen_from, soundness
from .network import SCALE, STATE_SCALE, Decoded, PreRestorer, ShotState

_FLOW = FlowSettings(quality="fast")
_GRAIN_SIGMA = 1.2
_FRAMES_AT_ONCE = 8
_WIDTH_AT_FULL = 12

Item = TypeVar("Item")
Made = TypeVar("Made")


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
    frames: Iterable[tuple[Tensor, Tensor | None]],
    network: PreRestorer,
    settings: PreRestoreSettings | None = None,
    *,
    features: bool = False,
    beat: Progress = silent,
) -> Iterator[PreRestoredFrame]:
    """Pre-restore one shot as a stream; see `pre_restore`.

    Args:
        frames: Of one shot in order: (3, H, W) and a mask (H, W) or None.
        network: On the device and in the precision to run in.
        settings: Defaults to `PreRestoreSettings()`.
        features: Whether the frames bring the network's features along.
        beat: Called between the steps of a segment; may raise to interrupt.

    Yields:
        One frame per frame, after at most `segment + lookahead` more have been read.
    """
    settings = settings or PreRestoreSettings()
    runner = _Runner(network, settings, features=features, beat=beat)
    source = iter(frames)
    held: list[_Held] = []
    number = 0
    ended = False
    while True:
        while not ended and len(held) < settings.segment + settings.lookahead:
            item = next(source, None)
            if item is None:
                ended = True
            else:
                held.append(_hold(number, *item))
                number += 1
        if not held:
            return
        made = min(settings.segment, len(held))
        yield from runner.restore(held, made)
        del held[:made]


@dataclass(frozen=True, kw_only=True)
class _Held:
    """A frame that waits.

    Attributes:
        number: Counted from the start of the shot.
        image: (3, H, W) as it came.
        padded: (3, h, w), sides divisible by 8.
        mask: (h, w).
        luma: (h, w) grey levels.
    """

    number: int
    image: Tensor
    padded: Tensor
    mask: Tensor
    luma: FloatArray


def _hold(number: int, image: Tensor, mask: Tensor | None) -> _Held:
    height, width = image.shape[-2:]
    bottom, right = -height % SCALE, -width % SCALE
    found = torch.zeros(height, width) if mask is None else mask.detach().float().cpu()
    padded, found = (
        functional.pad(picture[None], (0, right, 0, bottom), mode="replicate")[0]
        for picture in (image.detach().float().cpu(), found[None])
    )
    return _Held(number=number, image=image, padded=padded, mask=found[0], luma=to_luma(padded))


def _seen(here: _Held, other: _Held, flow: Tensor, opposite: Tensor) -> Tensor:
    """What another frame shows at the place of every pixel, less what is here, (3, h, w)."""
    return seen_from(
        interleaved(here.padded),
        here.mask.numpy() > 0,
        interleaved(other.padded),
        other.mask.numpy() > 0,
        interleaved(flow),
        interleaved(opposite),
    )


class _Runner:
    """Goes through a shot segment by segment."""

    def __init__(
        self, network: PreRestorer, settings: PreRestoreSettings, *, features: bool = False, beat: Progress = silent
    ) -> None:
        self._network, self._settings = network, settings
        self._features, self._beat = features, beat
        self._like = next(network.parameters())
        self._at_once = _frames_at_once(self._like)
        self._state: ShotState | None = None
        self._last: _Held | None = None
        self._flows: dict[int, tuple[Tensor, Tensor]] = {}

    @torch.inference_mode()
    def restore(self, held: Sequence[_Held], made: int) -> list[PreRestoredFrame]:
        """Restore the first frames of what is held; the others are lookahead."""
        network = self._network
        previous = self._last
        encoded = self._by_parts(
            lambda part: network.encode(
                torch.stack([held[t].padded for t in part])[None].to(self._like),
                torch.stack([held[t].mask for t in part])[None].to(self._like),
                self._nearby(previous, held, part),
            ),
            range(len(held)),
        )
        quarters = torch.cat([quarter for _, quarter in encoded], dim=1)
        halves = torch.cat([half for half, _ in encoded], dim=1)[:, :made]
        before, after = self._alignments(held)
        sound = soundness(torch.stack([one.mask for one in held])[None], scale=STATE_SCALE).to(self._like)
        try:
            with _beating((network.backward_step, network.forward_step), self._beat):
                merged, self._state = network.propagate(
                    quarters, sound, before, after, state=self._state, lookahead=len(held) - made
                )
        except torch.OutOfMemoryError as error:
            raise VLDMError(
                f"pre-restoration of {len(held)} frames does not fit into memory; use smaller frames, a shorter "
                "segment or lookahead, or the CPU"
            ) from error
        self._last = held[made - 1]
        # The network adds to its input. Here it adds to nothing, so that the film keeps all of its precision where the
        # network runs in half.
        nothing = torch.zeros_like(held[0].padded)[None, None].to(self._like)
        decoded = self._by_parts(
            lambda part: network.decode(
                nothing.expand(1, len(part), -1, -1, -1),
                halves[:, part[0] : part[-1] + 1],
                merged[:, part[0] : part[-1] + 1],
                self._nearby(previous, held, part),
            ),
            range(made),
        )
        return [frame for part in self._frames(held, decoded) for frame in part]

    def _nearby(self, previous: "_Held | None", held: Sequence[_Held], part: Sequence[int]) -> Tensor:
        """What the neighbours of some frames show, (1, n, 6, h, w); see `alignment.nearby`."""
        shown = torch.zeros(len(part), NEARBY_CHANNELS, *held[0].padded.shape[-2:])
        for index, t in enumerate(part):
            earlier = held[t - 1] if t else previous
            if earlier is not None:
                back, ahead = self._flow(earlier, held[t])
                shown[index, :3] = _seen(held[t], earlier, back, ahead)
            if t + 1 < len(held):
                back, ahead = self._flow(held[t], held[t + 1])
                shown[index, 3:] = _seen(held[t], held[t + 1], ahead, back)
        return shown[None].to(self._like)

    def _alignments(self, held: Sequence[_Held]) -> tuple[Alignment, Alignment]:
        """How the frames look each other up, and the first one the last frame of the segment before."""
        chain = held if self._last is None else [self._last, *held]
        flows = [self._flow(one, following) for one, following in zip(chain[:-1], chain[1:], strict=True)]
        self._flows = {number: flow for number, flow in self._flows.items() if number >= held[0].number}
        height, width = held[0].luma.shape
        nothing = torch.zeros(1, 0, 2, height, width)
        back, ahead = (
            torch.stack([flow[way] for flow in flows])[None] if flows else nothing for way in (0, 1)
        )
        masks = torch.stack([one.mask for one in chain])[None]
        before, after = alignments(back, ahead, masks, scale=STATE_SCALE)
        skipped = len(chain) - len(held)
        moved = [
            # Flow stays in single precision, whatever the network runs in.
            Alignment(flow=way.flow[:, skip:].to(self._like.device), trust=way.trust[:, skip:].to(self._like))
            for way, skip in ((before, 0), (after, skipped))
        ]
        return moved[0], moved[1]

    def _flow(self, one: _Held, following: _Held) -> tuple[Tensor, Tensor]:
        """Backward and forward flow between two neighbours, each (2, H, W)."""
        if following.number not in self._flows:
            self._beat("pre-restore", 0, None)
            first, second = one.mask.numpy() > 0, following.mask.numpy() > 0
            back = estimate_pair(following.luma, one.luma, mask_from=second, mask_to=first, settings=_FLOW)
            ahead = estimate_pair(one.luma, following.luma, mask_from=first, mask_to=second, settings=_FLOW)
            self._flows[following.number] = _planes(back), _planes(ahead)
        return self._flows[following.number]

    def _frames(self, held: Sequence[_Held], decoded: Sequence[Decoded]) -> Iterator[list[PreRestoredFrame]]:
        first = 0
        for part in decoded:
            changes = part.pictures[0][0].float().cpu()
            made = []
            for index, change in enumerate(changes):
                image = held[first + index].image
                height, width = image.shape[-2:]
                half, quarter, eighth = (level[0, index] for level in part.features)
                made.append(
                    PreRestoredFrame(
                        image=apply(image, change[:, :height, :width].to(image), self._settings),
                        latent=None if part.latent is None else part.latent[0, index].float().cpu(),
                        features=(half, quarter, eighth) if self._features else None,
                    )
                )
            yield made
            first += len(changes)

    def _by_parts(self, work: Callable[[Sequence[Item]], Made], items: Sequence[Item]) -> list[Made]:
        """Work on a few items at once, on fewer where memory does not suffice."""
        while True:
            try:
                done = []
                for start in range(0, len(items), self._at_once):
                    self._beat("pre-restore", start, len(items))
                    done.append(work(items[start : start + self._at_once]))
                return done
            except torch.OutOfMemoryError as error:
                if self._at_once == 1:
                    raise VLDMError(
                        "pre-restoration of a single frame does not fit into memory; use smaller frames or the CPU"
                    ) from error
                self._at_once //= 2


def memory_needed(network: PreRestorer, height: int, width: int, settings: PreRestoreSettings) -> float:
    """Return about how many bytes the network takes on its device for frames of a size, without its weights."""
    half, quarter, _ = network.config.widths
    like = next(network.parameters())
    held = settings.segment + settings.lookahead
    # Of a segment: features at 1/2; features at 1/4 as they come, as they travel, and the states both ways, joined.
    kept = settings.segment * half / 4 + (3 * held + 4 * settings.segment) * quarter / 16
    # Of a frame in work: about six such features at 1/2 at a time, and those at full size.
    working = _FRAMES_AT_ONCE * (6 * half / 4 + 3 * _WIDTH_AT_FULL + NEARBY_CHANNELS)
    return height * width * like.element_size() * (kept + working)


def _frames_at_once(parameter: Tensor) -> int:
    """How many frames to try at once: a processor gains nothing from several."""
    return 1 if parameter.device.type == "cpu" else _FRAMES_AT_ONCE


@contextmanager
def _beating(steps: Iterable[nn.Module], beat: Progress) -> Iterator[None]:
    """Give a sign of life before every step of the travelling state, which is computed in one call."""
    here = threading.get_ident()

    def before(*_: object) -> None:
        # Another thread may run the same network.
        if threading.get_ident() == here:
            beat("pre-restore", 0, None)

    handles = [step.register_forward_pre_hook(before) for step in steps]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


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
        places = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
        kernel = torch.exp(-0.5 * (places / _GRAIN_SIGMA) ** 2)
        kernel = kernel / kernel.sum()
        planes = functional.pad(change[:, None], (radius,) * 4, mode="replicate")
        coarse = functional.conv2d(functional.conv2d(planes, kernel[None, None, None]), kernel[None, None, :, None])
        change = change - settings.keep_grain * (change - coarse[:, 0])
    return (image + change).clamp(0, 1)
