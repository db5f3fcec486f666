"""Open workflows in the real frontend of a running ComfyUI, in headless Chromium."""

import json
import os
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Node titles and widgets are drawn on a canvas; more device pixels per pixel keep them readable in the README.
SCALE = 1.5

_READY = "() => window.app?.graph && window.LiteGraph?.registered_node_types?.['VLDM_RestoreReel']"
# The results of another workflow's nodes would otherwise be shown on those of the same numbers.
_LOAD = """async (workflow) => {
    window.app.clean();
    await window.app.loadGraphData(workflow, true, true, 'workflow');
}"""
_EXPORT = """async () => {
    const { workflow, output } = await window.app.graphToPrompt();
    return { workflow: JSON.parse(JSON.stringify(workflow)), output: JSON.parse(JSON.stringify(output)) };
}"""
# Unknown nodes are drawn red and listed in a dialog; both come from this.
_UNKNOWN = """() => window.app.graph._nodes.map((node) => node.type)
    .filter((type) => !window.LiteGraph.registered_node_types[type])"""
# Scale the canvas so that the graph fills it; return where the graph then is on the page.
_FIT = """([margin]) => {
    const canvas = window.app.canvas, ds = canvas.ds, view = canvas.canvas.getBoundingClientRect();
    const parts = [...window.app.graph._nodes, ...window.app.graph._groups];
    const boxes = parts.map((part) => part.boundingRect ?? part._bounding);
    // Badges stand above the nodes.
    const left = Math.min(...boxes.map((b) => b[0])), top = Math.min(...boxes.map((b) => b[1])) - 20;
    const right = Math.max(...boxes.map((b) => b[0] + b[2])), bottom = Math.max(...boxes.map((b) => b[1] + b[3]));
    ds.scale = Math.min((view.width - 2 * margin) / (right - left), (view.height - 2 * margin) / (bottom - top));
    ds.offset[0] = margin / ds.scale - left;
    ds.offset[1] = margin / ds.scale - top;
    canvas.setDirty(true, true);
    return {
        x: view.left, y: view.top,
        width: (right - left) * ds.scale + 2 * margin, height: (bottom - top) * ds.scale + 2 * margin,
    };
}"""
# Everything that lies over the canvas, but for what belongs to the nodes.
_HIDE_CHROME = """async () => {
    await window.app.ui.settings.setSettingValueAsync('Comfy.Minimap.Visible', false);
    // Text is left out of a graph that is drawn small; here it is made to be read.
    await window.app.ui.settings.setSettingValueAsync('LiteGraph.Canvas.MinFontSizeForLOD', 0);
    const style = document.createElement('style');
    style.textContent = '.comfyui-body-top, .comfyui-body-left, .comfyui-body-right, .side-tool-bar-container, '
        + '.graph-canvas-panel, .p-toast, .p-buttongroup, .minimap-main-container, .actionbar, .comfyui-menu, '
        + '.workflow-tabs-container, .selection-toolbox, .p-button { visibility: hidden !important; }'
        + '.graph-canvas-panel canvas, .graph-canvas-container, canvas, .dom-widget '
        + '{ visibility: visible !important; }';
    document.head.append(style);
    window.app.canvas.show_info = false;
}"""


_DEFAULTS = """([prefix, kept]) => {
    for (const node of window.app.graph._nodes.filter((node) => node.type.startsWith(prefix))) {
        const fresh = window.LiteGraph.createNode(node.type);
        node.widgets?.forEach((widget) => {
            const like = fresh.widgets.find((other) => other.name === widget.name);
            if (like && !kept[node.type]?.includes(widget.name)) widget.value = like.value;
        });
    }
}"""


