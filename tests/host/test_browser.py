"""The shipped workflows in the real frontend, in headless Chromium."""

import ast
import importlib.util
import json
import os
import shutil
import warnings
from pathlib import Path

import pytest
from PIL import Image

from .conftest import host_server, workflow_names

pytestmark = [pytest.mark.host, pytest.mark.browser]

ROOT = Path(__file__).resolve().parents[2]
WITH_MODELS = {
    "restore_with_sd": 1,
    "animate_prior_check": 2,
    "image_model": 1,
    "stock_sampler": 1,
    "restore_reel_with_prior": 1,
    "restore_reel_in_one_step": 2,
    "restore_diffbir": 3,
    "restore_pasd": 3,
    "restore_seesr": 4,
    "restore_stablesr": 3,
    "restore_coser": 3,
    "restore_one_step": 2,
    "restore_full": 1,
}
"""Workflows that need models, and how many."""
NAMES = tuple(workflow_names.TITLES)
# A newer frontend than the host's own, unpacked: the folder static of the package comfyui-frontend-package.
NEWER = os.environ.get("COMFYUI_FRONTEND")
RENDERERS = ["canvas", "newer canvas", "newer Nodes 2.0"]
FILM, PICTURE = "demo_film.mp4", "picture.png"


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


@pytest.fixture(scope="module")
def newer_url(host_folder, host, tmp_path_factory):
    """Address of a second server, whose pages are those of the newer frontend."""
    if not NEWER:
        pytest.skip("COMFYUI_FRONTEND names no newer frontend")
    base = tmp_path_factory.mktemp("newer")
    shutil.copytree(host.server.input_folder, base / "input")
    with host_server.HostServer(host_folder, base, arguments=["--front-end-root", NEWER]) as server:
        yield server.url


@pytest.fixture(scope="module", params=RENDERERS)
def shown(request, browser, host):
    """A page of every frontend and renderer there is; pictures and a film are in the input folder."""
    Image.effect_mandelbrot((480, 360), (-2, -1.2, 1, 1.2), 60).save(host.server.input_folder / PICTURE)
    url = request.getfixturevalue("newer_url") if request.param.startswith("newer") else host.url
    with browser.browser_page() as page:
        frontend = browser.Frontend(page, url)
        frontend.use_nodes_2(request.param.endswith("2.0"))
        frontend.page = page
        yield frontend


def workflow_of(name):
    return json.loads(workflow_names.editor_file(name).read_text(encoding="utf-8"))


# The film, wherever the renderer plays it.
PLAYING = """(word) => [...document.querySelectorAll('video')].filter((video) =>
    video.currentSrc.includes(word) && video.readyState >= 2 && video.videoWidth > 0 && !video.error).length"""
REPORTS = "() => [...document.querySelectorAll('.vldm-report')].map((part) => part.textContent).filter(Boolean)"
WATCH = """() => {
    window.seenLive = 0;
    new MutationObserver(() => {
        for (const image of document.querySelectorAll('.vldm-live'))
            if (image.src.startsWith('data:image/jpeg') && image.style.display !== 'none') window.seenLive += 1;
    }).observe(document.body, { subtree: true, attributes: true, attributeFilter: ['src', 'style'] });
}"""
LIVE_SHOWN = "() => [...document.querySelectorAll('.vldm-live')].filter((image) => image.src).length"


def test_restore_reel_plays_its_film_and_draws_its_report(shown, request):
    shown.load(workflow_of("restore_reel"))
    # Quick, and not out of the server's memory of the renderer before.
    crf = 20 + RENDERERS.index(request.node.callspec.params["shown"])
    shown.set_widgets("VLDM_RestoreReel", average=False, crf=crf)
    shown.page.evaluate(WATCH)
    shown.run()
    page = shown.page
    page.wait_for_function(f"({PLAYING})('restored_0')", timeout=10_000)
    assert page.evaluate("window.seenLive") > 0 and page.evaluate(LIVE_SHOWN) == 0
    (report,) = page.evaluate(REPORTS)
    assert report.startswith("12 frames in 1 shot,") and "written to temp/video/restored_0" in report
    assert "Video failed to load" not in page.inner_text("body")


def test_the_slider_wipes_from_before_to_after(shown):
    workflow = workflow_of("clean_film")
    (compare,) = [node["id"] for node in workflow["nodes"] if node["type"] == "VLDM_Compare"]
    image = {"filename": PICTURE, "subfolder": "", "type": "input"}
    shown.load(workflow)
    shown.focus(compare)
    shown.show({str(compare): {"before": [image], "after": [image], "places": [image], "text": ["frame 3"]}})
    page = shown.page
    slider = page.locator(".vldm-slider:visible")
    box = slider.bounding_box()
    assert box["width"] > 200 and box["height"] > 150
    for share in (0.25, 0.75):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        clip = page.locator(".vldm-after").evaluate("(image) => image.style.clipPath")
        assert abs(float(clip.rpartition(" ")[2].rstrip("%)")) / 100 - share) < 0.03
    assert page.locator(".vldm-places").evaluate("(image) => image.naturalWidth") == 480
    assert page.evaluate(REPORTS) == ["frame 3"]


