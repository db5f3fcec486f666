"""The same weights, noise and attachments give the same sample in the host and headlessly."""

from parity_common import *

for prediction in ("eps", "v"):
    model, twin = tiny_pair(prediction)
    attachment, other = Mixing(), Mixing()
    shots = (Shot(0, 9), Shot(9, 20))
    windows = WindowSettings(length=6, overlap=2)
    noise, latent = random(20, 4, 8, 16), random(20, 4, 8, 16, seed=5)
    positive, negative = conditioning(frames=20), conditioning(seed=3)
    for chosen, tiles in ((None, None), (windows, None), (windows, TileSettings(size=8, overlap=4))):
        patched = with_shots(with_attachment(model, attachment, "mixing"), shots)
        if chosen is not None:
            patched = with_regions(patched, chosen, tiles)
        found = sample(patched, positive, negative, noise, latent)
        with other.attached(UNetView(twin)):
            wanted = headless(
                twin,
                prediction,
                positive,
                negative,
                noise,
                latent,
                windows=chosen,
                tiles=tiles,
                attachments=[other],
                shots=shots,
            )
        close(found, wanted)
        plain = sample(model, positive, negative, noise, latent)
        assert (plain - found).abs().max() > 1e-2
