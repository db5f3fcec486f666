"""Windows keep shots apart and shrink when memory runs out."""

import pytest
import torch
from comfy.model_management import OOM_EXCEPTION
from inside.sampling import conditioning, random, sample
from pack.nodes.host.prior.attachments import with_attachment, with_shots
from pack.nodes.host.prior.regions import with_regions
from pack.vldm_core.prior.attachment import Attachment
from pack.vldm_core.sampling.regions.windows import WindowSettings
from pack.vldm_core.video.shots import Shot

FRAMES = 24
SHOTS = (Shot(0, 10), Shot(10, FRAMES))


class Watching(Attachment):
    """Notes every call in the middle of the UNet; short of memory with more frames or wider planes than given."""

    def __init__(self, *, frames=FRAMES, width=64):
        super().__init__()
        self.frames, self.width, self.calls = frames, width, []

    def changes(self, view):
        return [(view["mid.attn"].module, self.watch)]

    def watch(self, x, call):
        self.calls.append(call)
        if len(call.frames) > self.frames or x.shape[-1] > self.width:
            raise OOM_EXCEPTION("simulated")
        return x


def run(model, watching, *, windows=None, shots=SHOTS, shape=(FRAMES, 4, 8, 8), steps=1):
    patched = with_attachment(model, watching, "watching")
    if shots is not None:
        patched = with_shots(patched, shots)
    if windows is not None or shots is None:
        patched = with_regions(patched, windows, None)
    return sample(patched, conditioning(), conditioning(seed=3), random(*shape), torch.zeros(shape), steps=steps)


def test_no_window_crosses_a_cut(model):
    watching = Watching()
    run(model, watching, windows=WindowSettings(length=8, overlap=2), steps=2)
    calls = watching.calls
    assert all(max(c.frames) < 10 or min(c.frames) >= 10 for c in calls) and all(len(c.segments) == 1 for c in calls)
    assert {c.chunks for c in calls} <= {(0, 1), (1, 0)} and {c.progress for c in calls} == {0.0, 0.5}


def test_without_windows_a_call_holds_all_shots_and_says_where_they_end(model):
    watching = Watching()
    run(model, watching)
    assert watching.calls[0].segments == ((0, 10), (10, FRAMES))
    assert watching.calls[0].frames == tuple(range(FRAMES))


def test_out_of_memory_the_window_is_halved_and_the_next_sampling_begins_with_the_full_one(model):
    watching, windows = Watching(frames=9), WindowSettings(length=14, overlap=2)
    rescued = run(model, watching, windows=windows, steps=2)
    lengths = [len(call.frames) for call in watching.calls]
    assert lengths[0] == 10 and max(lengths[1:]) == 8
    assert torch.isfinite(rescued).all()
    watching.calls.clear()
    watching.frames = FRAMES
    run(model, watching, windows=windows)
    assert max(len(call.frames) for call in watching.calls) == 14


def test_a_picture_whose_sides_are_no_multiples_of_a_tile_is_rescued_by_tiles_too(model):
    assert torch.isfinite(run(model, Watching(width=4), shots=None, shape=(1, 4, 8, 52))).all()


def test_when_nothing_is_left_to_halve_the_hosts_own_error_comes_through(model):
    with pytest.raises(OOM_EXCEPTION, match="simulated"):
        run(model, Watching(frames=0), shots=None, shape=(1, 4, 8, 8))
