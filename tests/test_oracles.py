"""Every oracle of the restoration systems is met: by diffusers' networks, by the host's, and in all that it holds."""

import ast
import fnmatch
import json
import re

import pytest

from .conftest import ROOT
from .oracles import ORACLES

CONTROLS = "tests/prior/controls"
IN_THE_HOST = "tests/host/inside/prior/controls"
MET_BY = {
    "diffbir_control": (f"{CONTROLS}/diffbir/test_branch.py", f"{IN_THE_HOST}/test_diffbir_oracle.py"),
    "diffbir_edm_sampler": ("tests/sampling/test_edm.py",),
    "diffbir_guidance": ("tests/sampling/test_guidance.py",),
    "diffbir_sampler": (
        "tests/sampling/test_spaced.py",
        "tests/sampling/test_schedule.py",
        "tests/sampling/test_start.py",
    ),
    "diffbir_stage1_bsrnet": ("tests/prerestore/test_published.py",),
    "diffbir_stage1_scunet": ("tests/prerestore/test_published.py",),
    "diffbir_stage1_swinir": ("tests/prerestore/test_published.py",),
    "pasd": (f"{CONTROLS}/pasd/test_system.py", f"{CONTROLS}/pasd/test_embedding.py", f"{IN_THE_HOST}/test_pasd.py"),
    "pasd_light": (
        f"{CONTROLS}/pasd/test_system.py",
        f"{CONTROLS}/pasd/test_embedding.py",
        f"{IN_THE_HOST}/test_pasd.py",
    ),
    "pasd_embedding_rrdb": (f"{CONTROLS}/pasd/test_embedding.py",),
    "seesr": (f"{CONTROLS}/seesr/test_system.py", f"{IN_THE_HOST}/test_seesr.py"),
    "stablesr_structcond": (f"{CONTROLS}/stablesr/test_network.py",),
    "stablesr_spade": (f"{CONTROLS}/stablesr/test_network.py",),
    "stablesr_resblock": (f"{CONTROLS}/stablesr/test_system.py",),
    "stablesr_unet": (f"{CONTROLS}/stablesr/test_system.py", f"{IN_THE_HOST}/test_stablesr.py"),
    "stablesr_cfw": ("tests/decode/wrapping/test_wrapped.py", "tests/host/inside/decode/test_feature_wrapping.py"),
    "coser_aia": (f"{CONTROLS}/coser/test_all_in_attention.py", f"{IN_THE_HOST}/test_coser_attention.py"),
    "coser_aia_pool": (f"{CONTROLS}/coser/test_all_in_attention.py", f"{IN_THE_HOST}/test_coser_attention.py"),
    "coser_aia_double": (f"{CONTROLS}/coser/test_all_in_attention.py", f"{IN_THE_HOST}/test_coser_attention.py"),
}
"""The tests of each oracle."""

SYSTEMS = ("diffbir_", "pasd", "seesr", "stablesr_", "coser_")
IN_BOTH_HOSTS = (
    *("diffbir_control", "pasd", "pasd_light", "seesr", "stablesr_unet", "stablesr_cfw"),
    *("coser_aia", "coser_aia_pool", "coser_aia_double"),
)
"""What runs inside a host's network. Samplers, guidance and side networks are the package's own in both hosts."""
NAMED_BY_PARAMETERS = {
    "diffbir_control": ("eps_no_control", "eps_strength_*"),
    "diffbir_sampler": ("step.*",),
    "pasd": ("eps_scale_1", "eps_scale_0.6"),
    "pasd_light": ("eps_scale_1",),
}
"""Outputs whose names do not stand in the call that compares them, but in a loop or a parameter before it."""


def compared(source: str) -> set[str]:
    """Return the names of the outputs that a test compares, with * for what is filled in."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "check"):
            continue
        name = node.args[0] if node.args else None
        if isinstance(name, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "*" for part in name.values]
            found.add("".join(str(part) for part in parts))
        elif isinstance(name, ast.Constant):
            found.add(str(name.value))
    return found


def loaded(source: str) -> set[str]:
    """Return the names of oracles that stand in a test, with * for what is filled in."""
    filled_in = re.sub(r"\{\w+\}", "*", source)
    return {name for name in re.findall(r'"([\w*]+)"', filled_in) if name.startswith(SYSTEMS)}


def test_names_are_read_off_calls() -> None:
    source = "o = load_oracle(f\"pasd_{x}\")\no.check('a', x)\no.check(f'b.{n}.c', x)\no.check(name, x)\ncheck('d')\n"
    assert compared(source) == {"a", "b.*.c"}
    assert loaded(source) == {"pasd_*"}


def test_every_oracle_has_its_tests() -> None:
    if not ORACLES.exists():
        pytest.skip("the oracles are not here")
    there = {path.stem for path in ORACLES.glob("*.json") if path.stem.startswith(SYSTEMS)}
    assert there == set(MET_BY)


@pytest.mark.parametrize("name", MET_BY)
def test_every_output_is_compared(name: str) -> None:
    path = ORACLES / f"{name}.json"
    if not path.exists():
        pytest.skip("the oracles are not here")
    sources = [(ROOT / test).read_text(encoding="utf-8") for test in MET_BY[name]]
    for source in sources:
        assert any(fnmatch.fnmatch(name, pattern) for pattern in loaded(source))
    patterns = set(NAMED_BY_PARAMETERS.get(name, ())).union(*map(compared, sources))
    outputs = json.loads(path.read_text(encoding="utf-8"))["outputs"]
    assert not [output for output in outputs if not any(fnmatch.fnmatch(output, pattern) for pattern in patterns)]


@pytest.mark.parametrize("name", IN_BOTH_HOSTS)
def test_what_runs_in_a_network_of_the_host_is_met_in_both(name: str) -> None:
    assert any("tests/host/" in test for test in MET_BY[name])
    assert any("tests/host/" not in test for test in MET_BY[name])
