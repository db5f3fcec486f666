"""A pre-restorer's own latents in the place of the VAE's: sampling begins with them, and controls look at them."""

from dataclasses import replace

import pytest
import torch

from vldm_core.errors import SettingsError
from vldm_core.prerestore.clip import OwnLatents, pre_restore_shots
from vldm_core.prerestore.network import PreRestorer
from vldm_core.prerestore.run import PreRestoreSettings, pre_restore
from vldm_core.prior.controls.use import ControlUse
from vldm_core.video.shots import Shot

from ..prerestore.test_network import TINY, trained
from .test_pipeline import PLAIN, SMALL, film
from .tiny_models import tiny_diffbir
from .tiny_pipeline import tiny_pipeline

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHOTS = (Shot(0, 4), Shot(4, 6))
HOW = PreRestoreSettings(keep_grain=0.0)


@pytest.fixture(scope="module")
def pipeline():
    return tiny_pipeline()


def test_sampling_begins_with_them_and_the_film_is_pre_restored(pipeline) -> None:
    frames, network = film(), trained()
    masks = torch.zeros(6, 48, 64)
    masks[1, 8:20, 8:20] = 1
    still = {"settings": PLAIN, "shots": SHOTS, "masks": masks, **SMALL, "strength": 0.0}
    found = pipeline(frames, own_latents=OwnLatents(network=network), **still)
    parts = [pre_restore(frames[s.first : s.last], network, HOW, masks=masks[s.first : s.last]) for s in SHOTS]
    wanted = pipeline.vae.config.scaling_factor * torch.cat([latents for _, latents in parts])
    torch.testing.assert_close(found.latents, wanted)
    seen, _ = pre_restore_shots(frames, network, HOW, masks=masks, shots=SHOTS)
    assert torch.equal(seen, torch.cat([made for made, _ in parts]))
    assert not torch.allclose(found.latents, pipeline(frames, **still).latents, atol=1e-2)


def test_controls_look_at_them(pipeline, monkeypatch) -> None:
    frames, network, system, hints = film(), trained(), tiny_diffbir(), []
    plain = system.residuals

    def residuals(x, timesteps, context, hint, **more):
        hints.append(hint)
        return plain(x, timesteps, context, hint, **more)

    monkeypatch.setattr(system, "residuals", residuals)
    arguments = {"settings": replace(PLAIN), **SMALL, "output": "latents", "controls": [ControlUse(system=system)]}
    pipeline(frames, own_latents=OwnLatents(network=network), **arguments)
    wanted = pipeline.vae.config.scaling_factor * pre_restore(frames, network, HOW)[1]
    assert hints
    torch.testing.assert_close(hints[0][:6], wanted)


def test_without_a_head_there_are_none() -> None:
    with pytest.raises(SettingsError, match="has no latents of its own"):
        OwnLatents(network=PreRestorer(replace(TINY, latent=False)))
