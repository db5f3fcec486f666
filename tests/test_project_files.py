"""What stands around the code is true: pages name files that exist, the archive for users is whole, workflows run."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pathspec
import pytest
import yaml
from hypothesis import settings
from PIL import Image

from vldm_core.stages.plan import ORDER

from .conftest import ROOT
from .test_boundaries import ROOMS_DOWN

WRITTEN_PAGES = (
    "architecture",
    "benchmarks",
    "command_line",
    "controls",
    "limits",
    "nodes",
    "one_step",
    "workflows",
)  # not by a benchmark
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(ROOT / "docs" / f"{name}.md" for name in WRITTEN_PAGES),
]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FORM_PARTS = {"markdown", "input", "textarea", "dropdown", "checkboxes"}
# Of ComfyUI, of the environment, and of a folder of films for training: they are not in the repository.
ELSEWHERE = ("models/", ".venv/", "comfy.", "clips/", "photos/")
RUNTIME = ("__init__.py", "nodes", "vldm_core", "locales", "workflows", "requirements.txt", "pyproject.toml", "LICENSE")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def tracked() -> list[str]:
    """All files of the repository, with / between folders; skips outside of a clone."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git clone")
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).exists()]


def named_paths(text: str) -> Iterator[str]:
    """Yield what a page names as a file or folder of the repository: in `code`, and as the target of a link."""
    plain = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for code in re.findall(r"`([^`\s]+)`", plain):
        if re.fullmatch(r"\.?[A-Za-z][\w.-]*(/[\w.-]+)*/?", code) and ("/" in code or code.endswith((".md", ".toml"))):
            yield code
    for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", plain):
        if "://" not in target:
            yield target


def test_paths_are_seen_in_pages() -> None:
    page = "See `vldm_core/files/`, `nodes`, `a/b.py x`, [that](docs/a.md#b) and [c](https://d.e/f).\n```\n`x/y`\n```\n"
    assert list(named_paths(page)) == ["vldm_core/files/", "docs/a.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_files_that_exist(page: Path) -> None:
    places = (ROOT, page.parent, ROOT / "vldm_core")
    names = [name for name in named_paths(page.read_text(encoding="utf-8")) if not name.startswith(ELSEWHERE)]
    missing = [name for name in names if not any((place / name).exists() for place in places)]
    assert names and not missing


def test_the_architecture_page_shows_every_room() -> None:
    shown = set(re.findall(r"^\| `([\w/]+)/` \|", read("docs/architecture.md"), flags=re.MULTILINE))
    inside = {path.parent for path in (ROOT / "vldm_core").glob("*/__init__.py")}
    inside |= {path.parent for path in (ROOT / "vldm_core" / "film").glob("*/__init__.py")}
    rooms = {path.relative_to(ROOT).as_posix() for path in inside}
    assert rooms <= shown, f"not shown: {sorted(rooms - shown)}"


def test_the_architecture_page_states_the_floors_that_are_held() -> None:
    (block,) = re.findall(r"^```\n(cli > .*?)^```", read("docs/architecture.md"), flags=re.DOTALL | re.MULTILINE)
    floors = tuple(tuple(floor.split(", ")) for floor in " ".join(block.split()).split(" > "))
    assert floors == ROOMS_DOWN


def table_below(heading: str) -> list[list[str]]:
    """The cells of the table that follows a heading of the README, without its head."""
    section = read("README.md").split(f"\n## {heading}", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def help_page(node: str) -> str:
    """The help page of a node; its name in the graph may end in words in brackets, for the search."""
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "nodes" / "web" / "docs").glob("*.md")]
    (page,) = [page for page in pages if re.sub(r" \(.*\)$", "", page.splitlines()[0]) == f"# {node}"]
    return page


def test_the_readme_names_knobs_that_the_nodes_have() -> None:
    # That help pages and nodes have the same inputs is tested in the host.
    rows = table_below("What is wrong")
    assert len(rows) > 10
    for symptom, node, cure in rows:
        page = help_page(node)
        inputs = set(
            re.findall(r"^\| `(\w+)` \|", page.split("## Inputs")[1].split("## Outputs")[0], flags=re.MULTILINE)
        )
        knobs = set(re.findall(r"`([\w-]+)`", cure))
        assert knobs & inputs, symptom
        assert all(knob in inputs or f"`{knob}`" in page for knob in knobs), symptom


