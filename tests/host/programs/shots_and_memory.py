"""Windows keep shots apart and shrink when memory runs out."""

from regions_common import *

from pack.vldm_core.prior.attachment import Attachment

seen = []


class Watching(Attachment):
    def changes(self, view):
        return [(view["mid.attn"].module, self.watch)]

    def watch(self, x, call):
        seen.append(call)
        if len(call.frames) > limit:
            raise OOM_EXCEPTION("simulated")
        return x


limit = 100
noise, latent = random(24, 4, 8, 8), torch.zeros(24, 4, 8, 8)
shots = (Shot(0, 10), Shot(10, 24))
patched = with_shots(with_attachment(model, Watching(), "watching"), shots)
windowed = with_regions(patched, WindowSettings(length=8, overlap=2), None)
found = sample(windowed, conditioning(), negative, noise, latent, steps=2)
assert all(max(c.frames) < 10 or min(c.frames) >= 10 for c in seen) and all(len(c.segments) == 1 for c in seen)
assert {c.chunks for c in seen} <= {(0, 1), (1, 0)} and {c.progress for c in seen} == {0.0, 0.5}
seen.clear()
whole = sample(patched, conditioning(), negative, noise, latent, steps=1)
assert seen[0].segments == ((0, 10), (10, 24)) and seen[0].frames == tuple(range(24))

# Out of memory: the window is halved, the sampling goes on, the next one starts with the full window again.
seen.clear()
limit = 9
wide = with_regions(patched, WindowSettings(length=14, overlap=2), None)
rescued = sample(wide, conditioning(), negative, noise, latent, steps=2)
lengths = [len(c.frames) for c in seen]
assert lengths[0] == 10 and max(lengths[1:]) == 8, lengths
assert torch.isfinite(rescued).all()
seen.clear()
limit = 100
sample(wide, conditioning(), negative, noise, latent, steps=1)
assert max(len(c.frames) for c in seen) == 14


# A picture whose sides are no multiples of a tile is rescued by tiles as well.
class Narrow(Attachment):
    def changes(self, view):
        return [(view["mid.attn"].module, self.watch)]

    def watch(self, x, call):
        if x.shape[-1] > 4:
            raise OOM_EXCEPTION("simulated")
        return x


wide = random(1, 4, 8, 52)
narrow = with_regions(with_attachment(model, Narrow(), "narrow"), None, None)
assert torch.isfinite(sample(narrow, conditioning(), negative, wide, wide * 0, steps=1)).all()

# Nothing left to halve: the host's own error comes through.
limit = 0
patched = with_attachment(model, Watching(), "watching")
try:
    one = random(1, 4, 8, 8)
    sample(with_regions(patched, None, None), conditioning(), negative, one, one * 0, steps=1)
except OOM_EXCEPTION as error:
    assert "simulated" in str(error)
else:
    raise AssertionError("not raised")
