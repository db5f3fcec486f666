"""The certainty of lines, drawn as a picture, for precision-recall curves."""

from dataclasses import replace

import numpy as np
import pytest

from vldm_core.errors import SettingsError
from vldm_core.film.scratches.detection import (
    ScratchMap,
    ScratchSettings,
    ScratchTrack,
    scratch_mask,
    scratch_probability,
)

HEIGHT, WIDTH = 48, 64


def track(x, certainty):
    return ScratchTrack(
        first=1,
        x=np.full(3, x, np.float32),
        tilt=np.zeros(3, np.float32),
        left=1.0,
        right=1.0,
        depth=-9.0,
        score=100.0,
        present=np.ones((3, 4), bool),
        certainty=certainty,
    )


LINES = ScratchMap(
    height=HEIGHT, width=WIDTH, frame_count=5, grow=1.0, tracks=(track(20.0, 0.9),), doubtful=(track(22.0, 0.3),)
)


def test_doubtful_lines_are_drawn_with_their_certainty_and_the_surest_counts():
    picture = scratch_probability(LINES, 2, HEIGHT, WIDTH).numpy()
    assert picture.dtype == np.float32
    assert np.allclose(picture[:, 19:22], 0.9)
    assert np.allclose(picture[:, 22:24], 0.3)
    assert not picture[:, :19].any() and not picture[:, 24:].any()
    assert np.array_equal(picture > 0.5, scratch_mask(LINES, 2, HEIGHT, WIDTH).numpy() > 0)


def test_frames_without_lines_are_empty_and_the_order_of_tracks_does_not_matter():
    assert not scratch_probability(LINES, 0, HEIGHT, WIDTH).any()
    swapped = replace(LINES, tracks=LINES.doubtful, doubtful=LINES.tracks)
    assert np.array_equal(scratch_probability(swapped, 1, HEIGHT, WIDTH), scratch_probability(LINES, 1, HEIGHT, WIDTH))


def test_bad_sizes_frames_and_settings_are_refused():
    with pytest.raises(SettingsError, match="outside the shot"):
        scratch_probability(LINES, 5, HEIGHT, WIDTH)
    with pytest.raises(SettingsError, match="8×8"):
        scratch_probability(LINES, 0, 8, 8)
    with pytest.raises(SettingsError, match="certainty"):
        ScratchSettings(certainty=1.5)
    with pytest.raises(SettingsError, match="detector"):
        ScratchSettings(detector="magic")  # type: ignore[arg-type]
