"""The decode node on an image VAE of the host's classes."""

import comfy.model_management as management
import torch
from decode_common import count_calls, image_vae, refusal
from pack.nodes.decode.decode_video import DecodeVideo
from pack.nodes.host import vae as host_vae

torch.set_grad_enabled(False)

vae = image_vae()
assert not host_vae.is_temporal(vae)
latents = torch.randn(5, 4, 24, 40, generator=torch.Generator().manual_seed(1))
stock = vae.decode(latents)
assert stock.shape == (5, 192, 320, 3) and stock.std() > 0.01
calls = count_calls(vae)


def node(**more):
    defaults = {"samples": {"samples": latents}, "vae": vae, "chunk_frames": 0, "halo": 4, "tile_size": 0}
    return DecodeVideo.execute(**(defaults | more)).result[0]


plain = node()
assert torch.allclose(plain, stock, atol=1e-5) and plain.is_contiguous()
# One frame at a time, without halo, whatever the halo of the widget.
assert calls == [(1, 4, 24, 40)] * 5
calls.clear()
tiled = node(tile_size=192)
assert len(calls) == 10 and max(shape[-1] for shape in calls) <= 24
# Random weights make much of the statistics of a tile, so only the tone is compared.
assert (tiled - stock).mean().abs() < 0.01 and torch.isfinite(tiled).all()
calls.clear()
assert torch.allclose(node(chunk_frames=2), stock, atol=1e-5) and len(calls) == 3
# Memory that runs out: chunks first, then tiles.
real = vae.first_stage_model.decode


def short(part, **options):
    if part.numel() > 4 * 24 * 24:
        raise management.OOM_EXCEPTION("short of memory")
    return real(part, **options)


vae.first_stage_model.decode = short
assert node(chunk_frames=4).shape == stock.shape
# An interrupt ends the decode.
management.interrupt_current_processing(True)
try:
    node(chunk_frames=1, tile_size=192)
except management.InterruptProcessingException:
    pass
else:
    raise AssertionError("the interrupt was not noticed")
assert "has 16 channels" in refusal(lambda: node(samples={"samples": torch.zeros(1, 16, 8, 8)})).replace("have", "has")
assert "use VAE Decode" in refusal(lambda: node(samples={"samples": torch.zeros(1, 4, 2, 8, 8)}))
vae.latent_dim = 3
assert "use VAE Decode" in refusal(node)
