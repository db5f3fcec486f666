"""Shapes from a folder of pictures instead of drawn ones."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vldm_core.ageing import (
    BlotchModel,
    DirtModel,
    HairModel,
    SimulationSettings,
    StainModel,
    TextureFolder,
    simulate,
)
from vldm_core.errors import SettingsError

MODEL = SimulationSettings(
    dirt=DirtModel(rate=40),
    hair=HairModel(transient_rate=2, gate_count=1),
    blotches=BlotchModel(rate=1),
    stains=StainModel(rate=0.2),
).only("dirt", "hair", "blotches", "stains")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two shapes per kind in RGBA, on a large empty canvas as in the known sets."""
    for number, kind in enumerate(("dirt", "hair", "stain")):
        (tmp_path / kind).mkdir()
        for name in ("a", "b"):
            picture = np.full((100, 100, 4), 255, np.uint8)
            picture[..., 3] = 0
            picture[40:60, 30 : 50 + 10 * number, 3] = 200 if name == "a" else 255
            cv2.imwrite(str(tmp_path / kind / f"{name}.png"), picture)
    return tmp_path


def test_shapes_replace_the_drawn_ones_with_the_same_counts(folder):
    clip = torch.full((6, 3, 120, 160), 0.5)
    drawn, taken = (simulate(clip, replace(MODEL, textures=path), seed=4) for path in (None, folder))
    for kind in ("dirt", "hair", "blotches", "stains"):
        assert not torch.equal(drawn.masks[kind], taken.masks[kind])
        assert taken.masks[kind].max() > 0.5
    again = simulate(clip, replace(MODEL, textures=folder), seed=4)
    assert torch.equal(again.frames, taken.frames)


def test_a_shape_is_cropped_scaled_turned_and_placed(folder):
    textures = TextureFolder(folder)
    rows, columns, coverage = textures.stamp(
        "dirt", 255, centre=(50.0, 40.0), size=22, angle=0.0, height=100, width=100
    )
    whole = np.zeros((100, 100), np.float32)
    whole[rows, columns] = coverage
    assert whole.max() == pytest.approx(1, abs=0.01)
    ys, xs = np.nonzero(whole > 0.5)
    assert ys.mean() == pytest.approx(40, abs=0.6) and xs.mean() == pytest.approx(50, abs=0.6)
    assert np.ptp(ys) + 1 == pytest.approx(20, abs=1) and np.ptp(xs) + 1 == pytest.approx(20, abs=1)
    assert textures.stamp("dirt", 0, centre=(-50.0, 40.0), size=22, angle=0.0, height=100, width=100) is None


def test_kinds_without_files_are_drawn(tmp_path):
    (tmp_path / "hair").mkdir()
    cv2.imwrite(str(tmp_path / "hair" / "a.png"), np.zeros((20, 20, 4), np.uint8))
    clip = torch.full((3, 3, 120, 160), 0.5)
    drawn, taken = (simulate(clip, replace(MODEL, textures=path), seed=4) for path in (None, tmp_path))
    assert torch.equal(drawn.masks["dirt"], taken.masks["dirt"])


def test_pictures_without_alpha_are_dark_on_light(tmp_path):
    (tmp_path / "dirt").mkdir()
    picture = np.full((40, 40), 255, np.uint8)
    picture[10:30, 10:30] = 0
    cv2.imwrite(str(tmp_path / "dirt" / "a.png"), picture)
    _, _, coverage = TextureFolder(tmp_path).stamp(
        "dirt", 0, centre=(50.0, 40.0), size=22, angle=0.0, height=100, width=100
    )
    assert coverage.max() == pytest.approx(1, abs=0.01) and 300 < coverage.sum() < 500


def test_an_empty_folder_and_a_broken_picture_say_what_to_do(tmp_path):
    with pytest.raises(SettingsError, match=r"no PNG files.*choose"):
        TextureFolder(tmp_path)
    (tmp_path / "dirt").mkdir()
    (tmp_path / "dirt" / "a.png").write_bytes(b"not a picture")
    with pytest.raises(SettingsError, match=r"a.png cannot be read"):
        simulate(torch.full((1, 3, 120, 160), 0.5), replace(MODEL, textures=tmp_path), seed=4)


def test_only_keeps_the_folder(folder):
    assert replace(MODEL, textures=folder).only("dirt").textures == folder


def test_the_known_set_is_read(shared_data):
    textures = TextureFolder(shared_data("textures"))
    assert all(textures.has(kind) for kind in ("dirt", "hair", "stain"))
