"""The methods of the pre-restoration benchmark do what their rows say."""

from dataclasses import replace

import pytest
import torch

from benchmarks.prerestore.methods import (
    DAMAGED,
    DEFAULT,
    EVEN,
    FLICKERING,
    FULL,
    METHODS,
    NETWORK,
    NLM,
    NLM_STRENGTHS,
    PER_FRAME,
    REFERENCE,
    REPAIR,
    at_defaults,
    best_strength,
    non_local_means,
    over_time,
    per_frame,
    there_and_back,
)
from benchmarks.prerestore.scores import mean_figures, picture_figures
from benchmarks.prerestore.settings import PreRestoreBenchmarkSettings
from benchmarks.prerestore.tasks import prepare, run_network, run_non_local_means, run_per_frame, run_with_flicker
from vldm_core.metrics.fidelity import psnr
from vldm_core.prerestore.run import PreRestoreSettings, pre_restore

from ..prerestore_data import made_clip, random_network, write_network


@pytest.fixture(scope="module")
def clip():
    return made_clip()


def test_time_is_what_the_runs_of_the_network_differ_in(clip):
    network = random_network()
    single = per_frame(clip.repaired, clip.masks, network)
    turned = per_frame(clip.repaired.flip(0), clip.masks.flip(0), network).flip(0)
    assert torch.equal(single, turned)
    whole = over_time(clip.repaired, clip.masks, network)
    assert torch.equal(whole, pre_restore(clip.repaired, network, FULL, masks=clip.masks)[0])
    assert (single - whole).abs().max() > 1e-3
    alone = over_time(clip.repaired[2:3], clip.masks[2:3], network)
    assert torch.allclose(single[2:3], alone, atol=1e-6)


def test_defaults_are_derived_from_full_strength(clip):
    network = random_network()
    full = over_time(clip.repaired, clip.masks, network)
    wanted = pre_restore(clip.repaired, network, PreRestoreSettings(), masks=clip.masks)[0]
    sound = ((full > 0) & (full < 1)).all(dim=1)
    # A clipped pixel is felt within the reach of the grain filter.
    near = torch.nn.functional.max_pool2d((~sound)[:, None].float(), 9, 1, 4)[:, 0] == 0
    assert near.float().mean() > 0.5
    difference = (at_defaults(clip.repaired, full) - wanted).abs().amax(dim=1)
    assert difference[near].max() < 1e-5
    assert (full - wanted).abs().max() > 0.01


def test_strength_zero_leaves_the_film(clip):
    made = pre_restore(clip.repaired, random_network(), PreRestoreSettings(strength=0), masks=clip.masks)[0]
    assert torch.equal(made, clip.repaired)


def test_non_local_means_take_noise_off_with_a_fitting_strength():
    clip = made_clip(noise=4)
    one = range(1, 2)
    films = (clip.even[1:2], *(non_local_means(clip.even, h, one) for h in (0.5, 3.0)))
    before, weak, fitting = (psnr(film, clip.reference[1:2]) for film in films)
    assert fitting > before + 3 and weak == pytest.approx(before, abs=1)
    # Colours keep their places.
    tinted = clip.even * torch.tensor([1.0, 0.5, 0.2]).view(1, 3, 1, 1)
    means = non_local_means(tinted, 3.0, one).mean(dim=(0, 2, 3))
    assert torch.allclose(means, tinted[1].mean(dim=(1, 2)), atol=0.02)


def test_the_strength_suits_the_noise():
    assert best_strength(made_clip(noise=25)) == max(NLM_STRENGTHS)
    assert best_strength(made_clip(noise=0.5)) == min(NLM_STRENGTHS)


def test_a_film_can_go_back_and_forth():
    assert [there_and_back(number, 4) for number in range(-2, 9)] == [2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert [there_and_back(number, 1) for number in range(3)] == [0, 0, 0]


def test_every_row_is_the_film_that_it_is_named_after(clip, tmp_path):
    path, weights = tmp_path / "clip.npz", write_network(tmp_path / "net.safetensors")
    clip.save(path)
    network = random_network()
    rows = run_network(path, weights) + run_per_frame(path, weights)
    rows += run_with_flicker(path, weights) + run_non_local_means(path)

    def restored(film, **settings):
        return pre_restore(film, network, PreRestoreSettings(**settings), masks=clip.masks)[0]

    singles = [
        pre_restore(frame, network, FULL, masks=mask)[0]
        for frame, mask in zip(clip.even.split(1), clip.masks.split(1), strict=True)
    ]
    wanted = {
        NETWORK: restored(clip.even, keep_grain=0.0),
        DEFAULT: restored(clip.even),
        PER_FRAME: torch.cat(singles),
        FLICKERING: restored(clip.repaired, keep_grain=0.0),
        NLM: non_local_means(clip.even, next(row.strength for row in rows if row.method == NLM)),
    }
    assert {row.method for row in rows} == set(wanted)
    figures = {name: picture_figures(clip, film) for name, film in wanted.items()}
    assert len({round(row.psnr, 4) for row in figures.values()}) == len(wanted)
    for row in rows:
        assert row.figures.psnr == pytest.approx(figures[row.method].psnr, abs=0.02), row.method
        assert row.figures.residue == pytest.approx(figures[row.method].residue, abs=0.05), row.method
    strengths = {row.method: row.strength for row in rows}
    assert strengths[NLM] in NLM_STRENGTHS and strengths[NETWORK] is None


def test_the_films_that_no_method_made_are_scored_as_they_are_stored(clip, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.prerestore.tasks.make_clip", lambda source, settings: clip)
    rows = {row.method: row.figures for row in prepare(None, PreRestoreBenchmarkSettings(), tmp_path / "clip.npz")}
    assert list(rows) == [REFERENCE, DAMAGED, REPAIR, EVEN]
    assert rows[REFERENCE].psnr is None and rows[REFERENCE].detail == 1 and rows[REFERENCE].residue == 0
    for name, film in ((DAMAGED, clip.damaged), (REPAIR, clip.repaired), (EVEN, clip.even)):
        assert rows[name].psnr == pytest.approx(psnr(film, clip.reference))
    assert rows[DAMAGED].psnr < rows[REPAIR].psnr < rows[EVEN].psnr
    assert rows[REPAIR].flicker > 5 * rows[EVEN].flicker
    assert set(METHODS) >= {*rows} - {REFERENCE}


def test_means_leave_out_what_is_missing(clip):
    row = picture_figures(clip, clip.repaired)
    mean = mean_figures([row, replace(row, psnr=row.psnr + 2, warp_error=None)])
    assert mean.psnr == pytest.approx(row.psnr + 1) and mean.warp_error == row.warp_error
    assert mean_figures([replace(row, ssim=None)]).ssim is None
