"""The pre-restoration encoder: a video network between repair and diffusion."""
