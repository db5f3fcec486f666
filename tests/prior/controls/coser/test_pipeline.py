"""CoSeR in the headless pipeline: references made by the same network, or out of the film, and what a pass costs."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vldm_core.prior.call import CONDITIONED, UNCONDITIONED
from vldm_core.prior.controls.control import RestorationControl
from vldm_core.prior.controls.coser.references import reference_frames
from vldm_core.prior.controls.material import ControlMaterial
from vldm_core.sampling.cfg import CfgSettings
from vldm_core.sampling.restoration import RestorationSettings
from vldm_core.video.shots import Shot

from ...tiny_pipeline import tiny_pipeline
from ..oracle_unets import run
from .tiny_coser import CONTEXT, Q_FORMER, coser_control, encoder, sd2_unet

FRAMES = torch.rand(4, 3, 64, 96, generator=torch.Generator().manual_seed(3))
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


def restored(pipeline, control=None, **material):
    if control is not None:
        pipeline.attach(RestorationControl(control, ControlMaterial(**material)), "coser")
    try:
        return pipeline(
            FRAMES,
            prompt="a street",
            settings=CFG,
            num_inference_steps=4,
            strength=0.5,
            shots=SHOTS,
            fitting=None,
            output="latents",
        ).latents
    finally:
        if control is not None:
            pipeline.detach("coser")


def test_tokens_are_as_wide_as_the_text():
    assert Q_FORMER.width == CONTEXT


@torch.no_grad()
def test_a_reference_is_made_and_then_looked_at(pipeline, control, tokens):
    hint = restored(pipeline)
    made = restored(pipeline, control.for_generation(), hint=hint, tokens=tokens)
    assert (made - hint).abs().max() > 1e-2
    found = restored(pipeline, control, hint=hint, tokens=tokens, reference=made)
    without = restored(pipeline, control, hint=hint, tokens=tokens)
    assert (found - without).abs().max() > 1e-3
    assert torch.equal(restored(pipeline), hint)


@torch.no_grad()
def test_a_key_frame_serves_its_shot_and_no_other(pipeline, control, tokens):
    hint = restored(pipeline)

    def looked_at(keys):
        reference = hint[list(reference_frames(len(hint), shots=SHOTS, key_frames=keys))]
        return restored(pipeline, control, hint=hint, tokens=tokens, reference=reference)

    first, second = looked_at((0, 2)), looked_at((0, 3))
    assert torch.equal(first[:2], second[:2])
    assert not torch.equal(first[2:], second[2:])


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
