"""Small transforms on noise, denoiser and x0 that any sampler takes."""
