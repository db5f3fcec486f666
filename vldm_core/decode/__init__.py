"""From latents back to film: VAE decode in time, fusion, colour and grain."""
