"""The methods of the detection benchmark under their common interface."""

import pytest
import torch

from benchmarks.detection.methods import KNOWN_MASK_REPAIRS, METHODS, Masks, distinct

from ..film_data import moving_texture


@pytest.fixture(scope="module")
def damaged() -> torch.Tensor:
    """Eight frames that move 2 px each, with grain, a black speck a frame, and a dark line that stands still."""
    frames = torch.from_numpy(moving_texture(5, 8, 112, 128, step=2)).permute(0, 3, 1, 2).float() / 255
    frames = frames + 2.5 / 255 * torch.randn(8, 1, 112, 128, generator=torch.Generator().manual_seed(3))
    # Not one after the other along a line: something small that flies through the picture would do that.
    for time, (y, x) in enumerate(
        [(10, 30), (70, 64), (33, 82), (92, 20), (50, 48), (15, 76), (80, 36), (60, 10)],
    ):
        frames[time, :, y : y + 5, x : x + 5] = 0.0
    frames[:, :, :, 100:102] -= 25 / 255
    return frames.clamp(0, 1)


@pytest.mark.parametrize("name", ["sdip", "rod", "local_extremum"])
def test_scores_of_textbook_methods_put_their_threshold_at_one_half(name, damaged):
    masks = METHODS[name].detect(damaged)
    mask, score = (
        (masks.dirt, masks.dirt_probability) if masks.lines is None else (masks.lines, masks.scratch_probability)
    )
    assert bool(mask.any())
    assert torch.equal(score > 0.5, mask > 0)
    assert float(score.min()) >= 0 and float(score.max()) < 1


def test_the_vote_scores_the_column_that_it_marks(damaged):
    masks = METHODS["line_vote"].detect(damaged)
    assert bool((masks.lines[:, :, 100:102] > 0).all())
    assert bool((masks.scratch_probability[:, :, 100:102] > 0.5).all())
    assert masks.dirt is None


def test_finding_and_repairing_side_by_side_gives_what_one_after_the_other_gives(damaged):
    method = METHODS["weight_free"]
    masks = method.detect(damaged)
    assert bool(masks.dirt.any())
    side_by_side, in_turn = method.restore(damaged), method.repair(damaged, masks)
    # Where the holes are known before, motion is measured without them, and fills differ a little.
    marked = torch.maximum(masks.dirt, masks.lines) > 0.5
    assert not bool((side_by_side - in_turn).abs().amax(1)[~marked].any())
    assert float((side_by_side - in_turn).abs().mean(1)[marked].mean()) < 2 / 255


def test_soft_maps_of_ours_cover_what_is_marked(damaged):
    method = METHODS["weight_free"]
    masks, soft = method.detect(damaged), method.soften(damaged)
    assert soft.dirt is None and soft.lines is None
    assert float((soft.dirt_probability[masks.dirt > 0] >= 0.5).float().mean()) > 0.9
    assert bool((soft.scratch_probability[masks.lines > 0] > 0).all())


@pytest.mark.parametrize("name", sorted(set(KNOWN_MASK_REPAIRS.values()) - {"median"}))
def test_repairs_take_either_kind_of_mask(name, damaged):
    repair = METHODS[name].repair
    lines = torch.zeros(8, 112, 128)
    lines[:, :, 99:103] = 1
    output = repair(damaged, Masks(lines=lines, dirt=torch.zeros_like(lines)))
    assert torch.equal(output[:, :, :, :98], damaged[:, :, :, :98])
    assert float((output - damaged)[:, :, :, 100:102].mean()) > 10 / 255
    assert torch.equal(repair(damaged, Masks()), damaged)


def test_every_method_can_do_something():
    assert all(method.detect is not None or method.repair is not None for method in METHODS.values())
    assert all(METHODS[owner].repair is not None for owner in KNOWN_MASK_REPAIRS.values())


def test_the_same_detectors_are_run_once():
    names = ("ours", "weight_free", "sdip")
    same = METHODS["ours"].detectors() == METHODS["weight_free"].detectors()
    assert distinct(names) == {"ours": "ours", "weight_free": "ours" if same else "weight_free", "sdip": "sdip"}
    assert distinct(("weight_free",)) == {"weight_free": "weight_free"}
