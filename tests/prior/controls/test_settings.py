"""How strongly a control acts over steps and frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldm_core.errors import SettingsError
from vldm_core.prior.controls.settings import ControlSettings, between, points_of

POINTS = st.lists(
    st.tuples(st.integers(-1000, 1000).map(float), st.floats(0, 10)), min_size=1, max_size=6, unique_by=lambda p: p[0]
).map(lambda points: tuple(sorted(points)))


@given(points=POINTS)
def test_every_point_is_met_and_the_ends_go_on(points):
    assert [between(points, place) for place, _ in points] == pytest.approx([factor for _, factor in points])
    assert between(points, points[0][0] - 5) == points[0][1]
    assert between(points, points[-1][0] + 5) == points[-1][1]


@given(points=POINTS, place=st.floats(-2000, 2000))
def test_what_lies_between_is_between(points, place):
    factors = [factor for _, factor in points]
    assert min(factors) - 1e-9 <= between(points, place) <= max(factors) + 1e-9


@given(points=POINTS)
def test_points_are_read_as_they_are_written(points):
    assert points_of(", ".join(f"{place!r}:{factor!r}" for place, factor in points)) == points


def test_no_text_is_no_point():
    assert points_of(" ") == ()
    assert between((), 3) == 1


@pytest.mark.parametrize("text", ["0", "a:1", "0:b", "0:1:2", "0:"])
def test_other_text_is_refused(text):
    with pytest.raises(SettingsError, match="is not a point"):
        points_of(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": 0.6, "end": 0.5},
        {"over_steps": ((0.5, 1.0), (0.5, 0.0))},
        {"over_steps": ((0.5, 1.0), (0.2, 0.0))},
        {"over_frames": ((0, 11.0),)},
        {"over_frames": ((0, -0.1),)},
        {"over_steps": ((float("nan"), 1.0),)},
        {"over_steps": ((0.0, float("inf")),)},
    ],
)
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(SettingsError):
        ControlSettings(**wrong)


def test_outside_its_share_of_the_schedule_a_control_is_off():
    settings = ControlSettings(start=0.25, end=0.75, over_steps=((0.25, 1.0), (0.75, 0.5)))
    assert [settings.at_step(progress) for progress in (0.0, 0.25, 0.5, 0.75, 0.8)] == [0, 1, 0.75, 0.5, 0]
    assert settings.at_step(None) == 1


def test_frames_are_film_frames():
    settings = ControlSettings(over_frames=((10, 0.0), (20, 1.0)))
    assert [settings.at_frame(frame) for frame in (0, 10, 15, 30)] == [0, 0, 0.5, 1]
