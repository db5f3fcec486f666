"""Networks that published controls share: parts of Stable Diffusion's UNet in plain torch."""
