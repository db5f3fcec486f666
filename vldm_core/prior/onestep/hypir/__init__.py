"""HYPIR for Stable Diffusion 2: one pass at a low level of noise, with adapters of a high rank."""
