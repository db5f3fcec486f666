"""The Stable Diffusion prior in the host: MODEL, VAE, CONDITIONING and sampling."""
