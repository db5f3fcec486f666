"""The Stable Diffusion prior: UNet view, attachments, temporal layers, LoRA and checkpoints."""
