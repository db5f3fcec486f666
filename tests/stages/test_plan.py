"""The order of the stages is stated once, every user of them runs it, and every stage keeps what it says of itself."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from benchmarks.detection.methods import METHODS as FILM_METHODS
from benchmarks.detection.methods import OURS
from benchmarks.prerestore.material import repair as repair_for_benchmark
from vldm_core.film.dirt.detection import DirtSettings
from vldm_core.film.motion.shot import ShotMotion
from vldm_core.film.scratches.settings import ScratchSettings
from vldm_core.film.standing.detection import StandingSettings
from vldm_core.film.weave.stabilise import StabiliseSettings
from vldm_core.prerestore.shipped import PreRestoration
from vldm_core.reel import describe
from vldm_core.reel.cost import pass_costs
from vldm_core.reel.masks import detect_film
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.reel.with_prior.settings import PriorReelSettings
from vldm_core.semantics.table.table import ShotDescription, ShotTable
from vldm_core.stages import analysis as analysis_module
from vldm_core.stages import batch as pipeline
from vldm_core.stages import plan as plan_module
from vldm_core.stages.analysis import analyse_shot
from vldm_core.stages.plan import ORDER, StagePlan
from vldm_core.stages.settings import StageSettings
from vldm_core.stages.stage import Scope, ShotContext, Stage, StageCost, StageModels
from vldm_core.stages.stage_frame import StageFrame
from vldm_core.video.reading.reader import open_film
from vldm_core.video.writing.clip import write_clip

from ..film.dirt.dirt_scenes import scene, speckled
from ..prerestore.test_network import trained

ROOT = Path(__file__).resolve().parents[2]
HEIGHT, WIDTH, BAR = 48, 72, 8
STAGE_BY_STAGE = pytest.mark.parametrize("kind", ORDER, ids=lambda kind: kind.__name__)
ALL = StageSettings(
    lines=ScratchSettings(detector="weight-free", locked_shots="on"),
    prerestore=PreRestoration(segment=4, lookahead=2),
    standing=StandingSettings(),
    stabilise=StabiliseSettings(least_weave=0),
)


def film(count: int) -> torch.Tensor:
    """A texture that pans, weaves and flickers beside a bar: a speck a frame, a scratch and a spot that stay."""
    rng = np.random.default_rng(7)
    wide = torch.from_numpy(rng.random((1, 1, 14, 26), dtype=np.float32))
    wide = torch.nn.functional.interpolate(wide, (HEIGHT + 16, WIDTH + 60), mode="bicubic")[0, 0] * 0.5 + 0.25
    frames = torch.empty(count, 3, HEIGHT, WIDTH)
    for t in range(count):
        y, x = 8 + (5 * t % 3) - 1, 8 + t
        frames[t] = wide[y : y + HEIGHT, x : x + WIDTH] * (1 + 0.08 * (-1) ** t)
        frames[t] += torch.from_numpy(rng.normal(0, 0.008, (HEIGHT, WIDTH)).astype(np.float32))
        frames[t, :, 5 + 17 * t % 35 :, 14 + 23 * t % 50 :][:, :4, :4] = 0.98
    frames[..., 40:42] -= 0.15
    frames[:, :, 20:24, 58:62] = 0.02
    frames[..., :BAR] = 0.03
    return (frames.clamp(0, 1) * 255).round() / 255


def made(kind: type[Stage]) -> Stage:
    stage = kind.of(ALL, StageModels(prerestorer=trained()))
    assert stage is not None
    return stage


def marked(frames: torch.Tensor) -> Iterator[StageFrame[int]]:
    """Frames that bring marks along, inside the picture."""
    for t, frame in enumerate(frames):
        dirt, scratch = torch.zeros(HEIGHT, WIDTH), torch.zeros(HEIGHT, WIDTH)
        dirt[5 + 17 * t % 35 :, 14 + 23 * t % 50 :][:4, :4] = 1
        scratch[:, 39:43] = 1
        yield StageFrame(image=frame, origin=t, dirt=dirt, scratch=scratch, number=t)


def context(frames: torch.Tensor, stage: Stage, **more) -> ShotContext:
    return ShotContext(analysis=analyse_shot(frames, StagePlan((stage,)).analysis, HEIGHT, WIDTH), **more)


def test_the_order_is_what_it_was():
    assert [stage.name for stage in StagePlan.from_settings(ALL).stages] == [
        "scratch marking",
        "scratch repair",
        "dirt marking",
        "standing marks",
        "splices",
        "dirt repair",
        "flicker",
        "averaging",
        "pre-restoration",
        "stabilise",
    ]
    assert StagePlan.from_settings(StageSettings.no_stages()).stages == ()
    assert len({kind.name for kind in ORDER}) == len(ORDER)


def test_a_plan_is_narrowed_to_what_its_user_is_after():
    def names(plan: StagePlan) -> list[str]:
        return [stage.name for stage in plan.stages]

    plan = StagePlan.from_settings(ALL)
    assert names(plan.to_marks()) == ["scratch marking", "scratch repair", "dirt marking", "standing marks", "splices"]
    no_dirt = replace(ALL, dirt=None, standing=None, splices=None)
    assert names(StagePlan.from_settings(no_dirt).to_marks()) == ["scratch marking"]
    assert names(plan.to_repair()) == [
        "scratch marking",
        "scratch repair",
        "dirt marking",
        "standing marks",
        "splices",
        "dirt repair",
    ]
    assert names(plan.on_given_marks()) == ["scratch repair", "dirt repair"]
    assert not plan.on_given_marks().needs_first_pass
    assert plan.needs_first_pass
    assert (plan.marks, plan.moves) == (True, True)
    bare = StagePlan.from_settings(replace(ALL, dirt=None, lines=None, standing=None, splices=None, stabilise=None))
    assert (bare.marks, bare.moves) == (False, False)
    measured = bare.analysis
    assert (measured.scratches, measured.weave) == (None, None)
    assert measured.flicker is ALL.flicker


BLOCK = (slice(20, 26), slice(30, 40))
STAINED = 0.25


@dataclass(frozen=True, kw_only=True)
class MarkStain(Stage):
    """A stage that nobody but the plan knows: it marks a place in every frame."""

    name: ClassVar[str] = "stain marking"
    switch: ClassVar[str] = "dirt"
    scope: ClassVar[Scope] = Scope.MARKS
    cost: ClassVar[StageCost] = StageCost(analyse=1e6)

    probability: bool = False

    @classmethod
    def of(cls, settings, models):
        return None if settings.dirt is None else cls()

    def with_probability(self):
        return replace(self, probability=True)

    def run(self, frames, shot):
        for frame in frames:
            dirt = torch.zeros(frame.image.shape[-2:]) if frame.dirt is None else frame.dirt.clone()
            dirt[BLOCK] = 1
            yield frame.having(dirt=dirt, **({"dirt_probability": dirt / 2} if self.probability else {}))


@dataclass(frozen=True, kw_only=True)
class RepairStain(Stage):
    """Another one: it repairs that place."""

    name: ClassVar[str] = "stain repair"
    switch: ClassVar[str] = "dirt"
    scope: ClassVar[Scope] = Scope.MARKED_PIXELS

    @classmethod
    def of(cls, settings, models):
        return None if settings.dirt is None else cls()

    def run(self, frames, shot):
        for frame in frames:
            image = frame.image.clone()
            if frame.is_marked("dirt"):
                image[(slice(None), *BLOCK)] = STAINED
            yield frame.having(image=image)


@pytest.fixture
def stained(monkeypatch):
    """Add two stages to the plan, and to nothing else."""
    order = list(ORDER)
    order.insert(1 + next(n for n, kind in enumerate(order) if kind.name == "dirt marking"), MarkStain)
    order.insert(1 + next(n for n, kind in enumerate(order) if kind.name == "dirt repair"), RepairStain)
    monkeypatch.setattr(plan_module, "ORDER", tuple(order))


DIRT_ONLY = replace(ReelSettings.no_stages(), dirt=DirtSettings(), write=replace(ReelSettings().write, codec="ffv1"))


def pictures(path: Path) -> torch.Tensor:
    with open_film(path) as frames:
        return torch.stack([frame.tensor() for frame in frames])


def shown_in(images: torch.Tensor) -> bool:
    return bool(((images[(..., *BLOCK)] - STAINED).abs() < 1 / 255).all())


def test_batches_have_a_stage_that_is_in_the_plan_alone(stained):
    frames = film(5)
    masks, judged = pipeline.find_damage(frames, dirt=DirtSettings())
    for found in (masks, pipeline.detect_damage(frames, dirt=DirtSettings())):
        assert bool((found.dirt[(slice(None), *BLOCK)] == 1).all())
    for probability in (judged, pipeline.damage_probability(frames, dirt=DirtSettings())):
        assert bool((probability.dirt[(slice(None), *BLOCK)] == 0.5).all())
    restored, found = pipeline.restore_frames(frames, DIRT_ONLY)
    assert shown_in(restored)
    assert bool((found.dirt[(slice(None), *BLOCK)] == 1).all())
    assert shown_in(pipeline.repair_damage(frames, dirt=masks.dirt))
    assert not shown_in(pipeline.repair_damage(frames, dirt=torch.zeros_like(masks.dirt)))


def test_reels_have_a_stage_that_is_in_the_plan_alone(stained, tmp_path, monkeypatch):
    source = tmp_path / "film.mkv"
    write_clip(source, film(5), Fraction(24))
    report = restore_film(source, tmp_path / "out.mkv", DIRT_ONLY)
    assert shown_in(pictures(tmp_path / "out.mkv"))
    assert report.dirt_share >= 60 / (HEIGHT * WIDTH)
    detect_film(source, tmp_path / "masks", DIRT_ONLY)
    assert bool((pictures(tmp_path / "masks" / "dirt.mkv")[(..., *BLOCK)] == 1).all())
    assert PriorReelSettings(reel=DIRT_ONLY).finds_damage
    assert DIRT_ONLY.stages == ("dirt",)
    assert pass_costs(DIRT_ONLY)["analyse"] > 0.99

    seen = []

    def look(frames, shots, *_):
        seen.extend(frames)
        return ShotTable(descriptions=tuple(ShotDescription(first=shot.first, last=shot.last) for shot in shots))

    monkeypatch.setattr(describe, "describe_stream", look)
    describe.describe_film(source, repair=DIRT_ONLY)
    assert shown_in(torch.stack([frame.image for frame in seen]))
    assert min(frame.damage for frame in seen) >= 60 / (HEIGHT * WIDTH)


def test_benchmarks_have_a_stage_that_is_in_the_plan_alone(stained):
    frames = film(5)
    restore = FILM_METHODS[OURS].restore
    assert restore is not None
    assert shown_in(restore(frames))
    repaired, masks = repair_for_benchmark(frames)
    assert shown_in(repaired)
    assert bool((masks[(slice(None), *BLOCK)] == 1).all())


def test_masks_and_probability_come_of_one_analysis(monkeypatch):
    frames = film(12)
    settings: dict[str, Any] = {"dirt": DirtSettings(), "lines": ALL.lines}
    protect = torch.zeros(12, HEIGHT, WIDTH)
    protect[:, :, 50:] = 1
    wanted = pipeline.detect_damage(frames, protect=protect, **settings)
    alone = pipeline.damage_probability(frames, protect=protect, **settings)
    analysed = []
    real = analysis_module.ShotAnalyser
    monkeypatch.setattr(
        analysis_module, "ShotAnalyser", lambda *given, **named: analysed.append(1) or real(*given, **named)
    )
    masks, judged = pipeline.find_damage(frames, protect=protect, **settings)
    assert len(analysed) == 1
    for kind in ("dirt", "scratch"):
        assert getattr(masks, kind).any()
        assert torch.equal(getattr(masks, kind), getattr(wanted, kind))
        assert torch.equal(getattr(judged, kind), getattr(alone, kind))
        assert not getattr(judged, kind)[:, :, 50:].any()


class StopError(Exception):
    """What a host raises from the progress callback to interrupt."""


@STAGE_BY_STAGE
def test_an_interrupt_is_looked_for_at_every_frame_of_a_window(kind):
    count = 8
    frames, stage, beats = film(count), made(kind), []

    def run(beat) -> list[StageFrame[int]]:
        return list(StagePlan((stage,)).run(marked(frames), context(frames, stage, window=count, beat=beat)))

    assert len(run(lambda *_: beats.append(1))) == count
    assert len(beats) >= count

    for at in (2, len(beats)):
        calls = []

        def interrupt(*_, at=at, calls=calls):
            calls.append(1)
            if len(calls) == at:
                raise StopError

        shot = context(frames, stage, window=count, beat=interrupt)
        with pytest.raises(StopError):
            list(StagePlan((stage,)).run(marked(frames), shot))
        assert len(calls) == at
        assert shot.faults.notices.summary() == (), "it is not taken for a fault of a frame"


@pytest.mark.parametrize("room", ["for all", "for one"])
def test_an_interrupt_comes_out_of_a_window_without_damage(room):
    """Where no frame is marked, nothing is computed, and yet an interrupt is looked for in every window."""
    frames = film(9)
    plan = StagePlan.from_settings(ALL).on_given_marks()
    calls = []
    rooms = {} if room == "for all" else {"room": replace(ShotContext(analysis=None).room, beside_repair=0)}
    shot = context(frames, plan.stages[0], window=3, beat=lambda *_: calls.append(1), **rooms)
    unmarked = (StageFrame(image=frame, origin=t) for t, frame in enumerate(frames))
    result = list(plan.run(unmarked, shot))
    assert torch.equal(torch.stack([frame.image for frame in result]), frames)
    assert len(calls) == 3 * len(plan.stages)


@STAGE_BY_STAGE
def test_a_stage_changes_what_it_says_and_nothing_on_bars(kind):
    # Marks that stay need some frames in which the scene has moved on.
    frames, stage = film(20 if kind.switch == "standing" else 14), made(kind)
    if kind.switch == "splices":
        frames[7, :, 3:5, BAR:] = 0.95
    shot = context(frames, stage, window=5)
    outside = shot.analysis.picture.outside()
    assert outside is not None
    assert bool(outside[:, : BAR - 1].all())
    given = list(marked(frames))
    result = list(StagePlan((stage,)).run(iter(given), shot))
    assert [frame.origin for frame in result] == list(range(len(frames)))
    touched = False
    for came, went in zip(given, result, strict=True):
        changed = (came.image != went.image).any(dim=0)
        marks_changed = not (torch.equal(came.dirt, went.dirt) and torch.equal(came.scratch, went.scratch))
        assert not changed[outside].any()
        if stage.scope is Scope.MARKS:
            assert not changed.any()
            touched |= marks_changed
            continue
        touched |= bool(changed.any())
        if stage.scope is Scope.MARKED_PIXELS:
            assert not changed[came.damage() == 0].any()
        assert stage.scope is Scope.PLACE or not marks_changed
    assert touched, "the stage must have something to do"


@pytest.mark.parametrize("kind", [kind for kind in ORDER if kind.radius is not None], ids=lambda kind: kind.__name__)
def test_a_frame_depends_on_no_neighbour_beyond_the_radius(kind):
    stage = made(kind)
    assert stage.radius is not None
    frames = film(stage.radius + 3)
    # Both are run by the analysis of the first.
    shot = context(frames, stage, window=len(frames))
    other = frames.clone()
    other[stage.radius + 1 :] = 1 - other[stage.radius + 1 :]
    one, two = (next(StagePlan((stage,)).run(marked(clip), shot)) for clip in (frames, other))
    assert torch.equal(one.image, two.image)
    assert torch.equal(one.dirt, two.dirt)
    assert torch.equal(one.scratch, two.scratch)


def test_a_shot_that_could_not_be_measured_goes_on_without_the_stage():
    frames = film(6)
    plan = StagePlan.from_settings(replace(StageSettings.no_stages(), flicker=ALL.flicker, stabilise=ALL.stabilise))
    analysis = replace(analyse_shot(frames, plan.analysis, HEIGHT, WIDTH), flicker=None)
    assert [stage.name for stage in plan.of_shot(analysis)] == ["stabilise"]


STAGE_WORK = {
    "scratches": {"scratch_mask", "repair_scratches"},
    "dirt": {"detect_dirt", "repair_dirt"},
    "standing": {"standing_mask"},
    "splices": {"splice_mask"},
    "flicker": {"apply_flicker"},
    "averaging": {"averaged"},
    "prerestoration": {"contained_stream"},
    "weave": {"apply_stabilise"},
}
"""The functions that do the work of each file of stages."""


def naming_the_order(path: Path) -> list[str]:
    """Return where a module runs stages of several kinds itself, or lists them."""
    tree, found = ast.parse(path.read_text(encoding="utf-8")), []
    names = {kind.name for kind in ORDER} | {kind.switch for kind in ORDER}
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            imported |= {alias.name for alias in node.names}
            if "single" in (node.module or "").split("."):
                found.append(f"{path.name} imports stages from {node.module}")
        if isinstance(node, ast.Tuple | ast.List):
            texts = [element.value for element in node.elts if isinstance(element, ast.Constant)]
            if len([text for text in texts if text in names]) > 2:
                found.append(f"{path.name}:{node.lineno} lists stages")
    kinds = [kind for kind, work in STAGE_WORK.items() if work & imported]
    if len(kinds) > 1:
        found.append(f"{path.name} does the work of {', '.join(kinds)}")
    return found


def test_the_work_of_the_stages_has_these_names():
    for kind, work in STAGE_WORK.items():
        tree = ast.parse((ROOT / "vldm_core" / "stages" / "single" / f"{kind}.py").read_text(encoding="utf-8"))
        imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names}
        assert work <= imported
    assert {path.stem for path in (ROOT / "vldm_core" / "stages" / "single").glob("[!_]*.py")} == set(STAGE_WORK)


def test_no_other_module_names_the_order():
    files = [path for room in ("vldm_core", "nodes", "benchmarks") for path in sorted((ROOT / room).rglob("*.py"))]
    assert len(files) > 300
    # What ages film lists the kinds of damage, some of which stages are called after.
    files = [path for path in files if ROOT / "vldm_core" / "ageing" not in path.parents]
    wrong = {str(path.relative_to(ROOT)): naming_the_order(path) for path in files}
    assert {path for path, found in wrong.items() if found} == {"vldm_core/stages/plan.py"}


@pytest.mark.parametrize(
    "text",
    [
        "from ..film.fill.repair import repair_dirt\nfrom ..film.scratches.repair.repair import repair_scratches",
        "from ..stages.single.dirt import MarkDirt",
        "STAGES = ('lines', 'dirt', 'flicker')",
    ],
)
def test_a_module_that_names_the_order_is_found(tmp_path, text):
    path = tmp_path / "other.py"
    path.write_text(text)
    assert naming_the_order(path)


@pytest.mark.parametrize("window", [4, 24])
def test_the_motion_of_a_pair_is_estimated_once_each_way(window, monkeypatch):
    """Every stage, in windows that overlap, asks for the same motion; and what is behind is let go."""
    estimated: list[tuple[str, int, int]] = []
    held: list[int] = []

    class Recorded(ShotMotion):
        def _estimate(self, here, there):
            estimated.append(("quick", here, there))
            return super()._estimate(here, there)

        def _refine(self, here, there):
            estimated.append(("refined", here, there))
            return super()._refine(here, there)

        def release(self, name, before):
            super().release(name, before)
            held.append(len(self._lumas._values))

    monkeypatch.setattr("vldm_core.stages.plan.ShotMotion", Recorded)
    frames, _ = speckled(scene(30, HEIGHT, WIDTH), per_frame=4)
    plan = StagePlan.from_settings(replace(ALL, prerestore=None, stabilise=None))
    shot = ShotContext(analysis=analyse_shot(frames, plan.analysis, HEIGHT, WIDTH), window=window)
    stream = (StageFrame(image=frame, origin=t, number=t) for t, frame in enumerate(frames))
    assert len(list(plan.run(stream, shot))) == 30
    assert len(estimated) == len(set(estimated))
    refined = {pair[1:] for pair in estimated if pair[0] == "refined"}
    assert refined == {(t, t + 1) for t in range(29)} | {(t + 1, t) for t in range(29)}
    assert held[-1] < 40, "a few frames around the last one"
