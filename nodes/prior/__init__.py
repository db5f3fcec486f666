"""Nodes of the Stable Diffusion prior."""
