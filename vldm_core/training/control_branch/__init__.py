"""Training of a control branch: what lets the damaged picture steer a frozen Stable Diffusion."""
