"""A small Stable Diffusion: the real classes at small widths, trained on a few clips and photographs."""
