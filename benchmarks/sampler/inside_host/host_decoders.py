"""The decoders of the sampler benchmark: ours and the host's, over one VAE with random weights.

Imported by `host_models` only, when the process already is a host and the pack is loaded as `pack`.
"""

import torch
from host_networks import Options, Run, fill, host_nodes
from torch import Tensor


def decoders(options: Options) -> dict[str, Run]:
    """Make the variants that decode; see `host_models.build`."""
    from comfy.ldm.models.autoencoder import AutoencoderKL
    from comfy.sd import VAE
    from pack.nodes.host.prior.vae import OUT_OF_MEMORY, frames_in_memory, is_temporal, new_image, vae_decoder
    from pack.vldm_core.decode.memory_fallback import DecodeSettings, choose_plan, decode_within_memory

    nodes = host_nodes()
    network = {
        "double_z": True,
        "z_channels": 4,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": options["vae_width"],
        "ch_mult": [1, 2, 4, 4],
        "num_res_blocks": 2,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    config = {"ddconfig": network, "embed_dim": 4}
    weights = AutoencoderKL(**config)
    fill(weights, options["seed"])
    vae = VAE(sd=weights.state_dict(), config={"params": config}, dtype=torch.float32)
    height = options["decode_latent"]
    generator = torch.Generator().manual_seed(options["seed"] + 3)
    latents = torch.randn(options["decode_frames"], 4, height, 2 * height, generator=generator)

    def ours(tile: int | None) -> Run:
        def run() -> Tensor:
            plan = choose_plan(
                DecodeSettings(tile=tile),
                temporal=is_temporal(vae),
                frames_in_memory=frames_in_memory(vae, latents),
                height=height,
                width=2 * height,
            )
            images = new_image(vae, latents).movedim(-1, 1)
            decode_within_memory(latents, vae_decoder(vae), plan, output=images, out_of_memory=OUT_OF_MEMORY)
            return images

        return run

    def one_by_one() -> Tensor:
        return torch.cat([vae.decode(latent[None]) for latent in latents]).movedim(-1, 1)

    def host_tiles() -> Tensor:
        return nodes.VAEDecodeTiled().decode(vae, {"samples": latents}, 512)[0].movedim(-1, 1)

    return {
        "frame_by_frame": one_by_one,
        "decode_chunks": ours(None),
        "decode_batch": lambda: nodes.VAEDecode().decode(vae, {"samples": latents})[0].movedim(-1, 1),
        # Four more than the height: the picture, twice as wide as high, becomes two tiles side by side.
        "decode_tiles": ours(height + 4),
        "decode_host_tiles": host_tiles,
    }
