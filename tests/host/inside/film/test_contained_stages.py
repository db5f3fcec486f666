"""A stage that fails in one frame, or gives NaN, costs a node only that frame; an interrupt stops it all the same."""

from fractions import Fraction

import comfy.model_management as management
import pytest
import torch
from comfy_api.input_impl import VideoFromFile
from pack.nodes.film.detect_damage import DetectDamage
from pack.nodes.film.remove_flicker import RemoveFlickerNode
from pack.nodes.film.repair_damage import RepairDamage
from pack.nodes.film.stabilise import StabiliseNode
from pack.nodes.prerestore.pre_restore import PreRestoreNode
from pack.nodes.reel.restore_reel import RestoreReel
from pack.vldm_core.errors import StageError
from pack.vldm_core.prerestore import contained
from pack.vldm_core.stages.single import dirt as dirt_stages
from pack.vldm_core.stages.single import flicker, scratches, weave
from pack.vldm_core.video.writing.clip import write_clip

COUNT, BAD = 8, 3
HEIGHT, WIDTH = 48, 64


@pytest.fixture(scope="module")
def frames():
    """A clip with a frame that `is_bad` knows again."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(COUNT, 3, HEIGHT // 8, WIDTH // 8, generator=generator)
    frames = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3) * 0.5 + 0.25
    frames += 0.02 * torch.randn(frames.shape, generator=generator)
    frames = (frames * 255).round().clamp(0, 255) / 255
    frames[BAD, :, 0, 0] = 0
    return frames


@pytest.fixture(scope="module")
def images(frames):
    return frames.movedim(1, -1)


def is_bad(image):
    return bool((image[:, 0, 0] == 0).all())


def faulty_frames(how, real):
    """Return a function over frames that raises at the bad frame, or makes it NaN."""

    def faulty(given, *rest, keep=None, **named):
        found = [t for t in range(len(given))[keep or slice(None)] if is_bad(given[t])]
        if found and how == "error":
            raise RuntimeError("injected")
        made = real(given, *rest, **({} if keep is None else {"keep": keep}), **named)
        if found:
            made = made.clone()
            made[found] = torch.nan
        return made

    return faulty


def faulty_network(how, real):
    """Return a stream of restored frames that does so."""

    def faulty(given, *rest, **named):
        came = []

        def checked():
            for image, where in given:
                came.append(is_bad(image if isinstance(image, torch.Tensor) else image.tensor()))
                if how == "error" and came[-1]:
                    raise RuntimeError("injected")
                yield image, where

        for number, made in enumerate(real(checked(), *rest, **named)):
            yield made._replace(image=made.image * torch.nan) if came[number] else made

    return faulty


def mask_of(rows, columns):
    mask = torch.zeros(COUNT, HEIGHT, WIDTH)
    mask[:, rows, columns] = 1
    return mask


DIRT = mask_of(slice(20, 26), slice(30, 36))
SCRATCH = mask_of(slice(None), slice(10, 12))
# The node of each stage, where the stage's work is done, and how that goes wrong.
STAGES = {
    "dirt marking": (
        lambda images: DetectDamage.execute(images, "dirt", dirt_grow=1),
        (dirt_stages, "detect_dirt", faulty_frames),
    ),
    "dirt repair": (
        lambda images: RepairDamage.execute(images, dirt=DIRT),
        (dirt_stages, "repair_dirt", faulty_frames),
    ),
    "scratch repair": (
        lambda images: RepairDamage.execute(images, scratch=SCRATCH),
        (scratches, "repair_scratches", faulty_frames),
    ),
    "flicker": (
        lambda images: RemoveFlickerNode.execute(images, 1.0, True, 24.0),
        (flicker, "apply_flicker", faulty_frames),
    ),
    "stabilise": (
        lambda images: StabiliseNode.execute(images, 1.0, 24.0, 20.0),
        (weave, "apply_stabilise", faulty_frames),
    ),
    "pre-restoration": (
        lambda images: PreRestoreNode.execute(images, 1.0, 0.3),
        (contained, "pre_restore_stream", faulty_network),
    ),
}


def said(output):
    return (output.ui or {}).get("text", ())


@pytest.mark.parametrize("stage", STAGES)
def test_a_frame_that_a_stage_cannot_do_is_passed_on_and_told(stage, images, monkeypatch):
    run, (module, name, faulty) = STAGES[stage]
    assert not said(run(images))
    real = getattr(module, name)
    untouched = torch.zeros(HEIGHT, WIDTH) if stage == "dirt marking" else images[BAD]
    for how in ("error", "nan"):
        monkeypatch.setattr(module, name, faulty(how, real))
        output = run(images)
        (text,) = said(output)
        assert text.startswith(f"warning: {stage}, frame {BAD}: left as it came ("), how
        result = output.args[0]
        assert torch.isfinite(result).all(), how
        assert torch.equal(result[BAD], untouched), how


@pytest.mark.parametrize("stage", STAGES)
def test_the_hosts_interrupt_is_not_taken_for_a_fault(stage, images):
    """It is an ordinary exception, raised from the progress callback."""
    management.interrupt_current_processing(True)
    with pytest.raises(management.InterruptProcessingException):
        STAGES[stage][0](images)


@pytest.fixture
def film_with_a_bad_frame(frames, tmp_path, monkeypatch):
    """Inputs of Restore Reel for a film in which the search for dirt gives NaN once."""
    write_clip(tmp_path / "contained.mkv", frames, Fraction(24))
    monkeypatch.setattr(dirt_stages, "detect_dirt", faulty_frames("nan", dirt_stages.detect_dirt))
    return {
        "video": VideoFromFile(str(tmp_path / "contained.mkv")),
        "dirt": True,
        "scratches": False,
        "flicker": False,
        "stabilise": False,
        "codec": "ffv1",
        "folder": "temp",
        "filename_prefix": "contained",
        "average": False,
    }


def test_the_report_of_a_reel_names_the_frame(film_with_a_bad_frame):
    output = RestoreReel.execute(**film_with_a_bad_frame)
    assert f"warning: dirt marking, frame {BAD}: left as it came (it gave values that are not finite)" in output.args[1]


def test_a_strict_reel_stops_at_the_frame(film_with_a_bad_frame):
    with pytest.raises(StageError, match=f"dirt marking failed in frame {BAD}"):
        RestoreReel.execute(**film_with_a_bad_frame, strict=True)
