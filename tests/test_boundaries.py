"""Which part may import which: one way down the house, the core knows no host, the nodes load without diffusers."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import vldm_core

ROOT = Path(__file__).resolve().parents[1]
HOST_MODULES = {"comfy", "comfy_api", "comfy_execution", "comfy_extras", "execution", "folder_paths", "nodes", "server"}

ROOMS_DOWN = (
    ("cli",),
    ("training",),
    ("reel",),
    ("data", "metrics"),
    ("stages",),
    ("semantics",),
    ("prior",),
    ("decode",),
    ("prerestore",),
    ("sampling",),
    ("film", "ageing"),
    ("video",),
    ("files", "machine", "containment"),
    ("notices", "progress", "arrays"),
    ("errors", "wording"),
)
"""The rooms of `vldm_core` from the top floor down: each may import what stands below it, and never its neighbours."""
FLOORS = {room: floor for floor, rooms in enumerate(reversed(ROOMS_DOWN)) for room in rooms}


@dataclass(frozen=True)
class Import:
    """One imported module; ``level`` counts the leading dots."""

    module: str
    level: int
    names: tuple[str, ...] = ()

    @property
    def top(self) -> str:
        return "" if self.level else self.module.partition(".")[0]


def imports(node: ast.AST, *, at_import_time: bool = False, types: bool = True) -> Iterator[Import]:
    """Yield the imports in a tree.

    With ``at_import_time`` only those that run when the module is imported, without ``types`` only those that ever run.
    """
    parts: Iterable[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, 0)
    elif isinstance(node, ast.ImportFrom):
        yield Import(node.module or "", node.level, tuple(alias.name for alias in node.names))
    elif at_import_time and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        parts = ()
    elif (at_import_time or not types) and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        parts = node.orelse
    for part in parts:
        yield from imports(part, at_import_time=at_import_time, types=types)


def imports_of(path: Path, **which: bool) -> list[Import]:
    return list(imports(ast.parse(path.read_text(encoding="utf-8")), **which))


def files_of(importer: Path, item: Import) -> Iterator[Path]:
    """Yield the files that a relative import may load, packages on the way included."""
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


def python_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def room_of(path: Path, core: Path) -> str:
    return path.relative_to(core).with_suffix("").parts[0]


def against_the_way_down(core: Path) -> list[str]:
    """Return every import inside a package that goes up or across the house, wherever in a file it stands."""
    wrong = []
    for path in python_files(core):
        room = room_of(path, core)
        if room in ("__init__", "__main__"):
            continue
        for item in imports_of(path):
            for file in files_of(path, item):
                if not file.is_file() or file == core / "__init__.py":
                    continue
                target = room_of(file, core)
                if target != room and FLOORS[target] >= FLOORS[room]:
                    wrong.append(f"{path.relative_to(core)} imports {file.relative_to(core)}")
    return sorted(set(wrong))


def circles(core: Path) -> list[str]:
    """Return the files of a package that need themselves by way of others, at whatever time they import them."""
    needs = {}
    for path in python_files(core):
        found = {
            file
            for item in imports_of(path, types=False)
            for file in files_of(path, item)
            if file.is_file() and file.name != "__init__.py"
        }
        needs[path] = found - {path}
    left = dict(needs)
    while free := [path for path, found in left.items() if not found & left.keys()]:
        for path in free:
            del left[path]
    return sorted(str(path.relative_to(core)) for path in left)


def test_every_room_has_a_floor():
    core = ROOT / "vldm_core"
    rooms = {room_of(path, core) for path in python_files(core)} - {"__init__", "__main__"}
    assert rooms == FLOORS.keys()


def test_imports_go_one_way_down():
    assert not against_the_way_down(ROOT / "vldm_core")


def test_no_file_needs_itself():
    assert not circles(ROOT / "vldm_core")


def test_a_planted_cycle_is_found(tmp_path):
    files = {
        "video/reader.py": "def open_film():\n    from ..film import dirt\n",
        "film/dirt.py": "from ..video.reader import open_film\n",
        "film/one.py": "from .two import b\n",
        "film/two.py": "def b():\n    from . import one\n",
        "decode/tiles.py": "from ..prerestore.run import restore\n",
        "prerestore/run.py": "from ..decode import tiles\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert against_the_way_down(tmp_path) == [
        "prerestore/run.py imports decode/tiles.py",
        "video/reader.py imports film/dirt.py",
    ]
    assert circles(tmp_path) == [
        "decode/tiles.py",
        "film/dirt.py",
        "film/one.py",
        "film/two.py",
        "prerestore/run.py",
        "video/reader.py",
    ]


def test_no_folder_holds_more_than_a_dozen_files():
    folders = [ROOT / "vldm_core", ROOT / "nodes", ROOT / "benchmarks"]
    counts = {
        str(folder.relative_to(ROOT)): len([path for path in folder.glob("*.py") if path.name != "__init__.py"])
        for top in folders
        for folder in [top, *(path for path in top.rglob("*") if path.is_dir())]
    }
    assert not {folder: count for folder, count in counts.items() if count > 12}


def test_the_core_knows_no_host_and_imports_itself_relatively():
    # In ComfyUI the package hangs below the pack's own name, so `import vldm_core` would find another copy or none.
    wrong = [
        f"{path.relative_to(ROOT)} imports {item.module}"
        for path in python_files(ROOT / "vldm_core")
        for item in imports_of(path)
        if item.top in HOST_MODULES | {"vldm_core", "benchmarks"}
    ]
    assert not wrong


def test_nodes_touch_comfy_in_the_host_folder_only():
    wrong = []
    for path in python_files(ROOT / "nodes"):
        inside = path.relative_to(ROOT / "nodes").parts[0] == "host"
        allowed = HOST_MODULES if inside else {"comfy_api"}
        tops = {item.top for item in imports_of(path)} & (HOST_MODULES | {"vldm_core", "benchmarks"})
        wrong += [f"{path.relative_to(ROOT)} imports {top}" for top in sorted(tops - allowed)]
    assert not wrong


def test_nodes_load_without_diffusers():
    loaded = loaded_with(ROOT / "nodes" / "__init__.py")
    # If relative imports were resolved wrongly, this would look at one file and always pass.
    reached = {str(path.relative_to(ROOT)) for path in loaded}
    assert {"vldm_core/__init__.py", "vldm_core/stages/plan.py"} <= reached
    assert {str(path.relative_to(ROOT)) for path in python_files(ROOT / "nodes")} <= reached
    wrong = [
        f"{path.relative_to(ROOT)} imports {item.module}"
        for path, found in loaded.items()
        for item in found
        if item.top in {"diffusers", "transformers", "accelerate", "peft"}
    ]
    assert not wrong


def test_entry_point_imports_nothing_of_the_pack_at_import_time():
    assert {item.top for item in imports_of(ROOT / "__init__.py", at_import_time=True)} == {"logging"}


def test_the_public_face():
    assert [name for name in vldm_core.__all__ if not callable(getattr(vldm_core, name))] == []
    assert vldm_core.__all__ == [
        "DamageMasks",
        "PriorReelSettings",
        "ReelReport",
        "ReelSettings",
        "VideoRestorationPipeline",
        "compare_films",
        "describe_film",
        "detect_damage",
        "detect_film",
        "open_film",
        "open_prior",
        "open_writer",
        "remove_flicker",
        "repair_damage",
        "restore_film",
        "restore_film_with_prior",
        "simulate",
    ]
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = vldm_core.no_such_name


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


def test_what_nodes_refuse_is_told_once():
    """The host tells what `validate_inputs` returns under every input that it names; `one_error` tells it once."""
    wrong = [
        str(path.relative_to(ROOT))
        for path in python_files(ROOT / "nodes")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        and node.name == "validate_inputs"
        and [ast.unparse(each) for each in node.decorator_list] != ["classmethod", "one_error"]
    ]
    assert not wrong


def test_no_name_of_a_class_has_two_meanings():
    places: dict[str, list[str]] = {}
    for path in (path for top in ("vldm_core", "nodes", "benchmarks") for path in python_files(ROOT / top)):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert not {name: paths for name, paths in places.items() if len(paths) > 1}
