"""Where a line begins and ends is decided row by row from the frame."""

import numpy as np
import pytest

from vldm_core.film.scratches.repair.row_presence import rows_present
from vldm_core.film.scratches.search.line_shape import LineShape

HEIGHT, WIDTH, X = 240, 80, 40


def scene(depth: float, there: np.ndarray, seed: int = 0, grain: float = 2.5) -> np.ndarray:
    """Grey with a soft slope, grain, and a line three pixels wide on some rows."""
    rng = np.random.default_rng(seed)
    luma = 120 + 0.3 * np.arange(WIDTH)[None] + 0.1 * np.arange(HEIGHT)[:, None]
    luma[there, X - 1 : X + 2] += depth
    return (luma + rng.normal(0, grain, luma.shape)).astype(np.float32)


def found(luma: np.ndarray, depth: float, present: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
    allowed = np.ones(HEIGHT, bool) if allowed is None else allowed
    centre = np.full(HEIGHT, X, np.float32)
    return rows_present(luma, centre, LineShape(depth=depth, sigma=1.2), present=present, allowed=allowed)


def bands(there: np.ndarray) -> np.ndarray:
    """What bands of 16 rows say of it: there where it is on at least a quarter of the rows."""
    return np.repeat(there.reshape(-1, 16).mean(axis=1) >= 0.25, 16)


@pytest.mark.parametrize("depth", [-6.0, 6.0, -10.0, 20.0])
def test_the_ends_of_a_line_are_found_to_a_few_rows(depth) -> None:
    there = np.zeros(HEIGHT, bool)
    there[21:75] = there[91:203] = True
    errors = []
    for seed in range(6):
        present = bands(there)
        seen = found(scene(depth, there, seed), depth, present)
        errors.append((seen != there).sum())
        assert (seen != there).sum() < (present != there).sum()
    assert np.mean(errors) <= (14 if abs(depth) < 8 else 5)


def test_a_line_is_not_looked_for_where_it_may_not_be() -> None:
    there = np.ones(HEIGHT, bool)
    allowed = np.zeros(HEIGHT, bool)
    allowed[:128] = True
    seen = found(scene(20.0, there), 20.0, allowed.copy(), allowed)
    assert seen[:128].mean() > 0.95 and not seen[128:].any()


def test_an_edge_of_the_scene_beside_the_line_does_not_interrupt_it() -> None:
    there = np.ones(HEIGHT, bool)
    luma = scene(8.0, there)
    # Something bright on one side: the line lies on its edge.
    luma[100:140, X + 2 :] += 60
    assert found(luma, 8.0, there)[96:144].mean() > 0.9


def test_without_a_line_in_the_bands_there_is_none() -> None:
    there = np.ones(HEIGHT, bool)
    assert not found(scene(20.0, there), 20.0, ~there).any()


def test_at_the_border_the_bands_are_believed() -> None:
    there = np.zeros(HEIGHT, bool)
    there[32:96] = True
    luma = scene(10.0, there)
    centre = np.full(HEIGHT, 1.0, np.float32)
    shape = LineShape(depth=10.0, sigma=1.2)
    seen = rows_present(luma, centre, shape, present=there, allowed=np.ones(HEIGHT, bool))
    assert np.array_equal(seen, there)
