"""Checkpoints of Stable Diffusion: which family, how they are opened, with which tokenizer."""
