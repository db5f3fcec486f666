"""The same weights, noise and attachments give the same sample in the host and headlessly."""

from parity_common import *

from pack.vldm_core.prior.temporal.animatediff import MotionConfig, MotionModules, MotionSettings
from pack.vldm_core.prior.temporal.layers import TemporalConfig, TemporalLayers
from pack.vldm_core.prior.temporal.attention import AttentionWindows


def shaken(attachment, size):
    """Move every parameter, so that layers that begin as the identity do something."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in attachment.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return attachment.eval().requires_grad_(False)


def attachments(view):
    """One of each kind, fresh for each host."""
    torch.manual_seed(4)
    channels = tuple((site.layer, site.channels) for site in view.layers())
    motion = MotionConfig(version="v2", channels=channels, positions=32)
    inside = AttentionWindows(length=3, stride=2)
    return {
        "mixing": Mixing(),
        "temporal": shaken(TemporalLayers(TemporalConfig.for_unet(view)), 0.01),
        "temporal, windows inside": shaken(TemporalLayers(TemporalConfig.for_unet(view), windows=inside), 0.01),
        "motion": shaken(MotionModules(motion, settings=MotionSettings(windows=inside)), 0.01),
    }


shots = (Shot(0, 6), Shot(6, 10))
windows = WindowSettings(length=4, overlap=2)
tiles = TileSettings(size=8, overlap=4)
noise, latent = random(10, 4, 8, 12), random(10, 4, 8, 12, seed=5)
positive, negative = conditioning(frames=10), conditioning(seed=3)
for prediction in ("eps", "v"):
    model, twin = tiny_pair(prediction)
    plain = sample(model, positive, negative, noise, latent)
    ours, theirs = (attachments(UNetView(unet)) for unet in (model.model.diffusion_model, twin))
    for name in ours:
        # The wiring of windows and tiles is the same for all; one attachment proves it.
        for chosen, tiling in ((windows, None),) if name != "mixing" else ((None, None), (windows, tiles)):
            patched = with_shots(with_attachment(model, ours[name], "one"), shots)
            if chosen is not None:
                patched = with_regions(patched, chosen, tiling)
            found = sample(patched, positive, negative, noise, latent)
            with theirs[name].attached(UNetView(twin)):
                wanted = headless(
                    model,
                    twin,
                    prediction,
                    positive,
                    negative,
                    noise,
                    latent,
                    windows=chosen,
                    tiles=tiling,
                    attachments=[theirs[name]],
                    shots=shots,
                )
            close(found, wanted, f"{prediction}, {name}, {chosen}, {tiling}")
            assert (plain - found).abs().max() > 1e-2, name
