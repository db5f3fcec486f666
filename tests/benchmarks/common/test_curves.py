"""Curves are drawn by matplotlib where the figures are."""

import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks.common.curves import CurveLine, CurvePanel, draw_panels, write_panels
from vldm_core.errors import VLDMError

LINES = [
    CurveLine(name="a", label="a, area 0.5", across=[0.0, 1.0], up=[1.0, 0.5], dot=(0.5, 0.75)),
    CurveLine(name="b", across=[0.0, 1.0], up=[0.2, float("nan")]),
]


def test_lines_keep_their_colour_and_the_first_is_on_top():
    panels = [
        CurvePanel(title="one", across="recall", up="precision", lines=LINES, shares=True),
        CurvePanel(title="two", across="recall", lines=LINES[1:], level=0.4),
    ]
    first, second = draw_panels(panels).axes
    a, dot, b = first.get_lines()
    assert a.get_xydata().tolist() == [[0, 1], [1, 0.5]] and dot.get_xydata().tolist() == [[0.5, 0.75]]
    assert a.get_zorder() > b.get_zorder() and a.get_color() == dot.get_color() != b.get_color()
    assert second.get_lines()[0].get_color() == b.get_color() and np.array(second.get_lines()[1].get_ydata())[0] == 0.4
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["a, area 0.5", "b"]
    assert first.get_xlim() == first.get_ylim() == (0, 1.01)


def test_one_legend_where_all_panels_say_the_same(tmp_path):
    panels = [CurvePanel(title=title, across="px", lines=LINES, ticks=(256, 512)) for title in ("one", "two")]
    figure = draw_panels(panels)
    assert len(figure.legends) == 1 and figure.axes[0].get_legend() is None
    assert [text.get_text() for text in figure.axes[1].get_xticklabels()] == ["256", "512"]
    write_panels(panels, tmp_path / "docs" / "curves.png")
    picture = Image.open(tmp_path / "docs" / "curves.png").convert("RGB")
    assert picture.width == 840 and len(picture.getcolors(1 << 20)) > 50


def test_without_matplotlib_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(VLDMError, match=r"vldm\[benchmark\]"):
        draw_panels([CurvePanel(title="one", across="x", lines=LINES)])
