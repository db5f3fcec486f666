"""The sampler benchmark: what a restoring sampler costs beside the host's."""