def test_the_readme_names_the_workflows_that_ship() -> None:
    assert {row[1] for row in table_below("Which workflow")} == {
        path.stem for path in (ROOT / "workflows").glob("*.json")
    }


def test_the_picture_of_the_architecture_shows_the_stages_in_their_order() -> None:
    words = {
        "lines": "scratches",
        "dirt": "dirt",
        "standing": "standing marks",
        "splices": "splices",
        "flicker": "flicker",
        "average": "averaging",
        "prerestore": "pre-restoration",
        "stabilise": "gate weave",
    }
    (picture,) = re.findall(r"^```mermaid\n(.*?)^```", read("docs/architecture.md"), flags=re.DOTALL | re.MULTILINE)
    shown = re.findall(r"\[([\w -]+)(?:<br>[^\]]*)?\]", picture)
    order = [words[switch] for switch in dict.fromkeys(stage.switch for stage in ORDER)]
    assert [label for label in shown if label in words.values()] == order


def test_the_architecture_page_speaks_of_names_that_are_in_the_code() -> None:
    plain = re.sub(r"^```.*?^```", "", read("docs/architecture.md"), flags=re.DOTALL | re.MULTILINE)
    named = set(re.findall(r"`([A-Za-z_]\w*)`", plain))
    assert {"Attachment", "NetworkKind", "UNetView", "with_attachment"} <= named
    rooms = ("vldm_core", "nodes", "benchmarks", "tests")
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for room in rooms
        for path in (ROOT / room).rglob("*.py")
        if path != Path(__file__)
    )
    assert not sorted(name for name in named if not re.search(rf"\b{name}\b", code))


