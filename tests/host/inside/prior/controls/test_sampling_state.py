"""What a control remembers while the host samples, and when it forgets: chunks alone, interrupts, short memory."""

import weakref
from collections.abc import Mapping

import comfy.samplers
import pytest
import torch
from comfy import model_management
from inside.models import tiny_pair
from inside.prior.controls.published import write_diffbir
from inside.sampling import assert_same, conditioning, random, sample
from pack.nodes.host.prior.controls import LoadedControl, load_control, with_control
from pack.nodes.host.prior.regions import with_regions
from pack.vldm_core.prior.controls.material import ControlMaterial
from pack.vldm_core.prior.controls.reading import FORMATS
from pack.vldm_core.prior.controls.settings import ControlSettings
from pack.vldm_core.sampling.regions.windows import WindowSettings
from safetensors.torch import save_file

from .....prior.controls.coser.tiny_coser import control_file
from .....prior.controls.pasd.tiny_pasd import pasd_files
from .....prior.controls.seesr.tiny_seesr import seesr_files
from .....prior.controls.stablesr.tiny_stablesr import stablesr_file
from .....prior.controls.tiny_systems import tiny_material

SYSTEMS = tuple(known.system for known in FORMATS)
FRAMES = 3
NOISE, LATENT = random(FRAMES, 4, 8, 8), random(FRAMES, 4, 8, 8, seed=5)
MANY, HINTS = random(10, 4, 8, 8), random(10, 4, 8, 8, seed=6)


@pytest.fixture(scope="module")
def controls(tmp_path_factory) -> Mapping[str, LoadedControl]:
    folder, twin = tmp_path_factory.mktemp("controls"), tiny_pair()[1]
    files = {
        "PASD": pasd_files(twin),
        "PASD light": pasd_files(twin, light=True),
        "SeeSR": seesr_files(twin),
        "StableSR": (stablesr_file(twin),),
        "CoSeR": (control_file(),),
    }
    write_diffbir(folder / "DiffBIR.safetensors")
    paths = {"DiffBIR": [folder / "DiffBIR.safetensors"]}
    for name, parts in files.items():
        paths[name] = [folder / f"{name} {number}.safetensors" for number in range(len(parts))]
        for path, part in zip(paths[name], parts, strict=True):
            save_file({key: value.contiguous() for key, value in part.items()}, path)
    assert paths.keys() == set(SYSTEMS)
    return {name: load_control(own) for name, own in paths.items()}


@pytest.fixture
def each_chunk_alone(monkeypatch):
    """The host runs every chunk of conditioning by itself, the unconditioned one first, as when memory is short."""
    monkeypatch.setattr(comfy.model_base.BaseModel, "memory_required", lambda *_, **__: 1e30)


def material(name: str, seed: int = 0) -> ControlMaterial:
    found = tiny_material(name, FRAMES, (8, 8), seed=seed)
    return ControlMaterial(hint=found.hint, tokens=found.tokens, reference=found.reference)


def controlled(model, controls, name: str, **settings):
    return with_control(model, controls[name], material(name), ControlSettings(**settings))


def run(model, steps: int = 3, positive=None, **more):
    prompt = conditioning(frames=FRAMES) if positive is None else positive
    return sample(model, prompt, conditioning(seed=3), NOISE, LATENT, steps=steps, **more)


@pytest.fixture
def calls(monkeypatch):
    """Chunks of every pass of the UNet."""
    seen: list[tuple[int, ...]] = []
    real = comfy.model_base.BaseModel.apply_model

    def counted(self, *args, **kwargs):
        seen.append(tuple(kwargs["transformer_options"]["cond_or_uncond"]))
        return real(self, *args, **kwargs)

    monkeypatch.setattr(comfy.model_base.BaseModel, "apply_model", counted)
    return seen


@pytest.mark.parametrize("reuse", [1, 2])
@pytest.mark.parametrize("name", SYSTEMS)
def test_chunks_that_run_alone_are_those_that_run_together(model, controls, calls, request, name, reuse):
    together = run(controlled(model, controls, name, reuse=reuse))
    assert set(calls) == {(1, 0)}
    calls.clear()
    request.getfixturevalue("each_chunk_alone")
    alone = run(controlled(model, controls, name, reuse=reuse))
    assert calls[:2] == [(1,), (0,)]
    assert_same(alone, together)


def test_prompts_that_run_alone_are_those_that_run_together(model, controls, request):
    left = torch.zeros(1, 8, 8)
    left[..., :4] = 1
    two = conditioning(mask=left, mask_strength=1.0) + conditioning(seed=9, mask=1 - left, mask_strength=1.0)
    together = run(controlled(model, controls, "DiffBIR", reuse=2), positive=two)
    request.getfixturevalue("each_chunk_alone")
    assert_same(run(controlled(model, controls, "DiffBIR", reuse=2), positive=two), together)


class StoppedError(Exception):
    """Stands for an interrupt or for memory that ran out."""


