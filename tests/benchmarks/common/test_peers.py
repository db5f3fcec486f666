"""Where the peers are looked for, and what is said where they are not."""

import sys
from pathlib import Path

import pytest

from benchmarks.common import peers
from benchmarks.common.measured_run import run_measured
from benchmarks.common.peers import CHAIN_VARIABLE, PYTHON_VARIABLE, RECIPES, Peers, filled, find_peers
from vldm_core.errors import SettingsError, VLDMError


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    monkeypatch.delenv(CHAIN_VARIABLE, raising=False)
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)


@pytest.fixture
def chain(tmp_path):
    script = tmp_path / "peers" / "vapoursynth_chain.py"
    script.parent.mkdir()
    script.write_text("")
    return script


def test_the_script_lies_beside_the_data_or_is_named(chain, tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "_has_vapoursynth", lambda python: True)
    assert find_peers(near=tmp_path / "data") == Peers(python=sys.executable, chain=chain)
    assert find_peers(chain).chain == chain
    monkeypatch.setenv(CHAIN_VARIABLE, str(chain))
    assert find_peers().chain == chain
    monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)
    assert find_peers().python == sys.executable


def test_what_is_missing_is_said_with_what_to_do(chain, tmp_path, monkeypatch):
    with pytest.raises(SettingsError, match=r"was not found \(looked at .*other.*VLDM_PEER_CHAIN.*--no-peers"):
        find_peers(near=tmp_path / "other" / "data")
    monkeypatch.setattr(peers, "_has_vapoursynth", lambda python: False)
    with pytest.raises(SettingsError, match=r"no interpreter on the path can import VapourSynth.*README\.md says"):
        find_peers(chain)
    with pytest.raises(SettingsError, match="cannot import VapourSynth"):
        find_peers(chain, sys.executable)


def test_masks_are_of_the_steps_that_leave_a_mask():
    command = Peers(python="py", chain=Path("c.py")).mask_command(RECIPES["chain, gentle"])
    assert command[2].startswith("detect:descratch[") and "+spotless[" in command[2]
    assert "deflicker" not in command[2] and "degrain" not in command[2]
    assert filled(command, Path("a.mkv"), Path("b"))[-2:] == ["a.mkv", "b"]


def test_a_program_is_measured_to_its_end():
    spent = run_measured([sys.executable, "-c", "sum(range(10**6))"], environment={"A": "1"})
    assert spent.seconds > 0
    if spent.cpu_seconds is not None:
        assert spent.cpu_seconds > 0 and spent.peak_mb > 1


def test_a_program_that_fails_says_why():
    with pytest.raises(VLDMError, match=r"ended with code 1:\nno film today"):
        run_measured([sys.executable, "-c", "import sys; sys.exit('no film today')"])
    with pytest.raises(VLDMError, match="no-such-program cannot be started"):
        run_measured(["no-such-program"])
