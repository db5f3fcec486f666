"""The stages of a restoration in their order, over a batch, a stream or a shot."""
