"""The era map says what it means or is refused, and no name leads out of the LoRA folders."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldm_core.errors import SettingsError
from vldm_core.prior.lora.eras import (
    EraLoras,
    LoraChoice,
    LorasOfShot,
    era_loras_from,
    find_lora,
    plan_loras,
    read_era_loras,
)
from vldm_core.video.shots import Shot

MAP = {
    "1900s": {"file": "film/1900s.safetensors", "strength": 0.8},
    "1920s": {"file": "film/1920s.safetensors"},
    "Newsreel": {"file": "newsreel.safetensors", "strength": -0.5},
    "silent": {"file": "film/1920s.safetensors", "strength": 0.25},
}
SHOTS = (Shot(0, 10), Shot(10, 30), Shot(30, 31))


def choice(file: str, strength: float) -> LoraChoice:
    return LoraChoice(file=file, strength=strength)


def test_reading_a_map(tmp_path) -> None:
    path = tmp_path / "eras.json"
    path.write_text(json.dumps(MAP), encoding="utf-8")
    loras = read_era_loras(path)
    assert loras["1900s"] == choice("film/1900s.safetensors", 0.8)
    assert loras["1920s"].strength == 1.0
    assert loras[" NEWSREEL "] == loras["newsreel"]
    with pytest.raises(SettingsError, match=r"no era '1950s'; it has 1900s, 1920s, newsreel, silent"):
        loras["1950s"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1"),
        ("[]", "table of eras; got a list"),
        ('{"a": "b.safetensors"}', "needs"),
        ('{"a": {"strength": 1}}', "names no file"),
        ('{"a": {"file": "b.safetensors", "weight": 1}}', "'weight'"),
        ('{"a": {"file": "b.safetensors", "strength": "1"}}', "got '1'"),
        ('{"a": {"file": "b.safetensors", "strength": true}}', "got True"),
        ('{"a": {"file": "b.safetensors", "strength": NaN}}', "got nan"),
        ('{"a": {"file": "b.safetensors", "strength": 11}}', "got 11"),
        ('{"a": {"file": 7}}', "got 7"),
        ('{"a": {"file": "b.ckpt"}}', "safetensors"),
        ('{"a": {"file": "b.safetensors"}, "a": {"file": "c.safetensors"}}', "given twice"),
        ('{"a": {"file": "b.safetensors"}, " A": {"file": "c.safetensors"}}', "listed twice"),
        ('{" ": {"file": "b.safetensors"}}', "empty"),
    ],
)
def test_maps_that_make_no_sense(tmp_path, text, message) -> None:
    path = tmp_path / "eras.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=f"eras.json.*{message}"):
        read_era_loras(path)


def test_maps_that_cannot_be_read(tmp_path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_era_loras(tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="UTF-8"):
        read_era_loras(tmp_path / "bytes.json")


OUTSIDE = (
    "../secret.safetensors",
    "film/../../secret.safetensors",
    "/etc/secret.safetensors",
    "C:/secret.safetensors",
    "C:secret.safetensors",
    "film/C:/secret.safetensors",
    "\\\\server\\share\\secret.safetensors",
    "\\secret.safetensors",
    "film\\..\\..\\secret.safetensors",
    "a\0.safetensors",
)


@pytest.mark.parametrize("file", OUTSIDE)
def test_no_name_leads_out_of_the_folders(tmp_path, file) -> None:
    (tmp_path / "secret.safetensors").touch()
    (tmp_path / "loras" / "film").mkdir(parents=True)
    with pytest.raises(SettingsError, match="below the LoRA folders"):
        find_lora(file, [tmp_path / "loras"])
    with pytest.raises(SettingsError, match="below the LoRA folders"):
        era_loras_from({"a": {"file": file}})


@given(st.lists(st.sampled_from(["..", ".", "a", "/", "\\", "C:", "b.safetensors", " "]), min_size=1, max_size=6))
def test_whatever_is_accepted_stays_inside(parts) -> None:
    file = "/".join(parts)
    try:
        accepted = LoraChoice(file=file).file
    except SettingsError:
        return
    assert ".." not in accepted.replace("\\", "/").split("/")
    assert not accepted.startswith(("/", "\\")) and ":" not in accepted


def test_files_are_found_in_the_first_folder_that_has_them(tmp_path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        (folder / "film").mkdir(parents=True)
        (folder / "film" / "both.safetensors").touch()
    (second / "film" / "one.safetensors").touch()
    assert find_lora("film/both.safetensors", [first, second]) == first / "film" / "both.safetensors"
    assert find_lora("film/one.safetensors", [first, second]) == second / "film" / "one.safetensors"
    with pytest.raises(SettingsError, match=r"no LoRA file 'film/none.safetensors'"):
        find_lora("film/none.safetensors", [first, second])


def test_every_shot_gets_its_files() -> None:
    loras = era_loras_from(MAP)
    plan = plan_loras(SHOTS, [("1900s", "newsreel"), (), ("1920s", "silent")], loras, strengths=[0.5, 1.0, 2.0])
    assert plan == (
        LorasOfShot(
            shot=SHOTS[0], loras=(choice("film/1900s.safetensors", 0.4), choice("newsreel.safetensors", -0.25))
        ),
        LorasOfShot(shot=SHOTS[1], loras=()),
        LorasOfShot(shot=SHOTS[2], loras=(choice("film/1920s.safetensors", 2.0),)),
    )
    off = plan_loras(SHOTS, [("1900s",)] * 3, loras, strengths=[0.0, 1.0, 0.0])
    assert [len(entry.loras) for entry in off] == [0, 1, 0]
    assert plan_loras(SHOTS, [("silent", "1920s")] * 3, loras)[0].loras == (choice("film/1920s.safetensors", 1.0),)


def test_plans_that_make_no_sense() -> None:
    loras = EraLoras(eras={"1900s": choice("a.safetensors", 8.0)})
    with pytest.raises(SettingsError, match="3 shots"):
        plan_loras(SHOTS, [("1900s",)], loras)
    with pytest.raises(SettingsError, match="1930s"):
        plan_loras(SHOTS, [("1930s",)] * 3, loras)
    with pytest.raises(SettingsError, match="got 16"):
        plan_loras(SHOTS, [("1900s",)] * 3, loras, strengths=[2.0] * 3)
    with pytest.raises(SettingsError, match="the text '1900s'"):
        plan_loras(SHOTS, ["1900s"] * 3, loras)
