"""Training of temporal layers on a frozen Stable Diffusion."""
