"""Line scratches: near-vertical lines that run along the film.

A scratch belongs to the film, not to the scene: it stays where it is, or drifts slowly, while weave and camera moves
shift the picture below it, and it does not end at a cut.
"""

import math
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal, NamedTuple, get_args

import numpy as np

from ...arrays import FloatArray
from ...errors import SettingsError
from ..randomness import Autoregressive, Population, SmoothNoise, log_uniform
from ..units import line_scale
from ..validation import require_span, require_within
from .marks import INVISIBLE

LineKind = Literal["fixed", "drifting", "transient"]
ScratchProfile = Literal["single", "double_edge"]
LINE_KINDS: tuple[LineKind, ...] = get_args(LineKind)

LONGEST_LIFE = 400  # frames
_SHORTEST_PERSISTENT_LIFE = 20
_LONGEST_TRANSIENT_LIFE = 3
_NARROWEST = 1.0  # px; a narrower profile would fall between the pixels
_KNOWN_COURSES = 64  # kept; more scratches than are ever seen in one frame
_FWHM = 2 * math.sqrt(2 * math.log(2))  # full width at half maximum of a Gaussian with sigma 1


@dataclass(frozen=True, kw_only=True)
class ScratchLine:
    """One line scratch, in pixels of the frame.

    Attributes:
        key: Number that selects the random course of jitter, gaps and depth along the film.
        kind: ``"fixed"``, ``"drifting"`` or ``"transient"``.
        x: Position at half height in the first frame, px.
        depth: Change of brightness in its centre, grey levels (of 255); negative is dark.
        width: Full width at half depth, px, at least 1.
        tilt: Angle to the vertical, degrees; positive leans to the right going down.
        first: First frame in which it is seen.
        last: First frame in which it is gone.
        profile: Cross-profile: a Gaussian, or one with rims of opposite sign (a groove).
        drift: Steady movement, px per frame.
        sway: Amplitude of a sinusoidal movement, px.
        sway_period: Its period, frames.
        jitter: Largest random deviation, px.
        gaps: Mean share of its length that is missing, 0 … 0.9.
        top: Where it begins, as a share of the height.
        bottom: Where it ends, as a share of the height.
    """

    key: int
    kind: LineKind
    x: float
    depth: float
    width: float
    tilt: float = 0.0
    first: int
    last: int
    profile: ScratchProfile = "single"
    drift: float = 0.0
    sway: float = 0.0
    sway_period: float = 100.0
    jitter: float = 0.0
    gaps: float = 0.0
    top: float = 0.0
    bottom: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in LINE_KINDS:
            raise SettingsError(f"The kind of a line is {self.kind!r}; choose one of {', '.join(LINE_KINDS)}.")
        if self.profile not in get_args(ScratchProfile):
            raise SettingsError(f"The profile of a line is {self.profile!r}; choose single or double_edge.")
        if self.last <= self.first:
            raise SettingsError(f"A line lives from frame {self.first} to {self.last}; last must be after first.")
        require_within("line width", self.width, _NARROWEST, 1000)
        require_within("line depth", abs(self.depth), 0.5, 255)
        require_within("line tilt", self.tilt, -5, 5)
        require_within("line gaps", self.gaps, 0, 0.9)
        require_within("line sway_period", self.sway_period, 2, 1e6)
        require_span("line top and bottom", (self.top, self.bottom), 0, 1)


@dataclass(frozen=True, kw_only=True)
class LineModel:
    """How many line scratches there are and what they look like.

    Attributes:
        count: Mean number of lines seen in a frame, 0 … 20.
        shares: Shares of fixed, drifting and transient lines among the lines seen in a frame; they are normalised.
        depth: Smallest and largest change of brightness, grey levels; drawn log-uniformly.
        width: Smallest and largest full width at half depth, px at 480 lines; never below 1 px of the frame.
        bright_share: Share of bright lines.
        double_edge_share: Share of lines with rims of opposite sign.
        largest_tilt: Largest angle to the vertical, degrees, 0 … 5.
        jitter: Largest random deviation of a line from its course, px at 480 lines.
        largest_gaps: Largest share of a line that may be missing.
        pinned: Lines that are present besides the drawn ones, given in pixels of the frame.
    """

    count: float = 1.5
    shares: tuple[float, float, float] = (0.5, 0.3, 0.2)
    depth: tuple[float, float] = (2.0, 60.0)
    width: tuple[float, float] = (1.0, 5.0)
    bright_share: float = 0.5
    double_edge_share: float = 0.25
    largest_tilt: float = 2.0
    jitter: float = 0.5
    largest_gaps: float = 0.4
    pinned: tuple[ScratchLine, ...] = ()

    def __post_init__(self) -> None:
        require_within("lines.count", self.count, 0, 20)
        if len(self.shares) != len(LINE_KINDS) or min(self.shares) < 0 or sum(self.shares) <= 0:
            raise SettingsError(
                f"lines.shares is {self.shares!r}; give three shares (fixed, drifting, transient), none negative and "
                "not all 0."
            )
        require_span("lines.depth", self.depth, 0.5, 255)
        require_span("lines.width", self.width, 1, 50)
        require_within("lines.bright_share", self.bright_share, 0, 1)
        require_within("lines.double_edge_share", self.double_edge_share, 0, 1)
        require_within("lines.largest_tilt", self.largest_tilt, 0, 5)
        require_within("lines.jitter", self.jitter, 0, 5)
        require_within("lines.largest_gaps", self.largest_gaps, 0, 0.9)


