"""The page of restoration controls says what the code says: systems, licences, files, settings, options."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from vldm_core.cli.app import app
from vldm_core.cli.controls import ControlOptions, flag
from vldm_core.prior.controls.reading import FORMATS

from .conftest import ROOT

PAGE = (ROOT / "docs" / "controls.md").read_text(encoding="utf-8")
COMMERCIAL = {True: "yes", False: "**no**", None: "nothing certain is published"}
STARTS = {
    "noise": "pure noise",
    "latent": "the film, noised to the top",
    "added_noise": "the film, noised to the top and once more",
}


def tables(heading: str) -> list[list[list[str]]]:
    """The rows of every table below a heading, without their heads."""
    section = PAGE.split(f"\n## {heading}", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"(?:^\|.*\|\n)+", section, flags=re.MULTILINE)
    return [
        [[cell.strip() for cell in row.strip("|").split("|")] for row in block.splitlines()[2:]] for block in blocks
    ]


def test_every_system_is_shown_with_its_licence() -> None:
    wanted = [
        [known.system, known.base, known.hint, known.source, known.licence, COMMERCIAL[known.commercial]]
        for known in FORMATS
    ]
    assert tables("What they are")[0] == wanted
    assert [row[0] for row in tables("Which one")[0]] == [known.system for known in FORMATS]


def test_every_file_is_shown() -> None:
    assert tables("What they are")[1] == [
        [known.system, f"{part.name}, optional" if part.optional else part.name, part.files]
        for known in FORMATS
        for part in known.parts
    ]


def test_every_version_is_shown_with_its_settings() -> None:
    assert tables("As published")[0] == [
        [known.system, each.version or "all", str(each.steps), f"{each.cfg:g}", each.sampler, STARTS[each.start]]
        for known in FORMATS
        for each in known.published
    ]


def test_the_settings_are_options_and_inputs_that_exist() -> None:
    help_page = (ROOT / "nodes" / "web" / "docs" / "VLDM_ApplyRestorationControl.md").read_text(encoding="utf-8")
    inputs = set(re.findall(r"^\| `(\w+)` \|", help_page, flags=re.MULTILINE))
    own = {flag(name) for name in vars(ControlOptions()) if name.startswith("control_")}
    (rows,) = tables("Strength")
    named = {option for row in rows for option in re.findall(r"`(--[\w-]+)`", row[1])}
    assert own - named == {"--control-hint", "--control-mix"}
    assert named <= own | {flag("damage_masks")}
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[0])} <= inputs


def test_the_help_page_gives_the_published_settings() -> None:
    page = (ROOT / "nodes" / "web" / "docs" / "VLDM_ApplyRestorationControl.md").read_text(encoding="utf-8")
    section = page.split("\n## Tips\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\|.*\|$", section, re.M)[2:]]
    wanted = {
        f"{known.system} {each.version.removeprefix('v')}".strip(): [str(each.steps), f"{each.cfg:g}", each.start]
        for known in FORMATS
        for each in known.published
    }
    assert len(rows) > 5
    for name, _, steps, cfg, start in rows:
        assert [steps, cfg, start.split(",")[0]] == wanted[name]


def test_its_commands_are_understood() -> None:
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE))
    commands = [line for line in blocks.replace("\\\n", " ").splitlines() if line.startswith("python -m vldm_core")]
    assert len(commands) == len(FORMATS)  # Two versions of DiffBIR, and PASD light as PASD.
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for command in commands:
        name, *options = shlex.split(command, comments=True)[3:]
        with known[name].make_context(name, options) as context:
            assert context.params["control"] and context.params["keep_undamaged"] == context.params["guidance"] == 0


def test_the_readme_names_every_file_that_has_a_name_of_its_own() -> None:
    models = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Models\n")[1].split("\n## ")[0]
    names = {
        name for known in FORMATS for part in known.parts for name in re.findall(r"[\w.]+\.(?:ckpt|pth?)\b", part.files)
    }
    assert len(names) > 8
    assert not sorted(name for name in names if f"`{name}`" not in models)


@pytest.mark.parametrize("page", ["README.md", "nodes/web/docs/VLDM_LoadRestorationControl.md"])
def test_other_pages_mark_what_is_not_for_commercial_use(page: str) -> None:
    rows = [row for row in Path(ROOT / page).read_text(encoding="utf-8").splitlines() if row.startswith("|")]
    for known in FORMATS:
        named = [row for row in rows if re.search(rf"\b{known.system}\b", row.split("|")[1])]
        assert named, known.system
        if known.commercial is False:
            assert any("non-commercial" in row for row in named)


def test_the_page_names_commands_that_exist() -> None:
    names = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"python -m vldm_core (\w+)", PAGE)) | {"inspect", "describe"}
    assert named <= names
