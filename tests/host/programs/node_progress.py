"""A node's progress bar: weighed, never back, full at the end; and words for a search that only newer hosts have."""

import dataclasses

import comfy.utils
import torch
from comfy_api.latest import io
from pack.nodes.host import node_run as host
from pack.nodes.film.detect_damage import shares_of
from pack.nodes.search import findable, takes_aliases
from pack.nodes.reel.restore_reel import RestoreReel
from pack.vldm_core.stages import batch as pipeline
from pack.vldm_core.film.dirt.detection import DirtSettings
from pack.vldm_core.film.scratches.detection import LineSettings

shown: list[tuple[int, int, object]] = []
live: list[tuple[int, int]] = []
comfy.utils.set_progress_bar_global_hook(
    lambda value, total, preview, node_id=None: shown.append((value, total, preview))
)
host.show_live = lambda picture: live.append(picture.size)
# Every call counts, whatever the machine's speed.
host._BAR_INTERVAL_S = host._PREVIEW_INTERVAL_S = 0.0


def run(progress, phases, preview=None):
    shown.clear()
    for phase, calls in phases.items():
        for done in range(1, calls + 1):
            progress(phase, done, calls, preview)
    return [value / total for value, total, _ in shown]


weighed = run(host.NodeProgress({"quick": 0.1, "slow": 0.9}), {"quick": 10, "slow": 10})
assert abs(weighed[9] - 0.1) < 1e-3 and weighed[-1] == 1.0 and weighed == sorted(weighed)
equal = run(host.NodeProgress(2), {"quick": 10, "slow": 10})
assert abs(equal[9] - 0.5) < 1e-3 and equal[-1] == 1.0
# More phases than were announced do not pull the bar back, nor does one that counts from the start again.
more = run(host.NodeProgress(1), {"a": 4, "b": 4, "c": 4})
assert more == sorted(more)
progress = host.NodeProgress({"slow": 1.0})
again = run(progress, {"slow": 8}) + run(progress, {"slow": 4})
assert again == sorted(again)
# The full bar is never left out, however soon it comes after the last step.
host._BAR_INTERVAL_S = 1e9
last = run(host.NodeProgress({"quick": 0.1, "slow": 0.9}), {"quick": 10, "slow": 10})
assert last[-1] == 1.0
host._BAR_INTERVAL_S = 0.0

# The phases that the node shares the bar out to are those that are reported, and the slow one gets most of it.
clip, seen = torch.rand(4, 3, 48, 64), []
settings = {"dirt": DirtSettings(), "lines": LineSettings()}
pipeline.detect_damage(clip, **settings, progress=lambda phase, *_: seen.append(phase))
pipeline.damage_probability(clip, **settings, progress=lambda phase, *_: seen.append(phase))
assert tuple(dict.fromkeys(seen)) == tuple(shares_of(lines=True, judge=True))
assert shares_of(lines=True, judge=False)["find damage"] > 0.9
assert shares_of(lines=False, judge=False) == {"find damage": 1.0}

# The host's own preview would stay in the place of the film that the node ends with.
frame = torch.zeros(3, 600, 800)
run(host.NodeProgress(1, previews=True, ends_with_picture=True), {"a": 2}, frame)
assert live == [(512, 384)] * 2 and all(preview is None for _, _, preview in shown)
run(host.NodeProgress(1, previews=True), {"a": 2}, frame)
assert len(live) == 2 and all(preview is not None for _, _, preview in shown)


@dataclasses.dataclass
class NewerSchema(io.Schema):
    search_aliases: list[str] | None = None


@findable("dust", "old film")
class Node(io.ComfyNode):
    schema = NewerSchema

    @classmethod
    def define_schema(cls):
        return cls.schema(node_id="VLDM_Test")


assert takes_aliases(NewerSchema)
assert Node.define_schema().search_aliases == ["dust", "old film"]
Node.schema = io.Schema
if not takes_aliases(io.Schema):
    assert not hasattr(Node.define_schema(), "search_aliases")
    assert not hasattr(RestoreReel.define_schema(), "search_aliases")
