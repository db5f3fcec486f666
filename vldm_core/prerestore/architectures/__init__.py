"""The still-image restorers that DiffBIR publishes for its stage 1: what their files look like, and their networks."""
