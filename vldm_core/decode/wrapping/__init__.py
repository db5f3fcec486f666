"""Controllable feature wrapping: the VAE's decoder sees what its encoder saw of the degraded picture."""