_SET = """([type, values]) => {
    for (const node of window.app.graph._nodes.filter((node) => node.type === type))
        for (const widget of node.widgets) if (widget.name in values) widget.value = values[widget.name];
}"""
_MODE = """([numbers, mode]) => {
    for (const number of numbers) window.app.graph.getNodeById(number).mode = mode;
}"""
RUNS = 0
"""Mode of a node that is switched on."""
_NODES_2 = """async (on) => {
    await window.app.ui.settings.setSettingValueAsync('Comfy.VueNodes.Enabled', on);
}"""
# As the server's message about a finished node does it.
_SHOW = """(outputs) => {
    const api = window.comfyAPI.api.api;
    for (const [node, output] of Object.entries(outputs))
        api.dispatchCustomEvent('executed', { node, display_node: node, output, prompt_id: 'shown' });
    window.app.canvas.setDirty(true, true);
}"""
# Nodes 2.0 are elements of the page; others are drawn on the canvas, their title above their position.
_BOXES = """([title]) => Object.fromEntries(window.app.graph._nodes.map((node) => {
    const scale = window.app.canvas.ds.scale;
    const drawn = document.querySelector(`[data-node-id="${node.id}"]`)?.getBoundingClientRect();
    const [left, top] = [node.pos[0], node.pos[1] - title];
    const size = drawn ? [drawn.width / scale, drawn.height / scale] : [node.size[0], node.size[1] + title];
    return [node.id, [left, top, left + size[0], top + size[1]]];
}))"""
_FOCUS = """(number) => {
    const canvas = window.app.canvas, node = window.app.graph.getNodeById(number);
    const view = canvas.canvas.getBoundingClientRect(), margin = 60;
    canvas.ds.scale = Math.min((view.width - 2 * margin) / node.size[0], (view.height - 2 * margin) / node.size[1], 1);
    canvas.ds.offset[0] = view.width / 2 / canvas.ds.scale - node.pos[0] - node.size[0] / 2;
    canvas.ds.offset[1] = view.height / 2 / canvas.ds.scale - node.pos[1] - node.size[1] / 2;
    canvas.setDirty(true, true);
}"""
_TYPES = """() => Object.fromEntries(Object.entries(window.LiteGraph.registered_node_types)
    .map(([type, node]) => [node.title, type]))"""
# One for the list, one for the box around it, and one that was lost while the list was filled.
_ESCAPES = 3
_READS = 20
TITLE_HEIGHT = 30
"""Pixels of a node above its position."""


class ChromiumMissing(RuntimeError):  # noqa: N818 - the name says what the caller can do about it
    """No Chromium on this machine."""


def find_chromium() -> str:
    """Return the browser: $CHROMIUM, else the one on the path.

    Raises:
        ChromiumMissing: There is none.
    """
    named = os.environ.get("CHROMIUM")
    found = named or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        raise ChromiumMissing("no Chromium found; install it or set CHROMIUM to its executable")
    return found


@contextmanager
def browser_page(*, width: int = 1600, height: int = 900) -> Iterator[Page]:
    """Give a page of a fresh headless browser."""
    with tempfile.TemporaryDirectory(prefix="vldm-chromium-") as profile, sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=find_chromium(),
            headless=True,
            args=list(FLAGS),
            viewport={"width": width, "height": height},
            device_scale_factor=SCALE,
        )
        try:
            yield context.pages[0] if context.pages else context.new_page()
        finally:
            context.close()


