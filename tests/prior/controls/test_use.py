"""The pipeline runs restoration controls: on the UNet for one call, per frame, inside their shot, weaker in damage."""

from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from vldm_core.errors import SettingsError
from vldm_core.prior.controls.control import ControlPlace, ControlRequest, ControlSystem
from vldm_core.prior.controls.coser.files import COSER
from vldm_core.prior.controls.coser.system import CoserControl
from vldm_core.prior.controls.settings import ControlSettings
from vldm_core.prior.controls.use import ControlUse, cover
from vldm_core.prior.unet import UNetView
from vldm_core.sampling.guidance import GuidanceSettings
from vldm_core.sampling.noise.clip_noise import VideoNoiseSettings
from vldm_core.sampling.regions.tiles import TileSettings
from vldm_core.sampling.regions.windows import WindowSettings
from vldm_core.sampling.restoration import RestorationSettings
from vldm_core.video.geometry import FitSettings
from vldm_core.video.shots import Shot

from ..test_pipeline import PLAIN, SMALL, film, refused
from ..tiny_models import CONTEXT, tiny_diffbir, tiny_unet
from ..tiny_pipeline import tiny_pipeline
from .coser.tiny_coser import HEADS, control_file, encoder_file, tiny_clip
from .tiny_systems import BUILDERS, tiny_sd2

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CALL: dict[str, Any] = {"settings": PLAIN, "output": "latents", **SMALL}


class Pixels(ControlSystem):
    """Looks at the picture itself, at tokens and at a reference, and remembers what it saw."""

    name: ClassVar[str] = "Pixels"
    hint = "pixels"
    reads_text = False
    scales_itself = False
    takes_tokens = "required"
    takes_reference = "optional"

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[ControlRequest] = []

    def features(self, request: ControlRequest) -> dict[str, torch.Tensor]:
        self.seen.append(request)
        return {"grey": nn.functional.avg_pool2d(request.hint.mean(dim=1, keepdim=True), 8)}

    def places(self, view: UNetView) -> list[ControlPlace]:
        def change(x, features):
            return (x.unflatten(0, (-1, len(features["grey"]))) + features["grey"]).flatten(0, 1)

        return [ControlPlace(module=view["down.0.0.res"].module, at="output", change=change)]


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


@pytest.fixture(scope="module")
def diffbir():
    return tiny_diffbir()


def latents(pipeline, frames, *uses: ControlUse, **more) -> torch.Tensor:
    return pipeline(frames, controls=uses, **{**CALL, **more}).latents


def test_a_control_acts_for_one_call_and_strength_0_is_none(pipeline, diffbir) -> None:
    plain = latents(pipeline, film(3))
    for off in (
        ControlSettings(strength=0),
        ControlSettings(over_frames=((0, 0),)),
        ControlSettings(over_steps=((0, 0),)),
    ):
        assert torch.equal(latents(pipeline, film(3), ControlUse(system=diffbir, settings=off)), plain)
    controlled = latents(pipeline, film(3), ControlUse(system=diffbir))
    assert (controlled - plain).abs().max() > 1e-2
    assert torch.equal(latents(pipeline, film(3)), plain)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in pipeline.unet.modules())


def test_nothing_stays_after_an_error(pipeline, diffbir) -> None:
    def stop(phase: str, *_: object) -> None:
        if phase == "sample":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        latents(pipeline, film(2), ControlUse(system=diffbir), progress=stop)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in pipeline.unet.modules())


def test_without_hints_it_looks_at_the_frames(pipeline, diffbir) -> None:
    frames = film(3, height=40, width=56)
    fitting = {"fitting": FitSettings(short_side=48, multiple=32)}
    told: list[str] = []
    own = latents(pipeline, frames, ControlUse(system=diffbir), **fitting)
    given = latents(
        pipeline,
        frames,
        ControlUse(system=diffbir, hint=frames),
        progress=lambda phase, *_: told.append(phase),
        **fitting,
    )
    assert torch.equal(own, given), "hints are fitted and encoded as the frames are"
    assert told.count("encode hints") == 3
    other = latents(pipeline, frames, ControlUse(system=diffbir, hint=film(1, 40, 56, seed=4)), **fitting)
    assert (own - other).abs().max() > 1e-2


def test_a_hint_changes_its_own_frame_alone(pipeline, diffbir) -> None:
    hints = film(4, seed=1)
    plain = latents(pipeline, film(4), ControlUse(system=diffbir, hint=hints))
    changed = hints.clone()
    changed[2] = 1 - changed[2]
    found = latents(pipeline, film(4), ControlUse(system=diffbir, hint=changed))
    assert torch.allclose(plain[[0, 1, 3]], found[[0, 1, 3]], atol=1e-5)
    assert (plain[2] - found[2]).abs().max() > 1e-2


