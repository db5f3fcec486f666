"""The two layers of a window of profiles: what stays with the film, and what moves past it."""

import numpy as np
import pytest

from vldm_core.film.scratches.search.layers import LayerModel

FRAMES, BANDS, WIDTH = 16, 9, 80


def profiles(moved: np.ndarray, sink: np.ndarray) -> np.ndarray:
    """A scene that moves, and a line that stays at column 40, (T, bands, W)."""
    stream = np.random.default_rng(4)
    smooth = np.cumsum(stream.normal(size=(3 * BANDS, 3 * WIDTH)), axis=1)
    scene = smooth - np.convolve(smooth.ravel(), np.ones(9) / 9, "same").reshape(smooth.shape)
    columns = np.arange(WIDTH)
    shown = np.empty((FRAMES, BANDS, WIDTH), np.float32)
    for t in range(FRAMES):
        for band in range(BANDS):
            row = band + BANDS - sink[t]
            low = int(np.floor(row))
            both = [np.interp(columns + WIDTH - moved[t], np.arange(3 * WIDTH), scene[r]) for r in (low, low + 1)]
            shown[t, band] = both[0] + (row - low) * (both[1] - both[0])
    shown[..., 40] += 5
    return shown


@pytest.mark.parametrize("sink", [np.zeros(FRAMES), 0.3 * np.arange(FRAMES)], ids=["level", "tilting"])
def test_a_scene_that_moves_as_one_is_explained_alike_by_frame_and_by_place(sink) -> None:
    moved, sink = (1.7 * np.arange(FRAMES)).astype(np.float32), sink.astype(np.float32)
    window = profiles(moved, sink)
    by_frame = LayerModel(moved, sink, BANDS, WIDTH).fit(window, 20)
    field = np.broadcast_to(moved[:, None, None], window.shape)
    by_place = LayerModel(field, sink, BANDS, WIDTH).fit(window, 20)
    for one, other in zip(by_frame, by_place, strict=True):
        assert np.allclose(one, other, atol=2e-2)
    film, scene = by_frame
    assert film.shape == (BANDS, WIDTH) and scene.shape == window.shape
    # Where all frames see it, the line is the film's and the scene is the scene's.
    assert np.median(film[:, 40]) == pytest.approx(5, abs=1)
    assert np.abs(window - scene - film)[:, :, 30:50].mean() < 0.5
