"""Pages name their command, show their tables by section, and their reports are plain JSON."""

import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common.page import command_line, picture, relative, sections, write_markdown
from benchmarks.common.report import BenchmarkReport, machine_facts
from benchmarks.common.table import ReportTable


def test_the_command_is_what_makes_the_page_again():
    options = {
        "data": "DIR",
        "quick": True,
        "all-sources": False,
        "clips": 3,
        "presets": "1920s,8mm amateur",
        "x": None,
    }
    assert command_line("film", options, {"clips": 4}) == (
        "python -m benchmarks film --data DIR --quick --clips 3 --presets '1920s,8mm amateur'"
    )
    assert command_line("film", {"clips": 4, "frames": 0}, {"clips": 4}) == "python -m benchmarks film --frames 0"


def _table(section: str, title: str) -> ReportTable:
    return ReportTable(section=section, title=title, headings=("a",), rows=(("1",),))


def test_tables_stand_under_the_heading_of_their_section(tmp_path):
    tables = [_table("One", "x"), _table("One", "y"), _table("Two", "")]
    parts = sections(tables, above={"Two": ["before\n"]}, below={"One": ["after one"], "Two": ["after two"]})
    write_markdown(tmp_path / "docs" / "page.md", parts)
    page = (tmp_path / "docs" / "page.md").read_text(encoding="utf-8")
    order = ["## One", "*X*", "*Y*", "after one", "## Two", "before", "| a |", "after two"]
    places = [page.index(words) if words != "| a |" else page.rindex(words) for words in order]
    assert places == sorted(places) and page.count("## One") == 1


def test_pictures_are_named_from_the_page(tmp_path):
    page = tmp_path / "docs" / "page.md"
    assert picture("Curves", tmp_path / "docs" / "curves.png", page) == "![Curves](curves.png)\n"
    assert relative(tmp_path / "curves.png", page) == (tmp_path / "curves.png").as_posix()


@dataclass(frozen=True, kw_only=True)
class MadeReport(BenchmarkReport):
    """Some of everything."""

    figures: dict[int, tuple[float | None, ...]]
    path: Path
    inner: object


def test_a_report_is_plain_json(tmp_path):
    class Rounded:
        """Says itself what it is worth."""

        def as_dict(self):
            return {"rounded": 1}

    inner = {"table": _table("One", "x"), "rounded": [Rounded()]}
    report = MadeReport(figures={24: (1.5, None)}, path=Path("a/b"), inner=inner)
    report.write_json(tmp_path / "out" / "report.json")
    stored = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert stored["figures"] == {"24": [1.5, None]} and stored["path"] == "a/b"
    assert stored["inner"]["table"]["rows"] == [["1"]] and stored["inner"]["rounded"] == [{"rounded": 1}]
    assert set(machine_facts()) == {"cpu_count", "threads", "platform", "python", "torch", "opencv"}