def test_a_change_in_one_shot_leaves_the_other_bit_equal(pipeline, diffbir) -> None:
    shots = (Shot(0, 5), Shot(5, 9))
    settings = RestorationSettings(
        windows=WindowSettings(length=4, overlap=2),
        noise=VideoNoiseSettings(mode="warped"),
    )
    frames, hints = film(9), film(9, seed=2)
    other_frames, other_hints = frames.clone(), hints.clone()
    other_frames[5:], other_hints[5:] = 1 - frames[5:], 1 - hints[5:]
    masks = torch.zeros(9, 48, 64)
    masks[:, 8:24, 8:24] = 1
    other_masks = masks.clone()
    other_masks[5:] = 0
    runs = [
        latents(
            pipeline,
            clip,
            ControlUse(system=diffbir, hint=hint, settings=ControlSettings(reuse=2)),
            ControlUse(system=diffbir, settings=ControlSettings(strength=0.5)),
            settings=settings,
            shots=shots,
            masks=damage,
        )
        for clip, hint, damage in ((frames, hints, masks), (other_frames, other_hints, other_masks))
    ]
    assert torch.equal(runs[0][:5], runs[1][:5])
    assert (runs[0][5:] - runs[1][5:]).abs().max() > 1e-2


def test_damage_weakens_control_where_it_lies(pipeline, diffbir) -> None:
    frames, masks = film(2), torch.zeros(2, 48, 64)
    masks[1] = 1
    plain = latents(pipeline, frames)
    full = latents(pipeline, frames, ControlUse(system=diffbir))
    found = {
        factor: latents(
            pipeline, frames, ControlUse(system=diffbir, settings=ControlSettings(in_damage=factor)), masks=masks
        )
        for factor in (0.0, 0.5, 1.0)
    }
    assert torch.allclose(found[0.0][0], full[0], atol=1e-5) and torch.allclose(found[0.0][1], plain[1], atol=1e-5)
    assert torch.equal(found[1.0], full)
    change = [(found[factor][1] - plain[1]).square().mean() for factor in (0.5, 1.0)]
    assert 0 < change[0] < change[1]


def test_film_frames_choose_the_factor(pipeline, diffbir) -> None:
    settings = ControlSettings(over_frames=((100, 1), (101, 0)))
    frames = film(3)
    plain, full = (
        latents(pipeline, frames, first_frame=100),
        latents(pipeline, frames, ControlUse(system=diffbir), first_frame=100),
    )
    found = latents(pipeline, frames, ControlUse(system=diffbir, settings=settings), first_frame=100)
    assert torch.allclose(found[0], full[0], atol=1e-5) and torch.allclose(found[1:], plain[1:], atol=1e-5)
    assert torch.equal(
        latents(pipeline, frames, ControlUse(system=diffbir, settings=settings)),
        latents(pipeline, frames, ControlUse(system=diffbir)),
    ), "the film begins where the factor is still 1"


def test_controls_mix_in_any_order(pipeline, diffbir) -> None:
    uses = [
        ControlUse(system=diffbir, settings=ControlSettings(strength=0.7, over_steps=((0, 1), (1, 0.2)))),
        ControlUse(system=tiny_diffbir(seed=8), hint=film(1, seed=3), settings=ControlSettings(in_damage=0.2)),
    ]
    masks = torch.zeros(3, 48, 64)
    masks[:, :24] = 1
    found = latents(pipeline, film(3), *uses, masks=masks)
    turned = latents(pipeline, film(3), *reversed(uses), masks=masks)
    assert torch.allclose(found, turned, atol=1e-5)
    alone = [latents(pipeline, film(3), use, masks=masks) for use in uses]
    assert all((found - one).abs().max() > 1e-2 for one in alone)


def test_when_memory_runs_out_smaller_windows_are_as_right(pipeline, diffbir) -> None:
    use = ControlUse(system=diffbir, hint=film(12, seed=5), settings=ControlSettings(reuse=2))
    calls = {"num_inference_steps": 6, "strength": 1.0}
    wanted = latents(
        pipeline,
        film(12),
        use,
        **calls,
        settings=RestorationSettings(**{**vars(PLAIN), "windows": WindowSettings(length=8)}),
    )
    begun = []

    def short_of_memory(_, arguments) -> None:
        begun.append(len(arguments[0]))
        if len(arguments[0]) > 16 and len(begun) > 2:
            raise torch.OutOfMemoryError("no memory left")

    hook = pipeline.unet.register_forward_pre_hook(short_of_memory)
    try:
        found = latents(pipeline, film(12), use, **calls)
    finally:
        hook.remove()
    assert begun[:4] == [24, 24, 24, 16]
    assert torch.allclose(found, wanted, atol=1e-5)


