"""Start noise for a clip: independent per frame, shared, shuffled or carried along the motion.

Independent noise lets every frame invent detail of its own, which flickers; noise that frames have in common holds the
invention together. All modes leave the noise of each single frame standard normal and white, which is what the
network was trained on.

- *independent*: every frame for itself.
- *shared*: √m · common + √(1 - m) · own, the mixed noise model of PYoCo (arXiv:2305.10474, section 4.1, with
  m = α² / (1 + α²)).
- *freenoise*: the first frames of a shot have noise of their own; later ones repeat it in locally shuffled order
  (FreeNoise, arXiv:2310.15169, section 3.2), so that every window of the temporal layers sees familiar noise.
- *warped*: noise moves with the picture, the aim of "How I Warped Your Noise" (Chang et al., ICLR 2024), here by moving
  whole cells: no value is ever interpolated or used twice in a frame, so whiteness holds exactly. What the flow does
  not fill gets fresh noise.

Draws depend on (seed, frame number in the film) and on nothing else, so chunks of a reel agree where they overlap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from ...errors import SettingsError
from ...video.shots import Shot
from ..latent_flow import to_latent_flow

MODES = ("independent", "shared", "freenoise", "warped")
_WORD = (1 << 64) - 1
_OWN, _COMMON, _SHUFFLE = 1, 2, 3
# A cell may be off its true place by this much (latent pixels) before fresh noise takes over: half a cell's diagonal.
_LARGEST_RESIDUE = 0.75
_NEIGHBOURS = [(dy, dx) for dy in (0, -1, 1) for dx in (0, -1, 1)]


@dataclass(frozen=True, kw_only=True)
class VideoNoiseSettings:
    """How the start noise of a clip is made.

    Attributes:
        mode: "independent", "shared", "freenoise" or "warped".
        window: Frames with noise of their own at the start of a shot, for "freenoise": the window of the temporal
            layers.
        stride: Frames that are shuffled among themselves, for "freenoise", 1 … window.
        mix: Share of the common noise in the variance, 0 (independent) … 1 (all frames equal), for "shared".
    """

    mode: Literal["independent", "shared", "freenoise", "warped"] = "independent"
    window: int = 16
    stride: int = 4
    mix: float = 0.5

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise SettingsError(f"noise mode is {self.mode!r}; use one of {', '.join(MODES)}")
        if self.window < 1:
            raise SettingsError(f"noise window is {self.window}; use 1 frame or more")
        if not 1 <= self.stride <= self.window:
            raise SettingsError(f"noise stride is {self.stride}; with window {self.window} use 1 … {self.window}")
        if not 0 <= self.mix <= 1:
            raise SettingsError(f"noise mix is {self.mix}; use 0 … 1")


def video_noise(
    shape: Sequence[int],
    *,
    seed: int,
    settings: VideoNoiseSettings,
    shots: Sequence[Shot] | None = None,
    flow: Tensor | None = None,
    first_frame: int = 0,
) -> Tensor:
    """Make the start noise of a clip.

    Args:
        shape: (T, C, h, w) of the latent.
        seed: Any integer; 64 bits of it count.
        settings: How.
        shots: Shots in film frame numbers that cover the clip; None where it is (the beginning of) one shot.
        flow: (T-1, 2, H, W), picture pixels, backward: entry t lives on clip frame t+1 and looks up frame t. Only
            "warped" needs it; entries across cuts are not read.
        first_frame: Film frame number of the clip's first frame. A chunk in the middle of a shot gets the noise that
            the whole shot would give it, but for "warped", which starts anew with the chunk.

    Returns:
        (T, C, h, w) float32 on the CPU, standard normal.

    Raises:
        SettingsError: Wrong shapes, shots that do not cover the clip, or no flow for "warped".
    """
    if len(shape) != 4 or min(shape) < 1:
        raise SettingsError(f"noise shape is {tuple(shape)}; give (T, C, h, w)")
    count, *size = shape
    spans = _spans(shots, first_frame, first_frame + count)
    if settings.mode == "warped":
        return _warped(count, size, seed, spans, flow, first_frame)
    frames: list[Tensor] = []
    for shot in spans:
        numbers = range(max(shot.first, first_frame), min(shot.last, first_frame + count))
        if settings.mode == "shared":
            common = _draw(size, seed, _COMMON, shot.first)
            own = (1 - settings.mix) ** 0.5
            frames.extend(settings.mix**0.5 * common + own * _draw(size, seed, _OWN, n) for n in numbers)
        elif settings.mode == "freenoise":
            sources = _shuffled(numbers.stop - shot.first, settings, seed, shot.first)
            frames.extend(_draw(size, seed, _OWN, shot.first + sources[n - shot.first]) for n in numbers)
        else:
            frames.extend(_draw(size, seed, _OWN, n) for n in numbers)
    return torch.stack(frames)


def _spans(shots: Sequence[Shot] | None, first: int, last: int) -> list[Shot]:
    """Return the shots that hold frames first … last - 1, and check that none is missing."""
    if first < 0:
        raise SettingsError(f"first_frame is {first}; film frames count from 0")
    spans = [Shot(first, last)] if shots is None else [s for s in shots if s.first < last and s.last > first]
    joined = all(before.last == after.first for before, after in pairwise(spans))
    if not spans or not joined or spans[0].first > first or spans[-1].last < last:
        found = ", ".join(f"{shot.first}–{shot.last - 1}" for shot in spans) or "none"
        raise SettingsError(f"shots are {found}; they must cover film frames {first}–{last - 1} without gaps")
    return spans


def mixed_seed(*parts: int) -> int:
    """Mix integers into one 64-bit seed, the same on every machine.

    Each part goes through the finaliser of SplitMix64 (Steele et al., "Fast Splittable Pseudorandom Number
    Generators", OOPSLA 2014), so neighbouring seeds and frames give unrelated streams.

    Args:
        parts: Any integers; 64 bits of each count.

    Returns:
        0 … 2**64 - 1.
    """
    state = 0
    for part in parts:
        state = (state ^ (part & _WORD)) + 0x9E3779B97F4A7C15 & _WORD
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _WORD
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _WORD
        state ^= state >> 31
    return state


def _generator(*parts: int) -> torch.Generator:
    return torch.Generator().manual_seed(mixed_seed(*parts))


def _draw(size: Sequence[int], seed: int, purpose: int, number: int) -> Tensor:
    return torch.randn(*size, generator=_generator(seed, purpose, number))


def _shuffled(count: int, settings: VideoNoiseSettings, seed: int, shot: int) -> list[int]:
    """Say for the first `count` frames of a shot which of its frames lends its noise."""
    sources = list(range(min(count, settings.window)))
    while len(sources) < count:
        begin = len(sources) - settings.window
        order = torch.randperm(settings.stride, generator=_generator(seed, _SHUFFLE, shot, begin)).tolist()
        sources.extend(sources[begin + place] for place in order)
    return sources[:count]


def _warped(
    count: int, size: Sequence[int], seed: int, spans: Sequence[Shot], flow: Tensor | None, first_frame: int
) -> Tensor:
    if count > 1 and (flow is None or flow.shape[0] != count - 1):
        found = "missing" if flow is None else f"{tuple(flow.shape)}"
        raise SettingsError(f"warped noise for {count} frames needs flow ({count - 1}, 2, H, W); it is {found}")
    beginnings = {shot.first for shot in spans}
    steps = torch.zeros(0) if flow is None else to_latent_flow(flow.cpu(), size[1], size[2])
    frames: list[Tensor] = []
    residue = torch.zeros(2, *size[1:])
    for t in range(count):
        fresh = _draw(size, seed, _OWN, first_frame + t)
        if t == 0 or first_frame + t in beginnings:
            frames.append(fresh)
            residue = torch.zeros(2, *size[1:])
        else:
            source, residue = _carry(steps[t - 1], residue)
            carried = frames[-1].flatten(1)[:, source.clamp(min=0)]
            frames.append(torch.where(source >= 0, carried, fresh))
    return torch.stack(frames)


def _carry(flow: Tensor, residue: Tensor) -> tuple[Tensor, Tensor]:
    """Find the cell of the frame before that moves to each cell of this one.

    A cell's true place is its centre plus its residue, which carries fractions of a pixel over to the next frame;
    without it, motion slower than half a pixel per frame would not move the noise at all.

    Args:
        flow: (2, h, w), latent pixels, backward.
        residue: (2, h, w), x and y, of the frame before.

    Returns:
        Flat index of the source (h, w), each at most once, -1 where none fits; and the residue of this frame.
    """
    height, width = flow.shape[-2:]
    row = torch.arange(height)[:, None].expand(height, width)
    column = torch.arange(width).expand(height, width)
    base = (flow + 0.5).floor().long()
    source = torch.full((height, width), -1)
    distance = torch.full((height, width), torch.inf)
    offset = torch.zeros_like(residue)
    for dy, dx in _NEIGHBOURS:
        down, across = base[1] + dy, base[0] + dx
        there = (row + down).clamp(0, height - 1), (column + across).clamp(0, width - 1)
        inside = (there[0] == row + down) & (there[1] == column + across)
        # Differences of places and not the places themselves, so that an even flow is rounded the same everywhere.
        off = residue[:, there[0], there[1]] + torch.stack((across, down)) - flow
        square = off.square().sum(0)
        better = square < distance
        source = torch.where(better, torch.where(inside, there[0] * width + there[1], -1), source)
        distance = torch.where(better, square, distance)
        offset = torch.where(better, off, offset)
    # A cell that several pixels ask for goes to the one it fits best, the first of equals: values used twice would
    # make the noise coarse.
    source = source.masked_fill(distance > _LARGEST_RESIDUE**2, -1)
    distance = distance.masked_fill(source < 0, torch.inf)
    cells = height * width
    wanted, cost = source.flatten().clamp(min=0), distance.flatten()
    best = torch.full((cells,), torch.inf).scatter_reduce_(0, wanted, cost, "amin")
    place = torch.arange(cells)
    asking = place.masked_fill((cost > best[wanted]) | cost.isinf(), cells)
    first = torch.full((cells,), cells).scatter_reduce_(0, wanted, asking, "amin")
    won = (first[wanted] == place).reshape(height, width)
    # Fresh noise has no true place of its own; with that of its surroundings it stays in step with them.
    return source.masked_fill(~won, -1), offset.clamp(-0.5, 0.5)
