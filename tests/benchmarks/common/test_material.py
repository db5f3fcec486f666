"""Clips come out of their files as they went in, and motion is that of the frames."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.common.material import StoredClip, eight_bit, find_real_films, motion_of, read_film

from ..film_data import moving_texture, write_film


@dataclass(frozen=True, kw_only=True)
class MadeClip(StoredClip):
    """Two films, a mask, labels, flow and facts."""

    FILMS = ("film", "other")
    MASKS = ("mask",)

    name: str
    locked: bool
    film: Tensor
    other: Tensor
    mask: Tensor
    labels: Tensor
    flow: Tensor


def _clip(**changed) -> MadeClip:
    film = eight_bit(torch.rand(2, 3, 4, 5))
    values: dict[str, Any] = {
        "name": "a/b",
        "locked": True,
        "film": film,
        "other": eight_bit(film * 0.5),
        "mask": (torch.rand(2, 4, 5) > 0.5).float(),
        "labels": torch.randint(0, 4, (2, 4, 5), dtype=torch.uint8),
        "flow": torch.randn(1, 2, 4, 5).half().float(),
    }
    return MadeClip(**values | changed)


def test_a_stored_clip_comes_back_the_same(tmp_path):
    clip = _clip()
    clip.save(tmp_path / "clip.npz")
    back = MadeClip.load(tmp_path / "clip.npz")
    for field in fields(clip):
        stored, value = getattr(back, field.name), getattr(clip, field.name)
        if isinstance(value, Tensor):
            assert stored.dtype == value.dtype and torch.equal(stored, value), field.name
        else:
            assert stored == value and type(stored) is type(value)
    film, mask = MadeClip.load_only(tmp_path / "clip.npz", "film", "mask")
    assert torch.equal(film, clip.film) and torch.equal(mask, clip.mask)


def test_a_film_that_is_another_one_too_is_stored_once(tmp_path):
    clip = _clip()
    same = _clip(film=clip.film, other=clip.film)
    clip.save(tmp_path / "two.npz")
    same.save(tmp_path / "one.npz")
    back = MadeClip.load(tmp_path / "one.npz")
    assert back.other is back.film and torch.equal(back.film, clip.film)
    assert (tmp_path / "one.npz").stat().st_size < (tmp_path / "two.npz").stat().st_size


def test_motion_is_backward_and_seen_where_both_ways_agree():
    frames = torch.from_numpy(moving_texture(1, 3, 64, 96, step=2)).permute(0, 3, 1, 2).float() / 255
    flow, visible = motion_of(frames)
    assert flow.shape == (2, 2, 64, 96) and visible.shape == (2, 64, 96) and visible.dtype == torch.bool
    # The texture moves to the left, so what frame t+1 shows was further right in frame t.
    assert float(flow[:, 0][visible].median()) == pytest.approx(2, abs=0.2)
    assert visible[:, 16:-16, 16:-16].float().mean() > 0.9


def test_real_films_are_those_that_are_there_and_wanted(tmp_path):
    write_film(tmp_path / "film" / "other.mkv", moving_texture(1, 4))
    write_film(tmp_path / "film" / "wanted.mkv", moving_texture(2, 5))
    assert find_real_films(tmp_path, ("wanted", "missing")) == (tmp_path / "film" / "wanted.mkv",)
    assert find_real_films(Path("nowhere"), ("wanted",)) == ()
    assert read_film(tmp_path / "film" / "wanted.mkv").shape == (5, 3, 64, 96)
