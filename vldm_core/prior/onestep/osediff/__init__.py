"""OSEDiff: one pass at the noisiest level, with the UNet and the VAE's encoder adapted."""
