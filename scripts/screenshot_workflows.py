"""Refresh everything that is derived from the editor workflows by running them on the demonstration film.

    python scripts/screenshot_workflows.py            all of it
    python scripts/screenshot_workflows.py NAME ...   only these workflows
    python scripts/screenshot_workflows.py --twins    only the API twins, without running anything
    python scripts/screenshot_workflows.py --defaults --twins    first give our nodes their default values

For each workflow (their names and files: workflow_names.py) this writes workflows/api/NAME.json as the frontend exports
it, docs/NAME.png (the graph after its run, for the README) and the picture for the template browser beside the editor's
file: before and after where a film is restored, else the graph. It needs Chromium and a ComfyUI (COMFYUI_PATH or
~/comfy/ComfyUI).

Workflows with a Stable Diffusion model run only as far as they need none, because the model is large and slow without a
GPU; their pictures show the graph. Empty files stand in for the models, so that the frontend finds their names.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from host_server import ROOT, HostServer, find_host
from PIL import Image
from torch import Tensor
from workflow_browser import RUNS, Frontend, browser_page, models_of, read_workflow, without_previews
from workflow_names import CHOSEN_IN, CONTROLS, TITLES, TWINS, editor_file, thumbnail_file, twin_file

from vldm_core.metrics.before_after import Layout, before_after
from vldm_core.reel.restore import restore_film
from vldm_core.video.reading.reader import open_film

FILM = ROOT / "assets" / "demo_film.mp4"
CLEAN_FILM = "clean_film.mp4"
# The frame that is shown, and how: one from each shot of the demonstration film.
THUMBNAILS: dict[str, tuple[int, Layout]] = {"clean_film": (23, "side by side"), "restore_reel": (50, "split")}
# Workflows that begin with a clean film: the demonstration film is restored for them.
WITH_CLEAN_FILM = ("age_and_measure",)
# Workflows with a model, and the output nodes (by title) that can run without it. They are off in the workflow, so that
# a missing model stops it at once; the picture shows them.
WITHOUT_MODEL: dict[str, tuple[str, ...]] = {
    "restore_with_sd": ("Where the model may paint (off)", "What each shot shows (off)"),
    "animate_prior_check": (),
    "image_model": (),
    "stock_sampler": (),
    "restore_reel_with_prior": (),
    "restore_reel_in_one_step": (),
    "restore_one_step": (),
    "restore_full": (),
    **dict.fromkeys(CONTROLS, ()),
}
THUMBNAIL_WIDTH = 1200
# Room for the tallest graph at the full width of the page.
PAGE_HEIGHT = 1400


def frame_of(path: Path, index: int) -> Tensor:
    """Return one frame of a film, (3, H, W)."""
    with open_film(path) as film:
        for frame in film:
            if frame.index == index:
                return frame.tensor()
    raise SystemExit(f"{path} has no frame {index}")


def write_thumbnail(name: str, result: Path) -> None:
    """Write the picture of a workflow from the film and its restored version."""
    index, layout = THUMBNAILS[name]
    picture = before_after(frame_of(FILM, index), frame_of(result, index), layout=layout)
    levels = picture.mul(255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(levels).save(thumbnail_file(name), quality=88)


def write_graph_thumbnail(name: str) -> None:
    """Write the picture of a workflow from docs/NAME.png."""
    with Image.open(ROOT / "docs" / f"{name}.png") as graph:
        height = round(graph.height * THUMBNAIL_WIDTH / graph.width)
        smaller = graph.convert("RGB").resize((THUMBNAIL_WIDTH, height), Image.Resampling.LANCZOS)
    smaller.save(thumbnail_file(name), quality=88)


def place_stand_ins(workflow: dict[str, Any], models: Path) -> None:
    """Put empty files in the places of the models that a workflow names."""
    for model in models_of(workflow):
        file = models / model["directory"] / model["name"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def run_and_picture(frontend: Frontend, name: str, workflow: dict[str, Any], output: Path) -> None:
    """Run the open workflow as far as possible and write its pictures."""
    graph = ROOT / "docs" / f"{name}.png"
    if name in WITHOUT_MODEL:
        ends = [node["id"] for node in workflow["nodes"] if node.get("title") in WITHOUT_MODEL[name]]
        if ends:
            frontend.set_mode(ends, RUNS)
            frontend.run(ends=ends)
        frontend.picture(graph)
        write_graph_thumbnail(name)
        return
    if name in WITH_CLEAN_FILM:
        frontend.set_widgets("LoadVideo", file=CLEAN_FILM)
    known = set(output.rglob("*.mp4"))
    frontend.run()
    frontend.picture(graph)
    if name not in THUMBNAILS:
        write_graph_thumbnail(name)
        return
    (result,) = set(output.rglob("*.mp4")) - known
    write_thumbnail(name, result)


def write_json(path: Path, content: object) -> None:
    """Write a workflow file."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {' '.join(TITLES)}")
    parser.add_argument("--twins", action="store_true", help="only write the API twins")
    parser.add_argument("--defaults", action="store_true", help="give our nodes in the workflows their default values")
    options = parser.parse_args()
    names = options.names or list(TITLES)
    if unknown := set(names) - set(TITLES):
        parser.error(f"no such workflow: {', '.join(sorted(unknown))}")
    host = find_host()
    if host is None:
        print("No ComfyUI found: set COMFYUI_PATH to its folder, or clone it to ~/comfy/ComfyUI", file=sys.stderr)
        return 1
    (ROOT / "docs").mkdir(exist_ok=True)
    TWINS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vldm-host-") as folder:
        base = Path(folder)
        (base / "input").mkdir()
        shutil.copy2(FILM, base / "input" / FILM.name)
        if set(WITH_CLEAN_FILM) & set(names) and not options.twins:
            restore_film(FILM, base / "input" / CLEAN_FILM)
        workflows = {name: read_workflow(editor_file(name)) for name in names}
        for workflow in workflows.values():
            place_stand_ins(workflow, base / "models")
        with HostServer(host, base) as server, browser_page(height=PAGE_HEIGHT) as page:
            frontend = Frontend(page, server.url)
            for name, given in workflows.items():
                frontend.load(given)
                if options.defaults:
                    frontend.reset_widgets("VLDM_", kept=CHOSEN_IN.get(name, {}))
                workflow, prompt = frontend.export()
                if options.defaults:
                    write_json(editor_file(name), workflow)
                write_json(twin_file(name), without_previews(prompt))
                if options.twins:
                    continue
                run_and_picture(frontend, name, workflow, server.output_folder)
                print(f"{name}: {thumbnail_file(name).relative_to(ROOT)}, docs/{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
