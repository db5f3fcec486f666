"""Every number that decides something about a picture says what it is counted in, and why it is what it is."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

import vldm_core

ROOT = Path(vldm_core.__file__).parent

ROOMS = (
    "film",
    "prerestore",
    "decode",
    "stages",
    "video/shots.py",
    "video/flow.py",
    "video/warping.py",
    "video/luma.py",
)
"""Rooms in which pictures are changed, and files with what they measure by."""

NOT_DONE: tuple[str, ...] = ()
"""Files in which numbers may still stand bare, from the root of the package on."""

UNITS = re.compile(
    r"\b(pixels?|px|rows?|columns?|frames?|cells?|parts?|planes?|numbers?|bands?|points?|times|threads?|bytes"
    r"|grey levels?|levels?|degrees?|shares?|ratio|factors?|channels?|scores?|deviations?"
    r"|correlation|exponent|logarithms?|log odds|steps?"
    r"|per cent|weight|power|confidence|sigma|spots?|neighbours?|squares?|groups|views|0 … 1)(?![a-z])",
    re.IGNORECASE,
)
"""Words that say what a number is counted in."""


def modules() -> list[Path]:
    places = (ROOT / room for room in ROOMS)
    found = (path for place in places for path in ([place] if place.is_file() else sorted(place.rglob("*.py"))))
    return [path for path in found if path.relative_to(ROOT).as_posix() not in NOT_DONE]


def is_number(value: ast.expr | None) -> bool:
    """Whether an expression is a number, a tuple of numbers or a sum of them; calls of classes say their own."""
    if isinstance(value, ast.Constant):
        return isinstance(value.value, int | float) and not isinstance(value.value, bool)
    if isinstance(value, ast.UnaryOp):
        return is_number(value.operand)
    if isinstance(value, ast.BinOp):
        return is_number(value.left) or is_number(value.right)
    if isinstance(value, ast.Tuple | ast.List):
        return any(is_number(part) for part in value.elts)
    if isinstance(value, ast.Dict):
        return any(is_number(part) for part in value.values)
    if isinstance(value, ast.Call):
        # np.float32(0.3), np.ones((5, 5), np.uint8): a number in other clothes.
        return isinstance(value.func, ast.Attribute) and any(is_number(part) for part in value.args)
    return False


def bare_numbers(source: str) -> Iterator[str]:
    """Names of the constants of a module that are numbers and whose docstring or comment names no unit."""
    lines, body = source.splitlines(), ast.parse(source).body
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or not is_number(statement.value):
            continue
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        names = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
        said = ""
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            said = str(following.value.value)
        above = statement.lineno - 2
        while above >= 0 and lines[above].startswith("#"):
            said, above = lines[above] + said, above - 1
        if not UNITS.search(said):
            yield from (name for name in names if name.isupper())


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_number_stands_bare(path):
    assert list(bare_numbers(path.read_text(encoding="utf-8"))) == []


def test_bare_numbers_are_seen():
    source = (
        '"""Module."""\n_A = 3\n_B = np.ones((5, 5), np.uint8)\n_C, _D = 2.0, 4.0\n_E = 3\n"""Pixels."""\n'
        '# Grey levels.\n_F = 8\n_G = Settings(x=3)\n_H = 1 << 20\n"""It is large."""\n_I = "word"\n'
    )
    assert list(bare_numbers(source)) == ["_A", "_B", "_C", "_D", "_H"]


def constant_classes() -> list[type[Any]]:
    """Frozen dataclasses whose attributes are all numbers with a value given: what the rooms decide by."""
    found = []
    for path in modules():
        name = ".".join(("vldm_core", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        classes: list[Any] = list(vars(importlib.import_module(name)).values())
        for value in classes:
            own = inspect.isclass(value) and is_dataclass(value) and value.__module__ == name
            if own and all(isinstance(field.default, int | float | tuple) for field in fields(value)):
                found.append(value)
    return found


@pytest.mark.parametrize("constants", constant_classes(), ids=lambda value: value.__name__)
def test_every_attribute_is_described(constants):
    described = (constants.__doc__ or "").split("Attributes:")[-1]
    for field in fields(constants):
        says = re.search(rf"^\s+{field.name}: (.*?)(?=^\s+\w+: |\Z)", described, re.MULTILINE | re.DOTALL)
        assert says is not None, f"{constants.__name__}.{field.name} is not described"
        assert len(says[1].split()) >= 2, f"{constants.__name__}.{field.name} is hardly described"


@pytest.mark.parametrize("constants", constant_classes(), ids=lambda value: value.__name__)
def test_constants_cannot_be_changed(constants):
    assert constants.__dataclass_params__.frozen
    assert all(field.kw_only for field in fields(constants))
