"""The passes over a reel share the progress bar by their time."""

from dataclasses import replace

import pytest

from vldm_core.film.weave.stabilise import StabiliseSettings
from vldm_core.prerestore.shipped import PreRestoration
from vldm_core.reel.cost import pass_costs
from vldm_core.reel.restore import ReelSettings
from vldm_core.reel.resumable.run import restore_reel

from .conftest import write_film

ALL = replace(ReelSettings(), prerestore=PreRestoration(), stabilise=StabiliseSettings())


@pytest.mark.parametrize("on_card", [False, True])
@pytest.mark.parametrize("settings", [ALL, ReelSettings.no_stages(), replace(ReelSettings(), dirt=None, lines=None)])
def test_the_shares_fill_the_bar(settings, on_card):
    shares = pass_costs(settings, on_card=on_card)
    assert sum(shares.values()) == pytest.approx(1) and all(share > 0 for share in shares.values())


def test_the_last_pass_takes_most_of_it():
    """Six of 94 seconds had gone when a bar of three equal passes stood at 67 %."""
    shares = pass_costs(ReelSettings())
    assert 0.8 < shares["restore"] < 0.95
    assert shares["find shots"] < 0.05
    without = pass_costs(replace(ReelSettings(), average=None))
    assert without["analyse"] > shares["analyse"]
    slow = replace(ReelSettings(), prerestore=PreRestoration())
    assert pass_costs(slow, on_card=True)["analyse"] > pass_costs(slow)["analyse"]


def test_the_passes_are_those_that_a_reel_reports(tmp_path):
    film = write_film(tmp_path / "film.mkv", 6)
    seen = []
    settings = replace(ReelSettings.no_stages(), prerestore=PreRestoration(device="cpu"))
    restore_reel(film, tmp_path / "out.mp4", settings, lambda phase, *_: seen.append(phase))
    assert tuple(dict.fromkeys(seen)) == tuple(pass_costs(settings))


def test_stages_are_named():
    assert ALL.stages == ("lines", "dirt", "splices", "flicker", "average", "prerestore", "stabilise")
    assert ReelSettings.no_stages().stages == ()
