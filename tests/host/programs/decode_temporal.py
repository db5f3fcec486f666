"""Stable Video Diffusion's decoder, at its full size, which is the only one the host builds."""

import comfy.model_management as management
import torch
from comfy.sd import VAE
from decode_common import count_calls, randomise
from pack.nodes.host import vae as host_vae
from pack.vldm_core.decode.temporal_vae import build_temporal_decoder, convert_decoder, is_temporal, temporal_decode

torch.set_grad_enabled(False)

vae = randomise(VAE(sd={"decoder.mid.block_1.mix_factor": torch.zeros(1)}))
assert host_vae.is_temporal(vae) and vae.vae_dtype == torch.float32
weights = vae.get_sd()
assert is_temporal(weights)
latents = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(1))
here = host_vae.vae_decoder(vae)(latents)
twin = temporal_decode(build_temporal_decoder(convert_decoder(weights)), scale=1)(latents)
difference = float((here - twin).abs().max())
assert difference < 1e-4 and here.std() > 1e-3, difference
# With little memory the host's own decode splits the clip, and the result is another one; a chunk is one call here.
management.get_free_memory = lambda *arguments, **options: 1
calls = count_calls(vae)
split = vae.decode(latents).movedim(-1, 1)
assert len(calls) == 3 and (split - here).abs().max() > 1e-3
calls.clear()
again = host_vae.vae_decoder(vae)(latents)
assert len(calls) == 1 and torch.equal(again, here)
