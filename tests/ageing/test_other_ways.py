"""Damage of other kinds and mixed in other ways: scratches of one frame, scans as they are, added light, what hides."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vldm_core.ageing import (
    BlotchModel,
    CinchModel,
    DirtModel,
    HairModel,
    SheetModel,
    SimulationSettings,
    Simulator,
    simulate,
)
from vldm_core.ageing.defects.cinch_marks import CinchLayer
from vldm_core.ageing.defects.marks import BLENDS, Blend, blended
from vldm_core.errors import SettingsError

GREY = torch.full((6, 3, 120, 160), 0.5)
NOTHING = SimulationSettings().only()


def aged(seed: int = 1, **models):
    return simulate(GREY, SimulationSettings(**(vars(NOTHING) | models)), seed=seed)


def test_a_scratch_of_one_frame_is_not_there_in_the_next() -> None:
    layer = CinchLayer(CinchModel(rate=2.0, sheaf_share=0.0), 3, 120, 160)
    picture = np.full((120, 160, 3), 0.5, np.float32)
    marked = [layer.apply(index, picture)[1] > 0 for index in range(12)]
    assert sum(mask.any() for mask in marked) >= 8
    for one, following in pairwise(marked):
        if one.any():
            assert (one & following).sum() < 0.2 * one.sum()


def test_scratches_of_one_frame_have_a_mask_of_their_own() -> None:
    film = aged(cinches=CinchModel(rate=4.0, depth=(6.0, 40.0)))
    change = (film.frames - GREY).abs().amax(1) * 255
    found = film.masks["cinches"]
    assert (found >= 0.5).any()
    assert (change[found == 0] == 0).all() and (change[found >= 0.5] >= 2.9).float().mean() > 0.97
    assert not any(mask.any() for kind, mask in film.masks.items() if kind != "cinches")
    again = Simulator(
        SimulationSettings(**(vars(NOTHING) | {"cinches": CinchModel(rate=4.0, depth=(6.0, 40.0))})), 1, 120, 160
    )
    assert torch.equal(again.frame(4, GREY[4]).frame, film.frames[4])


def test_scratches_lie_as_they_are_asked_to() -> None:
    steep = CinchLayer(CinchModel(rate=3.0, steep_share=1.0, sheaf_share=0.0), 1, 240, 320)
    lying = CinchLayer(CinchModel(rate=3.0, steep_share=0.0, sheaf_share=0.0), 1, 240, 320)
    assert all(not cinch.lying and abs(cinch.slope) < 0.3 for index in range(20) for cinch in steep.marks(index))
    drawn = [cinch for index in range(20) for cinch in lying.marks(index)]
    assert 0.3 < np.mean([cinch.lying for cinch in drawn]) < 0.7
    sheaf = CinchLayer(CinchModel(rate=1.0, sheaf_share=1.0), 1, 240, 320)
    counts = [len(sheaf.marks(index)) for index in range(20)]
    assert all(count == 0 or count >= 3 for count in counts)


@pytest.mark.parametrize("white", [False, True])
def test_all_ways_to_mix_change_mid_grey_alike(white: bool) -> None:
    region, share = np.full((2, 2, 3), 0.5, np.float32), np.full((2, 2), 0.5, np.float32)
    changes = {blend: blended(region, share, 0.1, white=white, blend=blend) - region for blend in BLENDS}
    assert all((change > 0).all() == white for change in changes.values())
    assert np.allclose(changes["film"], 0.05 if white else -0.05)
    assert np.allclose(changes["additive"], changes["film"])
    assert np.allclose(np.abs(changes["opaque"]), 0.038)


@pytest.mark.parametrize(("blend", "hides"), [("film", False), ("additive", False), ("opaque", True)])
def test_only_what_is_opaque_hides_the_picture(blend: Blend, hides: bool) -> None:
    region = np.linspace(0.2, 0.6, 12, dtype=np.float32).reshape(2, 2, 3)
    marked = blended(region, np.ones((2, 2), np.float32), 0.5 if hides else 0.1, white=False, blend=blend)
    assert (float(np.ptp(marked)) < 1e-6) == hides


def test_marks_keep_their_places_whatever_they_mix_like() -> None:
    film, other = (
        aged(
            dirt=DirtModel(rate=8, blends=blends),
            hair=HairModel(transient_rate=1, blends=blends),
            blotches=BlotchModel(rate=1, blends=blends),
        )
        for blends in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    )
    for kind in ("dirt", "hair", "blotches"):
        one, two = film.masks[kind] > 0.05, other.masks[kind] > 0.05
        assert one.any() and (one ^ two).sum() < 0.3 * one.sum()
    assert not torch.equal(film.frames, other.frames)


def test_hard_blotches_have_hard_rims() -> None:
    def rim(hard_share: float) -> float:
        film = aged(blotches=BlotchModel(rate=2, size=(60, 90), opacity=(0.5, 0.5), hard_share=hard_share))
        change = (film.frames - GREY).abs().amax(1)
        return float(((change > 0.01) & (change < 0.12)).sum() / (change > 0.12).sum())

    assert rim(1.0) < 0.6 * rim(0.0)


def test_scans_are_laid_over_frames_as_they_are(tmp_path: Path) -> None:
    shape = np.zeros((100, 100, 4), np.uint8)
    shape[20:24, 20:80, 3] = shape[60:64, 20:80, 3] = 255
    for name in ("dirt", "hair", "stain", "scratches"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "one.png"), shape)
    sheets = SheetModel(rates=(1.0, 0.0, 1.0, 1.0), zoom=(2.0, 2.0), opacity=(1.0, 1.0))
    film = aged(sheets=sheets, textures=tmp_path)
    for kind in ("dirt", "blotches", "cinches"):
        assert film.masks[kind].any()
    assert not film.masks["hair"].any()
    # Half a frame's 480 lines at an enlargement of two is the size of the scan: two bars of 60 × 4 px.
    largest = max(float((mask >= 0.5).sum()) for mask in film.masks["dirt"])
    assert 100 <= largest <= 3 * 2 * 60 * 4
    assert torch.equal(aged(sheets=sheets).frames, GREY), "without a folder there are none"


def test_impossible_models_are_refused() -> None:
    for model, name in ((CinchModel, "cinches"), (DirtModel, "dirt"), (HairModel, "hair"), (BlotchModel, "blotches")):
        for wrong in ((1.0, 0.0), (0.0, 0.0, 0.0), (-1.0, 1.0, 1.0)):
            with pytest.raises(SettingsError, match=rf"{name}\.blends"):
                model(blends=wrong)
    with pytest.raises(SettingsError, match=r"sheets\.rates"):
        SheetModel(rates=(-1.0, 0.0, 0.0, 0.0))
