"""What the film benchmark reports: its figures, clip by clip, and what becomes of them over all clips."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vldm_core.errors import SettingsError

from ..common.report import BenchmarkReport
from ..detection.sources.real_film import LineRemoval
from ..second_ageing.settings import KINDS, Kind
from .scores import Counts, Fidelity, pooled
from .settings import FilmBenchmarkSettings, Model

INPUT = "input"
"""Name of the row of the damaged film itself."""


@dataclass(frozen=True, kw_only=True)
class ClipFigures:
    """One method on one aged clip.

    Attributes:
        clip: Name of the clip.
        model: What aged it.
        method: Name of the method, or `INPUT`.
        fidelity: What the film is like.
        found: Kind of damage → what its masks found, or None where it makes none.
    """

    clip: str
    model: Model
    method: str
    fidelity: Fidelity
    found: Mapping[Kind, Counts] | None


@dataclass(frozen=True, kw_only=True)
class CleanFigures:
    """One method on one clean clip with grain, where every mark is wrong.

    Attributes:
        clip: Name of the clip.
        fast: Whether the whole scene moves fast.
        method: Name of the method.
        dirt: Share of the pixels marked as dirt, or None where it makes no masks.
        lines: Share marked as scratches, likewise.
        gain: PSNR after the gain fit over that of the input, dB.
        worst_frame: Largest loss of a frame against the input, dB.
    """

    clip: str
    fast: bool
    method: str
    dirt: float | None
    lines: float | None
    gain: float
    worst_frame: float


@dataclass(frozen=True, kw_only=True)
class RealFigures:
    """One method on one real film.

    Attributes:
        film: Name of the film.
        method: Name of the method.
        line: What became of the known line, in the film that has it, where the method makes masks or not.
        texture: Share of the fine texture beside that line that is left at its place, or None elsewhere.
        dirt: Share of the pixels marked as dirt, or None without masks.
        lines: Share marked as scratches, likewise.
    """

    film: str
    method: str
    line: LineRemoval | None
    texture: float | None
    dirt: float | None
    lines: float | None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a method takes, from films of two lengths.

    Attributes:
        seconds: For a frame, by the clock.
        cpu_seconds: For a frame, of all processors, or None where the system does not tell.
        start: Before and after the frames, by the clock.
        peak_mb: High-water mark of the memory, MB of 10^6 bytes, or None likewise.
    """

    seconds: float
    cpu_seconds: float | None
    start: float
    peak_mb: float | None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One method over all clips of a model; PSNR in dB, means over the clips where it applies.

    Attributes:
        whole: PSNR of the whole picture.
        ssim: Structural similarity.
        inside: Kind of damage → PSNR inside.
        outside_gain: PSNR outside over that of the input.
        worst_frame: Largest loss of any frame outside.
        xpsnr: Perceptually weighted PSNR.
        st_lpips: Perceptual distance.
        warp_error: Grey levels.
        found: Kind of damage → counts of all clips.
    """

    whole: float
    ssim: float
    inside: Mapping[Kind, float | None]
    outside_gain: float
    worst_frame: float
    xpsnr: float | None
    st_lpips: float | None
    warp_error: float | None
    found: Mapping[Kind, Counts]


@dataclass(frozen=True, kw_only=True, eq=False)
class FilmBenchmarkReport(BenchmarkReport):
    """All figures of one run.

    Attributes:
        aged: Every method on every aged clip.
        clean: Every method on every clean clip.
        real: Every method on every real film.
        costs: Method → what it takes.
        methods: Method → whose it is and what it is.
        missing: What could not be measured, and why.
        settings: What the benchmark ran on.
        machine: Processor count, versions and minutes.
    """

    aged: Sequence[ClipFigures]
    clean: Sequence[CleanFigures]
    real: Sequence[RealFigures]
    costs: Mapping[str, Cost]
    methods: Mapping[str, Mapping[str, str]]
    missing: Sequence[str]
    settings: FilmBenchmarkSettings
    machine: Mapping[str, Any]

    def names(self, *groups: str) -> tuple[str, ...]:
        """Names of the methods of some groups, in the order of the tables."""
        return tuple(name for name, facts in self.methods.items() if facts["group"] in groups)

    def summary(self, model: Model, method: str) -> Summary | None:
        """One method over all clips of a model, or None where it did not run."""
        rows = [row for row in self.aged if (row.model, row.method) == (model, method)]
        if not rows:
            return None
        came = {row.clip: row.fidelity for row in self.aged if (row.model, row.method) == (model, INPUT)}
        made = [row.fidelity for row in rows]
        return Summary(
            whole=_mean(one.whole for one in made) or 0.0,
            ssim=_mean(one.ssim for one in made) or 0.0,
            inside={kind: _mean(one.inside.get(kind) for one in made) for kind in KINDS},
            outside_gain=_mean(row.fidelity.outside - came[row.clip].outside for row in rows) or 0.0,
            worst_frame=max(one.worst_frame for one in made),
            xpsnr=_mean(one.xpsnr for one in made),
            st_lpips=_mean(one.st_lpips for one in made),
            warp_error=_mean(one.warp_error for one in made),
            found=pooled(row.found for row in rows if row.found is not None),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Recorded:
    """What an earlier run measured of other versions of this package, for the same clips.

    Attributes:
        aged: Those versions on aged clips, and the rows of the damaged films themselves, to know the clips by.
        clean: Those versions on clean clips.
        real: Those versions on real films.
        costs: What they take.
        methods: Whose they are and what they are.
    """

    aged: Sequence[ClipFigures]
    clean: Sequence[CleanFigures]
    real: Sequence[RealFigures]
    costs: Mapping[str, Cost]
    methods: Mapping[str, Mapping[str, str]]

    def of_clips(self, rows: Sequence[ClipFigures]) -> list[ClipFigures]:
        """Return the rows of clips that another run has met, too: their damaged films score alike to the last bit."""
        met = {(row.clip, row.model): row.fidelity.whole for row in rows if row.method == INPUT}
        came = {(row.clip, row.model): row.fidelity.whole for row in self.aged if row.method == INPUT}
        same = {place for place, whole in came.items() if met.get(place) == whole}
        return [row for row in self.aged if row.method != INPUT and (row.clip, row.model) in same]


def read_recorded(path: Path, settings: FilmBenchmarkSettings) -> Recorded:
    """Read the figures of other versions from the JSON file of an earlier run.

    Raises:
        SettingsError: It is no such file, or that run had clips of another size, length or seed.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        for name in ("frames", "height", "width", "seed"):
            if stored["settings"][name] != getattr(settings, name):
                raise SettingsError(
                    f"{path} was measured with {name} {stored['settings'][name]}, not {getattr(settings, name)}; "
                    "measure both alike"
                )
        methods = {name: facts for name, facts in stored["methods"].items() if facts["group"] == "earlier"}
        rows = {part: [row for row in stored[part] if row["method"] in methods] for part in ("clean", "real")}
        return Recorded(
            aged=[_clip_figures(row) for row in stored["aged"] if row["method"] in {INPUT, *methods}],
            clean=[CleanFigures(**row) for row in rows["clean"]],
            real=[
                RealFigures(**row | {"line": None if row["line"] is None else LineRemoval(**row["line"])})
                for row in rows["real"]
            ],
            costs={name: Cost(**cost) for name, cost in stored["costs"].items() if name in methods},
            methods=methods,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{path} holds no figures of the film benchmark: {error}") from error


def _clip_figures(row: Mapping[str, Any]) -> ClipFigures:
    found = row["found"]
    return ClipFigures(
        clip=row["clip"],
        model=row["model"],
        method=row["method"],
        fidelity=Fidelity(**row["fidelity"]),
        found=None if found is None else {kind: Counts(**counts) for kind, counts in found.items()},
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
