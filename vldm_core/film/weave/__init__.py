"""Gate weave: the path of the frame in the gate, and steadying it."""
