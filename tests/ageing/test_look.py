"""What is the same in every frame: stock, vignette, aperture, softness; and grain in density."""

import math

import pytest
import torch

from vldm_core.ageing import (
    ApertureModel,
    EmulsionModel,
    GrainModel,
    SimulationSettings,
    Simulator,
    SoftnessModel,
    VignetteModel,
    simulate,
)
from vldm_core.errors import SettingsError


def aged(image: torch.Tensor, **defect) -> torch.Tensor:
    """Age one frame (3, H, W) with one defect."""
    settings = SimulationSettings(**defect).only(*defect)
    return Simulator(settings, 3, *image.shape[1:]).frame(0, image).frame


def flat(level: float | tuple[float, float, float], height: int = 120, width: int = 160) -> torch.Tensor:
    return torch.as_tensor(level, dtype=torch.float32).expand(3)[:, None, None].expand(3, height, width).contiguous()


def test_orthochromatic_stock_is_blind_to_red_and_panchromatic_is_not():
    red, blue = flat((0.8, 0.1, 0.1)), flat((0.1, 0.1, 0.8))
    ortho, pan = (EmulsionModel(response=response) for response in ("orthochromatic", "panchromatic"))
    assert aged(red, emulsion=ortho).mean() < 0.3 < 0.5 < aged(blue, emulsion=ortho).mean()
    assert aged(red, emulsion=pan).mean() > 0.4
    frame = aged(torch.rand((3, 64, 64), generator=torch.Generator().manual_seed(1)), emulsion=ortho)
    assert torch.equal(frame[0], frame[1]) and torch.equal(frame[0], frame[2])
    assert torch.allclose(aged(flat(0.5), emulsion=pan), flat(0.5), atol=1e-5)


def test_contrast_steepens_the_tones_and_halation_glows_around_lights():
    dark, light = (aged(flat(level), emulsion=EmulsionModel(contrast=1)).mean() for level in (0.25, 0.75))
    assert dark < 0.2 and light > 0.8
    lamp = flat(0.1)
    lamp[:, 55:65, 75:85] = 1
    glow = aged(lamp, emulsion=EmulsionModel(halation=0.3, radius=20))
    assert float(glow[0, 60, 90]) > 0.11
    assert float(glow[0, 5, 5]) == pytest.approx(0.1, abs=1e-4)


def test_vignette_takes_its_strength_from_the_darkest_corner_and_nothing_from_the_centre():
    frame = aged(flat(0.8), vignette=VignetteModel(strength=(0.4, 0.4)))[0]
    corners = torch.stack([frame[0, 0], frame[0, -1], frame[-1, 0], frame[-1, -1]])
    assert float(corners.min()) == pytest.approx(0.8 * 0.6, abs=1e-3)
    assert float(frame.max()) == pytest.approx(0.8, abs=1e-3)


def test_aperture_has_black_borders_and_round_corners():
    model = ApertureModel(border=(0.05, 0.05), corner=(0.2, 0.2), roughness=0, level=0.02)
    frame = aged(flat(0.8, 240, 320), aperture=model)[0]
    assert float(frame[:8].max()) == pytest.approx(0.02, abs=0.02) and float(frame[120, 160]) == pytest.approx(0.8)
    assert float(frame[120, 20]) == pytest.approx(0.8, abs=1e-3)
    # The corner's circle, of 48 px about (60, 60): inside it is open, outside dark.
    assert float(frame[30, 30]) == pytest.approx(0.8, abs=0.01) and float(frame[20, 20]) < 0.05


def test_softness_takes_detail_and_keeps_brightness():
    noise = torch.rand((3, 120, 160), generator=torch.Generator().manual_seed(1)) * 0.6 + 0.2
    for model in (SoftnessModel(blur=(3, 3), scale=(1, 1)), SoftnessModel(blur=(0, 0), scale=(0.5, 0.5))):
        soft = aged(noise, softness=model)
        assert soft.std() < 0.75 * noise.std()
        assert float(soft.mean()) == pytest.approx(float(noise.mean()), abs=0.003)
    assert torch.equal(aged(noise, softness=SoftnessModel(blur=(0, 0), scale=(1, 1))), noise)


def test_lens_softens_the_scene_and_not_the_grain():
    noise = torch.rand((3, 240, 320), generator=torch.Generator().manual_seed(1))
    grain, soft = GrainModel(sigma=8), SoftnessModel(blur=(3, 3), scale=(1, 1))
    assert aged(noise, lens=soft).std() < 0.3 * noise.std()
    by_lens, by_scan = aged(flat(0.5), lens=soft, grain=grain), aged(flat(0.5), softness=soft, grain=grain)
    assert float(by_lens.std() * 255) == pytest.approx(8, rel=0.1) and by_scan.std() < 0.8 * by_lens.std()


def test_grain_in_density_follows_selwyn():
    """The standard deviation of the density is proportional to the square root of the density."""
    settings = SimulationSettings(grain=GrainModel(sigma=5, correlation=1.2, density=True)).only("grain")

    def deviation(level: float) -> float:
        frames = simulate(flat(level, 240, 320)[None], settings, seed=1).frames
        return float((-frames.log10()).std())

    for level in (0.5, 0.2):
        expected = deviation(0.7) * math.sqrt(math.log10(level) / math.log10(0.7))
        assert deviation(level) == pytest.approx(expected, rel=0.03)
    mid = simulate(flat(0.5, 240, 320)[None], settings, seed=1).frames
    assert float(mid.std() * 255) == pytest.approx(5, rel=0.05)
    for level in (0.05, 0.97):
        assert simulate(flat(level, 240, 320)[None], settings, seed=1).frames.std() < 0.7 * mid.std()


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (EmulsionModel, {"response": "sepia"}),
    ],
)
def test_values_out_of_range_say_what_to_do(model, values):
    with pytest.raises(SettingsError, match=next(iter(values))) as caught:
        model(**values)
    assert "choose" in str(caught.value) or "give" in str(caught.value)
