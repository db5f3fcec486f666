"""Restore a film and show it before and after: through a real ComfyUI where one is found, else through vldm_core.

Usage: python scripts/demo.py [--film PATH] [--out PATH]
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from host_server import HostError, HostServer, find_host
from PIL import Image

from vldm_core.cli.queue_client import find_node, load_workflow, run_workflow
from vldm_core.errors import VLDMError
from vldm_core.reel.restore import ReelSettings, restore_film
from vldm_core.video.reading.reader import open_film
from vldm_core.video.writing.writer import WriteSettings

ROOT = Path(__file__).resolve().parents[1]
WORKFLOW = ROOT / "workflows" / "api" / "restore_reel.json"


class Lines:
    """Progress as a line per tenth of a phase, fit for a terminal and for a log."""

    def __init__(self) -> None:
        self._shown: dict[str, int] = {}

    def __call__(self, phase: str, done: int, total: int | None, preview: torch.Tensor | None = None) -> None:
        """See :class:`vldm_core.progress.Progress`."""
        tenth = 10 * done // total if total else 0
        if self._shown.get(phase, -1) < tenth:
            self._shown[phase] = tenth
            print(f"  {phase}: {done} of {total or '?'}", flush=True)


def restore_in_host(host: Path, film: Path, out: Path) -> None:
    """Queue the shipped workflow on a ComfyUI server started for it, and fetch the film."""
    prompt = load_workflow(WORKFLOW)
    sets = [f"LoadVideo.file={film.resolve()}"]
    if out.suffix == ".mkv":
        # Lossless, kept as Restore Reel writes it; Save Video would wrap it into an .mp4.
        del prompt[find_node(prompt, "SaveVideo")]
        sets += ["VLDM_RestoreReel.codec=ffv1", "VLDM_RestoreReel.folder=output"]
    with tempfile.TemporaryDirectory(prefix="vldm-demo-") as scratch:
        with HostServer(host, Path(scratch) / "server") as server:
            folder = Path(scratch) / "results"
            results = run_workflow(prompt, server=server.url, sets=sets, out=folder, progress=Lines())
        films = [path for path in results if path.suffix == out.suffix]
        if not films:
            raise HostError(f"the workflow gave no {out.suffix} film, only {[path.name for path in results]}")
        shutil.move(films[-1], out)


def before_after(before: Path, after: Path, picture: Path) -> None:
    """Write one frame from the middle of the film, before on the left and after on the right."""
    with open_film(before) as old, open_film(after) as new:
        wanted = (old.info.frame_count or 2) // 2
        chosen = next((a, b) for a, b in zip(old, new, strict=True) if a.index >= wanted)
    images = [frame.tensor() for frame in chosen]
    gap = torch.ones(3, images[0].shape[1], 8)
    sheet = torch.cat([images[0], gap, images[1]], dim=2)
    Image.fromarray((sheet * 255).round().byte().permute(1, 2, 0).numpy()).save(picture)


def main() -> int:
    """Run the demonstration; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--film", type=Path, default=ROOT / "assets" / "demo_film.mp4", help="film to restore")
    parser.add_argument("--out", type=Path, help="film to write (default: out/NAME_restored.mp4)")
    options = parser.parse_args()
    film = options.film
    out = options.out or ROOT / "out" / f"{film.stem}_restored.mp4"
    if out.suffix not in (".mp4", ".mkv"):
        print(f"error: {out} must end in .mp4 or, for a lossless film, in .mkv", file=sys.stderr)
        return 1
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        host = find_host()
        if host is not None:
            print(f"Restoring {film} with the workflow restore_reel in the ComfyUI at {host}", flush=True)
            restore_in_host(host, film, out)
        else:
            print(
                f"No ComfyUI found (COMFYUI_PATH or ~/comfy/ComfyUI): restoring {film} with vldm_core alone", flush=True
            )
            restore_film(film, out, ReelSettings(write=WriteSettings(overwrite=True)), Lines())
        picture = out.with_name(f"{out.stem}_before_after.png")
        before_after(film, out, picture)
    except (VLDMError, HostError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Restored film: {out}\nBefore and after: {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
