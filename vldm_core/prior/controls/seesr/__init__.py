"""SeeSR (arXiv:2311.16518): a ControlNet and a UNet that also read a tagger's embedding of the picture."""
