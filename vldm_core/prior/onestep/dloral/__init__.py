"""DLoRAL: a UNet of its own that looks at the frame before."""