def unsafe_loads(source: str) -> list[str]:
    """Return the calls in a program that may run what is in a file."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if (
            (name == "torch.load" and given.get("weights_only") != "True")
            or (name in ("np.load", "numpy.load") and given.get("allow_pickle", "False") != "False")
            or (given.get("trust_remote_code", "False") != "False")
            or name.split(".")[0] in ("pickle", "marshal", "shelve", "dill", "joblib")
        ):
            found.append(ast.unparse(node))
    return found


def test_files_are_read_as_the_security_page_says() -> None:
    for safe in ("torch.load(p, weights_only=True)", "np.load(p)", "f(trust_remote_code=False)"):
        assert not unsafe_loads(safe)
    for unsafe in ("torch.load(p)", "np.load(p, allow_pickle=True)", "pickle.loads(b)", "f(trust_remote_code=x)"):
        assert unsafe_loads(unsafe)
    places = [path for room in ("vldm_core", "nodes", "benchmarks", "scripts") for path in (ROOT / room).rglob("*.py")]
    assert not {str(path): bad for path in places if (bad := unsafe_loads(path.read_text(encoding="utf-8")))}


def ignored() -> pathspec.PathSpec[Any]:
    return pathspec.PathSpec.from_lines("gitignore", read(".comfyignore").splitlines())


def imported_files(start: Path, seen: set[Path]) -> None:
    """Collect the files of this repository that a file imports, at once or later, and what these import."""
    if start in seen or not start.is_file():
        return
    seen.add(start)
    for node in ast.walk(ast.parse(start.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        folder = start.parent
        for _ in range(node.level - 1):
            folder = folder.parent
        target = folder.joinpath(*(node.module or "").split("."))
        around = [parent for parent in (target, *target.parents) if parent.is_relative_to(folder)]
        wanted = [target.with_suffix(".py"), *(parent / "__init__.py" for parent in around)]
        for alias in node.names:
            wanted += [target / f"{alias.name}.py", target / alias.name / "__init__.py"]
        for path in wanted:
            imported_files(path, seen)


def test_the_archive_for_users_has_everything_that_the_pack_imports_and_reads() -> None:
    needed: set[Path] = set()
    for start in ("__init__.py", "vldm_core/__main__.py"):
        imported_files(ROOT / start, needed)
    names = {path.relative_to(ROOT).as_posix() for path in needed}
    assert {"nodes/__init__.py", "vldm_core/errors.py"} <= names and len(names) > 200
    names |= {name for name in tracked() if name.split("/")[0] in RUNTIME}
    assert not sorted(name for name in names if ignored().match_file(name))


def test_the_archive_for_users_has_nothing_else() -> None:
    kept = {name.split("/")[0] for name in tracked() if not ignored().match_file(name)}
    assert kept == {*RUNTIME, "CHANGELOG.md", "README.md", "SECURITY.md", "docs"}
    assert not [name for name in tracked() if name.endswith(".png") and not ignored().match_file(name)]


def commands(workflow: Path) -> str:
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    return "\n".join(step.get("run", "") for job in jobs.values() for step in job.get("steps", ()))


def uses(workflow: Path) -> list[str]:
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    steps = [step for job in jobs.values() for step in (job, *job.get("steps", ()))]
    return [step["uses"] for step in steps if "uses" in step]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_can_be_read_and_pin_what_they_use(workflow: Path) -> None:
    content = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    # YAML 1.1 takes the key "on" for true.
    assert content["name"] and content[True] and content["permissions"] == {"contents": "read"}
    for used in uses(workflow):
        assert (ROOT / used).is_file() if used.startswith("./") else re.fullmatch(r"[\w-]+/[\w-]+@v\d+", used), used


def test_the_workflow_runs_the_test_command_of_the_readme() -> None:
    assert re.search(r"^make test$", read("README.md"), flags=re.MULTILINE)
    assert re.search(r"^test:", read("Makefile"), flags=re.MULTILINE)
    ran = commands(ROOT / ".github" / "workflows" / "tests.yml").splitlines()
    assert "make test" in ran and "ruff check ." in ran and "ruff format --check ." in ran


def test_tests_run_in_the_oldest_host_that_is_promised() -> None:
    content = yaml.safe_load(read(".github/workflows/tests.yml"))
    promised = PROJECT["tool"]["comfy"]["requires-comfyui"].removeprefix(">=")
    assert f"v{promised}" in content["jobs"]["tests"]["strategy"]["matrix"]["host"]


def test_publishing_waits_for_the_tests_and_a_new_version() -> None:
    jobs = yaml.safe_load(read(".github/workflows/publish.yml"))["jobs"]
    assert jobs["tests"]["uses"] == "./.github/workflows/tests.yml"
    assert set(jobs["publish"]["needs"]) == {"version", "tests"}
    for name in ("tests", "publish"):
        assert jobs[name]["if"] == "needs.version.outputs.changed == 'true'"
    action = jobs["publish"]["steps"][-1]
    assert action["uses"].startswith("Comfy-Org/publish-node-action@")
    assert action["with"] == {"personal_access_token": "${{ secrets.REGISTRY_ACCESS_TOKEN }}"}


@pytest.mark.parametrize(
    ("versions", "changed"),
    [(("1.0.0", "1.0.0"), "false"), (("1.0.0", "1.1.0"), "true"), (("1.0.0", "1.1.0", "1.1.0"), "true")],
    ids=["same", "new", "new, then another push of it"],
)
def test_a_new_version_is_told_from_an_old_one(versions: tuple[str, ...], changed: str, tmp_path: Path) -> None:
    if shutil.which("bash") is None or shutil.which("git") is None:
        pytest.skip("bash and git are needed")
    jobs = yaml.safe_load(read(".github/workflows/publish.yml"))["jobs"]
    (step,) = (step for step in jobs["version"]["steps"] if step.get("id") == "compare")
    clone = tmp_path / "clone"
    clone.mkdir()

    def git(*words: str) -> str:
        who = ["-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", *who, *words], cwd=clone, capture_output=True, text=True, check=True
        ).stdout.strip()

    git("init", "--quiet")
    for version in versions:
        (clone / "pyproject.toml").write_text(f'[project]\nversion = "{version}"\n', encoding="utf-8")
        git("add", ".")
        git("commit", "--quiet", "--allow-empty", "--message", version)
    output = tmp_path / "output"
    scripts = tmp_path / "bin"
    scripts.mkdir()
    (scripts / "python3").symlink_to(sys.executable)
    path = f"{scripts}:/usr/bin:/bin:{Path(shutil.which('git') or '').parent}"
    environment = {"BEFORE": git("rev-list", "--max-parents=0", "HEAD"), "GITHUB_OUTPUT": str(output), "PATH": path}
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]], cwd=clone, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert output.read_text(encoding="utf-8") == f"changed={changed}\n"
    # Started by hand, it publishes what is there.
    output.unlink()
    subprocess.run(["bash", "-e", "-c", step["run"]], cwd=clone, env={**environment, "BEFORE": ""}, check=True)
    assert output.read_text(encoding="utf-8") == "changed=true\n"


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_issue_forms_can_be_shown(form: Path) -> None:
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert content["name"] and content["description"] and isinstance(content["labels"], list)
    assert {part["type"] for part in content["body"]} <= FORM_PARTS
    asked = [part for part in content["body"] if part["type"] != "markdown"]
    ids = [part["id"] for part in asked]
    assert len(ids) == len(set(ids)) and all(part["attributes"]["label"] for part in asked)
    for part in asked:
        if part["type"] in ("dropdown", "checkboxes"):
            assert len(part["attributes"]["options"]) > 1
    for part in content["body"]:
        assert part["type"] != "markdown" or part["attributes"]["value"]


def test_there_is_a_form_for_a_film_that_came_out_wrong() -> None:
    assert {form.stem for form in FORMS} == {"bug", "film", "feature"}
    # The other form, and CONTRIBUTING.md, send people there by its name.
    name = yaml.safe_load(read(".github/ISSUE_TEMPLATE/film.yml"))["name"]
    assert f"*{name}*" in read(".github/ISSUE_TEMPLATE/bug.yml") and f"*{name}*" in read("CONTRIBUTING.md")


def test_the_linter_has_one_version_everywhere() -> None:
    constraints = dict(line.split("==") for line in read("tests/constraints.txt").splitlines() if "==" in line)
    repositories = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    (ruff,) = (entry for entry in repositories if entry["repo"].endswith("/ruff-pre-commit"))
    assert ruff["rev"] == f"v{constraints['ruff']}"
    assert [hook["id"] for hook in ruff["hooks"]] == ["ruff-check", "ruff-format"]
    assert any(hook["id"] == "mypy" for entry in repositories for hook in entry["hooks"])


def picture(kind: str) -> Path:
    """Where the picture lies that the registry is told of."""
    address = PROJECT["tool"]["comfy"][kind]
    owner = PROJECT["project"]["urls"]["Repository"].removeprefix("https://github.com/")
    start = f"https://raw.githubusercontent.com/{owner}/main/"
    assert address.startswith(start)
    return ROOT / address.removeprefix(start)


def test_icon_and_banner_have_the_sizes_that_the_registry_takes() -> None:
    with Image.open(picture("Icon")) as icon, Image.open(picture("Banner")) as banner:
        assert icon.width == icon.height <= 400
        assert banner.width * 9 == banner.height * 21


def test_icon_and_banner_are_what_the_script_draws(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(ROOT / "scripts" / "make_icon.py"), "--out", str(tmp_path)], check=True)
    for kind in ("Icon", "Banner"):
        shipped = picture(kind)
        with Image.open(shipped) as old, Image.open(tmp_path / shipped.name) as new:
            difference = np.abs(np.asarray(old.convert("RGB"), float) - np.asarray(new.convert("RGB"), float))
        # Versions of Pillow set letters a little differently.
        assert difference.mean() < 1, f"{shipped} is not what scripts/make_icon.py draws; run it again"


def test_property_tests_have_the_same_examples_in_every_run_and_no_clock() -> None:
    assert settings.default is not None
    assert settings.default.derandomize and settings.default.deadline is None
    told = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("settings", "hypothesis.settings")
        and {"derandomize", "deadline"} & {keyword.arg for keyword in node.keywords}
    }
    assert not told, "tests/conftest.py says it for all"
