"""Published restorers that need a single pass of the UNet: read, applied to a model, and run over clips."""