def test_tokens_and_references_go_with_their_frames(pipeline) -> None:
    system = Pixels()
    tokens = torch.arange(6.0).view(6, 1, 1).expand(6, 2, 5)
    windows = RestorationSettings(**{**vars(PLAIN), "windows": WindowSettings(length=2, overlap=0)})
    masks = torch.zeros(6, 48, 64)
    masks[[0, 1, 3, 5], :8] = 1
    shots = (Shot(0, 3), Shot(3, 6))
    call = {**CALL, "settings": windows, "num_inference_steps": 1, "strength": 1.0, "shots": shots, "masks": masks}
    told: list[str] = []
    frames = film(6)
    pipeline(frames, controls=[ControlUse(system=system, tokens=tokens)], **call)
    encoded = pipeline(frames, **{**CALL, "strength": 0.0}).latents
    seen = [(request.tokens[:, 0, 0].tolist(), request) for request in system.seen]
    assert [numbers for numbers, _ in seen] == [[0, 1], [1, 2], [3, 4], [4, 5]]
    for numbers, request in seen:
        assert torch.equal(request.hint, frames[[int(number) for number in numbers]])
        # The least damaged frame of the shot.
        keys = [2 if number < 3 else 4 for number in numbers]
        assert torch.allclose(request.reference, encoded[keys], atol=1e-5)

    system.seen.clear()
    photograph = film(1, height=96, width=200, seed=9)
    use = ControlUse(system=system, tokens=tokens[:1], references=photograph)
    pipeline(frames, controls=[use], **call, progress=lambda phase, *_: told.append(phase))
    with torch.no_grad():
        wanted = pipeline.vae.encode(cover(photograph, 48, 64) * 2 - 1).latent_dist.mode()
    wanted = wanted * pipeline.vae.config.scaling_factor
    assert all(torch.allclose(request.reference, wanted.expand(2, -1, -1, -1), atol=1e-5) for request in system.seen)
    assert told.count("encode references") == 1

    system.seen.clear()
    pipeline(frames, controls=[ControlUse(system=system, tokens=tokens, key_frame=False)], **call)
    assert all(request.reference is None for request in system.seen)


def test_coser_makes_its_tokens_of_the_least_damaged_frame_of_a_shot() -> None:
    pipeline = tiny_pipeline()
    pipeline.register_modules(unet=tiny_sd2())
    system = COSER.build({"control": control_file(), "cognitive encoder": encoder_file()}, HEADS)
    assert isinstance(system, CoserControl) and system.cognition is not None
    clip, frames, told = tiny_clip(), film(5), []
    masks = torch.zeros(5, 48, 64)
    masks[[0, 2, 4], :8] = 1
    call = {"shots": (Shot(0, 2), Shot(2, 5)), "masks": masks}
    with torch.no_grad():
        tokens = system.cognition.look(frames[[1, 3]], clip)[[0, 0, 1, 1, 1]]
    given = latents(pipeline, frames, ControlUse(system=system, tokens=tokens), **call)
    use = ControlUse(system=system, clip=clip)
    made = latents(pipeline, frames, use, progress=lambda phase, *_: told.append(phase), **call)
    assert torch.allclose(made, given, atol=1e-5) and told.count("tokens") == 2
    assert (made - latents(pipeline, frames, ControlUse(system=system), **call)).abs().max() > 1e-3
    refused(pipeline, "leave one out", controls=[ControlUse(system=system, clip=clip, tokens=tokens[:1])])
    refused(pipeline, "no cognitive encoder", controls=[ControlUse(system=BUILDERS["CoSeR"](), clip=clip)])
    refused(pipeline, "SeeSR does not look through CLIP", controls=[ControlUse(system=BUILDERS["SeeSR"](), clip=clip)])


def test_a_cover_keeps_the_aspect_ratio_and_the_middle() -> None:
    picture = torch.zeros(1, 3, 40, 200)
    picture[..., 80:120] = 1
    made = cover(picture, 20, 20)
    assert made.shape == (1, 3, 20, 20) and made.mean() > 0.99
    assert cover(picture, 40, 200) is picture


