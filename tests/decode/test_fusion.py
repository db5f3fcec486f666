"""Fusion of the decoded picture with the pre-restored one."""

import pytest
import torch

from vldm_core.decode.fusion import FusionSettings, fuse
from vldm_core.errors import SettingsError
from vldm_core.video.blending import gaussian, takeover


@pytest.fixture
def pair():
    return torch.rand(3, 3, 40, 56), torch.rand(3, 3, 40, 56)


@pytest.fixture
def mask():
    mask = torch.zeros(3, 40, 56)
    mask[:, 10:22, 20:36] = 1
    return mask


def test_off_is_the_decoded_picture(pair):
    assert fuse(pair[0], pair[1], FusionSettings(mode="off")) is pair[0]


class TestWeight:
    def test_ends_are_exact(self, pair):
        decoded, restored = pair
        assert torch.equal(fuse(decoded, restored, FusionSettings(mode="weight", weight=1.0)), decoded)
        assert torch.equal(fuse(decoded, restored, FusionSettings(mode="weight", weight=0.0)), restored)

    def test_between(self, pair):
        decoded, restored = pair
        found = fuse(decoded, restored, FusionSettings(mode="weight", weight=0.25))
        assert torch.allclose(found, 0.25 * decoded + 0.75 * restored, atol=1e-6)


class TestFrequency:
    def test_identity_and_ends(self, pair):
        decoded, restored = pair
        assert torch.allclose(fuse(decoded, decoded, FusionSettings()), decoded, atol=1e-6)
        assert torch.equal(fuse(decoded, restored, FusionSettings(weight=0.0)), restored)

    def test_tone_of_the_film_and_detail_of_the_prior(self):
        generator = torch.Generator().manual_seed(2)
        film = torch.linspace(0.3, 0.6, 64).expand(1, 3, 64, 64)
        detail = 0.05 * torch.randn(1, 3, 64, 64, generator=generator)
        decoded = film.flip(-1) * 0.9 + detail
        found = fuse(decoded, film.contiguous(), FusionSettings(cutoff=4.0))
        tone = (gaussian(found[0], 8.0) - gaussian(film[0], 8.0)).abs()
        assert tone[:, 16:-16, 16:-16].max() < 0.01
        sharp, wanted = found[0] - gaussian(found[0], 2.0), detail[0] - gaussian(detail[0], 2.0)
        agreement = torch.corrcoef(torch.stack([sharp.flatten(), wanted.flatten()]))[0, 1]
        assert agreement > 0.98
        louder = fuse(decoded, film.contiguous(), FusionSettings(cutoff=4.0, detail=2.0))
        assert abs(float((louder - film).std() / (found - film).std()) - 2) < 0.1


class TestMask:
    def test_bit_equal_outside_and_decoded_inside(self, pair, mask):
        decoded, restored = pair
        found = fuse(decoded, restored, FusionSettings(mode="mask", grow=3, feather=2.0), mask=mask)
        share = torch.stack([takeover(m, 3, 2.0) for m in mask])[:, None].expand_as(found)
        assert torch.equal(found[share == 0], restored[share == 0])
        assert torch.equal(found[share == 1], decoded[share == 1])
        fading = (share > 0) & (share < 1)
        assert fading.any() and not torch.equal(found[fading], decoded[fading])

    def test_without_growth_nothing_outside_the_mask_changes(self, pair, mask):
        decoded, restored = pair
        for feather in (0.0, 3.0):
            found = fuse(decoded, restored, FusionSettings(mode="mask", grow=0, feather=feather), mask=mask)
            outside = (mask == 0)[:, None].expand_as(found)
            assert torch.equal(found[outside], restored[outside])
            assert not torch.equal(found, restored)

    def test_growth_covers_the_defect_fully(self, mask):
        # Defaults: the mask itself lies beyond the fade, so none of the damage shines through.
        share = takeover(mask[0], FusionSettings().grow, FusionSettings().feather)
        assert (share[mask[0] > 0.5] == 1).all()

    def test_extreme_masks(self, pair):
        decoded, restored = pair
        settings = FusionSettings(mode="mask")
        assert torch.equal(fuse(decoded, restored, settings, mask=torch.zeros(3, 40, 56)), restored)
        assert torch.equal(fuse(decoded, restored, settings, mask=torch.ones(3, 40, 56)), decoded)
        assert torch.equal(
            fuse(decoded, restored, FusionSettings(mode="mask", weight=0.0), mask=torch.ones(3, 40, 56)), restored
        )


class TestRefusals:
    @pytest.mark.parametrize(
        "wrong", [{"mode": "sum"}, {"weight": 2}, {"cutoff": 0}, {"detail": -1}, {"grow": -1}, {"feather": 99}]
    )
    def test_settings(self, wrong):
        with pytest.raises(SettingsError, match=f"fusion {next(iter(wrong))}"):
            FusionSettings(**wrong)

    def test_shapes(self, pair):
        with pytest.raises(SettingsError, match="must be alike"):
            fuse(pair[0][1:], pair[1])
        with pytest.raises(SettingsError, match="mask is missing"):
            fuse(pair[0], pair[1], FusionSettings(mode="mask"))
        with pytest.raises(SettingsError, match=r"mask is \(3, 4, 4\)"):
            fuse(pair[0], pair[1], FusionSettings(mode="mask"), mask=torch.zeros(3, 4, 4))
