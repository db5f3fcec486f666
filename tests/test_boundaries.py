"""Which part may import which: the core knows no host, the nodes load without diffusers, comfy stays in host files."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = sorted((ROOT / "vldm_core").rglob("*.py"))
NODES = sorted((ROOT / "nodes").rglob("*.py"))
HOST_MODULES = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "execution", "folder_paths", "nodes", "server"}


@dataclass(frozen=True)
class Import:
    """One imported module; ``level`` counts the leading dots."""

    module: str
    level: int
    names: tuple[str, ...] = ()

    @property
    def top(self) -> str:
        return "" if self.level else self.module.partition(".")[0]


def imports(node: ast.AST, *, at_import_time: bool = False) -> Iterator[Import]:
    """Yield the imports in a tree; with ``at_import_time`` only those that run when the module is imported."""
    parts: Iterable[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, 0)
    elif isinstance(node, ast.ImportFrom):
        yield Import(node.module or "", node.level, tuple(alias.name for alias in node.names))
    elif at_import_time and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        parts = ()
    elif at_import_time and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        parts = node.orelse
    for part in parts:
        yield from imports(part, at_import_time=at_import_time)


def imports_of(path: Path, *, at_import_time: bool = False) -> list[Import]:
    return list(imports(ast.parse(path.read_text(encoding="utf-8")), at_import_time=at_import_time))


def files_of(importer: Path, item: Import) -> Iterator[Path]:
    """Yield the files of this repository that a relative import loads, packages on the way included."""
    if not item.level:
        return
    folder = importer.parent
    for _ in range(item.level - 1):
        folder = folder.parent
    parts = item.module.split(".") if item.module else []
    for depth in range(len(parts) + 1):
        yield folder.joinpath(*parts[:depth], "__init__.py")
    target = folder.joinpath(*parts)
    yield target.with_suffix(".py")
    for name in item.names:
        yield target / f"{name}.py"
        yield target / name / "__init__.py"


def loaded_with(start: Path) -> dict[Path, list[Import]]:
    """Return every file of the repository that importing ``start`` loads, with its import-time imports."""
    seen: dict[Path, list[Import]] = {}
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path in seen or not path.is_file():
            continue
        seen[path] = imports_of(path, at_import_time=True)
        for item in seen[path]:
            waiting += files_of(path, item)
    return seen


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_core_knows_no_host_and_imports_itself_relatively(path):
    # In ComfyUI the package hangs below the pack's own name, so `import vldm_core` would find another copy or none.
    wrong = [item.module for item in imports_of(path) if item.top in HOST_MODULES | {"vldm_core"}]
    assert not wrong, f"{name_of(path)} imports {wrong}"


@pytest.mark.parametrize("path", NODES, ids=name_of)
def test_nodes_touch_comfy_in_the_host_files_only(path):
    allowed = HOST_MODULES if path.name.startswith("host") else {"comfy_api"}
    tops = {item.top for item in imports_of(path)}
    wrong = tops & (HOST_MODULES | {"vldm_core"}) - allowed
    assert not wrong, f"{name_of(path)} imports {sorted(wrong)}; only nodes/host*.py may"


@pytest.mark.parametrize("path", NODES, ids=name_of)
def test_nodes_load_without_diffusers(path):
    for file, found in loaded_with(path).items():
        wrong = {item.top for item in found} & {"diffusers", "transformers", "accelerate", "peft"}
        assert not wrong, f"importing {name_of(path)} loads {name_of(file)}, which imports {sorted(wrong)}"


def test_importing_the_nodes_reaches_into_the_core():
    # Guards the test above: if relative imports were resolved wrongly, it would look at one file and always pass.
    loaded = {name_of(path) for path in loaded_with(ROOT / "nodes" / "__init__.py")}
    assert {"nodes/host.py", "nodes/film.py", "vldm_core/__init__.py", "vldm_core/pipeline.py"} <= loaded


def test_entry_point_imports_nothing_of_the_pack_at_import_time():
    assert {item.top for item in imports_of(ROOT / "__init__.py", at_import_time=True)} == {"logging"}


@pytest.mark.parametrize(
    ("source", "every", "at_import"),
    [
        ("import diffusers.models", {"diffusers"}, {"diffusers"}),
        ("def f():\n    import diffusers", {"diffusers"}, set()),
        ("try:\n    from diffusers import X\nexcept ImportError:\n    X = None", {"diffusers"}, {"diffusers"}),
        ("class A:\n    import diffusers", {"diffusers"}, {"diffusers"}),
        ("if TYPE_CHECKING:\n    import diffusers\nelse:\n    import torch", {"diffusers", "torch"}, {"torch"}),
        ("from .server import x", {""}, {""}),
    ],
)
def test_import_walker(source, every, at_import):
    tree = ast.parse(source)
    assert {item.top for item in imports(tree)} == every
    assert {item.top for item in imports(tree, at_import_time=True)} == at_import


@pytest.mark.parametrize("path", NODES, ids=lambda path: path.name)
def test_what_nodes_refuse_is_told_once(path: Path) -> None:
    """The host tells what `validate_inputs` returns under every input that it names; `one_error` tells it once."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name == "validate_inputs":
            assert [ast.unparse(each) for each in node.decorator_list] == ["classmethod", "one_error"], path
