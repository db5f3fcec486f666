"""A small world: a Stable Diffusion of the real classes at small widths, trained on frames of 128 px.

It is there to show on a processor whether a trained part does what it is for. Its pictures say nothing about those of a
full-size model.
"""
