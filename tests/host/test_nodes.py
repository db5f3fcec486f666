"""The pack in the real host: it loads, describes itself, and ships its help and workflows."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from .conftest import workflow_names

pytestmark = pytest.mark.host

ROOT = Path(__file__).resolve().parents[2]
NODES = {
    "VLDM_DetectShots",
    "VLDM_DetectDamage",
    "VLDM_RefineMask",
    "VLDM_RepairDamage",
    "VLDM_RemoveFlicker",
    "VLDM_ReduceGrain",
    "VLDM_LoadPreRestorer",
    "VLDM_PreRestore",
    "VLDM_LoadStage1",
    "VLDM_RestoreWithImageModel",
    "VLDM_Stabilise",
    "VLDM_Compare",
    "VLDM_FilmSettings",
    "VLDM_BoxFix",
    "VLDM_ReelPrior",
    "VLDM_ReelPriorInOneStep",
    "VLDM_RestoreReel",
    "VLDM_SimulateDamage",
    "VLDM_FitForPrior",
    "VLDM_UndoFit",
    "VLDM_KeyFrames",
    "VLDM_CaptionShots",
    "VLDM_TagShots",
    "VLDM_Era",
    "VLDM_ShotTable",
    "VLDM_ShotConditioning",
    "VLDM_ApplyTemporalLayers",
    "VLDM_ShotLoras",
    "VLDM_LoadRestorationControl",
    "VLDM_ApplyRestorationControl",
    "VLDM_LoadOneStepRestorer",
    "VLDM_RestoreInOneStep",
    "VLDM_LongVideoWindows",
    "VLDM_VideoNoise",
    "VLDM_RestorationGuidance",
    "VLDM_RestorationSampler",
    "VLDM_RestorationSettings",
    "VLDM_DecodeVideo",
    "VLDM_DecodeWithFeatureWrapping",
    "VLDM_FuseRestoration",
    "VLDM_TrainedFusion",
    "VLDM_MatchColour",
    "VLDM_Regrain",
}
# Lists of files on this machine: they may be empty, so they have no default.
FILES = {
    ("VLDM_LoadStage1", "file"),
    ("VLDM_CaptionShots", "captioner"),
    ("VLDM_ApplyTemporalLayers", "file"),
    ("VLDM_LoadOneStepRestorer", "file"),
    ("VLDM_DecodeWithFeatureWrapping", "file"),
    ("VLDM_TrainedFusion", "file"),
    ("VLDM_LoadRestorationControl", "file"),
}
WORKFLOWS = set(workflow_names.TITLES.values())


def inputs_of(description):
    return {**description["input"].get("required", {}), **description["input"].get("optional", {})}


def test_pack_loads_without_complaint(host):
    assert host.server.pack_failures() == []


def test_every_node_is_there_and_no_other(nodes):
    assert {name for name, node in nodes.items() if "ComfyUI-VLDM" in node["python_module"]} == NODES
    assert {nodes[name]["category"] for name in NODES} == {"VLDM/film", "VLDM/prior", "VLDM/semantics"}


@pytest.mark.parametrize("name", sorted(NODES))
def test_node_describes_itself(nodes, name):
    node = nodes[name]
    assert node["display_name"] and not node["display_name"].startswith("VLDM")
    assert len(node["description"]) > 30
    for key, (kind, options) in inputs_of(node).items():
        assert len(options.get("tooltip", "")) > 10, f"input {key} of {name} has no tooltip"
        if kind in ("INT", "FLOAT"):
            assert options["min"] <= options["default"] <= options["max"], f"range of {key}"
        if kind == "COMBO" and (name, key) not in FILES:
            assert options["default"] in options["options"], f"default of {key}"
    assert node["output"], f"{name} gives nothing"
    for key, tooltip in zip(node["output_name"], node["output_tooltips"], strict=True):
        assert tooltip and len(tooltip) > 10, f"output {key} of {name} has no tooltip"


@pytest.mark.parametrize("name", sorted(NODES))
def test_help_page_is_served_and_complete(host, nodes, name):
    page = host.read(f"/extensions/ComfyUI-VLDM/docs/{name}.md").decode()
    assert page.startswith(f"# {nodes[name]['display_name']}\n")
    for heading in ("## When to use it", "## Inputs", "## Outputs", "## Tips", "## Limits", "## Example"):
        assert heading in page
    for key in (*inputs_of(nodes[name]), *nodes[name]["output_name"]):
        assert f"| `{key}` |" in page, f"the help of {name} does not explain {key}"


def test_no_help_page_without_a_node():
    assert {path.stem for path in (ROOT / "nodes" / "web" / "docs").glob("*.md")} == NODES


def test_template_browser_names_the_pack_in_words(host):
    named = host.get("/i18n")["en"]["templateWorkflows"]["category"]["ComfyUI-VLDM"]
    assert "film" in named.lower() and "restor" in named.lower()


def test_template_browser_lists_the_workflows_with_pictures(host):
    assert set(host.get("/workflow_templates")["ComfyUI-VLDM"]) == WORKFLOWS
    for name in WORKFLOWS:
        workflow = json.loads(host.read(f"/api/workflow_templates/ComfyUI-VLDM/{quote(name)}.json"))
        assert workflow["nodes"]
        picture = host.read(f"/api/workflow_templates/ComfyUI-VLDM/{quote(name)}.jpg")
        assert picture[:3] == b"\xff\xd8\xff"


# Nodes with a level of effort, and what they show beside it.
FIRST_SIGHT = {
    "VLDM_DetectDamage": {"find", "quality", "dirt_polarity"},
    "VLDM_RepairDamage": {"quality"},
    "VLDM_ReduceGrain": {"strength", "keep_grain", "quality"},
    "VLDM_RestoreReel": {
        "quality", "dirt", "scratches", "flicker", "average", "prerestore", "stabilise", "codec", "folder",
        "filename_prefix", "write_masks",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", FIRST_SIGHT)
def test_effort_is_one_choice_and_its_knobs_stand_behind_it(nodes, name):
    widgets = {
        key: entry[1] if len(entry) > 1 else {}
        for key, entry in inputs_of(nodes[name]).items()
        if entry[0] in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
    }
    assert {key for key, options in widgets.items() if not options.get("advanced")} == FIRST_SIGHT[name]
    assert widgets["quality"]["options"] == ["fast", "normal", "best"]
    assert widgets["quality"]["default"] == "normal"
