"""The demonstration film that ships with the project is what the scripts and the documentation say it is."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from vldm_core.video.reading.reader import open_film

DEMO_FILM = Path(__file__).resolve().parents[2] / "assets" / "demo_film.mp4"


def test_demo_film_is_small_and_has_two_shots_sound_and_a_standing_scratch():
    assert DEMO_FILM.stat().st_size < 2_000_000
    with open_film(DEMO_FILM) as film:
        info = film.info
        luma = [frame.image.mean(axis=2) for frame in film]
    assert (info.width, info.height, info.frame_rate) == (480, 360, Fraction(16))
    assert info.has_audio and 3 <= len(luma) / 16 <= 5
    steps = [float(np.abs(after - before).mean()) for before, after in pairwise(luma)]
    cut = int(np.argmax(steps))
    assert steps[cut] > 3 * sorted(steps)[-2]
    for shot in (luma[: cut + 1], luma[cut + 1 :]):
        columns = np.mean([frame.mean(axis=0) for frame in shot], axis=0)
        depth = columns[147:156] - (columns[144:147].mean() + columns[156:159].mean()) / 2
        assert 147 + int(np.argmin(depth)) in (151, 152)
        assert depth.min() < -8