def test_a_warning_is_drawn_on_nodes_that_say_nothing_else(shown):
    workflow = workflow_of("clean_film")
    repair, detect = (
        next(str(node["id"]) for node in workflow["nodes"] if node["type"] == f"VLDM_{kind}")
        for kind in ("RepairDamage", "DetectDamage")
    )
    shown.load(workflow)
    shown.fit()
    warning = "warning: dirt repair, frame 3: passed on as it came"
    shown.show({repair: {"text": [warning]}, detect: {"text": ["all is well"]}})
    assert shown.page.evaluate(REPORTS) == [warning]


def test_what_is_shown_is_neither_saved_nor_sent(shown):
    workflow = workflow_of("restore_reel")
    shown.load(workflow)
    shown.show({"2": {"text": ["a report"]}})
    saved, prompt = shown.export()
    assert "a report" not in json.dumps(saved) + json.dumps(prompt)
    assert "vldm_result" not in json.dumps(prompt)


def test_the_whole_film_gets_what_was_tuned_when_it_is_switched_on(browser, frontend):
    workflow = workflow_of("clean_film")
    kinds = {node["type"]: str(node["id"]) for node in workflow["nodes"]}
    off = [node["id"] for node in workflow["nodes"] if node["mode"] == 2]
    assert len(off) == 4 and int(kinds["VLDM_RestoreReel"]) in off
    frontend.load(workflow)
    frontend.set_mode(off, browser.RUNS)
    _, prompt = frontend.export()
    assert prompt[kinds["VLDM_RestoreReel"]]["inputs"]["settings"] == [kinds["VLDM_FilmSettings"], 0]
    # Past the bypassed stage.
    assert prompt[kinds["VLDM_FilmSettings"]]["inputs"]["settings"] == [kinds["VLDM_ReduceGrain"], 1]
    frontend.set_mode([int(kinds["VLDM_Stabilise"])], browser.RUNS)
    _, prompt = frontend.export()
    assert prompt[kinds["VLDM_FilmSettings"]]["inputs"]["settings"] == [kinds["VLDM_Stabilise"], 1]


# A workflow as it was saved before nodes had a level of effort, and what its values are called now.
EARLIER = {
    "VLDM_RestoreReel": [
        True, False, True, True, "ffv1", 21, "output", "video/mine", "learned", "weight-free", 0.5, False, 0.8, 0.4,
        True, 2.0, "top",
    ],
    "VLDM_DetectDamage": [
        "dirt", 5, 0.6, 2, "dark", 60, 2.5, "on", "weight-free", 7, 2, "learned", 0.7, 3, "outline", True,
    ],
    "VLDM_RepairDamage": [1.5, 60, 0.25],
}  # fmt: skip
MEANT = {
    "VLDM_RestoreReel": {
        "quality": "normal", "dirt": True, "scratches": False, "stabilise": True, "codec": "ffv1", "crf": 21,
        "folder": "output", "filename_prefix": "video/mine", "scratch_detector": "weight-free", "dirt_grain": 0.5,
        "average": False, "prerestore": False, "prerestore_strength": 0.8, "keep_grain": 0.4, "strict": True,
        "flash": 2.0,
        "deinterlace": "top", "write_masks": False, "map_clean": 0,
    },
    "VLDM_DetectDamage": {
        "find": "dirt", "quality": "normal", "dirt_certainty": 0.6, "dirt_grow": 2, "dirt_polarity": "dark",
        "scratch_threshold": 60, "scratch_min_depth": 2.5, "locked_shots": "on", "dirt_min_size": 7, "dirt_lifetime": 2,
        "scratch_detector": "learned", "scratch_certainty": 0.7, "scratch_grow": 3, "preview_style": "outline",
        "judge_probability": True, "map_only": False,
    },
    "VLDM_RepairDamage": {"quality": "normal", "dirt_feather": 1.5, "scratch_rows": 60, "dirt_grain": 0.25},
}  # fmt: skip


def test_a_workflow_from_before_the_levels_of_effort_keeps_its_values(frontend):
    workflow = workflow_of("clean_film")
    for node in workflow["nodes"]:
        node["widgets_values"] = EARLIER.get(node["type"], node.get("widgets_values"))
        node["mode"] = 0
    frontend.load(workflow)
    _, prompt = frontend.export()
    for kind, values in MEANT.items():
        (inputs,) = [node["inputs"] for node in prompt.values() if node["class_type"] == kind]
        assert {name: inputs[name] for name in values} == values