def test_what_does_not_fit_is_refused_before_any_model_runs(pipeline, diffbir) -> None:
    def said(match: str, **how: Any) -> None:
        refused(pipeline, match, controls=[ControlUse(**{"system": diffbir, **how})])

    said("the hint of DiffBIR", hint=film(4))
    said("the hint of DiffBIR", hint=film(6, height=40))
    said("DiffBIR does not look at tokens", tokens=torch.zeros(1, 2, 3))
    said("DiffBIR does not look at a reference", references=film(1))
    said("Pixels needs tokens", system=Pixels())
    said("the tokens of Pixels", system=Pixels(), tokens=torch.zeros(2, 2, 3))
    said("the references of Pixels", system=Pixels(), tokens=torch.zeros(1, 2, 3), references=film(2))
    said("the references of Pixels", system=Pixels(), tokens=torch.zeros(1, 2, 3), references=film(1)[:, 0])
    wide = tiny_pipeline()
    wide.register_modules(unet=tiny_unet())
    with pytest.raises(SettingsError, match="6 residuals, and the UNet takes 12 skips"):
        latents(wide, film(2), ControlUse(system=diffbir))


def test_a_control_of_a_wider_text_is_refused(pipeline, diffbir, monkeypatch) -> None:
    monkeypatch.setattr(UNetView, "context_dim", property(lambda self: 2 * CONTEXT))
    with pytest.raises(SettingsError, match="made for one with text 64 wide"):
        latents(pipeline, film(2), ControlUse(system=diffbir))


@pytest.fixture(scope="module")
def windows_and_tiles():
    """A pipeline, what it is called with, a clip of two shots, and the latents without a control."""
    pipeline = tiny_pipeline()
    pipeline.register_modules(unet=tiny_sd2())
    masks = torch.zeros(5, 64, 96)
    masks[:, 20:30, 40:60] = 1
    settings = RestorationSettings(
        windows=WindowSettings(length=3, overlap=1),
        tiles=TileSettings(size=8, overlap=4),
        guidance=GuidanceSettings(weighting="edges"),
    )
    call = {**CALL, "settings": settings, "shots": (Shot(0, 2), Shot(2, 5)), "masks": masks}
    frames = film(5, height=64, width=96)
    return pipeline, call, frames, pipeline(frames, **call).latents


@pytest.mark.parametrize("name", list(BUILDERS))
def test_every_system_runs_in_windows_and_tiles_with_guidance_and_masks(name, windows_and_tiles) -> None:
    pipeline, call, frames, plain = windows_and_tiles
    system = BUILDERS[name]()
    found = pipeline(frames, controls=[ControlUse(system=system)], **call).latents
    assert found.isfinite().all() and (found - plain).abs().max() > 1e-3
    changed = frames.clone()
    changed[2:] = 1 - changed[2:]
    other = pipeline(changed, controls=[ControlUse(system=system)], **call).latents
    assert torch.equal(other[:2], found[:2]) and (other[2:] - found[2:]).abs().max() > 1e-3


def test_strength_0_is_none_in_windows_and_tiles_too(windows_and_tiles) -> None:
    pipeline, call, frames, plain = windows_and_tiles
    off = ControlUse(system=BUILDERS["SeeSR"](), settings=ControlSettings(strength=0))
    assert torch.equal(pipeline(frames, controls=[off], **call).latents, plain)


def test_a_system_says_once_for_all_clips_what_it_lacks(caplog) -> None:
    pipeline, system = tiny_pipeline(), BUILDERS["SeeSR"]()
    pipeline.register_modules(unet=tiny_sd2())
    for _ in range(2):
        latents(pipeline, film(1), ControlUse(system=system), num_inference_steps=2)
    assert caplog.text.count("SeeSR runs without a tagger's embedding") == 1


@pytest.mark.parametrize("name", ["DiffBIR", "SeeSR", "StableSR"])
def test_half_precision_runs(name) -> None:
    pipeline, system = tiny_pipeline(), BUILDERS[name]()
    pipeline.register_modules(unet=tiny_sd2())
    masks = torch.zeros(2, 48, 64)
    masks[:, 20:30] = 1
    use, call = ControlUse(system=system), {"masks": masks, "num_inference_steps": 2}
    wanted = latents(pipeline, film(2), use, **call)
    found = latents(pipeline.to(torch.bfloat16), film(2), use, **call)
    assert {parameter.dtype for parameter in system.parameters()} == {torch.bfloat16}
    assert (found - wanted).abs().mean() < 0.1 * wanted.std()
