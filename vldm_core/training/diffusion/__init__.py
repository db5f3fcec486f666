"""What every training on a Stable Diffusion prior shares: the frozen model, latents of clips, noise and losses."""
