"""The shipped workflows in the real frontend, in headless Chromium."""

import importlib.util
import json
import warnings
from pathlib import Path

import pytest
from PIL import Image

pytestmark = [pytest.mark.host, pytest.mark.browser]

ROOT = Path(__file__).resolve().parents[2]
WITH_MODELS = ("restore_with_sd", "animate_prior_check")
NAMES = ("clean_film", "restore_reel", *WITH_MODELS)


class BrowserMissingWarning(UserWarning):
    """The tests in the real frontend did not run."""


def skip_loudly(message):
    text = f"{message}: the tests in the real frontend did NOT run"
    warnings.warn(text, BrowserMissingWarning, stacklevel=2)
    pytest.skip(text)


@pytest.fixture(scope="module")
def browser():
    """The module that drives the browser."""
    if importlib.util.find_spec("playwright") is None:
        skip_loudly("the Python package playwright is not installed")
    spec = importlib.util.spec_from_file_location("vldm_workflow_browser", ROOT / "scripts" / "workflow_browser.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        module.find_chromium()
    except module.ChromiumMissing as error:
        skip_loudly(str(error))
    return module


@pytest.fixture(scope="module")
def frontend(browser, host):
    with browser.browser_page() as page:
        yield browser.Frontend(page, host.url)


@pytest.mark.parametrize("name", NAMES)
def test_workflow_opens_and_exports_its_twin(browser, frontend, tmp_path, name):
    workflow = json.loads((ROOT / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
    frontend.load(workflow)
    assert frontend.unknown_nodes() == []
    if name in WITH_MODELS:
        frontend.close_dialog()
    assert frontend.dialogs() == []
    saved, prompt = frontend.export()
    twin = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text(encoding="utf-8"))
    assert browser.without_previews(prompt) == twin
    # What the frontend would save again has the same nodes and links.
    assert {n["id"]: n["type"] for n in saved["nodes"]} == {n["id"]: n["type"] for n in workflow["nodes"]}
    assert sorted(saved["links"]) == sorted(workflow["links"])
    frontend.picture(tmp_path / "graph.png")
    with Image.open(tmp_path / "graph.png") as picture:
        assert picture.width > 1000 and picture.height > 300
        assert len(picture.convert("RGB").quantize(64).getcolors()) > 20


def test_a_missing_node_would_be_noticed(frontend):
    workflow = json.loads((ROOT / "workflows" / "restore_reel.json").read_text(encoding="utf-8"))
    next(n for n in workflow["nodes"] if n["type"] == "VLDM_RestoreReel")["type"] = "VLDM_NoSuchNode"
    frontend.load(workflow)
    assert frontend.unknown_nodes() == ["VLDM_NoSuchNode"]
    assert any("VLDM_NoSuchNode" in text for text in frontend.dialogs())
    frontend.close_dialog()


@pytest.mark.parametrize("name", WITH_MODELS)
def test_missing_models_are_named_with_folder_and_source(browser, frontend, name):
    workflow = json.loads((ROOT / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
    wanted = {f"{model['directory']} / {model['name']}": model["url"] for model in browser.models_of(workflow)}
    assert len(wanted) == 2
    frontend.load(workflow)
    assert frontend.missing_models() == wanted
    (text,) = frontend.dialogs()
    assert "Missing Models" in text
    # What the frontend says of a folder that no node pack has announced.
    assert "Invalid directory" not in text
    frontend.close_dialog()
    assert frontend.dialogs() == []
