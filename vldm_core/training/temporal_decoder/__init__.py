"""Training of temporal layers in the decoder of a VAE, as Stable Video Diffusion has them."""