def test_advanced_knobs_stand_back_until_they_are_asked_for(browser, frontend):
    frontend.load(workflow_of("restore_reel"))
    (node,) = [node for node in workflow_of("restore_reel")["nodes"] if node["type"] == "VLDM_RestoreReel"]
    reel = node["id"]
    # Frontends up to 1.27 grow a node for knobs that they do not draw.
    frontend.fit()
    _, top, _, bottom = frontend.boxes()[reel]
    assert bottom - top == browser.TITLE_HEIGHT + node["size"][1]
    # As the frontend's own menu entry does it.
    tall = "(number) => { const node = window.app.graph.getNodeById(number); return node.computeSize()[1]; }"
    toggle = "(number) => window.app.graph.getNodeById(number).toggleAdvanced()"
    before = frontend.evaluate(tall, reel)
    frontend.evaluate(toggle, reel)
    assert frontend.evaluate(tall, reel) > before + 200
    frontend.evaluate(toggle, reel)
    assert frontend.evaluate(tall, reel) == before


def test_every_node_that_shows_something_is_given_room(browser):
    """What a node shows grows it after a run; the test below puts it on the nodes without running them."""
    shown = set()
    for path in (ROOT / "nodes").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                source = ast.unparse(node)
                # Notices alone are rare, and grow a node only where there are any.
                if "ui=" in source.replace("ui=told(notices))", ""):
                    shown.add(source.partition("node_id='")[2].partition("'")[0])
    workflow = {"nodes": [{"id": number, "type": kind} for number, kind in enumerate(sorted(shown))]}
    assert len(shown) > 8 and len(browser.typical_outputs(workflow, picture=PICTURE, film=FILM)) == len(shown)


@pytest.mark.parametrize("name", NAMES)
def test_nodes_do_not_overlap_after_a_run(browser, shown, name):
    workflow = workflow_of(name)
    shown.load(workflow)
    if name in WITH_MODELS:
        shown.close_dialog()
    # Nodes 2.0 lays out what is in sight.
    shown.fit()
    shown.show(browser.typical_outputs(workflow, picture=PICTURE, film=FILM))
    boxes = sorted(shown.boxes().items())
    for index, (a, (left, top, right, bottom)) in enumerate(boxes):
        for b, (other_left, other_top, other_right, other_bottom) in boxes[index + 1 :]:
            apart = right <= other_left or other_right <= left or bottom <= other_top or other_bottom <= top
            assert apart, f"nodes {a} and {b} overlap"


def test_a_missing_checkpoint_is_refused_at_once_and_in_words(frontend, host):
    workflow = workflow_of("restore_with_sd")
    frontend.load(workflow)
    (missing,) = frontend.missing_models()
    assert missing.endswith("v1-5-pruned-emaonly-fp16.safetensors")
    frontend.close_dialog()
    before = set(host.get("/history"))
    frontend.run(timeout=30)
    (text,) = frontend.dialogs()
    assert "ckpt_name" in text and "v1-5-pruned-emaonly-fp16.safetensors" in text
    assert set(host.get("/history")) == before
    frontend.close_dialog()


@pytest.mark.parametrize("words", ["scratch", "dust", "dirt", "film", "old film", "upscale"])
def test_the_node_search_finds_the_pack(frontend, words):
    assert any(name.startswith("VLDM_") for name in frontend.search(words))


@pytest.mark.parametrize("name", NAMES)
def test_workflow_opens_and_exports_its_twin(browser, frontend, tmp_path, name):
    workflow = workflow_of(name)
    frontend.load(workflow)
    assert frontend.unknown_nodes() == []
    if name in WITH_MODELS:
        frontend.close_dialog()
    assert frontend.dialogs() == []
    saved, prompt = frontend.export()
    twin = json.loads(workflow_names.twin_file(name).read_text(encoding="utf-8"))
    assert browser.without_previews(prompt) == twin
    # What the frontend would save again has the same nodes and links.
    assert {n["id"]: n["type"] for n in saved["nodes"]} == {n["id"]: n["type"] for n in workflow["nodes"]}
    assert sorted(saved["links"]) == sorted(workflow["links"])
    frontend.picture(tmp_path / "graph.png")
    with Image.open(tmp_path / "graph.png") as picture:
        assert picture.width > 1000 and picture.height > 300
        assert len(picture.convert("RGB").quantize(64).getcolors()) > 20


def test_a_missing_node_would_be_noticed(frontend):
    workflow = workflow_of("restore_reel")
    next(n for n in workflow["nodes"] if n["type"] == "VLDM_RestoreReel")["type"] = "VLDM_NoSuchNode"
    frontend.load(workflow)
    assert frontend.unknown_nodes() == ["VLDM_NoSuchNode"]
    assert any("VLDM_NoSuchNode" in text for text in frontend.dialogs())
    frontend.close_dialog()


@pytest.mark.parametrize("name", WITH_MODELS)
def test_missing_models_are_named_with_folder_and_source(browser, frontend, name):
    workflow = workflow_of(name)
    wanted = {f"{model['directory']} / {model['name']}": model["url"] for model in browser.models_of(workflow)}
    assert len(wanted) == WITH_MODELS[name]
    frontend.load(workflow)
    assert frontend.missing_models() == wanted
    (text,) = frontend.dialogs()
    assert "Missing Models" in text
    # What the frontend says of a folder that no node pack has announced.
    assert "Invalid directory" not in text
    frontend.close_dialog()
    assert frontend.dialogs() == []
