"""DiffBIR (arXiv:2308.15070): a copy of the UNet's way down that reads the latent of a cleaned picture."""