class Frontend:
    """ComfyUI's frontend in a page.

    Args:
        page: An empty page.
        url: Address of the server.
    """

    def __init__(self, page: Page, url: str) -> None:
        self._page = page
        self._url = url
        # A new user would be shown the workflow templates, some time after the page is ready.
        page.request.post(f"{url}/settings/Comfy.TutorialCompleted", data="true", fail_on_status_code=True)
        page.goto(url, wait_until="domcontentloaded")
        page.wait_for_function(_READY, timeout=60_000)
        page.wait_for_timeout(1500)

    def load(self, workflow: dict[str, Any]) -> None:
        """Open a workflow in the editor's format."""
        self._page.evaluate(_LOAD, workflow)
        self._page.wait_for_timeout(500)

    def reset_widgets(self, prefix: str, *, kept: Mapping[str, Sequence[str]]) -> None:
        """Give every widget of the nodes whose type starts so its default value, but for those kept of a type."""
        self._page.evaluate(_DEFAULTS, [prefix, {kind: list(names) for kind, names in kept.items()}])

    def set_widgets(self, kind: str, **values: object) -> None:
        """Give widgets of all nodes of a type other values."""
        self._page.evaluate(_SET, [kind, values])

    def set_mode(self, nodes: Sequence[int], mode: int) -> None:
        """Switch nodes on or off, for example to `RUNS`."""
        self._page.evaluate(_MODE, [list(nodes), mode])

    def evaluate(self, function: str, argument: object = None) -> Any:
        """Run a function of JavaScript in the page and return what it gives."""
        return self._page.evaluate(function, argument)

    def unknown_nodes(self) -> list[str]:
        """Return the node types in the open workflow that the frontend does not know."""
        return self._page.evaluate(_UNKNOWN)

    def dialogs(self) -> list[str]:
        """Return the texts of the dialogs and error messages that are open."""
        locator = self._page.locator(".p-dialog:visible, .p-toast-message-error:visible, .comfy-missing-nodes:visible")
        return locator.all_inner_texts()

    def missing_models(self) -> dict[str, str]:
        """Return what the dialog about missing models lists: "folder / file" to where it can be had."""
        labels = self._page.locator(".comfy-missing-models span[title]")
        return dict(labels.evaluate_all("(spans) => spans.map((span) => [span.textContent, span.title])"))

    def close_dialog(self) -> None:
        """Close the dialog that is open or about to open.

        Raises:
            playwright.sync_api.TimeoutError: None opens within ten seconds.
            TimeoutError: It is still open after ten seconds.
        """
        dialog = self._page.locator(".p-dialog:visible, .comfy-missing-nodes:visible")
        dialog.first.wait_for(timeout=10_000)
        until = time.monotonic() + 10
        # A key pressed before a dialog has the focus is lost, so it is pressed until the dialog goes.
        while dialog.count():
            if time.monotonic() > until:
                raise TimeoutError(f"the frontend keeps this open: {dialog.all_inner_texts()}")
            self._page.keyboard.press("Escape")
            self._page.wait_for_timeout(500)

    def export(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the open workflow as the frontend saves it: editor's format, API format."""
        both = self._page.evaluate(_EXPORT)
        return both["workflow"], both["output"]

    def use_nodes_2(self, on: bool) -> None:
        """Choose the renderer, where the frontend has two: Nodes 2.0, or the canvas."""
        self._page.evaluate(_NODES_2, on)
        self._page.wait_for_timeout(500)

    def fit(self) -> None:
        """Bring all nodes into sight."""
        self._page.evaluate(_FIT, [16])
        self._page.wait_for_timeout(500)

    def focus(self, node: int) -> None:
        """Fill the canvas with one node."""
        self._page.evaluate(_FOCUS, node)
        self._page.wait_for_timeout(500)

    def search(self, words: str) -> list[str]:
        """Return the types of the nodes that the frontend's node search lists for these words, best first."""
        self._page.evaluate("() => window.app.extensionManager.command.execute('Workspace.SearchBox.Toggle')")
        box = self._page.locator(".comfy-vue-node-search-container")
        box.locator("input").fill(words)
        # The list follows the typing late: it is read when it has shown the words and stays as it is.
        shown = box.locator(".option-display-name")
        titles: list[str] = []
        for _ in range(_READS):
            self._page.wait_for_timeout(300)
            before, titles = titles, shown.all_inner_texts()
            if titles and titles == before and words.split()[0] in " ".join(titles).lower():
                break
        for _ in range(_ESCAPES):
            self._page.keyboard.press("Escape")
            self._page.wait_for_timeout(200)
            if not box.is_visible():
                break
        types = self._page.evaluate(_TYPES)
        # The title, and the category below it.
        return [types[title] for text in titles if (title := text.partition("\n")[0].strip()) in types]

    def show(self, outputs: dict[str, dict[str, Any]]) -> None:
        """Show results on the nodes as if they had just run.

        Args:
            outputs: Number of a node to what the server would report of it.
        """
        self._page.evaluate(_SHOW, outputs)
        # Pictures and films are loaded, and the nodes take the room they need.
        self._page.wait_for_timeout(2500)

    def boxes(self) -> dict[int, tuple[float, float, float, float]]:
        """Return what every node covers, with its title, in the graph's own units: left, top, right, bottom."""
        found = self._page.evaluate(_BOXES, [TITLE_HEIGHT])
        return {int(number): tuple(box) for number, box in found.items()}

    def run(self, timeout: float = 600, *, ends: Sequence[int] | None = None) -> None:
        """Queue the open workflow, as the Run button does, and wait until the server is idle.

        Args:
            timeout: Seconds it may take.
            ends: Numbers of output nodes; only they and what they need run. None runs everything.

        Raises:
            TimeoutError: It is still busy after ``timeout`` seconds.
        """
        chosen = None if ends is None else [str(end) for end in ends]
        self._page.evaluate("async (ends) => { await window.app.queuePrompt(0, 1, ends ?? undefined); }", chosen)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            # Not time.sleep: the page has to take in what the server sends meanwhile.
            self._page.wait_for_timeout(500)
            with urllib.request.urlopen(f"{self._url}/prompt", timeout=60) as answer:
                if json.load(answer)["exec_info"]["queue_remaining"] == 0:
                    # The last pictures and films still have to be loaded into the nodes.
                    self._page.wait_for_timeout(2500)
                    return
        raise TimeoutError(f"the workflow did not finish within {timeout:g} s")

    def picture(self, path: Path, *, margin: int = 16) -> None:
        """Take a picture of the open workflow, cut to its nodes, without the menus.

        Args:
            path: A .png or .jpg file.
            margin: Pixels around the nodes.
        """
        self._page.evaluate(_HIDE_CHROME)
        place = self._page.evaluate(_FIT, [margin])
        self._page.wait_for_timeout(1000)
        self._page.screenshot(path=str(path), clip=place)


def read_workflow(path: Path) -> dict[str, Any]:
    """Return a workflow file."""
    return json.loads(path.read_text(encoding="utf-8"))


def models_of(workflow: dict[str, Any]) -> list[dict[str, str]]:
    """Return the model files that a workflow names: each a name, a url and a directory below models."""
    return [model for node in workflow["nodes"] for model in node["properties"].get("models", ())]


def typical_outputs(workflow: dict[str, Any], *, picture: str, film: str) -> dict[str, dict[str, Any]]:
    """Return for every node of a workflow that shows something what its run would report, for `Frontend.show`.

    Args:
        workflow: In the editor's format.
        picture: Name of a picture in the input folder.
        film: Name of a film in the input folder.
    """
    image, video = ({"filename": name, "subfolder": "", "type": "input"} for name in (picture, film))
    lines = (f"line {number} of a report that is as long as most are" for number in range(6))
    report: dict[str, Any] = {"text": ["\n".join(lines)]}
    playing: dict[str, Any] = {"images": [video], "animated": [True]}
    shown: dict[str, dict[str, Any]] = {
        "MaskPreview": {"images": [image]},
        "PreviewImage": {"images": [image]},
        "SaveImage": {"images": [image]},
        "SaveVideo": playing,
        "VLDM_CaptionShots": report,
        "VLDM_Compare": {"before": [image], "after": [image], "places": [image], **report},
        "VLDM_DetectDamage": {"images": [image] * 4, "animated": [False]},
        "VLDM_DetectShots": report,
        "VLDM_Era": report,
        "VLDM_FilmSettings": report,
        "VLDM_KeyFrames": {"images": [image] * 4, "animated": [False], **report},
        "VLDM_LoadOneStepRestorer": report,
        "VLDM_LoadRestorationControl": report,
        "VLDM_RestoreReel": playing | report,
        "VLDM_ShotConditioning": report,
        "VLDM_SimulateDamage": {"images": [image] * 4, "animated": [False]},
        "VLDM_ShotTable": {"images": [image], "animated": [False], **report},
        "VLDM_TagShots": report,
    }
    return {str(node["id"]): shown[node["type"]] for node in workflow["nodes"] if node["type"] in shown}


def without_previews(prompt: dict[str, Any]) -> dict[str, Any]:
    """Return an exported API workflow without the frontend's own preview widgets, which no server knows."""
    return {
        key: node | {"inputs": {name: value for name, value in node["inputs"].items() if name != "video-preview"}}
        for key, node in prompt.items()
    }