@pytest.mark.parametrize("name", ["DiffBIR", "StableSR", "CoSeR"])
def test_nothing_of_an_interrupted_sampling_is_left(model, controls, monkeypatch, name):
    """It stops in its second step; the next one begins below it, where a kept look would serve."""
    patched = controlled(model, controls, name, reuse=4)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 6)
    wanted = run(patched, sigmas=sigmas[2:])
    real, passes = comfy.model_base.BaseModel.apply_model, 0

    def stopping(self, *args, **kwargs):
        nonlocal passes
        passes += 1
        if passes == 2:
            raise StoppedError
        return real(self, *args, **kwargs)

    with monkeypatch.context() as stops:
        stops.setattr(comfy.model_base.BaseModel, "apply_model", stopping)
        with pytest.raises(StoppedError):
            run(patched, sigmas=sigmas)
    assert torch.equal(run(patched, sigmas=sigmas[2:]), wanted)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_second_stage_does_not_hang_on_the_first(model, controls, name):
    """The host may take the first stage from its cache."""
    patched = controlled(model, controls, name, reuse=4)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 4)
    alone = run(patched, sigmas=sigmas[3:])
    run(patched, sigmas=sigmas[:4])
    assert torch.equal(run(patched, sigmas=sigmas[3:]), alone)


def test_another_prompt_is_read_where_the_unconditioned_chunk_comes_first(model, controls, each_chunk_alone):
    other = conditioning(frames=FRAMES, seed=8)
    wanted = run(controlled(model, controls, "CoSeR"))
    patched = controlled(model, controls, "CoSeR")
    assert not torch.equal(run(patched, positive=other), wanted)
    assert torch.equal(run(patched), wanted)


@pytest.fixture
def seen(controls, monkeypatch):
    """Everything that DiffBIR's control saw, and how often it looked."""
    system, alive = controls["DiffBIR"].system, []
    real = system.features

    def features(request):
        found = dict(real(request))
        alive.append(weakref.ref(found["middle"]))
        return found

    monkeypatch.setattr(system, "features", features, raising=False)
    return alive


def living(seen) -> int:
    return sum(each() is not None for each in seen)


def test_what_was_seen_is_let_go(model, controls, seen):
    """Windows that move look anew, and what they saw before does not pile up; after the sampling nothing is held."""
    moving = WindowSettings(length=4, overlap=0, schedule="uniform")
    hints = ControlMaterial(hint=HINTS[:8])
    patched = with_regions(with_control(model, controls["DiffBIR"], hints, ControlSettings(reuse=2)), moving, None)
    alive = []

    def count(arguments):
        alive.append(living(seen))
        return arguments["denoised"]

    patched.set_model_sampler_post_cfg_function(count)
    sample(patched, conditioning(), conditioning(seed=3), MANY[:8], MANY[:8], steps=7)
    # Three windows in each of two steps.
    assert len(seen) > 12 and max(alive) <= 6
    assert living(seen) == 0


def test_a_control_that_is_off_does_not_look(model, controls, seen):
    for off in ({"strength": 0.0}, {"over_steps": ((0.0, 0.0),)}, {"over_frames": ((0.0, 0.0),)}, {"start": 1.0}):
        run(controlled(model, controls, "DiffBIR", **off))
    assert not seen
    run(controlled(model, controls, "DiffBIR"), steps=4)
    assert len(seen) == 4
    seen.clear()
    run(controlled(model, controls, "DiffBIR", reuse=2), steps=4)
    assert len(seen) == 2


def test_what_was_seen_before_a_pause_is_too_old(model, controls, seen):
    """Off in two steps of the five: the look before them is not one step old but three."""
    pause = ((0.0, 1.0), (0.01, 1.0), (0.15, 0.0), (0.5, 0.0), (0.6, 1.0))
    run(controlled(model, controls, "DiffBIR", reuse=2, over_steps=pause), steps=5)
    assert len(seen) == 2


def test_memory_that_runs_out_leaves_no_trace(model, controls, seen, monkeypatch):
    """What was seen of all frames is let go before the next try, which looks anew in shorter windows."""
    many = len(MANY)
    patched = with_control(model, controls["DiffBIR"], ControlMaterial(hint=HINTS), ControlSettings(reuse=2))
    less = WindowSettings(length=8, overlap=2)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 4)

    def clip(windows, sigmas):
        regions = with_regions(patched, windows, None)
        return sample(regions, conditioning(), conditioning(seed=3), MANY, MANY, sigmas=sigmas)

    # It runs out in its first step, so it is the sampling that had shorter windows from the start.
    wanted = clip(less, sigmas)
    seen.clear()
    real, alive = comfy.model_base.BaseModel.apply_model, []

    def out_of_memory(*_):
        # The look is over when the UNet itself runs out.
        alive.append(living(seen))
        raise model_management.OOM_EXCEPTION("short of memory")

    def short(self, x, *args, **kwargs):
        if len(x) < 2 * many:
            alive.append(living(seen))
            return real(self, x, *args, **kwargs)
        hook = self.diffusion_model.output_blocks[0][0].register_forward_pre_hook(out_of_memory)
        try:
            return real(self, x, *args, **kwargs)
        finally:
            hook.remove()

    monkeypatch.setattr(comfy.model_base.BaseModel, "apply_model", short)
    assert torch.equal(clip(None, sigmas), wanted)
    assert alive[:2] == [1, 0]
    assert len(seen) == 1 + 2 * 2