class _Course(NamedTuple):
    """Random courses of one line: sideways over the frames, and depth and gaps, and roughness, along the film."""

    jitter: Autoregressive
    depth: SmoothNoise
    roughness: SmoothNoise


class LineLayer:
    """Draws the line scratches of any frame."""

    def __init__(self, model: LineModel, seed: int, height: int, width: int, *, name: str = "lines") -> None:
        """Prepare the lines.

        Args:
            model: How many, and what they look like.
            seed: Seed of the simulation.
            height: Frame height, px.
            width: Frame width, px.
            name: Purpose; layers of other names draw other lines.
        """
        self._model, self._seed, self._height, self._width = model, seed, height, width
        self._scale = line_scale(height)
        lives: dict[LineKind, tuple[int, int]] = {
            "fixed": (_SHORTEST_PERSISTENT_LIFE, LONGEST_LIFE),
            "drifting": (_SHORTEST_PERSISTENT_LIFE, LONGEST_LIFE // 2),
            "transient": (1, _LONGEST_TRANSIENT_LIFE),
        }
        self._populations = []
        for kind, share in zip(LINE_KINDS, model.shares, strict=True):
            shortest, longest = lives[kind]
            self._populations.append(
                Population(
                    seed,
                    f"{kind} {name}",
                    births_per_frame=model.count * share / sum(model.shares) / _mean_life(shortest, longest),
                    longest_life=longest,
                    draw=partial(self._draw, kind, (shortest, longest)),
                )
            )
        self._course = lru_cache(maxsize=_KNOWN_COURSES)(self._draw_course)

    def between(self, first: int, last: int) -> tuple[ScratchLine, ...]:
        """Return the lines seen in at least one of the frames first … last - 1."""
        drawn = [line for population in self._populations for line in population.between(first, last)]
        pinned = [line for line in self._model.pinned if line.first < last and line.last > first]
        return (*pinned, *drawn)

    def position(self, line: ScratchLine, index: int) -> float:
        """Return where a line crosses half the height in frame ``index``, px."""
        age = index - line.first
        x = line.x + line.drift * age + line.sway * math.sin(2 * math.pi * age / line.sway_period)
        if line.jitter > 0:
            x += line.jitter * float(np.clip(0.5 * self._course(line.key).jitter.at(index)[0], -1, 1))
        return x

    def centre(self, line: ScratchLine, index: int) -> FloatArray:
        """Return where a line crosses every row in frame ``index``, px, (H,)."""
        rows = np.arange(self._height, dtype=np.float32)
        return self.position(line, index) + math.tan(math.radians(line.tilt)) * (rows - (self._height - 1) / 2)

    def strength(self, line: ScratchLine, index: int) -> tuple[slice, FloatArray] | None:
        """Return the columns a line touches in frame ``index`` and its share of the nominal depth there.

        Shares lie in [-1, 1]; negative ones are the rims of a double-edged line. None when it lies outside the frame.
        """
        centre = self.centre(line, index)
        sigma = line.width / _FWHM
        reach = 4 * sigma * (1.6 if line.profile == "double_edge" else 1.0)
        left = max(int(centre.min() - reach), 0)
        right = min(int(centre.max() + reach) + 2, self._width)
        if left >= right:
            return None
        u = (np.arange(left, right, dtype=np.float32)[None, :] - centre[:, None]) / np.float32(sigma)
        profile = np.exp(-0.5 * u**2)
        if line.profile == "double_edge":
            # Difference of Gaussians, scaled to 1 in the centre; its rims reach about -0.25.
            profile = np.float32(1.8) * profile - np.float32(0.8) * np.exp(-0.5 * (u / np.float32(1.6)) ** 2)
        profile[np.abs(profile) < INVISIBLE] = 0
        return slice(left, right), (profile * self.along(line, index)[:, None]).astype(np.float32)

    def apply(self, index: int, image: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the image (H, W, 3) of frame ``index`` with lines in it, and their visibility (H, W)."""
        image = image.copy()
        mask = np.zeros(image.shape[:2], dtype=np.float32)
        for line in self.between(index, index + 1):
            drawn = self.strength(line, index)
            if drawn is None:
                continue
            columns, strength = drawn
            before = image[:, columns].copy()
            image[:, columns] = np.clip(before + strength[..., None] * np.float32(line.depth / 255), 0, 1)
            change = np.abs(image[:, columns] - before).max(axis=2) * np.float32(255 / abs(line.depth))
            mask[:, columns] = np.maximum(mask[:, columns], np.minimum(change, 1))
        return image, mask

    def along(self, line: ScratchLine, index: int) -> FloatArray:
        """Return the depth along the line in one frame as a share of its nominal depth, (H,)."""
        height = self._height
        rows = np.arange(height, dtype=np.float64)
        # A scratch is cut while the film runs: the frames lie one below the other along it.
        course = self._course(line.key)
        noise = course.depth.at(rows + index * height)
        rough = course.roughness.at(rows + index * height)[:, 0]
        along = np.clip(0.9 + 0.12 * noise[:, 0] + 0.1 * rough, 0.6, 1)
        if line.gaps > 0:
            # Joining normal knots by ramps leaves a mean standard deviation of about 0.8.
            threshold = _normal_quantile(line.gaps) * 0.8
            along = along * np.clip((noise[:, 1] - threshold) * 8 + 0.5, 0, 1)
        end = 6 * self._scale
        if line.top > 0:
            along = along * np.clip((rows - line.top * height) / end, 0, 1)
        if line.bottom < 1:
            along = along * np.clip((line.bottom * height - rows) / end, 0, 1)
        return along.astype(np.float32)

    def _draw_course(self, key: int) -> _Course:
        return _Course(
            jitter=Autoregressive(self._seed, "line jitter", key, rho=0.8),
            depth=SmoothNoise(self._seed, "line depth", key, pitch=self._height / 7, channels=2),
            roughness=SmoothNoise(self._seed, "line roughness", key, pitch=5 * self._scale),
        )

    def _draw(self, kind: LineKind, lives: tuple[int, int], stream: np.random.Generator, first: int) -> ScratchLine:
        model, scale = self._model, self._scale
        life = int(log_uniform(stream, lives[0], lives[1] + 1))
        drift = sway = 0.0
        if kind == "drifting":
            if stream.random() < 0.6:
                drift = log_uniform(stream, 0.05, 1) * scale * stream.choice([-1, 1])
            else:
                sway = stream.uniform(2, 20) * scale
        top, bottom = 0.0, 1.0
        if kind == "transient" or stream.random() < 0.15:
            length = stream.uniform(0.3, 1.0)
            top = stream.uniform(0, 1 - length)
            bottom = top + length
        return ScratchLine(
            key=int(stream.integers(1 << 39)),
            kind=kind,
            x=stream.uniform(0.01, 0.99) * self._width,
            depth=log_uniform(stream, *model.depth) * (1 if stream.random() < model.bright_share else -1),
            width=max(log_uniform(stream, *model.width) * scale, _NARROWEST),
            tilt=stream.uniform(-1, 1) * model.largest_tilt,
            first=first,
            last=first + life,
            profile="double_edge" if stream.random() < model.double_edge_share else "single",
            drift=float(drift),
            sway=sway,
            sway_period=log_uniform(stream, 40, 300),
            jitter=model.jitter * scale,
            gaps=stream.uniform(0, model.largest_gaps),
            top=top,
            bottom=bottom,
        )


def _mean_life(shortest: int, longest: int) -> float:
    """Mean of the whole part of a log-uniform number from shortest to longest + 1."""
    lives = np.arange(shortest, longest + 1)
    return float(np.sum(lives * np.log((lives + 1) / lives)) / math.log((longest + 1) / shortest))


def _normal_quantile(share: float) -> float:
    """Standard normal quantile by the logistic approximation, good to 0.02 within 0.01 … 0.99."""
    share = min(max(share, 1e-4), 1 - 1e-4)
    return 5.5556 * (1 - ((1 - share) / share) ** 0.1186)
