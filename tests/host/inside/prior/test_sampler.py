"""Restoration Sampler: every knob does what it says."""

import pytest
import torch
from inside.prior.restoring import (
    DEFAULTS,
    FRAMES,
    HEIGHT,
    IMAGES,
    LATENT,
    NEGATIVE,
    POSITIVE,
    WIDTH,
    restore,
    settings,
    stock_sample,
)
from inside.sampling import distance
from pack.nodes.prior.restoration_sampler import RestorationSampler
from pack.nodes.prior.video_noise import VideoNoise
from pack.vldm_core.errors import SettingsError
from pack.vldm_core.video.shots import Shot

FILM = LATENT["samples"]


@pytest.fixture(scope="module")
def found(model):
    """With the defaults."""
    return restore(model)


def test_the_same_seed_gives_the_same_result_and_another_seed_another(model, found):
    assert found.shape == FILM.shape and torch.isfinite(found).all()
    assert torch.equal(found, restore(model))
    assert distance(found, restore(model, seed=1)) > 1e-3


def test_what_else_is_in_the_latent_is_kept(model):
    values = {**DEFAULTS, "steps": 1}
    assert RestorationSampler.execute(model, POSITIVE, NEGATIVE, LATENT, **values).result[0]["kept"] == "yes"


def test_guidance_brings_the_result_closer_to_the_film(model):
    free, held = restore(model, guidance=0.0), restore(model, guidance=2.0)
    assert distance(held, FILM) < 0.7 * distance(free, FILM)


def test_without_damage_and_at_full_strength_it_is_the_film(model):
    mask = torch.zeros(FRAMES, HEIGHT, WIDTH)
    kept = restore(model, images=IMAGES, mask=mask, settings=settings(keep_until=1.0))
    assert distance(kept, FILM) < 1e-5
    mask[:, :, :40] = 1
    partly = restore(model, images=IMAGES, mask=mask, settings=settings(keep_until=1.0, propagation=0.0))
    assert distance(partly[..., 6:], FILM[..., 6:]) < 1e-5
    assert distance(partly[..., :5], FILM[..., :5]) > 1e-2


@pytest.mark.parametrize(
    "changes",
    [
        {"sampler_name": "dpmpp_2m_sde", "scheduler": "karras"},
        {"sampler_name": "spaced_ddpm", "scheduler": "spaced_ddpm"},
        {"sampler_name": "edm_dpm++_3m_sde", "scheduler": "diffbir_edm"},
        {"sampler_name": "edm_dpm++_2m", "scheduler": "karras"},
        {"sampler_name": "uni_pc"},
        {"denoise": 1.0, "settings": {"start": "noise"}},
        {"denoise": 1.0, "settings": {"start": "added_noise"}},
        {"tile": 64},
        {"settings": {"freeinit_rounds": 2}},
        {"noise": "freenoise"},
        {"noise": "independent"},
        {"settings": {"cfg_rescale": 0.7, "cfg_schedule": "diffbir"}},
        {"cfg": 1.0},
        {"images": IMAGES},
    ],
    ids=lambda changes: ", ".join(changes),
)
def test_every_knob_acts(model, found, changes):
    """Every family of samplers and those of the package; every start; FreeInit; tiles; rescale."""
    if "settings" in changes:
        changes = {**changes, "settings": settings(**changes["settings"])}
    other = restore(model, **changes)
    assert torch.isfinite(other).all() and distance(other, found) > 1e-4


def test_a_clip_no_longer_than_the_window_is_one_window(model, found):
    assert torch.equal(restore(model, window=0), found)


def test_with_everything_off_it_is_the_hosts_own_sampler_with_our_noise(model):
    plain = restore(model, guidance=0.0, noise="independent", window=0)
    _, patched = VideoNoise.execute("independent", 0, 0.5, 16, 4, model=model).result
    assert distance(plain, stock_sample(patched)) < 1e-5


def test_a_shot_does_not_change_with_another(model):
    shots = (Shot(0, 4), Shot(4, FRAMES))
    changed = {"samples": FILM.clone()}
    changed["samples"][4:] += 1
    one, two = (restore(model, latent, shots=shots, images=IMAGES) for latent in (LATENT, changed))
    assert torch.equal(one[:4], two[:4]) and not torch.equal(one[4:], two[4:])


@pytest.mark.parametrize(
    ("latent", "changes", "said"),
    [
        ({"samples": torch.zeros(1, 4, 3, 8, 8)}, {}, "one item per frame"),
        (LATENT, {"shots": (Shot(0, 3),)}, "shots"),
    ],
)
def test_what_does_not_fit_is_refused(model, latent, changes, said):
    with pytest.raises(SettingsError, match=said):
        restore(model, latent, **changes)
