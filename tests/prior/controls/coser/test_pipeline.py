"""CoSeR in the headless pipeline: references made by the same network, or out of the film, and what a pass costs."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vldm_core.errors import SettingsError
from vldm_core.prior.call import CONDITIONED, UNCONDITIONED
from vldm_core.prior.controls.control import RestorationControl
from vldm_core.prior.controls.coser.references import reference_frames
from vldm_core.prior.controls.material import ControlMaterial
from vldm_core.prior.controls.use import ControlUse
from vldm_core.sampling.cfg import CfgSettings
from vldm_core.sampling.restoration import RestorationSettings
from vldm_core.video.shots import Shot

from ...tiny_pipeline import tiny_pipeline
from ..oracle_unets import run
from .tiny_coser import CONTEXT, Q_FORMER, coser_control, encoder, sd2_unet

FRAMES = torch.rand(4, 3, 64, 96, generator=torch.Generator().manual_seed(3))
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SHOTS = (Shot(0, 2), Shot(2, 4))
CFG = RestorationSettings(cfg=CfgSettings(scale=3.0))


@pytest.fixture(scope="module")
def pipeline():
    pipeline = tiny_pipeline()
    pipeline.unet = sd2_unet()
    return pipeline


@pytest.fixture(scope="module")
def control():
    return coser_control()


@pytest.fixture(scope="module")
def tokens():
    """Tokens of language of each frame, from hidden states such as CLIP's."""
    with torch.no_grad():
        return encoder()(torch.randn(len(FRAMES), 17, 40, generator=torch.Generator().manual_seed(4)))


def restored(pipeline, *uses, output="latents"):
    found = pipeline(
        FRAMES,
        prompt="a street",
        settings=CFG,
        num_inference_steps=4,
        strength=0.5,
        shots=SHOTS,
        fitting=None,
        controls=uses,
        output=output,
    )
    return found.latents if output == "latents" else found.frames


def test_tokens_are_as_wide_as_the_text():
    assert Q_FORMER.width == CONTEXT


@torch.no_grad()
def test_a_reference_is_made_and_then_looked_at(pipeline, control, tokens):
    plain = restored(pipeline, output="frames")
    made = restored(pipeline, ControlUse(system=control.for_generation(), tokens=tokens), output="frames")
    assert (made - plain).abs().max() > 1e-2
    found = restored(pipeline, ControlUse(system=control, tokens=tokens, references=made))
    without = restored(pipeline, ControlUse(system=control, tokens=tokens, key_frame=False))
    assert (found - without).abs().max() > 1e-3
    assert torch.equal(restored(pipeline, output="frames"), plain)


@torch.no_grad()
def test_by_default_a_frame_of_the_shot_is_the_reference(pipeline, control, tokens):
    found = restored(pipeline, ControlUse(system=control, tokens=tokens))
    given = FRAMES[list(reference_frames(len(FRAMES), shots=SHOTS))]
    assert torch.equal(found, restored(pipeline, ControlUse(system=control, tokens=tokens, references=given)))


@torch.no_grad()
def test_a_reference_serves_its_shot_and_no_other(pipeline, control, tokens):
    given = FRAMES.flip(-1)
    other = given.clone()
    other[2:] = 1 - other[2:]
    first, second = (
        restored(pipeline, ControlUse(system=control, tokens=tokens, references=pictures))
        for pictures in (given, other)
    )
    assert torch.equal(first[:2], second[:2])
    assert not torch.equal(first[2:], second[2:])


def test_making_a_reference_needs_tokens_and_takes_no_reference(pipeline, control, tokens):
    with pytest.raises(SettingsError, match="CoSeR needs tokens"):
        restored(pipeline, ControlUse(system=control.for_generation()))
    with pytest.raises(SettingsError, match="does not look at a reference"):
        restored(pipeline, ControlUse(system=control.for_generation(), tokens=tokens, references=FRAMES))


@torch.no_grad()
def test_a_pass_of_both_chunks_costs_less_than_the_originals_two(control):
    """The original runs the branch twice and All-in-Attention for each chunk; here the features are read once."""
    unet, x = sd2_unet(), torch.randn(1, 4, 16, 16)
    material = ControlMaterial(hint=x, reference=x, tokens=torch.randn(1, 6, CONTEXT))

    def cost(chunks, applied=True):
        count = len(chunks)
        control_of_clip = [RestorationControl(control, material)] if applied else []
        text = torch.randn(count, 7, CONTEXT)
        call = {"frames": (0,), "chunks": chunks, "segments": ((0, 1),)}
        with FlopCounterMode(display=False) as counter:
            run(unet, x.repeat(count, 1, 1, 1), torch.full((count,), 9.0), text, *control_of_clip, call=call)
        return counter.get_total_flops()

    with FlopCounterMode(display=False) as counter:
        for _ in range(2):
            control.branch.look(x, torch.tensor([9.0]), torch.randn(1, 13, CONTEXT), x)
    branch = counter.get_total_flops()
    original = cost((CONDITIONED,)) + cost((UNCONDITIONED,)) - branch
    plain = cost((CONDITIONED, UNCONDITIONED), applied=False)
    assert plain < cost((CONDITIONED, UNCONDITIONED)) < original
