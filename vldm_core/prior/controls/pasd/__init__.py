"""PASD (arXiv:2308.14469): a ControlNet behind a degradation remover, which the UNet looks at by pixel besides."""
