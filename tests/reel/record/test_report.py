"""The report is one page of well-formed HTML that asks for nothing from elsewhere and says what the record says."""

import base64
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from vldm_core.errors import FilmFileError
from vldm_core.film.scratches.settings import ScratchSettings
from vldm_core.reel.record.file import RecordReader, record_path
from vldm_core.reel.record.fixes import fixes_of
from vldm_core.reel.record.report.report import write_report
from vldm_core.reel.restore import ReelSettings, restore_film

from ..conftest import HEIGHT, WIDTH

EMPTY = {"meta", "img", "br", "rect"}


class Page(HTMLParser):
    """What stands in a page, and whether its tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.pictures, self.asked, self.cells = [], [], [], []
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.asked += [given[name] for name in ("src", "href", "srcset", "data") if name in given]
        if tag == "img":
            self.pictures.append(given["src"])
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        assert tag in EMPTY

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def record(small_film, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "<out> & so.mkv"
    settings = ReelSettings(lines=ScratchSettings(detector="weight-free"), motion="quick", flicker=None, average=None)
    restore_film(small_film, out, replace(settings, record=record_path(out)))
    return record_path(out)


def test_the_page_stands_alone_and_says_what_the_record_says(record, tmp_path):
    write_report(record, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert all(place.startswith(("data:image/jpeg;base64,", "#shot")) for place in page.asked)
    assert "@import" not in text and "url(" not in text and "<script" not in text
    assert "Restoration of <out> & so.mkv" in page.text
    with RecordReader(record) as reader:
        about, fixes = reader.about, list(fixes_of(reader))
    assert len(page.pictures) == 2 * len(about["shots"])
    before, after = (
        cv2.imdecode(np.frombuffer(base64.b64decode(each.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)
        for each in page.pictures[:2]
    )
    assert before.shape == after.shape == (HEIGHT, WIDTH, 3) and (before != after).any()
    for film in ("source", "result"):
        assert about[film]["files"][0]["sha256"] in page.text
    assert f"{max(fix.changed for fix in fixes):,}" in page.text
    assert "every repair can be taken back" in page.text and "reach 5, feather" in page.text
    for shot in about["shots"]:
        assert f"Shot {shot['shot']}" in page.text and f"scratch {shot['scratch']['fixes']}" in page.text


def test_doubts_and_warnings_are_told_once(record, tmp_path, monkeypatch):
    said = {
        "notices": [{"stage": "dirt repair", "text": "one <mark> was left", "frames": [3, 4, 5, 9]}],
        "warnings": ["dirt repair, 4 frames (3–5, 9): one <mark> was left", "frame 2 cannot be decoded"],
        "whole_picture": ["average"],
    }
    real = RecordReader.__init__

    def opened(self, path):
        real(self, path)
        self.about.update(said)

    monkeypatch.setattr(RecordReader, "__init__", opened)
    write_report(record, tmp_path / "report.html")
    text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert text.count("one <mark> was left") == 1 and "frames 3-5, 9" in text
    assert text.count("frame 2 cannot be decoded") == 1
    assert "average changed the whole picture" in text


def test_a_report_is_not_lost_and_a_broken_record_leaves_none(record, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("mine")
    with pytest.raises(FilmFileError, match="exists already"):
        write_report(record, path)
    cut = tmp_path / "cut.record.zip"
    cut.write_bytes(record.read_bytes()[:-300])
    with pytest.raises(FilmFileError, match="damaged"):
        write_report(cut, path, overwrite=True)
    assert path.read_text() == "mine" and sorted(each.name for each in tmp_path.iterdir()) == [cut.name, path.name]
    write_report(record, path, overwrite=True)
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
